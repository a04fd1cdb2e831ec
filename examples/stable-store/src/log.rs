//! The log is read from front to back, and judged where it ends.

use crate::{
    Epoch, Lsn, OpenError, Opening, Progress, Record, Rejected, Torn,
    format::{self, CHECKPOINT, HEADER, Header},
    planted::{Bug, planted},
    scan,
    segment::{self, Next, Reader, SegmentFile, failed},
    storage::Storage,
};

/// How often progress is told: after so many bytes or records.
const PROGRESS_BYTES: u64 = 64 << 20;
const PROGRESS_RECORDS: u64 = 100_000;

/// What has been read so far, and who is told.
pub(crate) struct Reading<'a> {
    pub(crate) read: u64,
    total: u64,
    pub(crate) records: u64,
    told: (u64, u64),
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Reading<'a> {
    pub(crate) fn new<S: Storage>(
        opening: &Opening<S>,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let log: u64 = opening.segments.iter().map(|segment| segment.size).sum();
        let total = log.saturating_add(opening.checkpoint_bytes);
        Self { read: 0, total, records: 0, told: (0, 0), progress }
    }

    /// Tells, now and then, that the current file has been read up to `offset`.
    pub(crate) fn tell(&mut self, offset: u64) {
        let read = self.read.saturating_add(offset);
        let (bytes, records) = self.told;
        if read - bytes >= PROGRESS_BYTES || self.records - records >= PROGRESS_RECORDS {
            self.told = (read, self.records);
            (self.progress)(Progress { read, total: self.total, records: self.records });
        }
    }
}

/// Where the log ends.
pub(crate) struct LogEnd<F> {
    pub(crate) last: Lsn,
    pub(crate) torn: Option<Torn>,
    /// The header of the segment to go on with.
    pub(crate) next: Header,
    /// The last segment.
    pub(crate) segment: u64,
    pub(crate) file: F,
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
    let Some(Lsn(mut expected)) = skip.next() else {
        let error = OpenError::Exhausted { name: CHECKPOINT.to_owned() };
        return Err(Stop { error, index: 0, lsn: skip });
    };
    let mut buffer = Vec::new();
    let mut end = None;
    for (index, file) in opening.segments.iter().enumerate() {
        let stop = |lsn: u64, error| Stop { error, index, lsn: Lsn(lsn) };
        let base = check_base(file, expected, index).map_err(|error| stop(expected, error))?;
        let following = opening.segments.get(index + 1);
        let mut log = LogFile {
            file,
            seed: format::seed(opening.id, file.number),
            expected: base,
            following,
            until: following.and_then(|next| next.header).map(|header| header.lsn.0),
        };
        let read = log.read(&opening.storage, buffer, skip, reading, apply);
        let read = read.map_err(|error| stop(log.expected, error))?;
        reading.read = reading.read.saturating_add(file.size);
        expected = log.expected;
        buffer = read.buffer;
        end = Some((file.number, read.handle, read.torn));
    }
    let stop = |error| Stop { error, index: opening.segments.len(), lsn: Lsn(expected) };
    // A log that ends in front of the checkpoint would number new records as if they were in it.
    let Some((segment, file, torn)) = end.filter(|_| expected > skip.0) else {
        let (from, to) = (Lsn(expected), Lsn(expected.max(skip.0)));
        return Err(stop(OpenError::Missing { from, to }));
    };
    let (epoch, newest) = opening.newest();
    let (Some(epoch), Some(number)) = (epoch.0.checked_add(1), newest.checked_add(1)) else {
        let name = format::segment_name(newest);
        return Err(stop(OpenError::Exhausted { name }));
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
    /// That segment.
    following: Option<&'a SegmentFile>,
}

/// A segment that has been read.
struct FileEnd<F> {
    handle: F,
    /// For the next one.
    buffer: Vec<u8>,
    torn: Option<Torn>,
}

impl LogFile<'_> {
    /// Reads to the end.
    fn read<S: Storage>(
        &mut self,
        storage: &S,
        buffer: Vec<u8>,
        skip: Lsn,
        reading: &mut Reading<'_>,
        apply: &mut dyn FnMut(Record<'_>) -> Result<(), Rejected>,
    ) -> Result<FileEnd<S::File>, OpenError> {
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
                    if lsn > skip || planted(Bug::ReplayFromTheStart) {
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
                Next::End if !self.is_cut_off() => break,
                Next::Bad if self.following.is_none() => {
                    let synced = scan::synced_since(&mut reader, self.seed, lsn).map_err(io)?;
                    if let Some(synced) = synced.filter(|_| !planted(Bug::DamageTakenForTorn)) {
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
        let (handle, buffer) = reader.into_parts();
        Ok(FileEnd { handle, buffer, torn })
    }

    /// Whether the end of the file is too early an end. If the next one's header is none, or
    /// another was between them, that is what to speak of.
    fn is_cut_off(&self) -> bool {
        let is_next = |next: &SegmentFile| next.number == self.file.number.saturating_add(1);
        self.until.is_some() && self.following.is_some_and(is_next)
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
