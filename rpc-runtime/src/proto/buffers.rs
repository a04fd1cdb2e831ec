//! What has been received and not read, and what is to be sent and has not been.

/// How much is read at a time: from a quiet peer, and from one that sends as fast as it is read.
const READ_SIZE: (usize, usize) = (4 * 1024, 64 * 1024);

/// What has left is dropped once it is so many times what has not.
const MOVED: usize = 4;

/// A connection without traffic keeps no more than this in any buffer.
const KEEP: usize = 2 * 1024;

/// Bytes in the order they came. They are read from the front.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    taken: usize,
    /// How much came at once lately.
    lately: usize,
}

impl Input {
    /// Room for the next read, behind what is there. Whoever reads appends to it.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        self.compact();
        self.bytes.reserve((2 * self.lately).clamp(READ_SIZE.0, READ_SIZE.1));
        &mut self.bytes
    }

    /// `count` bytes were appended by one read: the next will have room for twice as much.
    pub(crate) fn arrived(&mut self, count: usize) {
        self.lately = count;
    }

    /// What has not been taken.
    pub(crate) fn unread(&mut self) -> &mut [u8] {
        &mut self.bytes[self.taken..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Drops `count` bytes off the front.
    pub(crate) fn take(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.bytes.len());
    }

    /// Gives memory back while nothing is waiting to be read.
    pub(crate) fn rest(&mut self) {
        self.compact();
        shrink(&mut self.bytes);
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
    }
}

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

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives memory back while nothing is waiting to be sent.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            self.lately = self.bytes.capacity().min(READ_SIZE.1);
            shrink(&mut self.bytes);
        }
    }
}

fn shrink(bytes: &mut Vec<u8>) {
    if bytes.capacity() > KEEP.max(2 * bytes.len()) {
        bytes.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_read_from_the_front_and_keeps_what_is_cut_short() {
        let mut input = Input::default();
        input.room().extend_from_slice(b"abcdef");
        input.take(4);
        input.room().extend_from_slice(b"gh");
        assert_eq!(input.unread(), b"efgh");
    }

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
    fn an_idle_connection_gives_its_buffers_back() {
        let (mut input, mut output) = (Input::default(), Output::default());
        input.room().extend_from_slice(&[0; 70_000]);
        output.bytes().extend_from_slice(&[0; 70_000]);
        input.take(70_000);
        output.sent(70_000);
        input.rest();
        output.rest();
        assert!(input.bytes.capacity() <= KEEP && output.bytes.capacity() <= KEEP);
    }
}
