//! What a log writes to.

use std::io;
use std::path::{Path, PathBuf};

use super::error::AuditError;

/// A place for the records of a log. Each has threads of its own, so it may block.
pub trait Sink: Send + 'static {
    /// What messages call it.
    fn name(&self) -> &Path;

    /// Writes these lines, all of them or none, and says how much room is left.
    ///
    /// # Errors
    ///
    /// [`SinkError`]: nothing of them was written; they come again.
    fn write(&mut self, lines: &[u8]) -> Result<Space, SinkError>;

    /// Gives what waits until all that was written up to now would survive a power cut. It is called
    /// after each checkpoint, on a thread of its own: a disk that is slow to sync holds up nobody.
    ///
    /// # Errors
    ///
    /// [`SinkError`]; it is asked for again.
    fn syncer(&self) -> Result<Syncer, SinkError>;

    /// Begins another file, if it has any; the present one becomes the rotated file `number`.
    ///
    /// # Errors
    ///
    /// [`SinkError`]; it is called again.
    fn rotate(&mut self, number: u32) -> Result<(), SinkError> {
        let _ = number;
        Ok(())
    }

    /// Looks how much room is left.
    ///
    /// # Errors
    ///
    /// [`SinkError`] if nothing can be written.
    fn space(&mut self) -> Result<Space, SinkError> {
        Ok(Space::Free)
    }
}

/// Waits until what was written is on the disk. A failure is final: the sink is used no more.
pub type Syncer = Box<dyn FnMut() -> Result<(), SinkError> + Send>;

/// How much room a sink has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Enough.
    Free,
    /// The disk is full: what was reserved is kept for refusals.
    Reserve,
}

/// Why a sink did not do what it should.
#[derive(Clone, Debug)]
pub struct SinkError {
    /// What was tried: "write".
    pub doing: &'static str,
    /// What an operator can do about it.
    pub advice: &'static str,
    /// The system's reason.
    pub kind: io::ErrorKind,
    /// The same in words.
    pub why: String,
}

impl SinkError {
    /// From an error of the system.
    pub fn io(doing: &'static str, advice: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self { doing, advice, kind: error.kind(), why: error.to_string() }
    }

    pub(super) fn of(&self, name: &Path) -> AuditError {
        AuditError::Io {
            doing: self.doing,
            path: name.to_owned(),
            advice: self.advice,
            source: io::Error::new(self.kind, self.why.clone()),
        }
    }
}

/// How a sink of a log is doing.
#[derive(Clone, Debug)]
pub struct SinkStatus {
    /// What it is called.
    pub name: PathBuf,
    /// Its health.
    pub health: Health,
    /// Bytes that wait for it.
    pub queued: usize,
}

/// Whether a sink can be relied on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Health {
    /// It takes what it is given.
    Good(Space),
    /// It did not write a record within the deadline, and has not caught up since.
    Late,
    /// It refused; it is tried again.
    Failed(SinkError),
    /// More waited for it than the ring holds, so it misses records. A file is completed from the
    /// log's others when the log is opened next.
    Lost,
}

impl Health {
    pub(super) const fn is_good(&self) -> bool {
        matches!(self, Self::Good(_))
    }
}
