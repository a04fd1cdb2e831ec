//! Why a log cannot be opened or written.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::tampered::Tampered;

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
    /// The log has records and its key is not there.
    #[error(
        "the audit log has records, and its key file {} is not there; put it back, or keep the log as evidence, move it away and start with a new one",
        path.display()
    )]
    KeyMissing {
        /// The key file.
        path: PathBuf,
    },
    /// The key file holds no key that the log's last checkpoint announced.
    #[error(
        "the key file {} is not the one of this audit log as it stands: the log was cut back, rewritten or exchanged, or the key file was; keep both as evidence, move them away and start with a new log",
        path.display()
    )]
    KeyForeign {
        /// The key file.
        path: PathBuf,
    },
    /// Others may read the key, so what it signs proves nothing.
    #[error(
        "others may read the key file {}; run `chmod 600` on it, and begin a new log if it may have been read",
        path.display()
    )]
    KeyExposed {
        /// The key file.
        path: PathBuf,
    },
    /// Not a key file.
    #[error("{} is not a key file of an audit log; put back the one that it was", path.display())]
    KeyMalformed {
        /// The key file.
        path: PathBuf,
    },
    /// No checkpoint could be made for too many records.
    #[error(
        "the audit log cannot be sealed: its key file {} could not be written in time; check its disk and start again",
        path.display()
    )]
    Unsealed {
        /// The key file.
        path: PathBuf,
    },
    /// No sink wrote the record in time.
    #[error("no sink of the audit log wrote the record within {} ms; check their disks", waited.as_millis())]
    Late {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The disk is full, and what is left is kept for refusals.
    #[error(
        "the disk of the audit log is full, and what is left is kept for refusals; free space on it"
    )]
    Reserved,
    /// The log has no more numbers.
    #[error(
        "the audit log is full: its records or its files have no more numbers; move it away and begin a new one"
    )]
    Full,
    /// A log without a file.
    #[error("the audit log needs at least one file, which it is carried on from; name one")]
    NoFile,
}
