//! From the files to the state: the checkpoint, then the log behind it, synced before it counts.

use std::fmt;

use crate::{
    Epoch, Lsn, OpenError, Options, Store, StoreId, checkpoint,
    format::{self, CHECKPOINT, CHECKPOINT_TMP, HEADER, Header, Kind, MAX_PAYLOAD},
    log::{LogEnd, Reading, read_log},
    planted::{Bug, planted},
    segment::{self, SegmentFile, failed},
    storage::{File, Storage},
    store::{Active, Begin},
};

/// A record, as it was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number.
    pub lsn: Lsn,
    /// What its user says it is: 0 to 127.
    pub kind: u8,
    /// Its user's bytes.
    pub payload: &'a [u8],
}

/// What recovery feeds: the items of the checkpoint in the order they were written, then each
/// record behind it once, in order. If recovery fails in between, throw it away.
pub trait Replay {
    /// Takes an item of the checkpoint.
    ///
    /// # Errors
    ///
    /// The bytes make no sense to the application.
    fn restore(&mut self, item: &[u8]) -> Result<(), Rejected>;

    /// Takes a record of the log.
    ///
    /// # Errors
    ///
    /// The bytes make no sense to the application.
    fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected>;
}

/// Bytes that are whole and make no sense to the application, and why: the store does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rejected(pub String);

/// How far a recovery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The bytes that have been read.
    pub read: u64,
    /// The bytes that there are.
    pub total: u64,
    /// The records that have been applied.
    pub records: u64,
}

/// How a recovery went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// The records that were applied.
    pub records: u64,
    /// The bytes that were read, of the checkpoint and the log.
    pub bytes: u64,
    /// The last record in the checkpoint; 0 without one.
    pub checkpoint: Lsn,
    /// The last record.
    pub last: Lsn,
    /// What was being written when the last boot ended, and was never acknowledged.
    pub torn: Option<Torn>,
    /// Which boot this is.
    pub epoch: Epoch,
}

/// A tail that was never synced, and has been cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The log file.
    pub segment: u64,
    /// Where it was cut, in bytes.
    pub offset: u64,
    /// What was cut off, in bytes.
    pub bytes: u64,
}

/// A store of which only the identity is known: a server may listen already, and say that it is
/// recovering.
pub struct Opening<S> {
    pub(crate) storage: S,
    pub(crate) options: Options,
    pub(crate) id: StoreId,
    pub(crate) checkpoint: Option<Header>,
    pub(crate) checkpoint_bytes: u64,
    /// Those that the checkpoint does not replace, by their numbers.
    pub(crate) segments: Vec<SegmentFile>,
    /// Those that it does.
    strays: Vec<SegmentFile>,
    /// The checkpoint that was being written. A segment's file is replaced by the next one's.
    unfinished: Option<&'static str>,
}

impl<S: Storage> Opening<S> {
    /// Looks at the files' headers, after it has made sure that what is read of the files is on disk.
    /// An empty directory becomes a new store.
    ///
    /// # Errors
    ///
    /// [`OpenError`], where the headers already say so.
    pub fn new(storage: S, mut options: Options) -> Result<Self, OpenError> {
        options.max_record = options.max_record.min(MAX_PAYLOAD);
        if planted(Bug::TemporaryTaken) {
            // There may be none.
            let _ = storage.rename(CHECKPOINT_TMP, CHECKPOINT);
        }
        let names = storage.list().map_err(failed("list", "."))?;
        let has = |name: &str| names.iter().any(|other| other == name);
        let (checkpoint, checkpoint_bytes) = match has(CHECKPOINT) {
            true => read_checkpoint_header(&storage).map(|(header, size)| (Some(header), size))?,
            false => (None, 0),
        };
        let mut segments = read_segments(&storage, &names)?;
        if segments.is_empty() && checkpoint.is_none() {
            segments.push(create_first(&storage, &options)?);
        }
        let known = checkpoint.iter().chain(segments.iter().filter_map(|s| s.header.as_ref()));
        let Some(id) = known.map(|header| header.store).next() else {
            return Err(OpenError::Unrecognizable { name: segments.swap_remove(0).name });
        };
        segments.iter().try_for_each(|segment| segment.check_owner(id))?;
        let replaced = checkpoint.filter(|_| !planted(Bug::ReplayFromTheStart));
        let first = replaced.map_or(0, |header| header.segment);
        let (strays, segments) = segments.into_iter().partition(|s| s.number < first);
        let unfinished = has(CHECKPOINT_TMP).then_some(CHECKPOINT_TMP);
        Ok(Self {
            storage,
            options,
            id,
            checkpoint,
            checkpoint_bytes,
            segments,
            strays,
            unfinished,
        })
    }

    /// Which store it is.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// Feeds the state to `replay`, and begins a new epoch.
    ///
    /// `progress` is told about each 64 MiB or 100,000 records.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. What `replay` was fed before is no state then.
    pub fn recover<R: Replay + ?Sized>(
        self,
        replay: &mut R,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Store<S>, Recovery), OpenError> {
        let mut reading = Reading::new(&self, progress);
        if let Some(header) = &self.checkpoint {
            let bytes = checkpoint::read(
                &self.storage,
                header,
                &mut |item| replay.restore(item),
                &mut |at| reading.tell(at),
            )?;
            reading.read += bytes;
        }
        let end = read_log(&self, &mut reading, &mut |record| replay.apply(record))
            .map_err(|stop| stop.error)?;
        let (records, bytes) = (reading.records, reading.read);
        let (last, torn, checkpoint) = (end.last, end.torn, self.checkpoint_lsn());
        let store = self.settle(end)?;
        let epoch = store.epoch();
        Ok((store, Recovery { records, bytes, checkpoint, last, torn, epoch }))
    }

    pub(crate) fn checkpoint_lsn(&self) -> Lsn {
        self.checkpoint.map_or(Lsn::ZERO, |header| header.lsn)
    }

    /// The largest epoch and the largest segment number of all files.
    pub(crate) fn newest(&self) -> (Epoch, u64) {
        let files = self.strays.iter().chain(&self.segments);
        let headers = files.clone().filter_map(|file| file.header.as_ref()).chain(&self.checkpoint);
        let epoch = headers.map(|header| header.epoch).max().unwrap_or_default();
        let number = files.map(|file| file.number).max().unwrap_or(0);
        (epoch, number.max(self.checkpoint.map_or(0, |header| header.segment)))
    }

    /// Cuts off what was torn, clears away, and begins the new epoch.
    fn settle(self, mut end: LogEnd<S::File>) -> Result<Store<S>, OpenError> {
        let storage = self.storage;
        let name = format::segment_name(end.segment);
        if let Some(torn) = end.torn {
            end.file.truncate(torn.offset).map_err(failed("truncate", &name))?;
            end.file.sync().map_err(failed("sync", &name))?;
        }
        // The checkpoint's name before the files that it replaced: a power cut must not bring back
        // the one before it when they are gone.
        if !planted(Bug::RecoveryDoesNotSyncDir) {
            storage.sync_dir().map_err(failed("sync", "."))?;
        }
        let strays = self.strays.iter().map(|file| file.name.as_str());
        for name in strays.chain(self.unfinished) {
            storage.remove(name).map_err(failed("remove", name))?;
        }
        // The new segment's creation syncs the directory again.
        let mut header = end.next;
        header.epoch.0 -= u64::from(planted(Bug::EpochNotForced));
        let file = segment::create(&storage, &header)?;
        let mut behind: Vec<_> = self.segments.iter().map(|s| (s.number, s.size)).collect();
        if let (Some(torn), Some(cut)) = (end.torn, behind.last_mut()) {
            cut.1 = torn.offset;
        }
        // Boots that wrote nothing left files that say nothing but their epochs, and there is a later
        // one now. If a power cut brings one back, the next recovery removes it. The first stays: it
        // tells whose store it is if another's header is damaged.
        let behind_first = self.segments.iter().skip(1);
        for empty in behind_first.filter(|segment| segment.begins_at(end.next.lsn)) {
            storage.remove(&empty.name).map_err(failed("remove", &empty.name))?;
            behind.retain(|(number, _)| *number != empty.number);
        }
        let begin = Begin {
            id: self.id,
            epoch: end.next.epoch,
            active: Active { number: end.next.segment, file, bytes: HEADER as u64 },
            behind,
            last: end.last,
        };
        Ok(Store::new(storage, self.options, begin))
    }
}

impl<S> fmt::Debug for Opening<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("id", &self.id).finish_non_exhaustive()
    }
}

fn read_checkpoint_header<S: Storage>(storage: &S) -> Result<(Header, u64), OpenError> {
    match segment::read_header(storage, CHECKPOINT, Kind::Checkpoint)? {
        (Ok(header), size) => Ok((header, size)),
        (Err(_), _) => Err(OpenError::DamagedCheckpoint {
            name: CHECKPOINT.to_owned(),
            offset: 0,
            what: "its header is none",
        }),
    }
}

fn read_segments<S: Storage>(storage: &S, names: &[String]) -> Result<Vec<SegmentFile>, OpenError> {
    let mut numbered: Vec<_> =
        names.iter().filter_map(|name| Some((format::segment_number(name)?, name))).collect();
    numbered.sort_unstable();
    numbered.iter().map(|(number, name)| SegmentFile::read(storage, name, *number)).collect()
}

fn create_first<S: Storage>(storage: &S, options: &Options) -> Result<SegmentFile, OpenError> {
    let store = match options.new_id {
        Some(id) => id,
        None => random_id().map_err(failed("draw a random identity for", "."))?,
    };
    let header = Header { store, segment: 1, lsn: Lsn(1), epoch: Epoch(0) };
    segment::create(storage, &header)?;
    let name = format::segment_name(1);
    Ok(SegmentFile { name, number: 1, header: Some(header), size: HEADER as u64 })
}

fn random_id() -> std::io::Result<StoreId> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut bytes[filled..], flags) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(StoreId(bytes))
}
