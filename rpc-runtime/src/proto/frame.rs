//! A frame's fields, written and read; `docs/protocol.md` has the table, byte by byte.
//!
//! A frame is `length(4) ‖ type(1) ‖ fields`, the length counting what follows it. The body of a
//! request or a reply is what is left of the frame.

use std::time::Duration;

use super::varint;
use crate::{context::Metadata, error::ProtocolError, id::MethodId};

mod write;

pub(crate) use write::*;

/// Entries of one call's metadata: more would make looking one up slow.
pub(crate) const MAX_METADATA_ENTRIES: usize = 64;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const WORKING: u8 = 3;
const STREAM_ITEM: u8 = 4;
const STREAM_CREDIT: u8 = 5;
const END: u8 = 6;
const CANCEL: u8 = 7;
const ACKNOWLEDGE: u8 = 8;
const PING: u8 = 9;
const GO_AWAY: u8 = 10;
const MEMORY: u8 = 11;
const INQUIRE: u8 = 12;
const OUTCOME: u8 = 13;

/// Calls that may lie between the oldest that is not acknowledged and the newest: what a server
/// has to remember of a client is bounded by it.
pub(crate) const SPAN: u64 = 1 << 16;

/// Ranges in one acknowledgement.
pub(crate) const MAX_RANGES: usize = 64;

/// One frame, its body still in the receive buffer.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame<'a> {
    Request(Request<'a>),
    Reply(Reply<'a>),
    /// The server has the call and is at work; asking again before `estimate` is of no use.
    Working {
        call: u64,
        attempt: u64,
        estimate: Duration,
    },
    /// Items, credits and ends of streams: this version opens none, so each belongs to a call
    /// that is over.
    Stream {
        call: u64,
    },
    Cancel {
        call: u64,
    },
    /// All calls below `floor`, and those in `ranges`, are answered and will not be asked for
    /// again.
    Acknowledge {
        floor: u64,
        ranges: Ranges<'a>,
    },
    Ping {
        token: u64,
    },
    Pong {
        token: u64,
    },
    GoAway,
    /// The client asks which memory the server has of it.
    WhichMemory,
    /// The server says; another id than before means that it does not know what it ran.
    Memory(MemoryId),
    /// The client asks what became of a call whose answer it does not await any more.
    Inquire {
        call: u64,
    },
    Outcome {
        call: u64,
        outcome: WireOutcome,
    },
}

/// Names what a server remembers of one client life, and where else the server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryId {
    pub(crate) id: [u8; 8],
    /// Where it listens over TCP, at the same address; 0 for nowhere.
    pub(crate) tcp_port: u16,
    /// Names the stores of all durable services of the server: while it is the same, the server
    /// knows of each durable call whether it ran, also after a crash. Zero if it has none.
    pub(crate) store: [u8; 8],
    /// How long after the last connection it remembers.
    pub(crate) lease: Duration,
}

/// What became of a call, as far as a server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireOutcome {
    /// It did not run, and from now on never will.
    Fenced,
    Ran,
    AtWork,
    /// It was acknowledged, or is too old to be remembered.
    NotKnown,
}

/// Calls beyond a floor, as (first, one behind the last), ascending; read as they are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ranges<'a> {
    /// One behind the last range that was read, or the floor.
    end: u64,
    /// Well formed: checked when the frame was parsed.
    rest: &'a [u8],
}

impl Iterator for Ranges<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let first = self.end.checked_add(varint::take(&mut self.rest)?)?;
        self.end = first.checked_add(varint::take(&mut self.rest)?)?;
        Some((first, self.end))
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct Request<'a> {
    pub(crate) call: u64,
    /// The caller has the answers to all calls below this one.
    pub(crate) floor: u64,
    pub(crate) attempt: u64,
    pub(crate) method: MethodId,
    /// Time left until the caller stops waiting.
    pub(crate) remaining: Duration,
    pub(crate) flags: u64,
    pub(crate) metadata: Metadata,
    pub(crate) arguments: &'a [u8],
}

#[derive(Debug, PartialEq)]
pub(crate) struct Reply<'a> {
    pub(crate) call: u64,
    pub(crate) attempt: u64,
    pub(crate) status: u8,
    pub(crate) body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a frame without its length field. `max_metadata` bounds a request's metadata, in
    /// bytes.
    pub(crate) fn parse(bytes: &'a [u8], max_metadata: usize) -> Result<Self, ProtocolError> {
        let (&kind, mut rest) = bytes.split_first().ok_or(ProtocolError::FrameLength)?;
        let rest = &mut rest;
        let frame = match kind {
            REQUEST => Self::Request(Request::parse(rest, max_metadata)?),
            REPLY => Self::Reply(Reply::parse(rest)?),
            WORKING => {
                let (call, attempt) = (number(rest)?, number(rest)?);
                let estimate = Duration::from_millis(number(rest)?);
                Self::Working { call, attempt, estimate }
            }
            STREAM_ITEM | STREAM_CREDIT | END => {
                let call = number(rest)?;
                *rest = &[];
                Self::Stream { call }
            }
            CANCEL => Self::Cancel { call: number(rest)? },
            ACKNOWLEDGE => {
                let floor = number(rest)?;
                Self::Acknowledge { floor, ranges: ranges(rest, floor)? }
            }
            PING => match (byte(rest)?, number(rest)?) {
                (0, token) => Self::Ping { token },
                (1, token) => Self::Pong { token },
                _ => return Err(ProtocolError::FrameFields),
            },
            GO_AWAY => Self::GoAway,
            MEMORY => match byte(rest)? {
                0 => Self::WhichMemory,
                1 => {
                    let (id, tcp_port) = (array(rest)?, u16::from_be_bytes(array(rest)?));
                    let (store, lease) = (array(rest)?, Duration::from_millis(number(rest)?));
                    Self::Memory(MemoryId { id, tcp_port, store, lease })
                }
                _ => return Err(ProtocolError::FrameFields),
            },
            INQUIRE => Self::Inquire { call: number(rest)? },
            OUTCOME => Self::Outcome { call: number(rest)?, outcome: outcome(byte(rest)?)? },
            unknown => return Err(ProtocolError::FrameType(unknown)),
        };
        if rest.is_empty() { Ok(frame) } else { Err(ProtocolError::FrameFields) }
    }
}

impl<'a> Request<'a> {
    /// As [`Frame::parse`], if the frame is one, as nearly all are that a server gets.
    #[inline]
    pub(crate) fn of_frame(
        bytes: &'a [u8],
        max_metadata: usize,
    ) -> Option<Result<Self, ProtocolError>> {
        let (&kind, mut rest) = bytes.split_first()?;
        (kind == REQUEST).then(|| Self::parse(&mut rest, max_metadata))
    }

    /// Inlined, so that the fields are written where they stay.
    #[inline(always)]
    fn parse(rest: &mut &'a [u8], max_metadata: usize) -> Result<Self, ProtocolError> {
        Ok(Self {
            call: number(rest)?,
            floor: number(rest)?,
            attempt: number(rest)?,
            method: MethodId::new(u64::from_be_bytes(array(rest)?)),
            remaining: Duration::from_micros(number(rest)?),
            flags: number(rest)?,
            metadata: metadata(rest, max_metadata)?,
            arguments: std::mem::take(rest),
        })
    }
}

impl<'a> Reply<'a> {
    /// As [`Frame::parse`], if the frame is one, as nearly all are that a client gets.
    #[inline]
    pub(crate) fn of_frame(bytes: &'a [u8]) -> Option<Result<Self, ProtocolError>> {
        let (&kind, mut rest) = bytes.split_first()?;
        (kind == REPLY).then(|| Self::parse(&mut rest))
    }

    #[inline(always)]
    fn parse(rest: &mut &'a [u8]) -> Result<Self, ProtocolError> {
        Ok(Self {
            call: number(rest)?,
            attempt: number(rest)?,
            status: byte(rest)?,
            body: std::mem::take(rest),
        })
    }
}

/// The call that a reply answers, and which attempt of it, from its frame without the length field.
pub(crate) fn answered_by(reply: &[u8]) -> Option<(u64, u64)> {
    let (&kind, mut rest) = reply.split_first()?;
    if kind != REPLY {
        return None;
    }
    Some((varint::take(&mut rest)?, varint::take(&mut rest)?))
}

fn number(rest: &mut &[u8]) -> Result<u64, ProtocolError> {
    varint::take(rest).ok_or(ProtocolError::FrameFields)
}

fn byte(rest: &mut &[u8]) -> Result<u8, ProtocolError> {
    array::<1>(rest).map(|[byte]| byte)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ProtocolError> {
    let (bytes, behind) = rest.split_first_chunk().ok_or(ProtocolError::FrameFields)?;
    *rest = behind;
    Ok(*bytes)
}

fn outcome(code: u8) -> Result<WireOutcome, ProtocolError> {
    Ok(match code {
        0 => WireOutcome::Fenced,
        1 => WireOutcome::Ran,
        2 => WireOutcome::AtWork,
        3 => WireOutcome::NotKnown,
        _ => return Err(ProtocolError::FrameFields),
    })
}

fn ranges<'a>(rest: &mut &'a [u8], floor: u64) -> Result<Ranges<'a>, ProtocolError> {
    let count = number(rest)?;
    if count > MAX_RANGES as u64 {
        return Err(ProtocolError::FrameFields);
    }
    let ranges = Ranges { end: floor, rest };
    let mut end = floor;
    for _ in 0..count {
        for step in [number(rest)?, number(rest)?] {
            end = end.checked_add(step).ok_or(ProtocolError::FrameFields)?;
        }
    }
    Ok(ranges)
}

#[inline]
fn metadata(rest: &mut &[u8], max_size: usize) -> Result<Metadata, ProtocolError> {
    match number(rest)? {
        0 => Ok(Metadata::default()),
        entries => some_metadata(entries, rest, max_size),
    }
}

fn some_metadata(
    entries: u64,
    rest: &mut &[u8],
    max_size: usize,
) -> Result<Metadata, ProtocolError> {
    if entries > MAX_METADATA_ENTRIES as u64 {
        return Err(ProtocolError::FrameFields);
    }
    let mut metadata = Metadata::default();
    let mut room = max_size;
    for _ in 0..entries {
        let key = text(rest, &mut room)?;
        let value = text(rest, &mut room)?;
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn text(rest: &mut &[u8], room: &mut usize) -> Result<String, ProtocolError> {
    let length = usize::try_from(number(rest)?).map_err(|_| ProtocolError::FrameFields)?;
    *room = room.checked_sub(length).ok_or(ProtocolError::FrameFields)?;
    let (bytes, behind) = rest.split_at_checked(length).ok_or(ProtocolError::FrameFields)?;
    *rest = behind;
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| ProtocolError::FrameFields)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
