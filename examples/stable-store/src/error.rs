//! Why a store does not open, or goes no further, and what to do about it.

use std::{io, path::PathBuf, sync::Arc};

use thiserror::Error;

use crate::{Lsn, StoreId};

/// A directory cannot hold a store, or not now.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenDirError {
    /// Another process has it.
    #[error("{} is served by another process{}: one at a time", dir.display(), holder(*pid))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who it is, if it wrote that down.
        pid: Option<u32>,
    },
    /// There is a file in its place.
    #[error("{} is not a directory", dir.display())]
    NotADirectory {
        /// What was named.
        dir: PathBuf,
    },
    /// Neither it is there, nor the directory that it would be made in.
    #[error("{} cannot be made: the directory above it is not there", dir.display())]
    NoParent {
        /// The directory.
        dir: PathBuf,
    },
    /// This user may not use it.
    #[error("no permission to read and write {}", dir.display())]
    Permission {
        /// The directory.
        dir: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Something else is wrong with it.
    #[error("cannot open the directory {}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// A store does not open. Nothing of what it held has been changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The storage failed.
    #[error("cannot {action} {name}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file, or `.` for the directory.
        name: String,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// A log file's first bytes, which were synced before it got its name, are others now.
    #[error(
        "{name} is damaged at offset 0: no header of a log file; \
         --salvage goes on without it and all that follows it"
    )]
    DamagedHeader {
        /// The log file.
        name: String,
    },
    /// No file tells which store it is.
    #[error("{name} is damaged, and no other file tells which store this is: restore a copy")]
    Unrecognizable {
        /// The first log file.
        name: String,
    },
    /// A record that had been synced is not there any more.
    #[error(
        "{name} is damaged at offset {offset}: record {lsn} had been synced, and so had all up to \
         {synced}; restore a copy, or --salvage to go on without them"
    )]
    DamagedRecord {
        /// The log file.
        name: String,
        /// Where in it, in bytes.
        offset: u64,
        /// The first record that is lost.
        lsn: Lsn,
        /// The last record of which it is known that it was synced.
        synced: Lsn,
    },
    /// The checkpoint is not what was written. What it replaced is gone.
    #[error(
        "{name} is damaged at offset {offset}: {what}; a state with holes was never a state, so \
         it cannot be salvaged: restore a copy of the directory"
    )]
    DamagedCheckpoint {
        /// The checkpoint.
        name: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What was expected there.
        what: &'static str,
    },
    /// A log file has been taken away.
    #[error(
        "records {from} to {to} are missing: a file of the log has been removed; put it back, or \
         --salvage to go on with what was before them"
    )]
    Missing {
        /// The first record that is missing.
        from: Lsn,
        /// The last of which it is known.
        to: Lsn,
    },
    /// A file of another store has come into this one.
    #[error(
        "{name} belongs to another store ({found}, this one is {expected}): move it away, or name \
         the other directory"
    )]
    Foreign {
        /// The file.
        name: String,
        /// Whose it is.
        found: StoreId,
        /// Which store this is.
        expected: StoreId,
    },
    /// A newer program wrote it.
    #[error("{name} has format {found}, and this program knows {known}: upgrade the program")]
    NewerVersion {
        /// The file.
        name: String,
        /// Its format.
        found: u16,
        /// The newest that this program knows.
        known: u16,
    },
    /// The application cannot use what it once wrote. It was read exactly as it was written.
    #[error("{name}: the application refuses what is at offset {offset}: {reason}")]
    Rejected {
        /// The file.
        name: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What the application says.
        reason: String,
    },
    /// A number of 64 bits has come to its end, which needs a file that was made by hand.
    #[error("{name}: its numbers leave no room for another")]
    Exhausted {
        /// The file.
        name: String,
    },
}

/// A store refuses, or has failed.
///
/// After [`Io`](Self::Io) all that follows is [`Poisoned`](Self::Poisoned): nobody knows what is on
/// disk, and trying again may report success for data that is gone. Answer nobody, end the
/// process, recover. The other refusals have changed nothing.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The storage failed.
    #[error("cannot {action} {name}: the store must be opened again")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file, or `.` for the directory.
        name: String,
        /// What the operating system says.
        #[source]
        source: Arc<io::Error>,
    },
    /// It failed earlier.
    #[error("the store failed earlier and must be opened again")]
    Poisoned,
    /// A payload or an item of a checkpoint is too long. Nothing was written.
    #[error("a record of {len} bytes is longer than the bound of {max}")]
    TooLong {
        /// What it has.
        len: usize,
        /// What it may have.
        max: u32,
    },
    /// Too much waits in memory. Nothing was added; [`sync`](crate::Store::sync) makes room.
    #[error("the batch is full at {max} bytes: sync first")]
    BatchFull {
        /// The bound.
        max: usize,
    },
    /// Kinds from 128 on are the store's own.
    #[error("record kind {0} is reserved: use 0 to 127")]
    ReservedKind(u8),
    /// The last checkpoint has not been finished.
    #[error("a checkpoint is being written already")]
    CheckpointUnderWay,
    /// 2^64 - 1 records or files have been written.
    #[error("the store has no numbers left")]
    Exhausted,
}
