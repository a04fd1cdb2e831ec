//! Frames on their way into records: short ones lie in one buffer, long byte strings stay where they are.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};

use super::output::Output;
use crate::marshal::{BORROW_FROM, Message};

/// Frames that have not been sealed, in the order in which they are.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// What goes before `tail`.
    parts: VecDeque<Bytes>,
    /// Bytes of `parts`.
    ahead: usize,
    tail: Output,
}

impl Frames {
    /// Where short frames are appended.
    #[inline]
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        self.tail.bytes()
    }

    /// Appends what belongs to the frame begun in the tail; short parts are copied.
    #[inline]
    pub(crate) fn push(&mut self, message: &Message) {
        match message {
            Message::Short(bytes) => self.tail().extend_from_slice(bytes),
            Message::Parts(parts) => parts.iter().for_each(|part| self.push_part(part)),
        }
    }

    fn push_part(&mut self, part: &Bytes) {
        if part.len() < BORROW_FROM {
            self.tail().extend_from_slice(part);
        } else {
            self.end_tail();
            self.share(part.clone());
        }
    }

    /// What comes next comes behind the tail. A short one is copied, so that its buffer stays.
    fn end_tail(&mut self) {
        if self.tail.len() >= BORROW_FROM {
            self.freeze();
        } else if !self.tail.is_empty() {
            let short = Bytes::copy_from_slice(self.tail.unsent());
            self.tail.sent(short.len());
            self.share(short);
        }
    }

    /// Appends all of `other`, which is empty then.
    pub(crate) fn append(&mut self, other: &mut Self) {
        if !other.parts.is_empty() {
            self.end_tail();
            other.parts.drain(..).for_each(|part| self.share(part));
            other.ahead = 0;
        }
        let rest = other.tail.unsent();
        if !rest.is_empty() {
            self.tail().extend_from_slice(rest);
            other.tail.sent(rest.len());
        }
    }

    /// What was appended to the tail is shared from now on: all of it, and the size of its buffer, which goes with it.
    pub(crate) fn freeze(&mut self) -> (Bytes, usize) {
        if self.tail.is_empty() {
            return (Bytes::new(), 0);
        }
        let (tail, size) = self.tail.take();
        self.share(tail.clone());
        (tail, size)
    }

    fn share(&mut self, part: Bytes) {
        self.ahead += part.len();
        self.parts.push_back(part);
    }

    /// What is sent next: as much as lies in one piece.
    pub(crate) fn front(&self) -> &[u8] {
        self.parts.front().map_or(self.tail.unsent(), |part| part)
    }

    /// Hands out all that there is, piece by piece; a frame that was appended to the tail lies in one piece.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(&[u8])) {
        while !self.is_empty() {
            let piece = self.front();
            let size = piece.len();
            take(piece);
            self.sent(size);
        }
    }

    /// Drops all.
    pub(crate) fn clear(&mut self) {
        self.parts.clear();
        self.ahead = 0;
        self.tail.sent(self.tail.len());
    }

    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        self.ahead + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `count` bytes off the [`front`](Self::front) have left.
    pub(crate) fn sent(&mut self, count: usize) {
        let Some(part) = self.parts.front_mut() else { return self.tail.sent(count) };
        let count = count.min(part.len());
        self.ahead -= count;
        if count == part.len() {
            self.parts.pop_front();
        } else {
            part.advance(count);
        }
    }

    /// Gives memory back while nothing waits.
    pub(crate) fn rest(&mut self) {
        if self.parts.is_empty() {
            self.parts = VecDeque::new();
        }
        self.tail.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Frames {
        /// All that there is; nothing is left then.
        pub(crate) fn take_all(&mut self) -> Vec<u8> {
            let mut out = Vec::new();
            self.drain(|piece| out.extend_from_slice(piece));
            out
        }
    }

    fn drained(frames: &mut Frames, most: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !frames.is_empty() {
            let before = frames.len();
            let piece = frames.front().len().min(most);
            out.extend_from_slice(&frames.front()[..piece]);
            frames.sent(piece);
            assert_eq!(frames.len(), before - piece);
        }
        out
    }

    fn long(fill: u8) -> Bytes {
        Bytes::from(vec![fill; BORROW_FROM + usize::from(fill)])
    }

    fn mixed() -> (Frames, Vec<u8>) {
        let mut frames = Frames::default();
        frames.tail().extend_from_slice(b"ab");
        frames.push(&Message::Parts(vec![Bytes::from_static(b"c"), long(1), long(2)]));
        frames.push(&Message::Short(b"de".to_vec()));
        frames.push(&Message::Parts(vec![long(3), Bytes::from_static(b"f")]));
        let all = [&b"abc"[..], &long(1), &long(2), b"de", &long(3), b"f"].concat();
        (frames, all)
    }

    #[test]
    fn frames_leave_in_the_order_they_came_in() {
        for most in [1, 1000, usize::MAX] {
            let (mut frames, all) = mixed();
            assert_eq!(frames.len(), all.len());
            assert_eq!(drained(&mut frames, most), all, "pieces of {most}");
        }
        let (mut frames, all) = mixed();
        assert_eq!((frames.take_all(), frames.len()), (all, 0));
    }

    #[test]
    fn long_parts_are_not_copied() {
        let (mut frames, part) = (Frames::default(), long(1));
        frames.push(&Message::Parts(vec![part.clone()]));
        assert_eq!(frames.front().as_ptr(), part.as_ptr());
    }

    #[test]
    fn a_header_before_a_long_part_leaves_the_tail_its_buffer() {
        let mut frames = Frames::default();
        frames.tail().extend_from_slice(b"header");
        let at = frames.tail().as_ptr();
        frames.push(&Message::Parts(vec![long(1)]));
        assert_eq!(frames.tail().as_ptr(), at);
        assert_eq!(frames.take_all(), [b"header", &long(1)[..]].concat());
    }

    #[test]
    fn appended_frames_come_last_and_leave_nothing_behind() {
        let (mut frames, all) = mixed();
        let (mut others, _) = mixed();
        others.sent(2);
        frames.append(&mut others);
        assert!(others.is_empty());
        assert_eq!(drained(&mut frames, 1000), [&all[..], &all[2..]].concat());
    }

    #[test]
    fn a_frozen_tail_is_what_had_not_left_of_it() {
        let mut frames = Frames::default();
        frames.tail().extend_from_slice(b"abcdef");
        frames.sent(2);
        let (tail, size) = frames.freeze();
        assert_eq!(tail, b"cdef"[..]);
        assert!(size >= 6);
        frames.tail().push(b'g');
        assert_eq!(frames.take_all(), b"cdefg");
    }
}
