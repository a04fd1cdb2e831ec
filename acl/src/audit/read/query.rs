//! Looks for records in one file or stream, line by line.

use std::io::{self, Read};

use thiserror::Error;

use super::entry::Entry;
use super::filter::{Filter, Matcher};
use super::lines::{Lines, Next};

/// What a reader could not take as a record; but for [`Io`](Self::Io) it reads on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A line is not a record; run `audit verify`.
    #[error("line {line} is not a record; `bailiwick audit verify` says more")]
    NotARecord {
        /// The line.
        line: u64,
    },
    /// The last line has no end: it is being written, or was torn by a crash.
    #[error(
        "line {line} has no end yet ({bytes} bytes); it is being written, or was torn by a crash"
    )]
    Torn {
        /// The line.
        line: u64,
        /// How many bytes of it there are.
        bytes: u64,
    },
    /// The file is shorter than what was read of it.
    #[error("the file was cut after line {line} had been read; `bailiwick audit verify` says more")]
    Cut {
        /// The last line that was read.
        line: u64,
    },
    /// A file was removed before it was read, and records are missing before this line.
    #[error(
        "records are missing before line {line}: a file was removed, or the log was replaced; \
         `bailiwick audit verify` says more"
    )]
    Missing {
        /// The line.
        line: u64,
    },
    /// The file could not be read.
    #[error("cannot read on after line {line}: {source}; check the file and its disk")]
    Io {
        /// The last good line.
        line: u64,
        /// Why.
        source: io::Error,
    },
}

/// Finds records, in their order, and tells of lines that are none.
///
/// The chain is not checked: that is [`verify`](super::super::verify())'s. A line that is no record
/// may be passed over in silence where it looks like a record that is not wanted.
pub fn query<R: Read>(
    reader: R,
    filter: Filter,
) -> impl Iterator<Item = Result<Entry, QueryError>> {
    let matcher = Matcher::new(filter);
    let mut lines = Lines::new(reader);
    let mut over = false;
    std::iter::from_fn(move || {
        while !over {
            let line = lines.number() + 1;
            match lines.next() {
                Ok(Next::Line(text)) => match matcher.find(text, line) {
                    None => {}
                    found => return found,
                },
                Ok(Next::TooLong) => return Some(Err(QueryError::NotARecord { line })),
                Ok(Next::Torn(bytes)) => {
                    over = true;
                    return Some(Err(QueryError::Torn { line, bytes }));
                }
                Ok(Next::End) => over = true,
                Err(source) => {
                    over = true;
                    return Some(Err(QueryError::Io { line: line - 1, source }));
                }
            }
        }
        None
    })
}
