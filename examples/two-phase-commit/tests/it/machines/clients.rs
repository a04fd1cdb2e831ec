//! Clients that try transactions, and ask until they know what became of them.

use std::time::Duration;

use two_phase_commit::coordinator::{Answer, Outcome, Request};
use two_phase_commit::judge::{Claim, Told};
use two_phase_commit::machine::Time;
use two_phase_commit::message::{Account, Action, Transaction};
use two_phase_commit::txid::NodeId;

use crate::machines::random::Random;

/// How long a client waits for an answer before it asks again.
const PATIENCE: Duration = Duration::from_millis(700);

#[derive(Debug)]
pub(crate) struct Client {
    left: u32,
    state: State,
    pub(crate) wake_at: Time,
    /// The number of the request that it waits for.
    waiting: Option<u64>,
    /// Asks no more, in the middle of something.
    /// How often it has asked about what was not answered.
    asked: u64,
    pub(crate) is_dead: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    Beginning,
    Running(usize),
    Asking(usize),
}

impl Client {
    pub(crate) fn new(transactions: u32, wake_at: Time) -> Self {
        let (state, waiting) = (State::Idle, None);
        Self { left: transactions, state, wake_at, waiting, asked: 0, is_dead: false }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_dead || self.left == 0 && matches!(self.state, State::Idle)
    }

    /// Its time has come: what it asks for under the number `id`.
    pub(crate) fn wake(&mut self, id: u64, now: Time, claims: &[Claim]) -> Option<Request> {
        if self.is_done() {
            return None;
        }
        self.wake_at = now + PATIENCE;
        self.waiting = Some(id);
        Some(match self.state {
            State::Idle | State::Beginning => {
                self.state = State::Beginning;
                Request::Begin
            }
            // Not answered: it asks. The same transaction again would do no harm, either.
            State::Running(claim) | State::Asking(claim) => {
                self.state = State::Asking(claim);
                let Claim { txid, transaction, .. } = &claims[claim];
                // In turn: one that was only begun stays pending until it is run.
                self.asked += 1;
                if self.asked.is_multiple_of(2) {
                    Request::Outcome { txid: *txid }
                } else {
                    Request::Run { txid: *txid, transaction: transaction.clone() }
                }
            }
        })
    }

    /// An answer; perhaps the next thing it asks for, under the number `next`.
    pub(crate) fn answered(
        &mut self,
        (id, next): (u64, u64),
        answer: Answer,
        now: Time,
        claims: &mut Vec<Claim>,
        transaction: impl FnOnce() -> Transaction,
    ) -> Option<Request> {
        if self.waiting != Some(id) || self.is_dead {
            return None; // an old one
        }
        match (&self.state, answer) {
            (State::Beginning, Answer::Begun(txid)) => {
                let transaction = transaction();
                claims.push(Claim { txid, transaction: transaction.clone(), told: Told::Unknown });
                self.state = State::Running(claims.len() - 1);
                self.waiting = Some(next);
                self.wake_at = now + PATIENCE;
                return Some(Request::Run { txid, transaction });
            }
            (State::Running(claim) | State::Asking(claim), Answer::Outcome(outcome)) => {
                let told = match outcome {
                    Outcome::Committed { values } => Told::Committed { values },
                    Outcome::Aborted(_) => Told::Aborted,
                    Outcome::Pending => return None, // asks again in time
                    Outcome::Forgotten => panic!("so many have not run"),
                };
                claims[*claim].told = told;
            }
            (state, answer) => panic!("{state:?} was answered {answer:?}"),
        }
        self.left -= 1;
        self.state = State::Idle;
        self.waiting = None;
        self.wake_at = now + Duration::from_millis(5);
        None
    }
}

/// A transfer mostly, between two or more; an audit of all; or one that takes here what it reads there.
pub(crate) fn draw(random: &mut Random, nodes: u16, accounts: u64) -> Transaction {
    let account = |at, number| Account { at: NodeId(at), name: format!("a{number}") };
    let first = u16::try_from(random.below(u64::from(nodes))).unwrap();
    let second = (first + 1 + u16::try_from(random.below(u64::from(nodes) - 1)).unwrap()) % nodes;
    let amount = i64::try_from(1 + random.below(30)).unwrap();
    let (from, to) =
        (account(first, random.below(accounts)), account(second, random.below(accounts)));
    match random.below(10) {
        0 | 1 => {
            let all =
                (0..nodes).flat_map(|at| (0..accounts).map(move |number| account(at, number)));
            Transaction::audit(all).unwrap()
        }
        2 => {
            let third = (0..nodes).find(|node| ![first, second].contains(node)).unwrap();
            let mut mixed = Transaction::transfer(from, to, amount).unwrap();
            mixed.ops.push((account(third, random.below(accounts)), Action::Read));
            mixed
        }
        3 | 4 => {
            let amount = amount % 4 + 1;
            let mut ops = vec![(account(0, 0), Action::Add(-amount * i64::from(nodes - 1)))];
            ops.extend((1..nodes).map(|at| (account(at, 0), Action::Add(amount))));
            Transaction { ops }
        }
        _ => Transaction::transfer(from, to, amount).unwrap(),
    }
}
