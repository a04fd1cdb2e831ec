//! Reads a log from its first line and says whether anyone has touched it.

use std::io::{self, BufRead, Read};

use serde::Deserialize;
use thiserror::Error;

use super::MAX_LINE;
use super::record::{chain, hex};

/// What a whole log says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Records in it.
    pub records: u64,
    /// Refused requests among them.
    pub denials: u64,
    /// The stream they belong to; `None` in an empty log.
    pub stream: Option<String>,
    /// The `h` of the last record: whoever kept it can tell if the tail is cut.
    pub head: String,
}

/// Where and how a log was touched.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {what}")]
pub struct Tampered {
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
    /// The record does not carry the hash of the one before.
    #[error(
        "the record does not follow the one before it: something was removed, inserted or moved"
    )]
    Unchained,
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
    /// A record of another log.
    #[error("the record belongs to another stream")]
    OtherStream,
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

/// Verifies a log, streaming.
///
/// # Errors
///
/// [`Tampered`] at the first line that does not fit.
pub fn verify(mut reader: impl BufRead) -> Result<Report, Tampered> {
    let mut chain = Chain::default();
    let mut denials = 0;
    loop {
        let next = chain.next(&mut reader);
        let at = |what| Tampered { line: chain.line + 1, what };
        match next {
            Ok(Next::Record { denied, .. }) => denials += u64::from(denied),
            Ok(Next::End) => break,
            Ok(Next::Torn { .. }) => return Err(at(What::TornEnd)),
            Ok(Next::Tampered(tampered)) => return Err(tampered),
            Err(error) => return Err(at(What::Unreadable(error.to_string()))),
        }
    }
    let stream = chain.stream().map(|stream| hex(&stream));
    Ok(Report { records: chain.last(), denials, stream, head: hex(&chain.head()) })
}

/// A walk along the chain.
#[derive(Debug, Default)]
pub(super) struct Chain {
    line: u64,
    stream: Option<[u8; 16]>,
    last: u64,
    head: [u8; 32],
    buffer: Vec<u8>,
}

/// What the walk met.
pub(super) enum Next {
    /// A record that fits.
    Record {
        /// With its line end.
        bytes: u64,
        /// Whether it refused a request.
        denied: bool,
    },
    /// Nothing more.
    End,
    /// Bytes without a line end.
    Torn {
        /// How many.
        bytes: u64,
    },
    /// Something that does not fit.
    Tampered(Tampered),
}

/// The fields that the chain is made of.
#[derive(Deserialize)]
struct Links<'a> {
    v: u64,
    seq: u64,
    stream: &'a str,
    prev: &'a str,
    decision: Option<&'a str>,
    mode: Option<&'a str>,
    h: &'a str,
}

impl Chain {
    pub(super) const fn stream(&self) -> Option<[u8; 16]> {
        self.stream
    }

    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    pub(super) const fn head(&self) -> [u8; 32] {
        self.head
    }

    pub(super) fn next(&mut self, reader: &mut impl BufRead) -> io::Result<Next> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let next = match read_line(reader, &mut buffer)? {
            RawLine::End => Next::End,
            RawLine::Torn => Next::Torn { bytes: buffer.len() as u64 },
            RawLine::TooLong => {
                Next::Tampered(Tampered { line: self.line + 1, what: What::TooLong })
            }
            RawLine::Whole => match self.link(&buffer) {
                Ok(denied) => Next::Record { bytes: buffer.len() as u64 + 1, denied },
                Err(what) => Next::Tampered(Tampered { line: self.line, what }),
            },
        };
        self.buffer = buffer;
        Ok(next)
    }

    /// Checks that `line` is the next record; says whether it is a denial.
    fn link(&mut self, line: &[u8]) -> Result<bool, What> {
        self.line += 1;
        // `,"h":"` + 64 digits + `"}`
        const SEAL: usize = 6 + 64 + 2;
        let body = line.len().checked_sub(SEAL).and_then(|at| line.get(..at));
        let body = body.ok_or(What::NotARecord)?;
        if !line[body.len()..].starts_with(b",\"h\":\"") {
            return Err(What::NotARecord);
        }
        let record: Links<'_> = serde_json::from_slice(line).map_err(|_| What::NotARecord)?;
        let prev = unhex::<32>(record.prev).ok_or(What::NotARecord)?;
        let hash = unhex::<32>(record.h).ok_or(What::NotARecord)?;
        let stream = unhex::<16>(record.stream).ok_or(What::NotARecord)?;
        if record.v != 1 {
            return Err(What::NotARecord);
        }
        // The record's own hash first, so that an edit is called an edit and not a disorder.
        if chain(&prev, body) != hash {
            return Err(What::Edited);
        }
        if self.stream.is_some_and(|known| known != stream) {
            return Err(What::OtherStream);
        }
        let expected = self.last.saturating_add(1);
        if record.seq != expected {
            return Err(What::OutOfOrder { expected, found: record.seq });
        }
        if prev != self.head {
            return Err(What::Unchained);
        }
        self.stream = Some(stream);
        self.last = expected;
        self.head = hash;
        // What a shadow would refuse, or a permissive principal is forgiven, was not refused.
        Ok(record.decision == Some("deny") && matches!(record.mode, None | Some("enforce")))
    }
}

pub(super) enum RawLine {
    /// A line, in the buffer without its end.
    Whole,
    /// Bytes without a line end, in the buffer.
    Torn,
    /// More than [`MAX_LINE`] bytes; the rest is unread.
    TooLong,
    End,
}

/// Reads a line of bounded length.
pub(super) fn read_line(reader: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<RawLine> {
    buffer.clear();
    let bound = MAX_LINE as u64;
    let read = reader.by_ref().take(bound).read_until(b'\n', buffer)?;
    Ok(if buffer.last() == Some(&b'\n') {
        buffer.pop();
        RawLine::Whole
    } else if read == 0 {
        RawLine::End
    } else if read == MAX_LINE {
        RawLine::TooLong
    } else {
        RawLine::Torn
    })
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
