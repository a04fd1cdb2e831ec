//! Checkpoints that were kept in another place.

use std::io::BufRead;

use thiserror::Error;

use crate::audit::chain::{RawLine, read_line};
use crate::audit::hex::unhex;
use crate::audit::scan::scan;

/// A checkpoint that was kept in another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    pub(super) stream: [u8; 16],
    pub(super) seq: u64,
    pub(super) hash: [u8; 32],
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
