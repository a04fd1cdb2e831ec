//! The writer: numbers the records, chains them, and fails closed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use thiserror::Error;

use super::file::FileSink;
use super::record::{Event, Position, Record};
use super::verify::Tampered;

/// The number of a record within its stream: all that a refused peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditId(pub u64);

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "audit #{}", self.0)
    }
}

/// Why a log cannot be opened or written; each says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The file system refuses.
    #[error("cannot {doing} the audit file {}: {source}; {advice}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What to do about it.
        advice: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Not a regular file.
    #[error("the audit file {} is not a regular file; name another", path.display())]
    NotAFile {
        /// What it was named.
        path: PathBuf,
    },
    /// Others may write it, so it proves nothing.
    #[error("others may write the audit file {}; run `chmod go-w` on it", path.display())]
    OthersMayWrite {
        /// The file.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error(
        "the audit file {} is in use by another process; stop that one or name another file",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The chain is broken: keep the file as evidence and begin another.
    #[error(
        "the audit file {}:{}: {}; keep the file as evidence, move it away and start with a new one",
        path.display(), tampered.line, tampered.what
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where and how.
        tampered: Tampered,
    },
    /// The log has no more numbers.
    #[error("the audit log is full: 2^64 records; begin a new file")]
    Full,
}

/// An audit log; clones write to the same one.
///
/// Every record is on its way to the disk, by one `write(2)`, before [`append`](Self::append)
/// returns. A record that cannot be written whole is cut back, and the log stays unhealthy until a
/// write succeeds; the first record after that is a `gap` that counts what is missing.
#[derive(Clone)]
pub struct AuditLog {
    shared: Arc<Shared>,
}

struct Shared {
    healthy: AtomicBool,
    node: String,
    state: Mutex<State>,
}

struct State {
    sink: Sink,
    stream: [u8; 16],
    last: u64,
    head: [u8; 32],
    gap: Gap,
}

/// What the next record has to confess first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gap {
    /// Records that could not be written.
    pub(super) lost: u64,
    /// Bytes of a torn record that a crash left at the end.
    pub(super) torn: u64,
}

enum Sink {
    File(FileSink),
    Memory { lines: Vec<String>, full: bool },
}

impl AuditLog {
    /// Opens the log at `path`, creating it with mode 0600, and locks it for this process.
    ///
    /// An existing log is verified from its first line and carried on: it keeps its stream, and a
    /// record torn by a crash is cut off and confessed. A new one gets the stream `stream_seed`,
    /// which should be random. `node` names this machine in each record.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; a server that meets one must not start.
    pub fn open(
        path: impl AsRef<Path>,
        stream_seed: [u8; 16],
        node: &str,
    ) -> Result<Self, AuditError> {
        let (sink, found) = FileSink::open(path.as_ref())?;
        let stream = found.stream.unwrap_or(stream_seed);
        let gap = Gap { lost: 0, torn: found.torn };
        let state =
            State { sink: Sink::File(sink), stream, last: found.last, head: found.head, gap };
        Ok(Self::with(state, node))
    }

    /// A log in memory, for tests; see [`lines`](Self::lines).
    #[must_use]
    pub fn memory() -> Self {
        let sink = Sink::Memory { lines: Vec::new(), full: false };
        let gap = Gap::default();
        let state = State { sink, stream: [0; 16], last: 0, head: [0; 32], gap };
        Self::with(state, "memory")
    }

    fn with(state: State, node: &str) -> Self {
        let node = node.to_owned();
        let shared = Shared { healthy: AtomicBool::new(true), node, state: Mutex::new(state) };
        Self { shared: Arc::new(shared) }
    }

    /// The records of a log in memory, without line ends; none for a file.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match &self.state().sink {
            Sink::Memory { lines, .. } => lines.clone(),
            Sink::File(_) => Vec::new(),
        }
    }

    /// Lets a log in memory refuse writes, as a full disk does, or take them again.
    pub fn set_memory(&self, memory: Memory) {
        if let Sink::Memory { full, .. } = &mut self.state().sink {
            *full = memory == Memory::Full;
        }
    }

    /// Writes one record.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if the record is not in the log: whatever it is about must not happen.
    pub fn append(&self, record: &Record<'_>, time: SystemTime) -> Result<AuditId, AuditError> {
        let mut state = self.state();
        let written = state
            .confess(&self.shared.node, time)
            .and_then(|()| state.write(record, &self.shared.node, time));
        if written.is_err() {
            state.gap.lost = state.gap.lost.saturating_add(1);
        }
        self.shared.healthy.store(written.is_ok(), Ordering::Release);
        written
    }

    /// Whether the last write succeeded.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.shared.healthy.load(Ordering::Acquire)
    }

    /// Tries to make an unhealthy log healthy again by writing the `gap` that it owes.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if that cannot be written either.
    pub fn recover(&self, time: SystemTime) -> Result<(), AuditError> {
        let mut state = self.state();
        let recovered = state.confess(&self.shared.node, time);
        self.shared.healthy.store(recovered.is_ok(), Ordering::Release);
        recovered
    }

    /// Waits until all records are on the disk itself (`fdatasync`).
    ///
    /// # Errors
    ///
    /// [`AuditError::Io`].
    pub fn sync(&self) -> Result<(), AuditError> {
        match &self.state().sink {
            Sink::File(file) => file.sync(),
            Sink::Memory { .. } => Ok(()),
        }
    }

    /// The number of the last record, or `None` in an empty log.
    #[must_use]
    pub fn last(&self) -> Option<AuditId> {
        Some(self.state().last).filter(|last| *last > 0).map(AuditId)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock leaves the state half changed, so a panic elsewhere in a
        // holder's thread is no reason to stop auditing.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a log in memory takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It does.
    Free,
    /// It refuses them.
    Full,
}

impl State {
    /// Writes the `gap` record that is owed, if one is.
    fn confess(&mut self, node: &str, time: SystemTime) -> Result<(), AuditError> {
        let gap = self.gap;
        if gap == Gap::default() {
            return Ok(());
        }
        let mut detail = Vec::new();
        if gap.lost > 0 {
            detail.push(format!("{} records could not be written", gap.lost));
        }
        if gap.torn > 0 {
            detail.push(format!("{} bytes of a torn record were cut off", gap.torn));
        }
        let detail = detail.join("; ");
        let record =
            Record { count: Some(gap.lost), detail: Some(&detail), ..Record::of(Event::Gap) };
        self.write(&record, node, time)?;
        self.gap = Gap::default();
        Ok(())
    }

    fn write(
        &mut self,
        record: &Record<'_>,
        node: &str,
        time: SystemTime,
    ) -> Result<AuditId, AuditError> {
        let seq = self.last.checked_add(1).ok_or(AuditError::Full)?;
        let position = Position { seq, node, stream: self.stream, prev: self.head };
        let (line, head) = record.seal(&position, time);
        match &mut self.sink {
            Sink::File(file) => file.write_record(line.as_bytes())?,
            Sink::Memory { full: true, .. } => {
                return Err(AuditError::Io {
                    doing: "write",
                    path: "memory".into(),
                    advice: "free some",
                    source: io::ErrorKind::StorageFull.into(),
                });
            }
            Sink::Memory { lines, .. } => lines.push(line.trim_end().to_owned()),
        }
        self.last = seq;
        self.head = head;
        Ok(AuditId(seq))
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("node", &self.shared.node).finish_non_exhaustive()
    }
}
