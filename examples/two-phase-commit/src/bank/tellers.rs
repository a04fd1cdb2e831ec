//! The clients: each has a transaction under way, and remembers what it was told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bailiwick::Context;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time;
use two_phase_commit::{
    judge::{Judgement, Told},
    message::Account,
};

use super::claims::Begun;
use crate::{
    client::{self, End, Wish},
    services::{Coordinator as _, CoordinatorClient, Fate, Transfer},
};

/// How long a client waits for an end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one waits that goes away in the middle.
const IMPATIENCE: Duration = Duration::from_millis(15);

/// The longest pause between two transactions: some accounts must be free for the others.
const MAX_PAUSE: Duration = Duration::from_millis(60);

/// The largest amount; some accounts do not hold it.
const MAX_AMOUNT: i64 = 200;

/// How often an audit is tried, and after how many tries in vain the others wait for it.
const AUDIT_TRIES: u32 = 40;
const PATIENT_TRIES: u32 = 5;

/// One client.
pub(super) struct Teller {
    coordinator: CoordinatorClient,
    accounts: Arc<Vec<Account>>,
    /// Audits that the others leave room for.
    hush: Arc<AtomicUsize>,
    random: StdRng,
    found: Found,
}

/// What a client brings home.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) begun: Vec<Begun>,
    /// Two answers about one transaction that differ.
    pub(super) contradictions: Vec<String>,
}

impl Found {
    /// What can be said without the books: what clients were told.
    pub(super) fn unjudged(&self) -> Judgement {
        let mut judgement = Judgement::default();
        for begun in &self.begun {
            match begun.told {
                Told::Committed { .. } => judgement.told.0 += 1,
                Told::Aborted => judgement.told.1 += 1,
                Told::Unknown => judgement.told.2 += 1,
            }
        }
        judgement
    }
}

impl Teller {
    pub(super) fn new(
        coordinator: CoordinatorClient,
        accounts: Arc<Vec<Account>>,
        hush: Arc<AtomicUsize>,
        seed: u64,
    ) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { coordinator, accounts, hush, random, found: Found::default() }
    }

    /// Begins transactions until `end`.
    pub(super) async fn work(mut self, end: Instant) -> Found {
        while Instant::now() < end {
            match self.random.random_range(0..24) {
                0 => self.audit(end).await,
                1 => self.leave().await,
                _ => self.transfer().await,
            }
            self.pause(MAX_PAUSE).await;
            while self.hush.load(Ordering::Relaxed) > 0 && Instant::now() < end {
                self.pause(MAX_PAUSE).await;
            }
        }
        self.found
    }

    async fn transfer(&mut self) {
        let wish = self.any_transfer();
        self.run(wish, PATIENCE).await;
    }

    /// Begins a transfer and goes away: the coordinator ends it alone.
    async fn leave(&mut self) {
        let wish = self.any_transfer();
        let Ok(txid) = self.coordinator.begin(&Context::within(PATIENCE)).await else { return };
        let index = self.note(Begun { txid, wish: wish.clone(), told: Told::Unknown });
        let cx = Context::within(IMPATIENCE);
        self.learn(index, client::attempt(&self.coordinator, &cx, txid, &wish).await);
    }

    /// Reads all accounts at one moment.
    async fn audit(&mut self, end: Instant) {
        let wish = Wish::Read(self.accounts.to_vec());
        for tried in 0..AUDIT_TRIES {
            if tried == PATIENT_TRIES {
                self.hush.fetch_add(1, Ordering::Relaxed);
            }
            if self.run(wish.clone(), PATIENCE).await || Instant::now() >= end {
                if tried >= PATIENT_TRIES {
                    self.hush.fetch_sub(1, Ordering::Relaxed);
                }
                return;
            }
            self.pause(MAX_PAUSE).await;
        }
        self.hush.fetch_sub(1, Ordering::Relaxed);
    }

    /// Runs a transaction and asks until its end is known or patience is over; whether it is known
    /// to have committed.
    async fn run(&mut self, wish: Wish, patience: Duration) -> bool {
        let Ok(txid) = self.coordinator.begin(&Context::within(patience)).await else {
            return false;
        };
        let index = self.note(Begun { txid, wish: wish.clone(), told: Told::Unknown });
        for _ in 0..3 {
            let cx = Context::within(patience);
            let end = client::attempt(&self.coordinator, &cx, txid, &wish).await;
            self.learn(index, end);
            if self.found.begun[index].told != Told::Unknown {
                break;
            }
        }
        if self.random.random_range(0..8) == 0 {
            self.ask_again(index).await;
        }
        matches!(self.found.begun[index].told, Told::Committed { .. })
    }

    /// Asks for an outcome that is known: it must be the same.
    async fn ask_again(&mut self, index: usize) {
        let Begun { txid, told, .. } = self.found.begun[index].clone();
        let cx = Context::within(PATIENCE);
        let Ok(fate) = self.coordinator.outcome(&cx, txid).await else { return };
        let agrees = match told {
            Told::Unknown => true,
            // A read leaves no record: who asks the next boot is told what is presumed.
            Told::Committed { values: Some(_) } => true,
            Told::Committed { values: None } => fate == Fate::Committed || fate == Fate::Forgotten,
            Told::Aborted => fate == Fate::Aborted || fate == Fate::Forgotten,
        };
        if !agrees {
            let words = format!("{txid} was told as {told:?} and then as {fate:?}");
            self.found.contradictions.push(words);
        }
    }

    fn note(&mut self, begun: Begun) -> usize {
        self.found.begun.push(begun);
        self.found.begun.len() - 1
    }

    fn learn(&mut self, index: usize, end: End) {
        let begun = &mut self.found.begun[index];
        begun.told = match end {
            End::Committed { values, .. } => {
                let is_read = matches!(begun.wish, Wish::Read(_)) && !values.is_empty();
                Told::Committed { values: is_read.then_some(values) }
            }
            End::Aborted { .. } => Told::Aborted,
            End::Unknown { .. } => Told::Unknown,
            // Refused before anything was done under the name, and it is used no more.
            End::Failed(_) => Told::Aborted,
        };
    }

    fn any_transfer(&mut self) -> Wish {
        let from = self.random.random_range(0..self.accounts.len());
        let other = self.random.random_range(1..self.accounts.len());
        let to = (from + other) % self.accounts.len();
        let amount = self.random.random_range(1..=MAX_AMOUNT);
        let account = |index: usize| self.accounts[index].clone();
        Wish::Transfer(Transfer { from: account(from), to: account(to), amount })
    }

    async fn pause(&mut self, most: Duration) {
        time::sleep(most.mul_f64(self.random.random::<f64>())).await;
    }
}
