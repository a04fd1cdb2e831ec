//! Reads a whole log and says whether anyone has touched it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use thiserror::Error;

pub(super) use super::chain::{RawLine, read_line};

use super::MAX_LINE;
use super::chain::{Chain, Next, Start};
use super::checkpoint::{CheckpointKey, End};
use super::files::files;
use super::record::{hex, unhex};
use super::scan::scan;

/// Bytes that are read at once.
const BUFFER: usize = 256 * 1_024;

/// How long a record that looks torn is given to be written to its end.
const PAUSE: Duration = Duration::from_millis(50);

/// What is known about a log from elsewhere. All of it is optional, and each part proves more.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The key of its first checkpoint. Without it the log's own is believed, and a log that was
    /// written anew as a whole is not found out.
    pub anchor: Option<CheckpointKey>,
    /// Checkpoints that were shipped to another place. Without them a tail that was cut off after
    /// a checkpoint is found by the heartbeat alone.
    pub checkpoints: Vec<Witnessed>,
    /// When the files were as they are: now, for those of a running server. Without it a missed
    /// heartbeat at the end is not noticed.
    pub at: Option<SystemTime>,
}

/// A checkpoint that was kept in another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    stream: [u8; 16],
    seq: u64,
    hash: [u8; 32],
}

/// What a whole log says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Files that it is in.
    pub files: u64,
    /// Records in it.
    pub records: u64,
    /// Requests refused: those in full, and those in summaries.
    pub denials: u64,
    /// Of these, the ones that are only counted in summaries.
    pub summarized: u64,
    /// Records that were lost while the log could not be written, as its `gap`s say.
    pub missing: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Records after the last checkpoint: nothing but their chain protects them yet.
    pub unsealed: u64,
    /// When the last checkpoint was written, RFC 3339.
    pub sealed_at: Option<String>,
    /// Whether the log was closed in order, and nothing came after.
    pub closed: bool,
    /// The stream they belong to; `None` in an empty log.
    pub stream: Option<String>,
    /// The key of the first checkpoint; `None` in an empty log.
    pub anchor: Option<CheckpointKey>,
    /// The `h` of the last record.
    pub head: String,
    /// The last of the checkpoints kept elsewhere, all of which are in the log.
    pub witnessed: Option<u64>,
}

/// Where and how a log was touched.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}line {line}: {what}", file.as_ref().map_or_else(String::new, |file| format!("{}: ", file.display())))]
pub struct Tampered {
    /// The file, if there is more than a reader.
    pub file: Option<PathBuf>,
    /// The first line that does not fit; 1 is the first.
    pub line: u64,
    /// How.
    pub what: What,
}

/// What is wrong with a line of a log.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The line's own hash does not fit its bytes.
    #[error("the record was edited: its hash does not fit")]
    Edited,
    /// Records are missing.
    #[error("records {from} to {to} were deleted")]
    Deleted {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// A record too many.
    #[error("a record was inserted: number {seq} was here already")]
    Inserted {
        /// Its number.
        seq: u64,
    },
    /// Records that stand in another order than they were written.
    #[error("records or files were moved: {found} stands where {expected} belongs")]
    Reordered {
        /// The number that belongs here, and stands further on.
        expected: u64,
        /// The number that is here.
        found: u64,
    },
    /// The number is not the next one.
    #[error(
        "record {found} stands where {expected} belongs: something was removed, inserted or moved"
    )]
    OutOfOrder {
        /// The number that belongs here.
        expected: u64,
        /// The number that is here.
        found: u64,
    },
    /// The record does not carry the hash of the one before.
    #[error("the record does not follow the one before it: it is from another history")]
    Unchained,
    /// A record of another log.
    #[error("the record belongs to another stream")]
    OtherStream,
    /// A file begins in the middle of another, or does not begin as a later file does.
    #[error("a file of the log begins here, or should: files were joined, split or exchanged")]
    Misplaced,
    /// The signature is not by the key that was announced, over what stands here.
    #[error(
        "the checkpoint is not signed by the key that the one before announced: it was signed anew, or what stands before it was rewritten"
    )]
    Resigned,
    /// The log begins with another key than the one kept elsewhere.
    #[error(
        "the log begins with the key {found}, which is not the anchor: it was written anew, or is another log"
    )]
    OtherAnchor {
        /// The key of its first checkpoint.
        found: CheckpointKey,
    },
    /// A checkpoint kept elsewhere says otherwise.
    #[error(
        "record {seq} is not the checkpoint that was kept elsewhere: the log was rewritten, or is another one"
    )]
    NotAsWitnessed {
        /// The number.
        seq: u64,
    },
    /// The tail is missing.
    #[error("the tail was cut off: {0}")]
    Truncated(Truncation),
    /// No checkpoint where one belongs.
    #[error(
        "no checkpoint seals the {records} records after {last_checkpoint}: checkpoints were removed, or the records are not the server's"
    )]
    Unsealed {
        /// The last checkpoint; 0 if there is none.
        last_checkpoint: u64,
        /// Records after it.
        records: u64,
    },
    /// The records do not add up to what a checkpoint says.
    #[error("the checkpoint counts {said} refused requests, the records before it {counted}")]
    Totals {
        /// What the checkpoint says.
        said: u64,
        /// What the records say.
        counted: u64,
    },
    /// Not one of our records.
    #[error("this is not a record of version 1")]
    NotARecord,
    /// Longer than any record.
    #[error("the line is longer than any record ({MAX_LINE} bytes)")]
    TooLong,
    /// The last line has no end.
    #[error(
        "the last record is torn: a crash, or someone cut the file; starting the server mends it and records a gap"
    )]
    TornEnd,
    /// The file could not be read to its end.
    #[error("cannot read on: {0}")]
    Unreadable(String),
}

/// How it is known that a tail is missing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Truncation {
    /// The log is open and has had no checkpoint for too long.
    #[error(
        "its last checkpoint is of {last}, it was not closed, and nothing is in it up to {at}; or the server crashed then"
    )]
    HeartbeatMissed {
        /// The last checkpoint.
        last: Timestamp,
        /// When the log was looked at.
        at: Timestamp,
    },
    /// A checkpoint that was kept elsewhere comes after the end.
    #[error("it ends with record {last}, and checkpoint {seq} was kept elsewhere")]
    WitnessedLater {
        /// The last record.
        last: u64,
        /// The checkpoint.
        seq: u64,
    },
    /// There is nothing in it, and something is known of it.
    #[error("it is empty")]
    Empty,
}

/// A file of kept checkpoints has a line that is none.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("line {line} is not a checkpoint: name a file that checkpoints were shipped to")]
pub struct NotACheckpoint {
    /// The line; 1 is the first.
    pub line: u64,
}

impl Witnessed {
    /// Reads checkpoints that were kept elsewhere, a line each, in any order.
    ///
    /// # Errors
    ///
    /// [`NotACheckpoint`] at the first line that is none.
    pub fn read(mut reader: impl BufRead) -> Result<Vec<Self>, NotACheckpoint> {
        let mut found = Vec::new();
        let mut buffer = Vec::new();
        for line in 1.. {
            match read_line(&mut reader, &mut buffer) {
                Ok(RawLine::End) => break,
                Ok(RawLine::Whole) => {
                    found.push(Self::of(&buffer).ok_or(NotACheckpoint { line })?);
                }
                _ => return Err(NotACheckpoint { line }),
            }
        }
        Ok(found)
    }

    fn of(line: &[u8]) -> Option<Self> {
        let line = scan(line).filter(|line| line.event == b"checkpoint")?;
        Some(Self { stream: unhex(line.stream)?, seq: line.seq, hash: unhex(line.hash)? })
    }
}

/// Verifies the log whose active file is `path`, with all its rotated files beside it.
///
/// # Errors
///
/// [`Tampered`] at the first line that does not fit.
pub fn verify_files(path: &Path, expected: &Expected) -> Result<Report, Tampered> {
    loop {
        let before = listed(path)?;
        let verified = verify_listed(path, &before, expected, &mut || thread::sleep(PAUSE));
        // A running server may have rotated its log meanwhile.
        if verified.is_ok() || listed(path)? == before {
            return verified;
        }
    }
}

fn listed(path: &Path) -> Result<Vec<PathBuf>, Tampered> {
    files(path).map_err(|error| unreadable(path, &error))
}

fn verify_listed(
    path: &Path,
    files: &[PathBuf],
    expected: &Expected,
    pause: &mut dyn FnMut(),
) -> Result<Report, Tampered> {
    let mut walk = Walk::new(Start::Anchor, expected);
    for (nth, file) in files.iter().enumerate() {
        let in_file = |tampered: Tampered| Tampered { file: Some(file.clone()), ..tampered };
        if nth > 0 {
            walk.begin_file()
                .map_err(|tampered| Tampered { file: Some(files[nth - 1].clone()), ..tampered })?;
        }
        let reader = File::open(file).map_err(|error| unreadable(file, &error))?;
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        let is_last = nth + 1 == files.len();
        let walked = walk.file(&mut reader);
        let walked = if is_last { walk.on(walked, &mut reader, pause) } else { walked };
        if let Err(tampered) = walked {
            let rest = files[nth + 1..].iter().filter_map(|file| File::open(file).ok());
            return Err(in_file(tampered.diagnosed(&mut reader, rest)));
        }
    }
    walk.finish().map_err(|tampered| Tampered { file: Some(path.to_owned()), ..tampered })
}

fn unreadable(file: &Path, error: &io::Error) -> Tampered {
    let what = What::Unreadable(error.to_string());
    Tampered { file: Some(file.to_owned()), line: 1, what }
}

/// Verifies a log that is in one file.
///
/// # Errors
///
/// [`Tampered`] at the first line that does not fit.
pub fn verify(reader: impl BufRead) -> Result<Report, Tampered> {
    verify_reader(reader, Start::Anchor)
}

/// Verifies nothing but the chain: all that a log in memory has.
///
/// # Errors
///
/// [`Tampered`] at the first line that does not fit.
pub fn verify_chain(reader: impl BufRead) -> Result<Report, Tampered> {
    verify_reader(reader, Start::Bare)
}

fn verify_reader(mut reader: impl BufRead, start: Start) -> Result<Report, Tampered> {
    let expected = Expected::default();
    let mut walk = Walk::new(start, &expected);
    walk.file(&mut reader).map_err(|tampered| tampered.diagnosed(&mut reader, []))?;
    walk.finish()
}

/// A walk along all files, and what is known from elsewhere.
struct Walk<'a> {
    chain: Chain,
    expected: &'a Expected,
    /// Checkpoints kept elsewhere that are still to come, by their numbers. A forged one may have been
    /// kept behind the true one, so all of a number count.
    witnessed: BTreeMap<u64, Vec<&'a Witnessed>>,
    files: u64,
    line: u64,
    /// Bytes of whole records in the present file.
    bytes: u64,
}

impl<'a> Walk<'a> {
    fn new(start: Start, expected: &'a Expected) -> Self {
        let mut witnessed = BTreeMap::<_, Vec<_>>::new();
        for kept in &expected.checkpoints {
            witnessed.entry(kept.seq).or_default().push(kept);
        }
        Self { chain: Chain::new(start), expected, witnessed, files: 1, line: 0, bytes: 0 }
    }

    fn begin_file(&mut self) -> Result<(), Tampered> {
        let line = self.line;
        (self.line, self.bytes) = (0, 0);
        self.files += 1;
        self.chain.begin_file().map_err(|what| Tampered { file: None, line, what })
    }

    fn file(&mut self, reader: &mut impl BufRead) -> Result<(), Tampered> {
        let mut buffer = Vec::new();
        loop {
            match self.chain.next(reader, &mut buffer) {
                Ok(Next::Record(bytes)) => {
                    self.line += 1;
                    self.bytes += bytes;
                }
                Ok(Next::End) => return Ok(()),
                Ok(Next::Torn(_)) => return Err(self.tampered(What::TornEnd)),
                Ok(Next::Tampered(what)) => return Err(self.tampered(what)),
                Err(error) => return Err(self.tampered(What::Unreadable(error.to_string()))),
            }
            self.compare().map_err(|what| Tampered { file: None, line: self.line, what })?;
        }
    }

    /// Walks on in the last file after a torn end, as long as that grows: a running server may be in
    /// the middle of a record. It grows to [`MAX_LINE`] bytes at most.
    fn on(
        &mut self,
        mut walked: Result<(), Tampered>,
        reader: &mut BufReader<File>,
        pause: &mut dyn FnMut(),
    ) -> Result<(), Tampered> {
        while matches!(&walked, Err(Tampered { what: What::TornEnd, .. })) {
            let unreadable = |error: io::Error| self.tampered(What::Unreadable(error.to_string()));
            let seen = reader.stream_position().map_err(unreadable)?;
            pause();
            if reader.get_ref().metadata().map_err(unreadable)?.len() <= seen {
                break;
            }
            reader.seek(SeekFrom::Start(self.bytes)).map_err(unreadable)?;
            walked = self.file(reader);
        }
        walked
    }

    /// The next line is the one.
    fn tampered(&self, what: What) -> Tampered {
        Tampered { file: None, line: self.line + 1, what }
    }

    /// Compares the record just met with what is known from elsewhere.
    fn compare(&mut self) -> Result<(), What> {
        let chain = &self.chain;
        if chain.last == 1
            && let (Some(wanted), Some(found)) = (self.expected.anchor, chain.anchor)
            && wanted != found
        {
            return Err(What::OtherAnchor { found });
        }
        let kept = self.witnessed.remove(&chain.last).unwrap_or_default();
        let differs =
            |kept: &Witnessed| kept.hash != chain.head || Some(kept.stream) != chain.stream;
        if kept.into_iter().any(differs) {
            return Err(What::NotAsWitnessed { seq: chain.last });
        }
        Ok(())
    }

    fn finish(self) -> Result<Report, Tampered> {
        let chain = &self.chain;
        let at_end = |what| Tampered { file: None, line: self.line, what };
        if let Some(seq) = self.witnessed.keys().next_back() {
            let last = chain.last;
            let later = Truncation::WitnessedLater { last, seq: *seq };
            return Err(at_end(What::Truncated(later)));
        }
        if chain.last == 0 && self.expected.anchor.is_some() {
            return Err(at_end(What::Truncated(Truncation::Empty)));
        }
        let at = self.expected.at.and_then(|at| Timestamp::try_from(at).ok());
        chain.end(at).map_err(at_end)?;
        let sealed = chain.sealed.as_ref();
        Ok(Report {
            files: self.files,
            records: chain.last,
            denials: chain.denied,
            summarized: chain.summarized,
            missing: chain.missing,
            checkpoints: chain.checkpoints,
            unsealed: chain.unsealed_records(),
            sealed_at: sealed.and_then(|sealed| sealed.time).map(|time| time.to_string()),
            closed: sealed
                .is_some_and(|sealed| sealed.end == End::Closed && sealed.seq == chain.last),
            stream: chain.stream.map(|stream| hex(&stream)),
            anchor: chain.anchor,
            head: hex(&chain.head),
            witnessed: self.expected.checkpoints.iter().map(|kept| kept.seq).max(),
        })
    }
}

impl Tampered {
    /// Looks whether what is missing comes later, to tell a deletion from a move.
    fn diagnosed(
        mut self,
        reader: &mut impl BufRead,
        rest: impl IntoIterator<Item = File>,
    ) -> Self {
        let What::OutOfOrder { expected, found } = self.what else { return self };
        let comes_later = |reader: &mut dyn BufRead| holds(reader, expected);
        self.what = if found < expected {
            What::Inserted { seq: found }
        } else if comes_later(reader)
            || rest.into_iter().any(|file| comes_later(&mut BufReader::new(file)))
        {
            What::Reordered { expected, found }
        } else {
            What::Deleted { from: expected, to: found - 1 }
        };
        self
    }
}

fn holds(mut reader: &mut dyn BufRead, seq: u64) -> bool {
    let mut buffer = Vec::new();
    while let Ok(RawLine::Whole) = read_line(&mut reader, &mut buffer) {
        if scan(&buffer).is_some_and(|line| line.seq == seq) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::audit::{AuditLog, Event, Record};

    #[test]
    fn a_record_that_is_being_written_is_not_torn() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let log = AuditLog::open(&path, "n", |bytes: &mut [u8]| bytes.fill(7)).expect("a log");
        log.append(&Record::of(Event::PolicyLoad), UNIX_EPOCH).expect("a record");
        drop(log);
        let whole = fs::read(&path).expect("a file");
        let cut = |by: usize| fs::write(&path, &whole[..whole.len() - by]).expect("a file");
        let verify = |pause: &mut dyn FnMut()| {
            verify_listed(&path, std::slice::from_ref(&path), &Expected::default(), pause)
        };
        // It comes in three parts.
        cut(100);
        let mut left = [40, 0].into_iter();
        let report = verify(&mut || left.next().into_iter().for_each(cut)).expect("whole");
        assert_eq!((report.records, report.closed), (3, true));
        // Or it does not go on.
        cut(100);
        let mut left = [40].into_iter();
        let torn = verify(&mut || left.next().into_iter().for_each(cut)).expect_err("torn");
        assert_eq!((torn.line, torn.what), (3, What::TornEnd));
    }
}
