//! Frames, written.

use std::time::Duration;

use super::{
    ACKNOWLEDGE, CANCEL, GO_AWAY, INQUIRE, MAX_RANGES, MEMORY, MemoryId, OUTCOME, PING, REPLY,
    REQUEST, WORKING, WireOutcome,
};
use crate::{
    context::Metadata,
    id::MethodId,
    marshal::Message,
    proto::{frames::Frames, varint},
};

/// What a request says before its metadata and arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestHeader {
    pub(crate) call: u64,
    pub(crate) floor: u64,
    /// 0 for the first, one more each time the call is sent.
    pub(crate) attempt: u64,
    pub(crate) method: MethodId,
    pub(crate) remaining: Duration,
}

/// Bytes of a frame's length field.
const LENGTH: usize = 4;

/// The longest that a request's frame is beside its metadata and arguments.
pub(crate) const MAX_REQUEST_HEADER: usize = 1 + 3 * varint::MAX + 8 + 2 * varint::MAX;

/// Appends a request; `rest` is what [`put_metadata`] wrote, with the arguments behind it.
pub(crate) fn put_request(header: &RequestHeader, rest: &Message, out: &mut Vec<u8>) {
    put_request_header(header, rest.len(), out);
    rest.copy_to(out);
}

/// As [`put_request`], but long parts of `rest` are shared.
#[inline]
pub(crate) fn push_request(header: &RequestHeader, rest: &Message, out: &mut Frames) {
    put_request_header(header, rest.len(), out.tail());
    out.push(rest);
}

/// `rest` bytes follow: no more than a peer takes, so that their number has its place in the length field.
fn put_request_header(header: &RequestHeader, rest: usize, out: &mut Vec<u8>) {
    let writer = FrameWriter::begin_with(out, REQUEST, |fields| {
        fields.number(header.call);
        fields.number(header.floor);
        fields.number(header.attempt);
        fields.bytes(header.method.get().to_be_bytes());
        fields.number(u64::try_from(header.remaining.as_micros()).unwrap_or(u64::MAX));
        fields.number(NO_FLAGS);
    });
    writer.fill_in_length(rest);
}

/// Appends metadata as a request has them before its arguments.
pub(crate) fn put_metadata(metadata: &Metadata, out: &mut Vec<u8>) {
    varint::put(metadata.iter().len() as u64, out);
    for (key, value) in metadata.iter() {
        for text in [key, value] {
            varint::put(text.len() as u64, out);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Writes one frame; its length is filled in by [`FrameWriter::finish`]. A writer that is
/// dropped unfinished, by an error or a panic of the user's `Serialize`, takes back what it wrote.
pub(crate) struct FrameWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> FrameWriter<'a> {
    /// Begins a reply. What the status calls for goes into [`body`](Self::body).
    pub(crate) fn reply(out: &'a mut Vec<u8>, call: u64, attempt: u64, status: u8) -> Self {
        Self::begin_with(out, REPLY, |fields| {
            fields.number(call);
            fields.number(attempt);
            fields.bytes([status]);
        })
    }

    /// A frame that begins with what `put` puts into the fields.
    #[inline]
    fn begin_with(out: &'a mut Vec<u8>, kind: u8, put: impl FnOnce(&mut Fields<'_>)) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH + MAX_REQUEST_HEADER]);
        let room = out[start..].first_chunk_mut().expect(COUNTED);
        let mut fields = Fields { room, at: LENGTH };
        fields.bytes([kind]);
        put(&mut fields);
        let end = start + fields.at;
        out.truncate(end);
        Self { out, start }
    }

    /// The frame is what was written and `rest` bytes more.
    fn fill_in_length(mut self, rest: usize) {
        // A frame in memory that is 4 GiB long is a bug, and is taken back.
        if let Ok(length) = u32::try_from(self.size() + rest) {
            self.out[self.start..self.start + LENGTH].copy_from_slice(&length.to_be_bytes());
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
        self.out.len() - self.start - LENGTH
    }

    /// Fills in the length, unless it is above `max_frame`: then the frame is taken back.
    pub(crate) fn finish(self, max_frame: u32) -> Result<(), FrameTooLong> {
        let size = self.size();
        if size > max_frame as usize {
            return Err(FrameTooLong { size, limit: max_frame as usize });
        }
        self.fill_in_length(0);
        Ok(())
    }
}

impl Drop for FrameWriter<'_> {
    fn drop(&mut self) {
        self.out.truncate(self.start);
    }
}

/// Room for fields that have a greatest length: the buffer need not be asked for each byte whether it must grow.
struct Fields<'a> {
    room: &'a mut [u8; LENGTH + MAX_REQUEST_HEADER],
    /// Where the next one goes.
    at: usize,
}

/// Why there is room for each field.
const COUNTED: &str = "`MAX_REQUEST_HEADER` counts all fields";

impl Fields<'_> {
    #[inline]
    fn bytes<const N: usize>(&mut self, bytes: [u8; N]) {
        *self.room[self.at..].first_chunk_mut().expect(COUNTED) = bytes;
        self.at += N;
    }

    #[inline]
    fn number(&mut self, value: u64) {
        let room = self.room[self.at..].first_chunk_mut().expect(COUNTED);
        self.at += varint::write(value, room);
    }
}

/// A frame is longer than the peer accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameTooLong {
    pub(crate) size: usize,
    pub(crate) limit: usize,
}

/// Flags are kept for streams; a server that does not know a flag answers
/// the call `Unimplemented`.
pub(crate) const NO_FLAGS: u64 = 0;

/// Appends a frame of few fields.
pub(crate) fn put_cancel(call: u64, out: &mut Vec<u8>) {
    put_small(CANCEL, &[], &[call], out);
}

/// Appends a question whether the peer is there, or the answer to one.
pub(crate) fn put_ping(token: u64, out: &mut Vec<u8>) {
    put_small(PING, &[0], &[token], out);
}

/// Appends the answer to a ping.
pub(crate) fn put_pong(token: u64, out: &mut Vec<u8>) {
    put_small(PING, &[1], &[token], out);
}

/// Appends the announcement that no new calls are taken.
pub(crate) fn put_go_away(out: &mut Vec<u8>) {
    put_small(GO_AWAY, &[], &[], out);
}

/// Appends the news that a call is at work.
pub(crate) fn put_working(call: u64, attempt: u64, estimate: Duration, out: &mut Vec<u8>) {
    let estimate = u64::try_from(estimate.as_millis()).unwrap_or(u64::MAX);
    put_small(WORKING, &[], &[call, attempt, estimate], out);
}

/// Appends what is answered for good: all below `floor`, and the first [`MAX_RANGES`] of `ranges`,
/// as (first, one behind the last), ascending.
pub(crate) fn put_acknowledge(floor: u64, ranges: &[(u64, u64)], out: &mut Vec<u8>) {
    let ranges = &ranges[..ranges.len().min(MAX_RANGES)];
    let writer = FrameWriter::begin(out, ACKNOWLEDGE);
    varint::put(floor, writer.out);
    varint::put(ranges.len() as u64, writer.out);
    let mut end = floor;
    for &(first, behind) in ranges {
        varint::put(first.saturating_sub(end), writer.out);
        varint::put(behind.saturating_sub(first), writer.out);
        end = behind;
    }
    writer.fill_in_length(0);
}

/// Appends the question which memory the server has of this client.
pub(crate) fn put_which_memory(out: &mut Vec<u8>) {
    put_small(MEMORY, &[0], &[], out);
}

/// Appends which memory the server has of the client.
pub(crate) fn put_memory(memory: MemoryId, out: &mut Vec<u8>) {
    let writer = FrameWriter::begin(out, MEMORY);
    writer.out.push(1);
    writer.out.extend_from_slice(&memory.id);
    writer.out.extend_from_slice(&memory.tcp_port.to_be_bytes());
    writer.out.extend_from_slice(&memory.store);
    varint::put(u64::try_from(memory.lease.as_millis()).unwrap_or(u64::MAX), writer.out);
    writer.fill_in_length(0);
}

/// Appends the question what became of a call.
pub(crate) fn put_inquire(call: u64, out: &mut Vec<u8>) {
    put_small(INQUIRE, &[], &[call], out);
}

/// Appends what became of a call.
pub(crate) fn put_outcome(call: u64, outcome: WireOutcome, out: &mut Vec<u8>) {
    let writer = FrameWriter::begin(out, OUTCOME);
    varint::put(call, writer.out);
    writer.out.push(match outcome {
        WireOutcome::Fenced => 0,
        WireOutcome::Ran => 1,
        WireOutcome::AtWork => 2,
        WireOutcome::NotKnown => 3,
    });
    writer.fill_in_length(0);
}

fn put_small(kind: u8, fields: &[u8], numbers: &[u64], out: &mut Vec<u8>) {
    let writer = FrameWriter::begin(out, kind);
    writer.out.extend_from_slice(fields);
    for number in numbers {
        varint::put(*number, writer.out);
    }
    writer.fill_in_length(0);
}
