//! Group commit: many writers share one sync, and nobody is answered before it.
//!
//! A thread writes what has gathered while the sync before ran, syncs it, applies it to the
//! [`Machine`], and wakes those who wait, in the order of the log. Where many write, it gives those
//! that it has just woken a moment to come along. A lone writer waits for one sync and for nothing
//! else. Checkpoints are written beside this by a second thread.

mod batch;
mod commit;
#[cfg(test)]
mod tests;
mod waiting;

use std::{
    fmt, io,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    thread::JoinHandle,
};

use thiserror::Error;

pub use self::waiting::Committed;
use self::{
    batch::Batch,
    commit::Committer,
    waiting::{Failed, Waiting},
};
use crate::{Lsn, Replay, Storage, Store, StoreError};

/// State that is what its log says.
///
/// [`apply`](Replay::apply) is the one way in which a record changes it, at recovery and in
/// service, so that both come to the same.
pub trait Machine: Replay + Send + 'static {
    /// What a checkpoint is written from, while the machine goes on.
    type Snapshot: Send + 'static;

    /// The state of now: all that was applied, and nothing that was only decided.
    ///
    /// Everyone waits meanwhile, so let it share with the machine and copy on write.
    fn snapshot(&mut self) -> Self::Snapshot;

    /// Gives each item of a checkpoint to `item`, in the order in which
    /// [`restore`](Replay::restore) is to see them.
    ///
    /// # Errors
    ///
    /// What `item` failed with; then stop.
    fn write(
        snapshot: Self::Snapshot,
        item: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// The bytes of a checkpoint of it, about. It is asked after each batch, so keep count.
    fn size(&self) -> u64;
}

/// How much a journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalOptions {
    /// Bytes of records that wait for a sync before [`submit`](Journal::submit) refuses. Default:
    /// 64 MiB.
    ///
    /// What one decision appends may lie above it.
    pub max_buffered: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { max_buffered: 64 << 20 }
    }
}

/// Why a decision was not asked for: nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// The disk is slower than the writers; try again later.
    #[error("too much waits to be written: try again later")]
    Overloaded,
    /// [`Journal::stop`] was called.
    #[error("the journal has stopped")]
    Stopped,
    /// The journal has failed: answer nobody, end the process, and recover.
    #[error("the journal has failed")]
    Failed,
}

/// A record above [`Options::max_record`](crate::Options::max_record); nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a record of {bytes} bytes is too long: at most {max} are allowed")]
pub struct RecordTooLong {
    /// Bytes of its payload.
    pub bytes: usize,
    /// The most there may be.
    pub max: usize,
}

/// Why a journal acknowledges nothing any more.
///
/// What it had not acknowledged may be durable or not. The way on is to end the process and to
/// recover.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A write or a sync failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine does not accept a record that it appended itself.
    #[error("the application refuses its own record {lsn}: {reason}")]
    Rejected {
        /// The record, which is in the log and will be met again at recovery.
        lsn: Lsn,
        /// What the application said.
        reason: String,
    },
    /// The machine panicked, in `submit`, in `read`, or in a thread of the journal.
    #[error("the application panicked over its state, which is not to be trusted any more")]
    Panicked,
    /// The store gave a record another number than the one the application knows.
    #[error("record {expected} was written as {written}")]
    OutOfStep {
        /// The number the application knows.
        expected: Lsn,
        /// The number in the log.
        written: Lsn,
    },
    /// The system has no thread left.
    #[error("cannot start a thread")]
    Thread(#[source] Arc<io::Error>),
}

/// What a journal has done since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Records that are durable and applied.
    pub records: u64,
    /// Batches they came in, each with a sync.
    pub batches: u64,
    /// Checkpoints that were finished.
    pub checkpoints: u64,
    /// Bytes of records that wait for a sync now.
    pub buffered: usize,
}

/// A machine whose changes are durable before anyone sees them.
///
/// Clones are of the same journal. When the last one is dropped it [stops](Self::stop).
pub struct Journal<M: Machine> {
    handle: Arc<Handle<M>>,
}

impl<M: Machine> Journal<M> {
    /// Starts to serve a machine that was [recovered](crate::Opening::recover) from `store`.
    ///
    /// If there is no thread for it, the journal has [failed](Self::poisoned) from the start.
    pub fn start<S: Storage>(store: Store<S>, machine: M, options: JournalOptions) -> Self {
        let state = State {
            machine,
            filling: Batch::default(),
            last: store.last(),
            in_flight: 0,
            awaited: 1,
            ending: Ending::None,
            checkpoint_goes_on: false,
            stats: Stats::default(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            waiting: Arc::new(Waiting::new(store.last())),
            max_buffered: options.max_buffered,
            max_record: store.max_record(),
        });
        let committer = Committer::new(store, Arc::clone(&shared));
        let thread = thread::Builder::new().name("journal".to_owned());
        let thread = match thread.spawn(move || committer.run()) {
            Ok(thread) => Some(thread),
            Err(error) => {
                shared.waiting.fail(JournalError::Thread(Arc::new(error)));
                None
            }
        };
        Self { handle: Arc::new(Handle { shared, thread: Mutex::new(thread) }) }
    }

    /// Looks at what is durable and applied.
    ///
    /// Everyone waits meanwhile: copy out what you need.
    ///
    /// # Panics
    ///
    /// If the machine panicked before, since its state is not to be trusted any more.
    pub fn read<R>(&self, look: impl FnOnce(&M) -> R) -> R {
        let _failing = self.shared().fail_on_panic();
        let state = self.shared().lock_or_panic();
        look(&state.machine)
    }

    /// Decides under the machine's lock, in one order for all; what it appends is applied once it
    /// is durable.
    ///
    /// `decide` may note in the machine what it appended, for the decisions behind it, but must
    /// not apply it: readers would see what a crash can take back. [`apply`](Replay::apply) is told
    /// the same number as [`Appender::append`] gave, so that it finds the note again.
    ///
    /// Answer with what `decide` returned when [`Committed`] is ready, and not before, also if it
    /// appended nothing: it may have looked at what others appended.
    ///
    /// It never waits for the disk.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then `decide` was not called.
    ///
    /// # Panics
    ///
    /// If `decide` panics, or the machine did before. The journal has [failed](Self::poisoned) then,
    /// since nobody knows what the machine still has right.
    pub fn submit<R>(
        &self,
        decide: impl FnOnce(&mut M, &mut Appender<'_>) -> R,
    ) -> Result<(R, Committed), Refused> {
        let shared = self.shared();
        let _failing = shared.fail_on_panic();
        let mut state = shared.lock_or_panic();
        state.refuses(shared)?;
        let before = state.last;
        let State { machine, filling, last, .. } = &mut *state;
        let decided =
            decide(machine, &mut Appender { filling, last, max_record: shared.max_record });
        let last = state.last;
        let is_due = last > before && state.filling.len() >= state.awaited;
        drop(state);
        if is_due {
            shared.work.notify_one();
        }
        Ok((decided, Committed::new(Arc::clone(&shared.waiting), last)))
    }

    /// Ends when the journal has failed: say why, and end the process.
    ///
    /// It does not end when the journal [stops](Self::stop).
    pub fn poisoned(&self) -> impl Future<Output = JournalError> + Send + use<M> {
        Failed::new(Arc::clone(&self.shared().waiting))
    }

    /// What it has done so far.
    ///
    /// # Panics
    ///
    /// If the machine panicked before.
    pub fn stats(&self) -> Stats {
        let state = self.shared().lock_or_panic();
        Stats { buffered: state.buffered(), ..state.stats }
    }

    /// Syncs and applies what was submitted, finishes a checkpoint that is being written, and ends.
    ///
    /// It blocks meanwhile. Other clones refuse from now on with [`Refused::Stopped`].
    pub fn stop(self) {
        self.handle.stop();
    }

    fn shared(&self) -> &Shared<M> {
        &self.handle.shared
    }
}

impl<M: Machine> Clone for Journal<M> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<M: Machine> fmt::Debug for Journal<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

/// Where a decision puts its records.
#[derive(Debug)]
pub struct Appender<'a> {
    filling: &'a mut Batch,
    last: &'a mut Lsn,
    max_record: usize,
}

impl Appender<'_> {
    /// Appends a record and gives the number under which it will be applied.
    ///
    /// Each record is atomic; two of one decision are not: a crash may keep the first alone. Put
    /// what belongs together into one.
    ///
    /// # Errors
    ///
    /// [`RecordTooLong`]: then nothing was appended.
    ///
    /// # Panics
    ///
    /// If `kind` is above 127: those are the store's own.
    pub fn append(&mut self, kind: u8, payload: &[u8]) -> Result<Lsn, RecordTooLong> {
        assert!(kind < 128, "record kinds from 128 on are the store's own");
        if payload.len() > self.max_record {
            return Err(RecordTooLong { bytes: payload.len(), max: self.max_record });
        }
        self.filling.push(kind, payload);
        // There is no number behind the last one: the store will say so, and nobody is answered.
        *self.last = self.last.next().unwrap_or(*self.last);
        Ok(*self.last)
    }
}

/// What all clones share; the last of them stops the threads.
struct Handle<M: Machine> {
    shared: Arc<Shared<M>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<M: Machine> Handle<M> {
    fn stop(&self) {
        if let Ok(mut state) = self.shared.state.lock() {
            state.ending = Ending::Asked;
        }
        self.shared.work.notify_one();
        let thread = match self.thread.lock() {
            Ok(mut thread) => thread.take(),
            Err(_) => None,
        };
        // A task that the journal woke may hold the last clone, and be dropped by its waker: a
        // thread cannot wait for itself. It ends by what was set above.
        if let Some(thread) = thread.filter(|it| it.thread().id() != thread::current().id()) {
            // It catches its panics and reports them as failures.
            drop(thread.join());
        }
    }
}

impl<M: Machine> Drop for Handle<M> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What clones and the journal's threads share.
///
/// One lock guards the machine and the batch that fills, so that decisions, their records and
/// their numbers have one order. Nobody holds it while the disk works. [`Waiting`] has a lock of
/// its own, under which nobody takes another. What is read without a lock only ever goes one way:
/// the last applied record, and whether the journal has failed. That leaves no interleaving for a
/// model checker to find: a waiter looks again under the lock under which it would be woken.
struct Shared<M> {
    state: Mutex<State<M>>,
    /// Tells the committer that the state has something for it.
    work: Condvar,
    waiting: Arc<Waiting>,
    max_buffered: usize,
    max_record: usize,
}

struct State<M> {
    machine: M,
    filling: Batch,
    /// The last number given out.
    last: Lsn,
    /// Bytes that the committer has taken and not yet applied.
    in_flight: usize,
    /// How many records the committer wants to be woken for.
    awaited: usize,
    ending: Ending,
    checkpoint_goes_on: bool,
    stats: Stats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    None,
    Asked,
}

impl<M> State<M> {
    fn buffered(&self) -> usize {
        self.filling.bytes().saturating_add(self.in_flight)
    }

    fn refuses(&self, shared: &Shared<M>) -> Result<(), Refused> {
        if shared.waiting.has_failed() {
            Err(Refused::Failed)
        } else if self.ending == Ending::Asked {
            Err(Refused::Stopped)
        } else if self.buffered() >= shared.max_buffered {
            Err(Refused::Overloaded)
        } else {
            Ok(())
        }
    }
}

impl<M> Shared<M> {
    /// # Errors
    ///
    /// [`JournalError::Panicked`] if someone panicked under the lock.
    fn lock(&self) -> Result<MutexGuard<'_, State<M>>, JournalError> {
        self.state.lock().map_err(|_| JournalError::Panicked)
    }

    fn lock_or_panic(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().expect("the machine panicked before, and its state is not to be trusted")
    }

    /// Hold it around the lock, not under it: it wakes whoever waits for a failure.
    fn fail_on_panic(&self) -> FailOnPanic<'_, M> {
        FailOnPanic { shared: self, panicking_before: thread::panicking() }
    }
}

/// Fails the journal when it is dropped by a panic.
struct FailOnPanic<'a, M> {
    shared: &'a Shared<M>,
    panicking_before: bool,
}

impl<M> Drop for FailOnPanic<'_, M> {
    fn drop(&mut self) {
        if thread::panicking() && !self.panicking_before {
            self.shared.waiting.fail(JournalError::Panicked);
            self.shared.work.notify_one();
        }
    }
}
