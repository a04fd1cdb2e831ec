//! The log that is being written: records gathered in memory, then written and synced at once.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    CheckpointWriter, Epoch, Lsn, Options, StoreError, StoreId, Written,
    format::{self, HEADER, Header, RECORD_HEADER, RESERVED_KINDS},
    planted::{Bug, planted},
    segment::{self, Failure, failed},
    storage::{File, Storage},
};

/// The batch's memory that is kept between two syncs, in bytes.
const KEPT_BATCH: usize = 1 << 20;

/// A store that has recovered: a log to append to, and checkpoints of what it says.
///
/// One thread appends and syncs; a checkpoint's items may be written by another.
pub struct Store<S: Storage> {
    shared: Arc<Shared<S>>,
    options: Options,
    id: StoreId,
    epoch: Epoch,
    active: Active<S::File>,
    /// The numbers and bytes of the segments before the active one that are still there.
    behind: Vec<(u64, u64)>,
    batch: Vec<u8>,
    last: Lsn,
    durable: Lsn,
    forced: u64,
    /// Cloned by the checkpoint that is under way.
    under_way: Arc<()>,
}

/// The segment that is written to.
pub(crate) struct Active<F> {
    pub(crate) number: u64,
    pub(crate) file: F,
    pub(crate) bytes: u64,
}

impl<F: File> Active<F> {
    fn force(&mut self) -> io::Result<()> {
        if planted(Bug::BatchNotSynced) {
            return Ok(());
        }
        match self.file.sync() {
            Err(_) if planted(Bug::SyncErrorRetried) => self.file.sync(),
            result => result,
        }
    }
}

/// What a store and its checkpoint writer have in common.
pub(crate) struct Shared<S> {
    pub(crate) storage: S,
    poisoned: AtomicBool,
}

impl<S> Shared<S> {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::Acquire) { Err(StoreError::Poisoned) } else { Ok(()) }
    }

    /// Ends all writing: after a failure nobody knows what is on disk.
    pub(crate) fn poison(&self, failure: Failure) -> StoreError {
        self.poisoned.store(!planted(Bug::PoisonForgotten), Ordering::Release);
        let Failure { action, name, source } = failure;
        StoreError::Io { action, name, source: Arc::new(source) }
    }
}

/// What recovery found, for the store that goes on from there.
pub(crate) struct Begin<F> {
    pub(crate) id: StoreId,
    pub(crate) epoch: Epoch,
    pub(crate) active: Active<F>,
    pub(crate) behind: Vec<(u64, u64)>,
    pub(crate) last: Lsn,
}

impl<S: Storage> Store<S> {
    pub(crate) fn new(storage: S, options: Options, begin: Begin<S::File>) -> Self {
        let Begin { id, epoch, active, behind, last } = begin;
        Self {
            shared: Arc::new(Shared { storage, poisoned: AtomicBool::new(false) }),
            options,
            id,
            epoch,
            active,
            behind,
            batch: Vec::new(),
            last,
            durable: last,
            forced: 0,
            under_way: Arc::new(()),
        }
    }

    /// Which store it is.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// Which boot this is.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The longest payload of a record, in bytes ([`Options::max_record`]).
    #[must_use]
    pub fn max_record(&self) -> usize {
        self.options.max_record as usize
    }

    /// The last record that survives a power cut.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// The last record that was appended.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.last
    }

    /// How often the log has been forced to disk by [`sync`](Self::sync) since it was opened.
    #[must_use]
    pub fn forced(&self) -> u64 {
        self.forced
    }

    /// The bytes of the log since the last checkpoint, without what waits in memory.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.behind.iter().map(|(_, bytes)| bytes).sum::<u64>().saturating_add(self.active.bytes)
    }

    /// Adds a record in memory. It is written by the next [`sync`](Self::sync), and must not be
    /// acted upon before.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLong`], [`StoreError::ReservedKind`] or [`StoreError::BatchFull`], which
    /// change nothing; [`StoreError::Poisoned`].
    pub fn append(&mut self, kind: u8, payload: &[u8]) -> Result<Lsn, StoreError> {
        self.shared.check()?;
        if kind >= RESERVED_KINDS {
            return Err(StoreError::ReservedKind(kind));
        }
        if payload.len() > self.options.max_record as usize {
            return Err(StoreError::TooLong { len: payload.len(), max: self.options.max_record });
        }
        // A lone record always fits, so that no bound can be set that lets none through.
        let size = self.batch.len() + RECORD_HEADER + payload.len();
        if size > self.options.max_batch && !self.batch.is_empty() {
            return Err(StoreError::BatchFull { max: self.options.max_batch });
        }
        let lsn = self.last.next().ok_or(StoreError::Exhausted)?;
        let seed = format::seed(self.id, self.active.number);
        let durable = if planted(Bug::DurableLsnAhead) { self.last } else { self.durable };
        format::put_record(&mut self.batch, seed, lsn, durable, kind, payload);
        self.last = lsn;
        Ok(lsn)
    }

    /// Writes all that was appended and forces it to disk, with one call each. Returns the last
    /// record that survives now. With nothing appended it does nothing.
    ///
    /// # Errors
    ///
    /// That of the storage; then the store is poisoned, and nobody knows which of the records
    /// will be found by recovery.
    pub fn sync(&mut self) -> Result<Lsn, StoreError> {
        self.shared.check()?;
        if self.batch.is_empty() {
            return Ok(self.durable);
        }
        let number = self.active.number;
        let name = || format::segment_name(number);
        self.active
            .file
            .append(&self.batch)
            .map_err(|error| self.shared.poison(failed("write", &name())(error)))?;
        self.active.force().map_err(|error| self.shared.poison(failed("sync", &name())(error)))?;
        self.forced += 1;
        self.durable = self.last;
        self.active.bytes = self.active.bytes.saturating_add(self.batch.len() as u64);
        self.batch.clear();
        self.batch.shrink_to(KEPT_BATCH);
        Ok(self.durable)
    }

    /// Whether a checkpoint is due, for a state of about so many bytes: the log is longer than
    /// [`Options::checkpoint_bytes`] and than twice the state, or has too many files. `false`
    /// while one is under way.
    #[must_use]
    pub fn wants_checkpoint(&self, state_bytes: u64) -> bool {
        let bound = self.options.checkpoint_bytes.max(state_bytes.saturating_mul(2));
        let due = self.log_bytes() > bound || self.behind.len() >= self.options.max_segments;
        due && Arc::strong_count(&self.under_way) == 1
    }

    /// Begins a checkpoint of the state as it is after all that was appended: syncs, and goes on
    /// in a new log file. The state must be kept as it is now until the writer has all its items.
    ///
    /// # Errors
    ///
    /// [`StoreError::CheckpointUnderWay`]; that of the storage, after which the store is poisoned.
    pub fn begin_checkpoint(&mut self) -> Result<CheckpointWriter<S>, StoreError> {
        self.shared.check()?;
        if Arc::strong_count(&self.under_way) > 1 {
            return Err(StoreError::CheckpointUnderWay);
        }
        let lsn = self.sync()?;
        let base = lsn.next().ok_or(StoreError::Exhausted)?;
        let number = self.active.number.checked_add(1).ok_or(StoreError::Exhausted)?;
        let header = Header { store: self.id, segment: number, lsn: base, epoch: self.epoch };
        let file = segment::create(&self.shared.storage, &header)
            .map_err(|failure| self.shared.poison(failure))?;
        let full =
            std::mem::replace(&mut self.active, Active { number, file, bytes: HEADER as u64 });
        self.behind.push((full.number, full.bytes));
        if planted(Bug::SegmentsGoTooEarly) {
            self.take_before(number).remove()?;
        }
        CheckpointWriter::new(
            Arc::clone(&self.shared),
            Arc::clone(&self.under_way),
            Header { lsn, ..header },
            self.options.max_record,
        )
    }

    /// Ends a checkpoint that is in its place: removes the log files that it replaced.
    ///
    /// # Errors
    ///
    /// That of the storage, after which the store is poisoned.
    pub fn finish_checkpoint(&mut self, written: Written) -> Result<(), StoreError> {
        self.replaced(written)?.remove()
    }

    /// As [`finish_checkpoint`](Self::finish_checkpoint), but leaves the files to the caller, who
    /// may remove them on another thread: a file system needs some 100 ms for 200 MB.
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`].
    pub fn replaced(&mut self, written: Written) -> Result<Replaced<S>, StoreError> {
        self.shared.check()?;
        let first = written.first_segment;
        drop(written);
        Ok(self.take_before(first))
    }

    fn take_before(&mut self, first: u64) -> Replaced<S> {
        let (replaced, behind) =
            std::mem::take(&mut self.behind).into_iter().partition(|(number, _)| *number < first);
        self.behind = behind;
        Replaced {
            shared: Arc::clone(&self.shared),
            _under_way: Arc::clone(&self.under_way),
            segments: replaced,
        }
    }
}

/// Log files that a checkpoint replaced. Until they are removed the checkpoint is under way.
///
/// Dropped, they stay until a recovery removes them.
#[must_use = "the log files that the checkpoint replaced are still there"]
pub struct Replaced<S> {
    shared: Arc<Shared<S>>,
    _under_way: Arc<()>,
    segments: Vec<(u64, u64)>,
}

impl<S: Storage> Replaced<S> {
    /// Removes them.
    ///
    /// # Errors
    ///
    /// That of the storage, after which the store is poisoned.
    pub fn remove(self) -> Result<(), StoreError> {
        self.shared.check()?;
        let storage = &self.shared.storage;
        for (number, _) in &self.segments {
            let name = format::segment_name(*number);
            storage
                .remove(&name)
                .map_err(|error| self.shared.poison(failed("remove", &name)(error)))?;
        }
        storage.sync_dir().map_err(|error| self.shared.poison(failed("sync", ".")(error)))
    }
}

impl<S> fmt::Debug for Replaced<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replaced").field("segments", &self.segments).finish_non_exhaustive()
    }
}

impl<S: Storage> fmt::Debug for Store<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("id", &self.id)
            .field("epoch", &self.epoch)
            .field("last", &self.last)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}
