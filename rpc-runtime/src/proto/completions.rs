//! What durable services have done for their clients, as their logs have it: the answer of each call,
//! so that one that is asked for again after a crash is answered and does not run again (RIFL: Lee
//! et al., "Implementing Linearizability at Large Scale and Low Latency", SOSP 2015).

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bailiwick_crypto::PublicKey;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{duplicate_requests::Digest, frame::SPAN, status::ANSWER_LOST};
use crate::id::Incarnation;

mod books; // those of all services of a server

pub(crate) use books::{Books, Past};

/// Bytes of answers that are kept for one client life until a server says otherwise: the default of
/// [`Limits::max_kept_answers`](crate::Limits::max_kept_answers).
const KEPT_ANSWERS: usize = 4 << 20;

/// What a call costs beside the bytes of its answer, about.
const RECORD: usize = 128;

/// One life of a client's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Life {
    client: [u8; 32],
    incarnation: [u8; 16],
}

impl Life {
    pub(crate) fn new(client: &PublicKey, incarnation: &Incarnation) -> Self {
        Self { client: *client.as_bytes(), incarnation: *incarnation.as_bytes() }
    }
}

/// That a durable call ran, and what it answers: it belongs into the same record of the log as the
/// call's effect.
///
/// It is made by [`Context::completion`](crate::Context::completion) and goes into the log as serde
/// writes it; some 80 bytes beside the answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    pub(crate) life: Life,
    pub(crate) number: u64,
    /// The client had the answers to all calls below.
    pub(crate) floor: u64,
    /// Of the method and its arguments.
    pub(crate) digest: Digest,
    /// `status ‖ body`
    pub(crate) answer: Bytes,
}

/// The completions of one durable service, each client's until it has acknowledged them or its lease
/// is over. Clones share them: one belongs with the state that the log is applied to, one with the
/// implementation that is served.
///
/// Of one client life there are at most 65,536, with 4 MiB of answers or
/// [`Limits::max_kept_answers`](crate::Limits::max_kept_answers) of the server; beyond it the oldest
/// answers go, and their calls are known to have run.
#[derive(Clone)]
pub struct Completions {
    shared: Arc<Shared>,
}

struct Shared {
    store: [u8; 16],
    /// All of the log has been read.
    open: AtomicBool,
    table: Mutex<Table>,
}

struct Table {
    /// Std's hash is keyed, and peers choose their incarnations.
    lives: HashMap<Life, Calls>,
    /// Bytes of answers that one life may have.
    quota: usize,
}

#[derive(Default)]
struct Calls {
    /// All calls below are acknowledged.
    floor: u64,
    done: BTreeMap<u64, Done>,
    /// Bytes of the answers.
    bytes: usize,
    /// The answers of calls below have gone.
    trimmed: u64,
    /// Since when no server remembers the life otherwise.
    left: Option<Instant>,
}

#[derive(Clone)]
struct Done {
    digest: Digest,
    answer: Bytes,
}

/// What is known of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It has not run.
    Nothing,
    Done(Digest, Bytes),
    /// The client has its answer, and will not ask again.
    Acknowledged,
}

impl Completions {
    /// No completions yet: the log of `store` has still to be read. Until [`open`](Self::open) every
    /// call of the service is refused as
    /// [`Unavailable::Recovering`](crate::Unavailable::Recovering), or, where it may have run before,
    /// not answered.
    ///
    /// `store` names the log for good. A client that finds another one than before knows that what
    /// it was told may be forgotten.
    #[must_use]
    pub fn recovering(store: [u8; 16]) -> Self {
        let table = Mutex::new(Table { lives: HashMap::new(), quota: KEPT_ANSWERS });
        Self { shared: Arc::new(Shared { store, open: AtomicBool::new(false), table }) }
    }

    /// All of the log has been read and is on disk: calls are answered from now on.
    pub fn open(&self) {
        self.shared.open.store(true, Ordering::Release);
    }

    /// Whether [`open`](Self::open) has been called.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Takes in a completion that is durable. To be called where the log's records are applied, with
    /// the effect, at recovery and in service alike.
    pub fn insert(&self, completion: Completion) {
        let mut table = self.table();
        let quota = table.quota;
        table.lives.entry(completion.life).or_default().insert(completion, quota);
    }

    /// All completions, for a checkpoint: to be taken with the state to which they belong. Answers
    /// are shared and not copied.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Completion> {
        let table = self.table();
        let mut lives: Vec<_> = table.lives.iter().collect();
        lives.sort_unstable_by_key(|(life, _)| **life);
        let all = lives.into_iter().flat_map(|(life, calls)| {
            calls.done.iter().map(|(number, done)| Completion {
                life: *life,
                number: *number,
                floor: calls.floor,
                digest: done.digest,
                answer: done.answer.clone(),
            })
        });
        all.collect()
    }

    /// What all completions take, in bytes, about.
    #[must_use]
    pub fn size(&self) -> u64 {
        let table = self.table();
        table.lives.values().map(|calls| (calls.bytes + RECORD * calls.done.len()) as u64).sum()
    }

    /// The log that they are in.
    pub(crate) fn store(&self) -> [u8; 16] {
        self.shared.store
    }

    pub(crate) fn set_quota(&self, bytes: usize) {
        self.table().quota = bytes;
    }

    pub(crate) fn look_up(&self, life: &Life, call: u64) -> Known {
        match self.table().lives.get(life) {
            Some(calls) if call < calls.floor => Known::Acknowledged,
            Some(calls) => match calls.done.get(&call) {
                Some(done) => Known::Done(done.digest, done.answer.clone()),
                None => Known::Nothing,
            },
            None => Known::Nothing,
        }
    }

    /// The client has the answers to all calls below `floor`.
    pub(crate) fn acknowledge(&self, life: &Life, floor: u64) {
        if let Some(calls) = self.table().lives.get_mut(life) {
            calls.acknowledge(floor);
        }
    }

    /// The client has the answers to these calls too, as (first, one behind the last).
    pub(crate) fn acknowledge_ranges(&self, life: &Life, ranges: impl Iterator<Item = (u64, u64)>) {
        let mut table = self.table();
        let Some(calls) = table.lives.get_mut(life) else { return };
        for (first, behind) in ranges {
            while let Some((&call, _)) = calls.done.range(first..behind.max(first)).next() {
                calls.remove(call);
            }
        }
    }

    /// Forgets lives whose lease is over.
    pub(crate) fn forget<'a>(&self, lives: impl Iterator<Item = &'a Life>) {
        let mut table = self.table();
        for life in lives {
            table.lives.remove(life);
        }
    }

    /// Forgets the lives that have not come back since a boot, each after a whole lease.
    /// `is_remembered` tells which have. A lease begins when the service is open.
    pub(crate) fn expire(
        &self,
        lease: Duration,
        now: Instant,
        is_remembered: impl Fn(&Life) -> bool,
    ) {
        if !self.is_open() {
            return;
        }
        self.table().lives.retain(|life, calls| {
            if is_remembered(life) {
                calls.left = None;
                return true;
            }
            now.saturating_duration_since(*calls.left.get_or_insert(now)) < lease
        });
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    fn insert(&mut self, completion: Completion, quota: usize) {
        let Completion { number, floor, digest, answer, .. } = completion;
        // No client is further from its floor than a span.
        self.acknowledge(floor.max(number.saturating_sub(SPAN - 1)));
        if number < self.floor {
            return;
        }
        self.remove(number);
        self.bytes += answer.len();
        self.trimmed = self.trimmed.min(number);
        self.done.insert(number, Done { digest, answer });
        self.trim(quota);
    }

    /// Lets the oldest answers go until the others are within the quota.
    fn trim(&mut self, quota: usize) {
        while self.bytes > quota
            && let Some((&call, done)) = self.done.range_mut(self.trimmed..).next()
        {
            self.bytes -= done.answer.len();
            done.answer = Bytes::from_static(&[ANSWER_LOST]);
            self.bytes += done.answer.len();
            self.trimmed = call + 1;
        }
    }

    fn acknowledge(&mut self, floor: u64) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        while let Some((&call, _)) = self.done.first_key_value()
            && call < floor
        {
            self.remove(call);
        }
    }

    fn remove(&mut self, call: u64) {
        if let Some(done) = self.done.remove(&call) {
            self.bytes -= done.answer.len();
        }
    }
}

impl fmt::Debug for Completion {
    /// Without the answer, which is the caller's alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completions").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "completions_tests.rs"]
mod tests;
