//! One file of the log: made with its header, read record by record.

use std::io;

use crate::{
    Lsn, OpenError, StoreId,
    format::{self, HEADER, Header, HeaderError, Kind, MAX_PAYLOAD, RECORD_HEADER, RecordHeader},
    planted::{Bug, planted},
    storage::{File, Storage},
};

/// The bytes that are read at once.
pub(crate) const CHUNK: usize = 1 << 20;

/// What went wrong, as its caller's error names it: what was tried, with which file.
pub(crate) struct Failure {
    pub(crate) action: &'static str,
    pub(crate) name: String,
    pub(crate) source: io::Error,
}

/// Attaches what was tried to an error of the storage.
pub(crate) fn failed(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> Failure {
    move |source| Failure { action, name: name.to_owned(), source }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        let Failure { action, name, source } = failure;
        Self::Io { action, name, source }
    }
}

/// Makes an empty file over one that an earlier boot may have left half written.
pub(crate) fn create_over<S: Storage>(storage: &S, name: &str) -> Result<S::File, Failure> {
    match storage.create(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            storage.remove(name).map_err(failed("remove", name))?;
            storage.create(name)
        }
        other => other,
    }
    .map_err(failed("create", name))
}

/// Makes a segment that survives a power cut, or none: its name stands for a synced header.
pub(crate) fn create<S: Storage>(storage: &S, header: &Header) -> Result<S::File, Failure> {
    let mut file = create_over(storage, format::SEGMENT_TMP)?;
    file.append(&header.encode(Kind::Segment)).map_err(failed("write", format::SEGMENT_TMP))?;
    if !planted(Bug::SegmentNotSynced) {
        file.sync().map_err(failed("sync", format::SEGMENT_TMP))?;
    }
    let name = format::segment_name(header.segment);
    storage.rename(format::SEGMENT_TMP, &name).map_err(failed("rename to", &name))?;
    if !planted(Bug::NoDirSyncAfterSegment) {
        storage.sync_dir().map_err(failed("sync", "."))?;
    }
    Ok(file)
}

/// A file's header, and the bytes of the whole file. All that is read of it from now on, here and
/// later, is on disk.
pub(crate) fn read_header<S: Storage>(
    storage: &S,
    name: &str,
    kind: Kind,
) -> Result<(Result<Header, HeaderError>, u64), OpenError> {
    let mut file = storage.open(name).map_err(failed("open", name))?;
    settle(&mut file).map_err(failed("sync", name))?;
    let size = file.size().map_err(failed("read", name))?;
    let mut bytes = [0; HEADER];
    let mut filled = 0;
    while filled < HEADER {
        match file.read_at(filled as u64, &mut bytes[filled..]).map_err(failed("read", name))? {
            0 => break,
            read => filled = HEADER.min(filled + read),
        }
    }
    let header =
        if filled == HEADER { Header::decode(&bytes, kind) } else { Err(HeaderError::Damaged) };
    if let Err(HeaderError::Version(found)) = header {
        let name = name.to_owned();
        return Err(OpenError::NewerVersion { name, found, known: format::VERSION });
    }
    Ok((header, size))
}

/// Makes what can be read of a file survive a power cut, before anyone answers for it. After `kill -9`
/// it may be in memory alone; a failed sync has even left there what no later one will write.
fn settle<F: File>(file: &mut F) -> io::Result<()> {
    if planted(Bug::RecoveryDoesNotSync) {
        return Ok(());
    }
    if planted(Bug::RecoveryReadsFromMemory) {
        return file.sync();
    }
    file.reread()
}

/// Reads a file from front to back through one buffer.
pub(crate) struct Reader<F> {
    file: F,
    buffer: Vec<u8>,
    /// What is read and not consumed: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Where `start` is in the file.
    offset: u64,
    /// The bytes of the file when it was opened.
    pub(crate) size: u64,
}

impl<F: File> Reader<F> {
    /// Begins at `offset`, with a buffer that may have served before.
    pub(crate) fn new(file: F, buffer: Vec<u8>, offset: u64) -> io::Result<Self> {
        let size = file.size()?;
        Ok(Self { file, buffer, start: 0, end: 0, offset, size })
    }

    /// The file, and the buffer for the next.
    pub(crate) fn into_parts(self) -> (F, Vec<u8>) {
        (self.file, self.buffer)
    }

    /// Where the next byte is in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes from here to the end.
    pub(crate) fn remaining(&self) -> u64 {
        self.size.saturating_sub(self.offset)
    }

    /// The bytes ahead: at least `need`, unless the file ends before. The buffer never grows
    /// beyond what the file has, so a length may be peeked for before it is believed.
    pub(crate) fn peek(&mut self, need: usize) -> io::Result<&[u8]> {
        if self.end - self.start < need {
            self.fill(need)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn fill(&mut self, need: usize) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let ahead = usize::try_from(self.remaining()).unwrap_or(usize::MAX);
        let room = ahead.min(need.max(CHUNK));
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        while self.end < room {
            let at = self.offset.saturating_add(self.end as u64);
            match self.file.read_at(at, &mut self.buffer[self.end..room])? {
                0 => break,
                // A storage that claims more than it was given is not followed.
                read => self.end = room.min(self.end + read),
            }
        }
        Ok(())
    }

    /// Goes on behind bytes that were peeked.
    pub(crate) fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.end - self.start);
        self.start += bytes;
        self.offset = self.offset.saturating_add(bytes as u64);
    }
}

/// What is next in a segment.
pub(crate) enum Next<'a> {
    /// The record that was expected.
    Record(RecordHeader, &'a [u8]),
    /// Nothing; the file ends.
    End,
    /// Bytes that are no record.
    Bad,
    /// A record of this segment, but another than belongs here: something was cut out.
    Misplaced(RecordHeader),
}

/// Looks at the next record without consuming it.
pub(crate) fn peek_record<F: File>(
    reader: &mut Reader<F>,
    seed: u32,
    expected: Lsn,
) -> io::Result<Next<'_>> {
    let remaining = reader.remaining();
    let bytes = reader.peek(RECORD_HEADER)?;
    if bytes.is_empty() {
        return Ok(Next::End);
    }
    let Some(header) = bytes.first_chunk().map(RecordHeader::decode) else {
        return Ok(Next::Bad);
    };
    if header.len > MAX_PAYLOAD || header.size() > remaining {
        return Ok(Next::Bad);
    }
    let size = RECORD_HEADER + header.len as usize;
    let bytes = reader.peek(size)?;
    if !is_whole(&header, bytes, seed) {
        return Ok(Next::Bad);
    }
    let is_next = header.lsn == expected || planted(Bug::LsnNotChecked);
    if !is_next || header.kind >= format::RESERVED_KINDS {
        return Ok(Next::Misplaced(header));
    }
    Ok(Next::Record(header, &bytes[RECORD_HEADER..size]))
}

/// Whether the bytes begin with this record, as it was written into this segment.
pub(crate) fn is_whole(header: &RecordHeader, bytes: &[u8], seed: u32) -> bool {
    let covered = bytes.get(4..RECORD_HEADER + header.len as usize);
    covered.is_some_and(|covered| crc32c::crc32c_append(seed, covered) == header.crc)
}

/// A segment as the directory shows it.
pub(crate) struct SegmentFile {
    pub(crate) name: String,
    pub(crate) number: u64,
    /// `None`: the bytes are none.
    pub(crate) header: Option<Header>,
    pub(crate) size: u64,
}

impl SegmentFile {
    pub(crate) fn read<S: Storage>(
        storage: &S,
        name: &str,
        number: u64,
    ) -> Result<Self, OpenError> {
        let (header, size) = read_header(storage, name, Kind::Segment)?;
        // A file that was given another name counts as damaged: its checksums are its number's.
        let header = header.ok().filter(|header| header.segment == number);
        Ok(Self { name: name.to_owned(), number, header, size })
    }

    /// Whether its first record is, or would be, this one.
    pub(crate) fn begins_at(&self, lsn: Lsn) -> bool {
        self.header.is_some_and(|header| header.lsn == lsn)
    }

    pub(crate) fn check_owner(&self, expected: StoreId) -> Result<(), OpenError> {
        match self.header {
            Some(Header { store: found, .. }) if found != expected => {
                Err(OpenError::Foreign { name: self.name.clone(), found, expected })
            }
            _ => Ok(()),
        }
    }
}
