//! From the files to the state: the checkpoint, then the log behind it, synced before it counts.

use crate::{
    Epoch, Lsn, OpenError, Options, Store, StoreId, checkpoint,
    format::{self, CHECKPOINT, CHECKPOINT_TMP, HEADER, Header, Kind, MAX_PAYLOAD, SEGMENT_TMP},
    scan,
    segment::{self, Next, Reader, SegmentFile, failed},
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Those that the checkpoint does not replace, by their numbers.
    pub(crate) segments: Vec<SegmentFile>,
    /// Those that it does.
    strays: Vec<SegmentFile>,
    unfinished: Vec<&'static str>,
}

/// How often progress is told: after so many bytes or records.
const PROGRESS_BYTES: u64 = 64 << 20;
const PROGRESS_RECORDS: u64 = 100_000;

impl<S: Storage> Opening<S> {
    /// Looks at the files' headers. An empty directory becomes a new store.
    ///
    /// # Errors
    ///
    /// [`OpenError`], where the headers already say so.
    pub fn new(storage: S, mut options: Options) -> Result<Self, OpenError> {
        options.max_record = options.max_record.min(MAX_PAYLOAD);
        let names = storage.list().map_err(failed("list", "."))?;
        let has = |name: &&str| names.iter().any(|other| other == name);
        let checkpoint =
            if has(&CHECKPOINT) { Some(read_checkpoint_header(&storage)?) } else { None };
        let mut segments = read_segments(&storage, &names)?;
        if segments.is_empty() && checkpoint.is_none() {
            segments.push(create_first(&storage, &options)?);
        }
        let known = checkpoint.iter().chain(segments.iter().filter_map(|s| s.header.as_ref()));
        let Some(id) = known.map(|header| header.store).next() else {
            return Err(OpenError::Unrecognizable { name: segments.swap_remove(0).name });
        };
        segments.iter().try_for_each(|segment| segment.check_owner(id))?;
        let first = checkpoint.map_or(0, |header| header.segment);
        let (strays, segments) = segments.into_iter().partition(|s| s.number < first);
        let unfinished = [CHECKPOINT_TMP, SEGMENT_TMP].into_iter().filter(has).collect();
        Ok(Self { storage, options, id, checkpoint, segments, strays, unfinished })
    }

    /// Which store it is.
    #[must_use]
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// Feeds the state to `replay`, makes sure that it survives, and begins a new epoch.
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
        (epoch, files.map(|file| file.number).max().unwrap_or(0))
    }

    /// Makes what was read survive a power cut, clears away, and begins the new epoch.
    fn settle(self, mut end: LogEnd<S::File>) -> Result<Store<S>, OpenError> {
        let storage = self.storage;
        let name = format::segment_name(end.segment);
        if let Some(torn) = end.torn {
            end.file.truncate(torn.offset).map_err(failed("truncate", &name))?;
        }
        // After `kill -9` the last records may be in the page cache alone. They are about to be
        // answered for, so they must be on disk first.
        end.file.sync().map_err(failed("sync", &name))?;
        // The checkpoint's name before the files that it replaced: a power cut must not bring back
        // the one before it when they are gone.
        storage.sync_dir().map_err(failed("sync", "."))?;
        let strays = self.strays.iter().map(|file| file.name.as_str());
        for name in strays.chain(self.unfinished) {
            storage.remove(name).map_err(failed("remove", name))?;
        }
        // The new segment's creation syncs the directory again.
        let file = segment::create(&storage, &end.next)?;
        let mut behind: Vec<_> = self.segments.iter().map(|s| (s.number, s.size)).collect();
        if let (Some(torn), Some(cut)) = (end.torn, behind.last_mut()) {
            cut.1 = torn.offset;
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

fn read_checkpoint_header<S: Storage>(storage: &S) -> Result<Header, OpenError> {
    let (header, _) = segment::read_header(storage, CHECKPOINT, Kind::Checkpoint)?;
    header.map_err(|_| OpenError::DamagedCheckpoint {
        name: CHECKPOINT.to_owned(),
        offset: 0,
        what: "its header is none",
    })
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

/// What has been read so far, and who is told.
pub(crate) struct Reading<'a> {
    read: u64,
    total: u64,
    records: u64,
    told: (u64, u64),
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Reading<'a> {
    pub(crate) fn new<S: Storage>(
        opening: &Opening<S>,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let total = opening.segments.iter().map(|segment| segment.size).sum();
        Self { read: 0, total, records: 0, told: (0, 0), progress }
    }

    /// Tells, now and then, that the current file has been read up to `offset`.
    fn tell(&mut self, offset: u64) {
        let read = self.read.saturating_add(offset);
        let (bytes, records) = self.told;
        if read - bytes >= PROGRESS_BYTES || self.records - records >= PROGRESS_RECORDS {
            self.told = (read, self.records);
            let total = self.total.max(read);
            (self.progress)(Progress { read, total, records: self.records });
        }
    }
}

/// Where the log ends.
pub(crate) struct LogEnd<F> {
    pub(crate) last: Lsn,
    pub(crate) torn: Option<Torn>,
    /// The header of the segment to go on with.
    next: Header,
    /// The last segment.
    segment: u64,
    file: F,
}

/// Where and why the log cannot be read on.
pub(crate) struct Stop {
    pub(crate) error: OpenError,
    /// The segment, by its place among those that were to be read.
    pub(crate) index: usize,
    /// The first record that was not read.
    pub(crate) lsn: Lsn,
}

/// Reads all records behind the checkpoint, in order. Nothing is changed.
pub(crate) fn read_log<S: Storage>(
    opening: &Opening<S>,
    reading: &mut Reading<'_>,
    apply: &mut dyn FnMut(Record<'_>) -> Result<(), Rejected>,
) -> Result<LogEnd<S::File>, Stop> {
    let skip = opening.checkpoint_lsn();
    let mut expected = skip.0.saturating_add(1);
    let mut buffer = Vec::new();
    let mut end = None;
    for (index, file) in opening.segments.iter().enumerate() {
        let stop = |lsn: u64, error| Stop { error, index, lsn: Lsn(lsn) };
        let base = check_base(file, expected, index).map_err(|error| stop(expected, error))?;
        let following = opening.segments.get(index + 1).and_then(|next| next.header.as_ref());
        let is_last = index + 1 == opening.segments.len();
        let mut log = LogFile {
            file,
            seed: format::seed(opening.id, file.number),
            expected: base,
            until: if is_last { None } else { following.map(|header| header.lsn.0) },
            is_last,
        };
        let read = log.read(&opening.storage, buffer, skip, reading, apply);
        let (handle, back, torn) = read.map_err(|error| stop(log.expected, error))?;
        reading.read = reading.read.saturating_add(file.size);
        expected = log.expected;
        buffer = back;
        end = Some((file.number, handle, torn));
    }
    let exhausted = |error| Stop { error, index: opening.segments.len(), lsn: Lsn(expected) };
    let Some((segment, file, torn)) = end else {
        let from = Lsn(expected);
        return Err(exhausted(OpenError::Missing { from, to: from }));
    };
    let (epoch, newest) = opening.newest();
    let (Some(epoch), Some(number)) = (epoch.0.checked_add(1), newest.checked_add(1)) else {
        let name = format::segment_name(newest);
        return Err(exhausted(OpenError::Exhausted { name }));
    };
    let next =
        Header { store: opening.id, segment: number, lsn: Lsn(expected), epoch: Epoch(epoch) };
    Ok(LogEnd { last: Lsn(expected - 1), torn, next, segment, file })
}

/// The first record of a segment, which must go on where the one before it ended.
fn check_base(file: &SegmentFile, expected: u64, index: usize) -> Result<u64, OpenError> {
    let Some(header) = &file.header else {
        return Err(OpenError::DamagedHeader { name: file.name.clone() });
    };
    let base = header.lsn.0;
    if base > expected {
        return Err(OpenError::Missing { from: Lsn(expected), to: Lsn(base - 1) });
    }
    // The first may begin in the checkpoint, whose records are skipped; none begins at 0.
    if base == 0 || (base < expected && index > 0) {
        return Err(OpenError::DamagedHeader { name: file.name.clone() });
    }
    Ok(base)
}

/// One segment that is being read.
struct LogFile<'a> {
    file: &'a SegmentFile,
    seed: u32,
    /// The next record.
    expected: u64,
    /// The first record of the segment that follows. All before it were synced before that was
    /// made, and none of this segment's bytes behind them counts.
    until: Option<u64>,
    is_last: bool,
}

impl LogFile<'_> {
    /// Reads to the end; returns the file, the buffer and what is torn off at the end.
    fn read<S: Storage>(
        &mut self,
        storage: &S,
        buffer: Vec<u8>,
        skip: Lsn,
        reading: &mut Reading<'_>,
        apply: &mut dyn FnMut(Record<'_>) -> Result<(), Rejected>,
    ) -> Result<(S::File, Vec<u8>, Option<Torn>), OpenError> {
        let name = &self.file.name;
        let io = |source| OpenError::from(failed("read", name)(source));
        let file = storage.open(name).map_err(failed("open", name))?;
        let mut reader = Reader::new(file, buffer, HEADER as u64).map_err(io)?;
        let mut torn = None;
        while self.until != Some(self.expected) {
            let offset = reader.offset();
            let lsn = Lsn(self.expected);
            match segment::peek_record(&mut reader, self.seed, lsn).map_err(io)? {
                Next::Record(header, payload) => {
                    if lsn > skip {
                        let record = Record { lsn, kind: header.kind, payload };
                        apply(record).map_err(|Rejected(reason)| OpenError::Rejected {
                            name: name.clone(),
                            offset,
                            reason,
                        })?;
                        reading.records += 1;
                    }
                    let next = lsn.next();
                    self.expected = next.ok_or(OpenError::Exhausted { name: name.clone() })?.0;
                    let size = format::RECORD_HEADER + payload.len();
                    reader.consume(size);
                    reading.tell(reader.offset());
                }
                Next::End if self.is_last => break,
                Next::Bad if self.is_last => {
                    if let Some(synced) =
                        scan::synced_since(&mut reader, self.seed, lsn).map_err(io)?
                    {
                        return Err(self.damaged(offset, synced));
                    }
                    let bytes = self.file.size.saturating_sub(offset);
                    torn = Some(Torn { segment: self.file.number, offset, bytes });
                    break;
                }
                Next::Misplaced(header) => return Err(self.damaged(offset, header.lsn.max(lsn))),
                // All up to the next segment had been synced.
                Next::End | Next::Bad => {
                    let synced = self.until.map_or(lsn, |until| Lsn(until.saturating_sub(1)));
                    return Err(self.damaged(offset, synced));
                }
            }
        }
        let (file, buffer) = reader.into_parts();
        Ok((file, buffer, torn))
    }

    fn damaged(&self, offset: u64, synced: Lsn) -> OpenError {
        OpenError::DamagedRecord {
            name: self.file.name.clone(),
            offset,
            lsn: Lsn(self.expected),
            synced,
        }
    }
}
