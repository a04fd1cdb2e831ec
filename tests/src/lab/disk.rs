//! A disk that outlives the lab's servers: a log of what their durable handlers did, which is written
//! at once and synced a little later.

use std::collections::HashMap;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bailiwick::durable::{Completion, Completions};
use bailiwick::{CallKey, Context};

/// How long a sync takes; what is written meanwhile goes with it.
const SYNC: Duration = Duration::from_millis(2);

/// How a life of the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// SIGKILL: what was written stays.
    Kill,
    /// Of what was not synced the oldest part stays, as the number decides: a hole ends a log.
    PowerCut(usize),
}

/// The lab's disk, and what stands on it: the truth about durable calls.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    store: [u8; 16],
    /// What a checkpoint has, as each boot writes one, and the records behind it.
    checkpoint: Checkpoint,
    synced: Vec<Record>,
    unsynced: Vec<Record>,
    /// How often each call has taken effect that is not undone.
    effects: HashMap<CallKey, u64>,
    /// Effects that a power cut has undone.
    undone: u64,
    /// The table of the life that is served.
    life: Option<Completions>,
    now: Instant,
    /// When what is written is synced, and when the log has been read.
    sync_at: Option<Instant>,
    open_at: Option<Instant>,
    waiting: Vec<Waker>,
    /// Records ever written, and how many of them are synced.
    written: u64,
    durable: u64,
}

#[derive(Debug, Default)]
struct Checkpoint {
    counter: u64,
    completions: Vec<Completion>,
}

/// One more, and the call that it is of: one record for both.
#[derive(Debug)]
struct Record {
    call: CallKey,
    completion: Completion,
}

impl Disk {
    pub(super) fn new(now: Instant) -> Self {
        let (synced, unsynced, waiting) = (Vec::new(), Vec::new(), Vec::new());
        Self(Arc::new(Mutex::new(State {
            store: [1; 16],
            checkpoint: Checkpoint::default(),
            synced,
            unsynced,
            effects: HashMap::new(),
            undone: 0,
            life: None,
            now,
            sync_at: None,
            open_at: None,
            waiting,
            written: 0,
            durable: 0,
        })))
    }

    /// How often this call has taken effect.
    #[must_use]
    pub fn effects(&self, call: CallKey) -> u64 {
        self.lock().effects.get(&call).copied().unwrap_or_default()
    }

    /// What a server that starts now would count.
    #[must_use]
    pub fn counter(&self) -> u64 {
        self.lock().counter()
    }

    /// Effects that power cuts have undone; nobody was told of them.
    #[must_use]
    pub fn undone(&self) -> u64 {
        self.lock().undone
    }

    /// Completions that the server keeps, for all clients.
    #[must_use]
    pub fn completions(&self) -> usize {
        self.lock().life.as_ref().map_or(0, |life| life.snapshot().len())
    }

    /// A server starts, which reads the log for so long. Returns its table of completions.
    pub(super) fn boot(&self, recovery: Duration, now: Instant) -> Completions {
        let mut state = self.lock();
        let life = Completions::recovering(state.store);
        (state.life, state.now, state.open_at) = (Some(life.clone()), now, Some(now + recovery));
        state.recover();
        life
    }

    pub(super) fn crash(&self, crash: Crash) {
        let mut state = self.lock();
        (state.life, state.open_at, state.sync_at) = (None, None, None);
        state.waiting.clear();
        if let Crash::PowerCut(choice) = crash {
            let kept = choice % (state.unsynced.len() + 1);
            for record in state.unsynced.split_off(kept) {
                state.undo(&record);
            }
        }
    }

    /// Another disk, with the counter as it is and no log.
    pub(super) fn wipe(&self) {
        let mut state = self.lock();
        state.checkpoint = Checkpoint { counter: state.counter(), completions: Vec::new() };
        (state.synced, state.unsynced) = (Vec::new(), Vec::new());
        state.store = state.store.map(|byte| byte.wrapping_add(1));
    }

    /// Writes that the call counted; the counter's new value, and the record's place in the log.
    pub(super) fn append(&self, cx: &Context) -> (u64, u64) {
        let call = cx.call_key().expect("a handler's context names the call");
        let mut state = self.lock();
        let value = state.counter() + 1;
        let completion = cx.completion(&Ok::<_, ()>(value)).expect("a durable call has one");
        state.unsynced.push(Record { call, completion });
        *state.effects.entry(call).or_default() += 1;
        state.written += 1;
        let next = state.now + SYNC;
        state.sync_at.get_or_insert(next);
        (value, state.written)
    }

    /// Ready once the record at this place is synced and applied.
    pub(super) async fn synced(&self, place: u64) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.durable >= place {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The clock shows this: does what is due.
    pub(super) fn tick(&self, now: Instant) {
        let mut state = self.lock();
        state.now = now;
        if state.open_at.is_some_and(|at| at <= now) {
            state.recover();
        }
        if state.sync_at.is_some_and(|at| at <= now) {
            state.sync();
        }
    }

    /// When there is something to do.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let state = self.lock();
        [state.open_at, state.sync_at].into_iter().flatten().min()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn counter(&self) -> u64 {
        self.checkpoint.counter + (self.synced.len() + self.unsynced.len()) as u64
    }

    /// Once its time has come: syncs what the life before had only written, reads all, and writes a
    /// checkpoint of it.
    fn recover(&mut self) {
        let Some(life) = self.life.clone() else { return };
        if self.open_at.is_none_or(|at| at > self.now) {
            return;
        }
        (self.open_at, self.durable) = (None, self.written);
        let counter = self.counter();
        let records = [mem::take(&mut self.synced), mem::take(&mut self.unsynced)];
        let behind = records.into_iter().flatten().map(|record| record.completion);
        mem::take(&mut self.checkpoint.completions)
            .into_iter()
            .chain(behind)
            .for_each(|completion| life.insert(completion));
        self.checkpoint = Checkpoint { counter, completions: life.snapshot() };
        life.open();
    }

    fn sync(&mut self) {
        (self.sync_at, self.durable) = (None, self.written);
        for record in self.unsynced.drain(..) {
            self.life.iter().for_each(|life| life.insert(record.completion.clone()));
            self.synced.push(record);
        }
        self.waiting.drain(..).for_each(Waker::wake);
    }

    fn undo(&mut self, record: &Record) {
        self.undone += 1;
        let left = self.effects.entry(record.call).or_default();
        *left = left.saturating_sub(1);
    }
}
