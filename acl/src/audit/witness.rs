//! What a witness keeps of other machines' logs: their checkpoints, a file for each stream.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::MAX_LINE;
use super::chain::{RawLine, read_line};
use super::checkpoint::{CheckpointKey, is_signed_by, totals};
use super::files::sync_folder;
use super::hex::{hash_hex, hex, unhex};
use super::line::chain;
use super::scan::scan;

/// Most streams that a witness keeps.
pub const MAX_STREAMS: usize = 1_024;

/// Most bytes that it keeps of one: some years of a log.
pub const MAX_WITNESSED: u64 = 4 * 1_024 * 1_024 * 1_024;

/// A folder of checkpoints: `<stream>.jsonl` for each log, as `audit verify --checkpoints` takes it.
///
/// Of each log it knows the key that the last checkpoint announced, and takes only a checkpoint that
/// is signed by it. The first one of a log is taken on trust: if it is not the log's own first, which
/// signs itself, nobody can say who signed it.
#[derive(Debug)]
pub struct WitnessFolder {
    folder: PathBuf,
    streams: BTreeMap<[u8; 16], Kept>,
}

/// The checkpoints of one stream.
#[derive(Debug)]
struct Kept {
    file: File,
    /// Bytes of whole lines in it.
    bytes: u64,
    last: Option<Last>,
}

/// The last checkpoint of a stream.
#[derive(Clone, Copy, Debug)]
struct Last {
    seq: u64,
    denied: u64,
    next: CheckpointKey,
    hash: [u8; 32],
}

/// Why a witness does not take a checkpoint.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The name of a stream is 32 lower-case hex digits.
    #[error("`{0}` is not the name of a stream: it is 32 hex digits in lower case")]
    NotAStream(String),
    /// The line is not a checkpoint of version 1.
    #[error("this is not a checkpoint: ship the line as the log has it, without its end")]
    NotACheckpoint,
    /// Its hash does not fit its bytes.
    #[error("the checkpoint was edited: its hash does not fit")]
    Edited,
    /// It is of another log than the one it was given for.
    #[error("the checkpoint is of the stream {found}: each log is attested under its own name")]
    OtherStream {
        /// Whose it is.
        found: String,
    },
    /// It is older than the last one, or another one in its place.
    #[error(
        "checkpoint {found} does not come after {last}, the last one here: the log was rewritten, or this is an old line"
    )]
    NotNewer {
        /// Its number.
        found: u64,
        /// The number of the last one.
        last: u64,
    },
    /// It counts fewer refusals than the last one.
    #[error("the checkpoint counts {found} refusals, and the one before {before}")]
    FewerDenied {
        /// What it counts.
        found: u64,
        /// What the one before counts.
        before: u64,
    },
    /// It is not signed by the key that the last one announced.
    #[error(
        "the checkpoint is not signed by the key that the last one here announced: it is forged, or one between is missing; compare the log with what is here, then move the stream's file away to begin anew"
    )]
    Resigned,
    /// There is no room for another stream, or for more of this one.
    #[error("the witness is full: move the files of old streams away")]
    Full,
    /// What is kept of the stream is damaged.
    #[error("{}:{line} is not the checkpoint that was written there: keep the file as evidence and move it away", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// The file system refuses.
    #[error("cannot keep checkpoints in {}: {source}; check the folder and its disk", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// The stream that a checkpoint is of; `None` if the line is none.
#[must_use]
pub fn stream_of_checkpoint(line: &[u8]) -> Option<String> {
    let line = scan(line).filter(|line| line.event == b"checkpoint")?;
    unhex::<16>(line.stream).map(|stream| hex(&stream))
}

impl WitnessFolder {
    /// A witness that keeps what it is given in `folder`, which is there.
    #[must_use]
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self { folder: folder.as_ref().to_owned(), streams: BTreeMap::new() }
    }

    /// Keeps the next checkpoint of `stream`: a line without its end. It is on the disk when this
    /// returns. The last one may come again, since its sender may have lost the answer.
    ///
    /// # Errors
    ///
    /// [`AttestError`]: it is not kept.
    pub fn attest(&mut self, stream: &str, line: &[u8]) -> Result<(), AttestError> {
        let name = unhex::<16>(stream.as_bytes()).filter(|bytes| hex(bytes) == stream);
        let name = name.ok_or_else(|| AttestError::NotAStream(stream.to_owned()))?;
        // What is no checkpoint of the stream makes no file.
        let last = self.streams.get(&name).and_then(|kept| kept.last);
        Last::after(last, stream, line)?;
        let path = self.folder.join(format!("{stream}.jsonl"));
        if !self.streams.contains_key(&name) {
            if !path.exists() && self.has_no_room()? {
                return Err(AttestError::Full);
            }
            self.streams.insert(name, Kept::open(&path, stream)?);
        }
        let Some(kept) = self.streams.get_mut(&name) else { return Err(AttestError::Full) };
        let kept_on = kept.add(stream, line, &path);
        if matches!(kept_on, Err(AttestError::Io { .. })) {
            // Nobody knows what the disk has: it is read again.
            self.streams.remove(&name);
        }
        kept_on
    }

    /// Counts the files, since those of an earlier process count too.
    fn has_no_room(&self) -> Result<bool, AttestError> {
        let failed = |source| AttestError::Io { path: self.folder.clone(), source };
        Ok(self.folder.read_dir().map_err(failed)?.take(MAX_STREAMS).count() == MAX_STREAMS)
    }
}

impl Last {
    /// The checkpoint that `line` is, if it may come after `last`.
    fn after(last: Option<Self>, stream: &str, line: &[u8]) -> Result<Self, AttestError> {
        if line.len() >= MAX_LINE || line.contains(&b'\n') {
            return Err(AttestError::NotACheckpoint);
        }
        let scanned = scan(line).filter(|line| line.event == b"checkpoint");
        let scanned = scanned.ok_or(AttestError::NotACheckpoint)?;
        let said = totals(&scanned).ok_or(AttestError::NotACheckpoint)?;
        let prev = unhex(scanned.prev).ok_or(AttestError::NotACheckpoint)?;
        let hash = chain(&prev, scanned.hashed);
        if hash_hex(&hash) != scanned.hash {
            return Err(AttestError::Edited);
        }
        if scanned.stream != stream.as_bytes() {
            let found = String::from_utf8_lossy(scanned.stream).into_owned();
            return Err(AttestError::OtherStream { found });
        }
        let this = Self { seq: scanned.seq, denied: said.denied, next: said.next, hash };
        let signer = match last {
            Some(last) if last.seq == this.seq && last.hash == hash => return Ok(this),
            Some(last) if last.seq >= this.seq => {
                return Err(AttestError::NotNewer { found: this.seq, last: last.seq });
            }
            Some(last) if last.denied > this.denied => {
                return Err(AttestError::FewerDenied { found: this.denied, before: last.denied });
            }
            Some(last) => last.next,
            None if this.seq == 1 => this.next,
            None => return Ok(this),
        };
        if is_signed_by(&scanned, signer) { Ok(this) } else { Err(AttestError::Resigned) }
    }
}

impl Kept {
    /// Reads what is there, and cuts off a line that a crash tore: it was never answered.
    fn open(path: &Path, stream: &str) -> Result<Self, AttestError> {
        let failed = |source| AttestError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600);
        let file = file.open(path).map_err(failed)?;
        file.try_lock().map_err(|error| failed(error.into()))?;
        let mut reader = BufReader::new(file.try_clone().map_err(failed)?);
        let (mut buffer, mut bytes, mut last) = (Vec::new(), 0, None);
        for line in 1.. {
            let damaged = || AttestError::Damaged { path: path.to_owned(), line };
            match read_line(&mut reader, &mut buffer).map_err(failed)? {
                RawLine::Whole => {
                    last = Some(Last::after(last, stream, &buffer).map_err(|_| damaged())?);
                    bytes += buffer.len() as u64 + 1;
                }
                RawLine::TooLong => return Err(damaged()),
                RawLine::Torn | RawLine::End => break,
            }
        }
        file.set_len(bytes).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        sync_folder(path).map_err(failed)?;
        Ok(Self { file, bytes, last })
    }

    fn add(&mut self, stream: &str, line: &[u8], path: &Path) -> Result<(), AttestError> {
        let next = Last::after(self.last, stream, line)?;
        if self.last.is_some_and(|last| last.seq == next.seq) {
            return Ok(());
        }
        let bytes = self.bytes + line.len() as u64 + 1;
        if bytes > MAX_WITNESSED {
            return Err(AttestError::Full);
        }
        let failed = |source| AttestError::Io { path: path.to_owned(), source };
        self.file.write_all(&[line, b"\n"].concat()).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        (self.bytes, self.last) = (bytes, Some(next));
        Ok(())
    }
}
