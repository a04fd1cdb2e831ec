//! What is wrong with a log, as far as that can be told.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use jiff::Timestamp;
use thiserror::Error;

use super::MAX_LINE;
use super::chain::{RawLine, read_line};
use super::checkpoint::CheckpointKey;
use super::scan::scan;

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

impl Tampered {
    /// Looks whether what is missing comes later, to tell a deletion from a move.
    pub(super) fn diagnosed(
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
