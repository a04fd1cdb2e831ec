//! Frames that wait to leave in data packets, and to which calls they belong.

use std::collections::VecDeque;

use crate::proto::output::Output;

const LENGTH: usize = 4;

/// Whole frames, one behind the other, as they go into packets.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    frames: Output,
    /// Bytes that have left. A position counts from the first byte ever queued.
    left: u64,
    /// Where frames with a tag begin, in order.
    tagged: VecDeque<Tagged>,
}

#[derive(Clone, Copy, Debug)]
struct Tagged {
    position: u64,
    tag: u64,
}

/// Whether frames with a tag may leave: the peer's answers to them make room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    Open,
    Closed,
}

/// A longer frame without a tag is not sent in a data packet although it may fit: such packets are
/// not counted as under way, and the answers to all calls that wait must not be more than the
/// peer's socket holds. As fragments they are counted and acknowledged.
const MAX_UNCOUNTED: usize = 2048;

/// What the next packet can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Nothing,
    Frames {
        /// Bytes of whole frames at the front.
        size: usize,
        has_tag: bool,
        /// More frames wait, and the next did not fit.
        is_full: bool,
    },
    /// The frame at the front has to leave in fragments: it has this many bytes.
    Fragments {
        size: usize,
    },
}

impl Outgoing {
    /// Queues whole frames. With a tag it is one frame.
    pub(super) fn push(&mut self, frames: &[u8], tag: Option<u64>) {
        if let Some(tag) = tag {
            let position = self.left + self.frames.len() as u64;
            self.tagged.push_back(Tagged { position, tag });
        }
        self.frames.bytes().extend_from_slice(frames);
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn has_tag(&self, tag: u64) -> bool {
        self.tagged.iter().any(|tagged| tagged.tag == tag)
    }

    /// How much of what waits fits into a packet with `room` bytes for content, of which none has
    /// more than `most`.
    pub(super) fn fit(&self, room: usize, most: usize, window: Window) -> Fit {
        let waiting = self.frames.unsent();
        let (mut size, mut has_tag, mut is_full) = (0, false, false);
        let mut tagged = self.tagged.iter().peekable();
        while size < waiting.len() {
            let is_tagged =
                tagged.next_if(|next| next.position == self.left + size as u64).is_some();
            if is_tagged && window == Window::Closed {
                break;
            }
            let frame = frame_size(&waiting[size..]);
            let is_long = frame > most || !is_tagged && frame > MAX_UNCOUNTED;
            if is_long && size == 0 {
                return Fit::Fragments { size: frame };
            }
            if is_long || size + frame > room {
                is_full = true;
                break;
            }
            size += frame;
            has_tag |= is_tagged;
        }
        if size == 0 { Fit::Nothing } else { Fit::Frames { size, has_tag, is_full } }
    }

    pub(super) fn front(&self, size: usize) -> &[u8] {
        let waiting = self.frames.unsent();
        &waiting[..size.min(waiting.len())]
    }

    /// Drops `size` bytes off the front, and tells the tags of their frames.
    pub(super) fn leave(&mut self, size: usize, mut told: impl FnMut(u64)) {
        let size = size.min(self.frames.len());
        self.left += size as u64;
        while let Some(next) = self.tagged.pop_front_if(|next| next.position < self.left) {
            told(next.tag);
        }
        self.frames.sent(size);
    }

    /// Gives memory back while nothing waits.
    pub(super) fn rest(&mut self) {
        self.frames.rest();
        if self.tagged.is_empty() {
            self.tagged = VecDeque::new();
        }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.frames.capacity() + self.tagged.capacity() * size_of::<Tagged>()
    }
}

/// The bytes of the frame in front with its length field, which we wrote ourselves. Never zero and
/// never more than there is, whatever is written there.
fn frame_size(frames: &[u8]) -> usize {
    let length = frames.first_chunk::<LENGTH>().map_or(0, |length| u32::from_be_bytes(*length));
    (LENGTH + length as usize).min(frames.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(fill: u8, size: usize) -> Vec<u8> {
        let mut frame = u32::try_from(size - LENGTH).unwrap().to_be_bytes().to_vec();
        frame.resize(size, fill);
        frame
    }

    fn leave(outgoing: &mut Outgoing, size: usize) -> (Vec<u8>, Vec<u64>) {
        let (bytes, mut tags) = (outgoing.front(size).to_vec(), Vec::new());
        outgoing.leave(size, |tag| tags.push(tag));
        (bytes, tags)
    }

    #[test]
    fn frames_share_a_packet_until_the_next_does_not_fit() {
        let mut outgoing = Outgoing::default();
        let frames: Vec<_> = (0..5).map(|fill| frame(fill, 100)).collect();
        outgoing.push(&frames[..4].concat(), None);
        outgoing.push(&frames[4], Some(9));
        let fit = outgoing.fit(399, 399, Window::Open);
        assert_eq!(fit, Fit::Frames { size: 300, has_tag: false, is_full: true });
        assert_eq!(leave(&mut outgoing, 300), (frames[..3].concat(), vec![]));
        let fit = outgoing.fit(399, 399, Window::Open);
        assert_eq!(fit, Fit::Frames { size: 200, has_tag: true, is_full: false });
        assert_eq!(leave(&mut outgoing, 200), (frames[3..].concat(), vec![9]));
        assert_eq!(outgoing.fit(399, 399, Window::Open), Fit::Nothing);
        assert_eq!(outgoing.len(), 0);
    }

    #[test]
    fn a_frame_with_a_tag_waits_for_the_window_and_those_before_it_do_not() {
        let mut outgoing = Outgoing::default();
        outgoing.push(&frame(0, 50), None);
        outgoing.push(&frame(1, 50), Some(1));
        let fit = outgoing.fit(1000, 1000, Window::Closed);
        assert_eq!(fit, Fit::Frames { size: 50, has_tag: false, is_full: false });
        leave(&mut outgoing, 50);
        assert_eq!(outgoing.fit(1000, 1000, Window::Closed), Fit::Nothing);
        let fit = outgoing.fit(1000, 1000, Window::Open);
        assert_eq!(fit, Fit::Frames { size: 50, has_tag: true, is_full: false });
    }

    #[test]
    fn a_frame_longer_than_a_packet_is_told_once_it_is_at_the_front() {
        let mut outgoing = Outgoing::default();
        outgoing.push(&frame(0, 50), None);
        outgoing.push(&frame(1, 500), Some(1));
        let fit = outgoing.fit(400, 400, Window::Open);
        assert_eq!(fit, Fit::Frames { size: 50, has_tag: false, is_full: true });
        leave(&mut outgoing, 50);
        assert_eq!(outgoing.fit(400, 400, Window::Open), Fit::Fragments { size: 500 });
    }

    #[test]
    fn a_frame_that_fits_the_next_packet_waits_for_it() {
        let mut outgoing = Outgoing::default();
        outgoing.push(&frame(0, 500), None);
        assert_eq!(outgoing.fit(400, 600, Window::Open), Fit::Nothing);
    }

    #[test]
    fn a_long_answer_leaves_in_fragments_though_it_fits_and_a_request_does_not() {
        let mut outgoing = Outgoing::default();
        outgoing.push(&frame(0, MAX_UNCOUNTED), None);
        outgoing.push(&frame(0, MAX_UNCOUNTED + 1), None);
        outgoing.push(&frame(0, MAX_UNCOUNTED + 1), Some(1));
        let fit = outgoing.fit(60_000, 60_000, Window::Open);
        assert_eq!(fit, Fit::Frames { size: MAX_UNCOUNTED, has_tag: false, is_full: true });
        leave(&mut outgoing, MAX_UNCOUNTED);
        let size = MAX_UNCOUNTED + 1;
        assert_eq!(outgoing.fit(60_000, 60_000, Window::Open), Fit::Fragments { size });
        leave(&mut outgoing, size);
        let fit = outgoing.fit(60_000, 60_000, Window::Open);
        assert_eq!(fit, Fit::Frames { size, has_tag: true, is_full: false });
    }

    #[test]
    fn an_idle_connection_gives_its_memory_back() {
        let mut outgoing = Outgoing::default();
        outgoing.push(&frame(0, 50_000), Some(1));
        leave(&mut outgoing, 50_000);
        outgoing.rest();
        assert_eq!(outgoing.tagged.capacity(), 0);
    }
}
