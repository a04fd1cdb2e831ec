//! What has been received: records that have not been opened, and frames that have not been handed out.
//!
//! ```text
//! bytes = the beginning of a frame | passed | contents of a record | passed | records
//!         0..joined                           plain..plain_end              taken..
//! ```
//!
//! A record is opened where it lies. A frame that spans records is put together at the front, each part moved by a
//! few bytes while it is in the cache, so that a long one ends up in an allocation of its own.

use std::ops::Range;

use bailiwick_crypto::record::{MAX_CONTENT, OVERHEAD};
use bytes::{BufMut as _, Bytes, buf::Limit};

use super::{joined::Joined, output::shrink, spare::Spare};
use crate::{error::ProtocolError, marshal::BORROW_FROM};

/// A frame's length field.
const LENGTH: usize = 4;

/// How much is read at a time: from a quiet peer, and from one that sends as fast as it is read.
const READ_SIZE: (usize, usize) = (4 * 1024, 64 * 1024);

/// A buffer has room for so many times what has come of a frame, or for all of it: few moves, and no claimed
/// length is believed.
const GROWTH: usize = 8;

/// How much is read at a time of a long frame, if the buffer has room for it: 256 KiB and what is around it in
/// records.
const LONG_READ: usize = 256 * 1024 + 1024;

/// What has been passed is dropped when it is so much.
const PASSED: usize = 4 * 1024;

/// Messages from this size up are lent in the buffer that they came in...
const LEND_FROM: usize = 64 * 1024;

/// ...unless that is so many times their length, and of more use here.
const LARGER: usize = 4;

/// The buffer of a lent message is longer by no more than this part of the message: so the next one as long fits in,
/// with the records around it.
const SLACK: usize = 16;

/// Bytes in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// See above.
    bytes: Vec<u8>,
    joined: usize,
    /// The length of the frame that begins at the front, with its length field; 0 while it is not known.
    awaited: usize,
    /// The frame at the front was handed out and is dropped by the next call.
    spent: bool,
    plain: usize,
    plain_end: usize,
    taken: usize,
    /// How much came at once lately.
    lately: usize,
    spare: Spare,
}

impl Input {
    /// Room for the next read, behind what is there. Whoever reads appends to it.
    pub(crate) fn room(&mut self) -> Limit<&mut Vec<u8>> {
        self.compact();
        let (came, missing) = (self.bytes.len(), sealed(self.awaited.saturating_sub(self.joined)));
        let expected = match missing.saturating_sub(self.len()) {
            // Little comes behind a long frame, and more than its rest behind a short one.
            rest @ 1.. if self.awaited >= LEND_FROM => rest.min(GROWTH * came),
            _ => (2 * self.lately).min(READ_SIZE.1),
        };
        let size = expected.clamp(READ_SIZE.0, READ_SIZE.1);
        // A buffer that is nearly large enough is made use of: it may have come back from such a message.
        if self.bytes.capacity() - came < size - size / 4 {
            let whole = self.taken + missing + READ_SIZE.0;
            self.bytes.reserve_exact(whole.min(GROWTH * came).saturating_sub(came).max(size));
        }
        (&mut self.bytes).limit(if expected > READ_SIZE.1 { LONG_READ } else { READ_SIZE.1 })
    }

    /// `count` bytes were appended by one read: the next will have room for twice as much.
    pub(crate) fn arrived(&mut self, count: usize) {
        self.lately = count;
    }

    /// As though this had been read.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let _ = self.room();
        self.bytes.extend_from_slice(bytes);
    }

    /// What has not been taken.
    pub(crate) fn unread(&mut self) -> &mut [u8] {
        &mut self.bytes[self.taken..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Drops `count` bytes off the front of what has not been taken.
    pub(crate) fn take(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.bytes.len());
    }

    /// A record of `size` bytes at the front has been opened: what it holds is there.
    pub(crate) fn opened(&mut self, content: Range<usize>, size: usize) {
        (self.plain, self.plain_end) = (self.taken + content.start, self.taken + content.end);
        self.take(size);
    }

    /// Takes the next whole frame of what has been opened, without its length field; `None` once there is none.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::FrameLength`] for a length of zero or above `max_frame`.
    pub(crate) fn next_frame(
        &mut self,
        max_frame: usize,
    ) -> Result<Option<Joined<'_>>, ProtocolError> {
        self.drop_spent();
        if self.joined > 0 {
            return self.join(max_frame);
        }
        let plain = &self.bytes[self.plain..self.plain_end];
        match frame_size(plain, max_frame)? {
            Some(size) if LENGTH + size <= plain.len() => {
                let start = self.plain + LENGTH;
                self.plain = start + size;
                Ok(Some(Joined::Lent(&self.bytes[start..start + size])))
            }
            _ => self.join(max_frame),
        }
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn is_midway(&self) -> bool {
        self.joined > 0 && !self.spent
    }

    fn join(&mut self, max_frame: usize) -> Result<Option<Joined<'_>>, ProtocolError> {
        self.join_to(LENGTH);
        let Some(size) = frame_size(&self.bytes[..self.joined], max_frame)? else {
            return Ok(None);
        };
        self.awaited = LENGTH + size;
        self.join_to(self.awaited);
        if self.joined < self.awaited {
            return Ok(None);
        }
        if size >= BORROW_FROM {
            return Ok(Some(Joined::Owned(self.lend_message())));
        }
        self.spent = true;
        Ok(Some(Joined::Lent(&self.bytes[LENGTH..self.joined])))
    }

    fn join_to(&mut self, length: usize) {
        let count = length.saturating_sub(self.joined).min(self.plain_end - self.plain);
        let from = self.plain;
        self.bytes.copy_within(from..from + count, self.joined);
        self.joined += count;
        self.plain += count;
    }

    /// The frame at the front. One that is lent takes its buffer with it, and what lies behind it gets another.
    fn lend_message(&mut self) -> Bytes {
        if self.awaited < LEND_FROM || self.bytes.capacity() >= LARGER * self.awaited {
            self.spent = true;
            return Bytes::copy_from_slice(&self.bytes[LENGTH..self.joined]);
        }
        let passed = self.plain;
        let mut behind = self.spare.take();
        behind.extend_from_slice(&self.bytes[passed..]);
        let mut message = std::mem::replace(&mut self.bytes, behind);
        message.truncate(self.awaited);
        let slack = (self.awaited / SLACK).min(2 * READ_SIZE.0);
        message.shrink_to(sealed(self.awaited) + slack);
        (self.joined, self.awaited) = (0, 0);
        (self.plain, self.plain_end) = (0, self.plain_end - passed);
        self.taken -= passed;
        self.spare.lend(message).slice(LENGTH..)
    }

    /// Gives memory back while nothing is waiting to be read.
    pub(crate) fn rest(&mut self) {
        self.compact();
        shrink(&mut self.bytes);
        self.spare.rest();
    }

    fn drop_spent(&mut self) {
        if std::mem::take(&mut self.spent) {
            (self.joined, self.awaited) = (0, 0);
        }
    }

    /// Drops what has been passed.
    fn compact(&mut self) {
        self.drop_spent();
        let is_read = self.plain == self.plain_end;
        let keep = if is_read { self.taken } else { self.plain };
        let passed = keep - self.joined;
        if self.joined == 0 || passed >= PASSED {
            self.bytes.drain(self.joined..keep);
            (self.plain, self.plain_end) =
                if is_read { (0, 0) } else { (self.joined, self.plain_end - passed) };
            self.taken -= passed;
        }
    }
}

/// About how many bytes of records hold so many of content.
fn sealed(content: usize) -> usize {
    content + content.div_ceil(MAX_CONTENT) * OVERHEAD
}

fn frame_size(bytes: &[u8], max_frame: usize) -> Result<Option<usize>, ProtocolError> {
    let Some(length) = bytes.first_chunk::<LENGTH>() else { return Ok(None) };
    match u32::from_be_bytes(*length) as usize {
        size if (1..=max_frame).contains(&size) => Ok(Some(size)),
        _ => Err(ProtocolError::FrameLength),
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
