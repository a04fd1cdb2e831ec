//! What is to be sent and has not been.

use std::mem;

use bytes::Bytes;

/// A buffer that was given back is made anew with the memory that the last batch took, but no more than this.
const LATELY: usize = 64 * 1024;

/// What has left is dropped once it is so many times what has not.
const MOVED: usize = 4;

/// A connection without traffic keeps no more than this in any buffer.
const KEEP: usize = 2 * 1024;

/// Bytes on their way out, dropped from the front as they leave.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    sent: usize,
    /// How much memory the last batch took: the next gets it at once, without growing to it.
    lately: usize,
}

impl Output {
    /// Where bytes to send are appended.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.lately);
        }
        &mut self.bytes
    }

    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unsent().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// `count` bytes have left.
    pub(crate) fn sent(&mut self, count: usize) {
        self.sent = (self.sent + count).min(self.bytes.len());
        // A reader that never quite catches up must not keep alive what it has read. What is moved is a
        // quarter of what left at the most.
        if MOVED * self.len() <= self.sent {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// All that has not left, in its own allocation, and the size of that; nothing is left then.
    pub(crate) fn take(&mut self) -> (Bytes, usize) {
        let (bytes, sent) = (mem::take(&mut self.bytes), mem::take(&mut self.sent));
        let size = bytes.capacity();
        (Bytes::from(bytes).slice(sent..), size)
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives memory back while nothing is waiting to be sent.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            self.lately = self.bytes.capacity().min(LATELY);
            shrink(&mut self.bytes);
        }
    }
}

/// Gives back what a connection without traffic does not need.
pub(super) fn shrink(bytes: &mut Vec<u8>) {
    if bytes.capacity() > KEEP.max(2 * bytes.len()) {
        bytes.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_starts_over_once_all_has_left() {
        let mut output = Output::default();
        output.bytes().extend_from_slice(b"abc");
        output.sent(2);
        assert_eq!(output.unsent(), b"c");
        output.sent(1);
        assert!(output.bytes().is_empty());
    }

    #[test]
    fn output_that_is_never_empty_does_not_keep_what_has_left() {
        let mut output = Output::default();
        output.bytes().extend_from_slice(&[0; 100]);
        for round in 0..10_000_u32 {
            output.bytes().extend_from_slice(&round.to_be_bytes());
            output.sent(4);
        }
        assert_eq!(output.len(), 100);
        assert_eq!(output.unsent()[96..], 9_999_u32.to_be_bytes());
        assert!(output.bytes().len() <= (MOVED + 1) * 104);
    }

    #[test]
    fn an_idle_connection_gives_its_buffer_back() {
        let mut output = Output::default();
        output.bytes().extend_from_slice(&[0; 70_000]);
        output.sent(70_000);
        output.rest();
        assert!(output.bytes.capacity() <= KEEP);
    }
}
