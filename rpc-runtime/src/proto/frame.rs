//! A frame's fields, written and read; `docs/protocol.md` has the table, byte by byte.
//!
//! A frame is `length(4) ‖ type(1) ‖ fields`, the length counting what follows it. The body of a
//! request or a reply is what is left of the frame.

use std::time::Duration;

use super::varint;
use crate::{context::Metadata, error::ProtocolError, id::MethodId};

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

/// One frame, its body still in the receive buffer.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame<'a> {
    Request(Request<'a>),
    Reply(Reply<'a>),
    /// The server has the call and is at work.
    Working {
        call: u64,
    },
    /// Items, credits and ends of streams: this version opens none, so each belongs to a call
    /// that is over.
    Stream {
        call: u64,
    },
    Cancel {
        call: u64,
    },
    /// All calls below `floor` are answered and will not be asked for again.
    Acknowledge {
        floor: u64,
    },
    Ping {
        token: u64,
    },
    Pong {
        token: u64,
    },
    GoAway,
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
                let call = number(rest)?;
                let _estimate_ms = number(rest)?;
                Self::Working { call }
            }
            STREAM_ITEM | STREAM_CREDIT | END => {
                let call = number(rest)?;
                *rest = &[];
                Self::Stream { call }
            }
            CANCEL => Self::Cancel { call: number(rest)? },
            ACKNOWLEDGE => Self::Acknowledge { floor: number(rest)? },
            PING => match (byte(rest)?, number(rest)?) {
                (0, token) => Self::Ping { token },
                (1, token) => Self::Pong { token },
                _ => return Err(ProtocolError::FrameFields),
            },
            GO_AWAY => Self::GoAway,
            unknown => return Err(ProtocolError::FrameType(unknown)),
        };
        if rest.is_empty() { Ok(frame) } else { Err(ProtocolError::FrameFields) }
    }
}

impl<'a> Request<'a> {
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
    fn parse(rest: &mut &'a [u8]) -> Result<Self, ProtocolError> {
        Ok(Self {
            call: number(rest)?,
            attempt: number(rest)?,
            status: byte(rest)?,
            body: std::mem::take(rest),
        })
    }
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

fn metadata(rest: &mut &[u8], max_size: usize) -> Result<Metadata, ProtocolError> {
    let entries = number(rest)?;
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

/// Writes one frame; its length is filled in by [`FrameWriter::finish`]. A writer that is
/// dropped unfinished, by an error or a panic of the user's `Serialize`, takes back what it wrote.
pub(crate) struct FrameWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> FrameWriter<'a> {
    /// Begins a request. The arguments go into [`body`](Self::body).
    pub(crate) fn request(
        out: &'a mut Vec<u8>,
        call: u64,
        floor: u64,
        method: MethodId,
        remaining: Duration,
        metadata: &Metadata,
    ) -> Self {
        let writer = Self::begin(out, REQUEST);
        varint::put(call, writer.out);
        varint::put(floor, writer.out);
        varint::put(FIRST_ATTEMPT, writer.out);
        writer.out.extend_from_slice(&method.get().to_be_bytes());
        varint::put(u64::try_from(remaining.as_micros()).unwrap_or(u64::MAX), writer.out);
        varint::put(NO_FLAGS, writer.out);
        varint::put(metadata.iter().len() as u64, writer.out);
        for (key, value) in metadata.iter() {
            for text in [key, value] {
                varint::put(text.len() as u64, writer.out);
                writer.out.extend_from_slice(text.as_bytes());
            }
        }
        writer
    }

    /// Begins a reply. What the status calls for goes into [`body`](Self::body).
    pub(crate) fn reply(out: &'a mut Vec<u8>, call: u64, attempt: u64, status: u8) -> Self {
        let writer = Self::begin(out, REPLY);
        varint::put(call, writer.out);
        varint::put(attempt, writer.out);
        writer.out.push(status);
        writer
    }

    fn fill_in_length(mut self) {
        // A frame in memory that is 4 GiB long is a bug, and is taken back.
        if let Ok(length) = u32::try_from(self.size()) {
            self.out[self.start..self.start + 4].copy_from_slice(&length.to_be_bytes());
            // Nothing is left to take back.
            self.start = self.out.len();
        }
    }

    fn begin(out: &'a mut Vec<u8>, kind: u8) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0, 0, 0, 0, kind]);
        Self { out, start }
    }

    /// Where the body is appended.
    pub(crate) fn body(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// The frame's length so far, without the length field.
    pub(crate) fn size(&self) -> usize {
        self.out.len() - self.start - 4
    }

    /// Fills in the length, unless it is above `max_frame`: then the frame is taken back.
    pub(crate) fn finish(self, max_frame: u32) -> Result<(), FrameTooLong> {
        let size = self.size();
        if size > max_frame as usize {
            return Err(FrameTooLong { size, limit: max_frame as usize });
        }
        self.fill_in_length();
        Ok(())
    }
}

impl Drop for FrameWriter<'_> {
    fn drop(&mut self) {
        self.out.truncate(self.start);
    }
}

/// A frame is longer than the peer accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameTooLong {
    pub(crate) size: usize,
    pub(crate) limit: usize,
}

/// Attempts count from 0; a connection over TCP sends each call once.
const FIRST_ATTEMPT: u64 = 0;

/// Flags are kept for streams and argument digests; a server that does not know a flag answers
/// the call `Unimplemented`.
pub(crate) const NO_FLAGS: u64 = 0;

/// Appends a frame of few fields.
pub(crate) fn put_cancel(call: u64, out: &mut Vec<u8>) {
    put_small(CANCEL, &[], Some(call), out);
}

/// Appends a question whether the peer is there, or the answer to one.
pub(crate) fn put_ping(token: u64, out: &mut Vec<u8>) {
    put_small(PING, &[0], Some(token), out);
}

/// Appends the answer to a ping.
pub(crate) fn put_pong(token: u64, out: &mut Vec<u8>) {
    put_small(PING, &[1], Some(token), out);
}

/// Appends the announcement that no new calls are taken.
pub(crate) fn put_go_away(out: &mut Vec<u8>) {
    put_small(GO_AWAY, &[], None, out);
}

fn put_small(kind: u8, fields: &[u8], number: Option<u64>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    out.extend_from_slice(fields);
    if let Some(number) = number {
        varint::put(number, out);
    }
    FrameWriter { out, start }.fill_in_length();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(frame: &[u8]) -> Result<Frame<'_>, ProtocolError> {
        let length = u32::from_be_bytes(frame[..4].try_into().unwrap());
        assert_eq!(length as usize, frame.len() - 4);
        Frame::parse(&frame[4..], 64)
    }

    fn request(metadata: &Metadata) -> Vec<u8> {
        let mut out = Vec::new();
        let remaining = Duration::from_millis(5);
        let mut writer =
            FrameWriter::request(&mut out, 300, 7, MethodId::new(9), remaining, metadata);
        writer.body().extend_from_slice(b"arguments");
        writer.finish(1024).unwrap();
        out
    }

    #[test]
    fn a_request_survives_the_round_trip() {
        let mut metadata = Metadata::default();
        metadata.insert("traceparent".into(), "00-1".into());
        let frame = request(&metadata);
        let Ok(Frame::Request(read)) = parse(&frame) else {
            panic!("not a request");
        };
        assert_eq!((read.call, read.floor, read.method), (300, 7, MethodId::new(9)));
        assert_eq!(read.remaining, Duration::from_millis(5));
        assert_eq!((read.metadata, read.arguments), (metadata, &b"arguments"[..]));
    }

    #[test]
    fn a_request_cut_anywhere_before_its_body_is_refused() {
        let mut metadata = Metadata::default();
        metadata.insert("k".into(), "v".into());
        let whole = request(&metadata);
        for end in 4..whole.len() - b"arguments".len() {
            let cut = Frame::parse(&whole[4..end], 64);
            assert!(
                matches!(cut, Err(ProtocolError::FrameFields | ProtocolError::FrameLength)),
                "cut at {end}: {cut:?}"
            );
        }
    }

    #[test]
    fn metadata_above_their_bound_are_refused_before_they_are_copied() {
        let mut metadata = Metadata::default();
        metadata.insert("k".into(), "v".repeat(64));
        assert_eq!(parse(&request(&metadata)), Err(ProtocolError::FrameFields));
    }

    #[test]
    fn small_frames_survive_the_round_trip() {
        let mut out = Vec::new();
        put_cancel(u64::MAX, &mut out);
        assert_eq!(parse(&out), Ok(Frame::Cancel { call: u64::MAX }));
        out.clear();
        put_ping(3, &mut out);
        assert_eq!(parse(&out), Ok(Frame::Ping { token: 3 }));
        out.clear();
        put_pong(3, &mut out);
        assert_eq!(parse(&out), Ok(Frame::Pong { token: 3 }));
        out.clear();
        put_go_away(&mut out);
        assert_eq!(parse(&out), Ok(Frame::GoAway));
    }

    #[test]
    fn frames_of_streams_are_known_before_streams_are() {
        assert_eq!(Frame::parse(&[STREAM_ITEM, 5, 1, 2, 3], 0), Ok(Frame::Stream { call: 5 }));
        assert_eq!(Frame::parse(&[STREAM_CREDIT, 5, 9], 0), Ok(Frame::Stream { call: 5 }));
        assert_eq!(Frame::parse(&[END, 5], 0), Ok(Frame::Stream { call: 5 }));
    }

    #[test]
    fn an_unknown_type_and_bytes_left_over_are_refused() {
        assert_eq!(Frame::parse(&[11, 0], 0), Err(ProtocolError::FrameType(11)));
        assert_eq!(Frame::parse(&[CANCEL, 5, 0], 0), Err(ProtocolError::FrameFields));
        assert_eq!(Frame::parse(&[GO_AWAY, 0], 0), Err(ProtocolError::FrameFields));
        assert_eq!(Frame::parse(&[], 0), Err(ProtocolError::FrameLength));
    }

    #[test]
    fn a_frame_above_the_peers_limit_is_taken_back() {
        let mut out = b"before".to_vec();
        let mut writer = FrameWriter::reply(&mut out, 1, 0, 0);
        writer.body().extend_from_slice(&[0; 2000]);
        assert_eq!(writer.finish(1024), Err(FrameTooLong { size: 2004, limit: 1024 }));
        assert_eq!(out, b"before");
    }
}
