//! The thread that writes: batch after batch, and the checkpoints between them.

use std::{
    mem,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Batch, Ending, JournalError, Machine, Shared, State};
use crate::{
    CheckpointWriter, Lsn, Record, Rejected, Storage, Store, StoreError, Written,
    planted::{Bug, planted},
};

/// The most writers that a batch is held back for, and the longest that it is: no longer than the sync
/// before took.
const GATHER: (usize, Duration) = (64, Duration::from_millis(1));

/// The only one who touches the store.
pub(super) struct Committer<S: Storage, M: Machine> {
    store: Store<S>,
    shared: Arc<Shared<M>>,
    /// The other one of two batches: one fills while this one is written.
    spare: Batch,
    /// The last sync.
    sync_took: Duration,
    /// The records of the last batch and those that came while it was written: as many will come
    /// again, if their writers go on.
    expected: usize,
    checkpoint: Option<Checkpoint>,
}

/// What the checkpoint's thread does: none of it keeps those waiting who write to the log.
enum Checkpoint {
    Writes(JoinHandle<Result<Written, StoreError>>),
    RemovesWhatItReplaced(JoinHandle<Result<(), StoreError>>),
}

/// What there is to do.
enum Work {
    Commit(Batch),
    GoOnWithCheckpoint,
    Stop,
}

impl<S: Storage, M: Machine> Committer<S, M> {
    pub(super) fn new(store: Store<S>, shared: Arc<Shared<M>>) -> Self {
        let (sync_took, expected) = (Duration::ZERO, 0);
        Self { store, shared, spare: Batch::default(), sync_took, expected, checkpoint: None }
    }

    /// Serves until it is told to stop, or fails.
    pub(super) fn run(mut self) {
        // What a panic leaves behind is only told from, never used again.
        let failure = match panic::catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => JournalError::Panicked,
        };
        tracing::error!(error = %failure, "the journal has failed");
        self.shared.waiting.fail(failure);
    }

    fn serve(&mut self) -> Result<(), JournalError> {
        loop {
            match self.next_work()? {
                Work::Commit(batch) => {
                    let size = self.commit(&batch)?;
                    self.spare = batch;
                    self.spare.clear();
                    self.consider_checkpoint(size)?;
                }
                Work::GoOnWithCheckpoint => self.go_on_with_checkpoint()?,
                Work::Stop => return Ok(()),
            }
        }
    }

    /// Waits until there is something to do.
    fn next_work(&mut self) -> Result<Work, JournalError> {
        let mut state = self.shared.lock()?;
        let patience = Instant::now() + self.sync_took.min(GATHER.1);
        loop {
            if self.shared.waiting.has_failed() {
                return Err(JournalError::Panicked); // it was told already, by who panicked
            }
            if mem::take(&mut state.checkpoint_goes_on) {
                return Ok(Work::GoOnWithCheckpoint);
            }
            let missing = state.filling.len() < self.expected.min(GATHER.0);
            let left = patience.saturating_duration_since(Instant::now());
            if !state.filling.is_empty() && missing && !left.is_zero() {
                // Without this half of the writers would wait while the other half is synced.
                state.awaited = self.expected.min(GATHER.0);
                let waited = self.shared.work.wait_timeout(state, left);
                state = waited.map_err(|_| JournalError::Panicked)?.0;
                state.awaited = 1;
                continue;
            }
            if !state.filling.is_empty() {
                let batch = mem::replace(&mut state.filling, mem::take(&mut self.spare));
                state.in_flight = batch.bytes();
                return Ok(Work::Commit(batch));
            }
            if state.ending == Ending::Asked && self.checkpoint.is_none() {
                return Ok(Work::Stop);
            }
            state = self.shared.work.wait(state).map_err(|_| JournalError::Panicked)?;
        }
    }

    /// Write, sync, apply, wake, in this order; gives the size of the machine.
    fn commit(&mut self, batch: &Batch) -> Result<u64, JournalError> {
        let before = self.store.last();
        for (expected, (kind, payload)) in numbered(before, batch) {
            let written = self.append(kind, payload)?;
            if written != expected {
                return Err(JournalError::OutOfStep { expected, written });
            }
        }
        if planted(Bug::WokenBeforeSync) {
            self.shared.waiting.advance(self.store.last());
        }
        let early =
            planted(Bug::AppliedBeforeSync).then(|| self.apply(before, batch)).transpose()?;
        let begun = Instant::now();
        let durable = self.store.sync()?;
        self.sync_took = begun.elapsed();
        let size = early.map_or_else(|| self.apply(before, batch), Ok)?;
        self.expected = batch.len() + self.shared.lock()?.filling.len();
        self.shared.waiting.advance(durable);
        Ok(size)
    }

    fn append(&mut self, kind: u8, payload: &[u8]) -> Result<Lsn, StoreError> {
        match self.store.append(kind, payload) {
            Err(StoreError::BatchFull { .. }) => {
                self.store.sync()?;
                self.store.append(kind, payload)
            }
            result => result,
        }
    }

    fn apply(&self, before: Lsn, batch: &Batch) -> Result<u64, JournalError> {
        let mut state = self.shared.lock()?;
        let State { machine, stats, in_flight, .. } = &mut *state;
        for (lsn, (kind, payload)) in numbered(before, batch) {
            machine
                .apply(Record { lsn, kind, payload })
                .map_err(|Rejected(reason)| JournalError::Rejected { lsn, reason })?;
        }
        *in_flight = 0;
        stats.records += batch.len() as u64;
        stats.batches += 1;
        Ok(machine.size())
    }

    /// Begins a checkpoint if the log has grown enough, unless one is being written.
    ///
    /// Between batches all that is durable is applied and nothing else is, so the machine is what
    /// the log says up to the checkpoint's number.
    fn consider_checkpoint(&mut self, size: u64) -> Result<(), JournalError> {
        if self.checkpoint.is_some() || !self.store.wants_checkpoint(size) {
            return Ok(());
        }
        let writer = self.store.begin_checkpoint()?;
        let snapshot = self.shared.lock()?.machine.snapshot();
        let thread = self.spawn(move || write::<S, M>(writer, snapshot))?;
        self.checkpoint = Some(Checkpoint::Writes(thread));
        Ok(())
    }

    fn go_on_with_checkpoint(&mut self) -> Result<(), JournalError> {
        match self.checkpoint.take() {
            None => {}
            Some(Checkpoint::Writes(thread)) => {
                let written = thread.join().map_err(|_| JournalError::Panicked)??;
                let replaced = self.store.replaced(written)?;
                let thread = self.spawn(move || replaced.remove())?;
                self.checkpoint = Some(Checkpoint::RemovesWhatItReplaced(thread));
            }
            Some(Checkpoint::RemovesWhatItReplaced(thread)) => {
                thread.join().map_err(|_| JournalError::Panicked)??;
                self.shared.lock()?.stats.checkpoints += 1;
            }
        }
        Ok(())
    }

    /// Starts a thread that says when it is about to end, however it ends.
    fn spawn<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<JoinHandle<R>, JournalError> {
        let told = Told { shared: Arc::clone(&self.shared) };
        let thread = thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            let _told = told;
            work()
        });
        thread.map_err(|error| JournalError::Thread(Arc::new(error)))
    }
}

/// The records of a batch with the numbers they were given.
fn numbered(before: Lsn, batch: &Batch) -> impl Iterator<Item = (Lsn, (u8, &[u8]))> {
    (before.0.saturating_add(1)..).map(Lsn).zip(batch.records())
}

fn write<S: Storage, M: Machine>(
    mut writer: CheckpointWriter<S>,
    snapshot: M::Snapshot,
) -> Result<Written, StoreError> {
    M::write(snapshot, &mut |item| writer.item(item))?;
    writer.finish()
}

/// Tells the committer, when it is dropped, that the checkpoint's thread has done its part.
struct Told<M: Machine> {
    shared: Arc<Shared<M>>,
}

impl<M: Machine> Drop for Told<M> {
    fn drop(&mut self) {
        // If the lock is poisoned the committer ends by that.
        if let Ok(mut state) = self.shared.state.lock() {
            state.checkpoint_goes_on = true;
        }
        self.shared.work.notify_one();
    }
}
