//! How many forced writes a client of a two-phase commit waits for, one after the other.
//!
//! Coordinator and participants are in this process, each with a log of its own, and hand each
//! other their messages. Each message says how many writes were forced on the longest way to it.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    time::Duration,
};

use serde::Serialize;
use stable_store::{FileStorage, Opening, Options};
use two_phase_commit::{
    coordinator::{self, Coordinator},
    machine::{Effect, Input, Machine, RequestId, Time},
    message::{Account, Action, Address, Transaction},
    node::Node,
    participant::{self, Participant},
    txid::{LogId, NodeId},
};

use super::DurableError;

/// Participants of each transaction; all of them write.
pub(crate) const PARTICIPANTS: u16 = 3;

/// The account that each participant has.
const ACCOUNT: &str = "account";

/// The one request that is under way.
const REQUEST: RequestId = RequestId(1);

/// The writes that one committed transaction forced.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Forced {
    /// One after the other, until the client had its answer.
    pub(crate) before_the_answer: u64,
    /// In all logs together, until all had acknowledged.
    pub(crate) in_all: u64,
}

/// Runs `count` transactions over all participants, with their logs in the empty directory `dir`.
///
/// # Errors
///
/// What the disk or a store said; [`DurableError::NotCommitted`].
pub(crate) fn measure(dir: &Path, count: u32) -> Result<Vec<Forced>, DurableError> {
    let mut bank = Bank::open(dir)?;
    (0..count).map(|number| bank.transaction(Duration::from_millis(number.into()))).collect()
}

/// A node, and the forced writes on the longest way to what it knows.
struct Host<M: Machine> {
    node: Node<M, FileStorage>,
    behind: u64,
}

/// A message under way.
struct Sent {
    from: Address,
    to: Address,
    message: two_phase_commit::message::Message,
    behind: u64,
}

struct Bank {
    coordinator: Host<Coordinator>,
    participants: BTreeMap<NodeId, Host<Participant>>,
    under_way: VecDeque<Sent>,
}

impl<M: Machine> Host<M> {
    fn open(dir: &Path, make: impl FnOnce(LogId) -> M) -> Result<Self, DurableError> {
        let opening = Opening::new(FileStorage::open(dir)?, Options::default())?;
        let machine = make(LogId(opening.id().0));
        let node = Node::open(opening, machine, Time::ZERO, &mut |_| {})?.node;
        Ok(Self { node, behind: 0 })
    }

    /// Does one thing that had `behind` forced writes behind it.
    fn step(
        &mut self,
        input: Input<M::Request>,
        behind: u64,
        now: Time,
    ) -> Result<Vec<Effect<M::Answer>>, DurableError> {
        let before = self.node.forced();
        let effects = self.node.step([input], now)?;
        self.behind = self.behind.max(behind) + (self.node.forced() - before);
        Ok(effects)
    }
}

impl Bank {
    fn open(dir: &Path) -> Result<Self, DurableError> {
        let ids = || (1..=PARTICIPANTS).map(NodeId);
        let coordinator = Host::open(&dir.join("coordinator"), |log| {
            Coordinator::new(log, ids(), coordinator::Options::default())
        })?;
        let mut participants = BTreeMap::new();
        for id in ids() {
            let mut host = Host::open(&dir.join(format!("participant-{}", id.0)), |log| {
                Participant::new(id, log, participant::Options::default())
            })?;
            let accounts = BTreeMap::from([(ACCOUNT.to_owned(), 1_000_000)]);
            let request = participant::Request::Open { accounts };
            host.step(Input::Request { id: REQUEST, request }, 0, Time::ZERO)?;
            participants.insert(id, host);
        }
        Ok(Self { coordinator, participants, under_way: VecDeque::new() })
    }

    /// Moves money from the first participant to the others.
    fn transaction(&mut self, now: Time) -> Result<Forced, DurableError> {
        let before = self.forced();
        self.coordinator.behind = 0;
        self.participants.values_mut().for_each(|host| host.behind = 0);
        let Some(coordinator::Answer::Begun(txid)) = self.ask(coordinator::Request::Begin, now)?
        else {
            return Err(DurableError::NotCommitted);
        };
        let others = i64::from(PARTICIPANTS) - 1;
        let op = |at| {
            let amount = if at == 1 { -others } else { 1 };
            (Account { at: NodeId(at), name: ACCOUNT.to_owned() }, Action::Add(amount))
        };
        let transaction = Transaction { ops: (1..=PARTICIPANTS).map(op).collect() };
        let mut answer = self.ask(coordinator::Request::Run { txid, transaction }, now)?;
        let mut before_the_answer = self.coordinator.behind;
        while let Some(sent) = self.under_way.pop_front() {
            if let Some(later) = self.deliver(sent, now)? {
                before_the_answer = self.coordinator.behind;
                answer = Some(later);
            }
        }
        match answer {
            Some(coordinator::Answer::Outcome(coordinator::Outcome::Committed { .. })) => {
                Ok(Forced { before_the_answer, in_all: self.forced() - before })
            }
            _ => Err(DurableError::NotCommitted),
        }
    }

    fn ask(
        &mut self,
        request: coordinator::Request,
        now: Time,
    ) -> Result<Option<coordinator::Answer>, DurableError> {
        let effects = self.coordinator.step(Input::Request { id: REQUEST, request }, 0, now)?;
        Ok(let_out(&mut self.under_way, Address::Coordinator, self.coordinator.behind, effects))
    }

    fn deliver(
        &mut self,
        Sent { from, to, message, behind }: Sent,
        now: Time,
    ) -> Result<Option<coordinator::Answer>, DurableError> {
        let under_way = &mut self.under_way;
        match to {
            Address::Coordinator => {
                let host = &mut self.coordinator;
                let effects = host.step(Input::Message { from, message }, behind, now)?;
                Ok(let_out(under_way, to, host.behind, effects))
            }
            Address::Participant(id) => {
                let Some(host) = self.participants.get_mut(&id) else { return Ok(None) };
                let effects = host.step(Input::Message { from, message }, behind, now)?;
                let_out(under_way, to, host.behind, effects);
                Ok(None)
            }
        }
    }

    fn forced(&self) -> u64 {
        let participants = self.participants.values().map(|host| host.node.forced());
        self.coordinator.node.forced() + participants.sum::<u64>()
    }
}

/// Puts messages on their way, and returns the answer if there is one.
fn let_out<A>(
    under_way: &mut VecDeque<Sent>,
    from: Address,
    behind: u64,
    effects: Vec<Effect<A>>,
) -> Option<A> {
    let mut answered = None;
    for effect in effects {
        match effect {
            Effect::Send { to, message } => {
                under_way.push_back(Sent { from, to, message, behind });
            }
            Effect::Reply { answer, .. } => answered = Some(answer),
            Effect::Report(_) => {}
        }
    }
    answered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepare_and_the_decision_are_forced_before_the_answer() {
        let dir = tempfile::tempdir().unwrap();
        let forced = measure(dir.path(), 2).unwrap();
        for Forced { before_the_answer, in_all } in forced {
            // Three prepares at once, then the decision; behind the answer, three commits.
            assert_eq!((before_the_answer, in_all), (2, 3 + 1 + 3));
        }
    }
}
