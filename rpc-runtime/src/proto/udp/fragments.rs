//! Messages on their way out in fragments: those that are lost are sent again, and only those.
//!
//! A message is one frame that fits no packet, with its length field.
//!
//! ```text
//! fragment     = message(4) index(2) count(2) bytes     all but the last of one length
//! fragment_ack = message(4) count(2) bitmap             bit 7 - (index mod 8) of byte index div 8
//! ```

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::error::ProtocolError;

/// Bytes of a fragment in front of its piece of the message.
pub(super) const HEADER: usize = 8;

/// A message has no more fragments.
pub(super) const MAX_COUNT: usize = 1024;

/// A receiver knows the state of so many messages, counted back from the newest.
pub(super) const REMEMBERED: u32 = 64;

/// A receiver holds no more of the messages of one connection, in bytes.
pub(super) const MAX_HELD: usize = 1 << 20;

/// A message of which nothing is acknowledged for so long is given up: its receiver has dropped
/// it by then, or is gone.
const GIVE_UP: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Fragments {
    waiting: VecDeque<(Vec<u8>, Option<u64>)>,
    /// By number.
    open: VecDeque<Message>,
    /// Bytes of the messages in `open`.
    held: usize,
    next_number: u32,
}

#[derive(Debug)]
struct Message {
    number: u32,
    tag: Option<u64>,
    bytes: Vec<u8>,
    /// The length of all pieces but the last.
    piece: usize,
    pieces: Vec<Piece>,
    /// No piece before this one waits.
    cursor: usize,
    missing: usize,
    /// When it began, or pieces were acknowledged last.
    news: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Waiting { sent: Sent },
    UnderWay { packet: u64, sent: Sent },
    Arrived,
}

/// How often a piece was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Never,
    Once,
    Again,
}

/// A fragment that may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) message: u32,
    pub(super) index: u16,
    /// Bytes with the header.
    pub(super) size: usize,
    /// Where its message is among those that are open.
    at: usize,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Delivered(Option<u64>),
    Undelivered(Option<u64>),
}

impl Fragments {
    /// Queues one frame with its length field.
    pub(super) fn push(&mut self, frame: Vec<u8>, tag: Option<u64>) {
        self.waiting.push_back((frame, tag));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.open.is_empty()
    }

    /// Bytes of messages that are not acknowledged.
    pub(super) fn len(&self) -> usize {
        self.held + self.waiting.iter().map(|(bytes, _)| bytes.len()).sum::<usize>()
    }

    pub(super) fn has_tag(&self, tag: u64) -> bool {
        let tag = Some(tag);
        self.waiting.iter().any(|waiting| waiting.1 == tag)
            || self.open.iter().any(|message| message.tag == tag)
    }

    /// The fragment that should leave next. A new message, begun once nothing of the others waits,
    /// is cut into pieces of `piece` bytes.
    pub(super) fn next(&mut self, piece: usize, now: Instant) -> Option<Fragment> {
        loop {
            let next = self.open.iter_mut().enumerate().find_map(|(at, open)| open.next(at));
            if next.is_some() || !self.begin(piece, now) {
                return next;
            }
        }
    }

    /// Appends the fragment's content.
    pub(super) fn write(&self, fragment: Fragment, out: &mut Vec<u8>) {
        let Some(message) = self.open.get(fragment.at) else { return };
        let count = u16::try_from(message.pieces.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&message.number.to_be_bytes());
        out.extend_from_slice(&fragment.index.to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(message.piece(fragment.index.into()).unwrap_or_default());
    }

    /// The fragment has left in this packet.
    pub(super) fn sent(&mut self, fragment: Fragment, packet: u64) {
        if let Some(piece) = self.piece(fragment.message, fragment.index)
            && let Piece::Waiting { sent } = *piece
        {
            let sent = if sent == Sent::Never { Sent::Once } else { Sent::Again };
            *piece = Piece::UnderWay { packet, sent };
        }
    }

    /// The packet with this fragment was lost: it leaves again.
    pub(super) fn lost(&mut self, message: u32, index: u16) {
        if let Some(piece) = self.piece(message, index)
            && let Piece::UnderWay { sent, .. } = *piece
        {
            *piece = Piece::Waiting { sent };
            if let Some(message) = self.open.iter_mut().find(|open| open.number == message) {
                message.cursor = message.cursor.min(index.into());
            }
        }
    }

    /// Takes a fragment_ack. `arrived` is told the packets that were under way with what it names.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::RecordRule`] if it acknowledges what was never sent, or has another form.
    pub(super) fn acknowledged(
        &mut self,
        content: &[u8],
        now: Instant,
        mut arrived: impl FnMut(u64, Sent),
    ) -> Result<Option<Ended>, ProtocolError> {
        let (number, count, bitmap) = split_ack(content).ok_or(ProtocolError::RecordRule)?;
        if number >= self.next_number {
            return Err(ProtocolError::RecordRule);
        }
        let Some(at) = self.open.iter().position(|message| message.number == number) else {
            // It ended here before.
            return Ok(None);
        };
        if count == 0 {
            let tag = self.open[at].tag;
            self.drop_open(
                |message| message.number == number,
                |packet| arrived(packet, Sent::Again),
            );
            return Ok(Some(Ended::Undelivered(tag)));
        }
        let message = &mut self.open[at];
        if count != message.pieces.len() {
            return Err(ProtocolError::RecordRule);
        }
        for (index, piece) in message.pieces.iter_mut().enumerate() {
            if bitmap[index / 8] & (0x80 >> (index % 8)) == 0 || *piece == Piece::Arrived {
                continue;
            }
            match *piece {
                Piece::Waiting { sent: Sent::Never } => return Err(ProtocolError::RecordRule),
                Piece::UnderWay { packet, sent } => arrived(packet, sent),
                Piece::Waiting { .. } | Piece::Arrived => {}
            }
            *piece = Piece::Arrived;
            message.missing -= 1;
            message.news = now;
        }
        if message.missing > 0 {
            return Ok(None);
        }
        self.held -= message.bytes.len();
        let tag = message.tag;
        self.open.remove(at);
        Ok(Some(Ended::Delivered(tag)))
    }

    /// Begins messages anew whose pieces are longer than `piece`: they pass no more. Their numbers
    /// are not used again.
    pub(super) fn cut_anew(&mut self, piece: usize, forget: impl FnMut(u64)) {
        let dropped = self.drop_open(|message| message.piece > piece, forget);
        for message in dropped.into_iter().rev() {
            self.waiting.push_front((message.bytes, message.tag));
        }
    }

    /// Gives up a message of which nothing was acknowledged for too long. To be called until
    /// `None`.
    pub(super) fn give_up(&mut self, now: Instant, forget: impl FnMut(u64)) -> Option<Ended> {
        let is_late = |message: &Message| message.news + GIVE_UP <= now;
        let number = self.open.iter().find(|message| is_late(message))?.number;
        let dropped = self.drop_open(|message| message.number == number, forget);
        Some(Ended::Undelivered(dropped.first()?.tag))
    }

    /// When the next message is given up.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.open.iter().map(|message| message.news + GIVE_UP).min()
    }

    /// Gives memory back while nothing waits.
    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            (self.waiting, self.open) = (VecDeque::new(), VecDeque::new());
        }
    }

    /// Bytes on the heap while nothing waits.
    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.waiting.capacity() * size_of::<(Vec<u8>, Option<u64>)>()
            + self.open.capacity() * size_of::<Message>()
    }

    /// Begins the message that has waited for longest, if the receiver is sure to know of all that
    /// are open then, and to have room for them.
    fn begin(&mut self, piece: usize, now: Instant) -> bool {
        let oldest = self.open.front().map_or(self.next_number, |message| message.number);
        let fits =
            |(bytes, _): &mut (Vec<u8>, _)| self.held == 0 || self.held + bytes.len() <= MAX_HELD;
        // The last number is never used, so that there is always a next one.
        if self.next_number - oldest >= REMEMBERED || self.next_number == u32::MAX {
            return false;
        }
        let Some((bytes, tag)) = self.waiting.pop_front_if(fits) else { return false };
        // At the smallest datagrams the longest message has 906 pieces.
        let piece = piece.max(bytes.len().div_ceil(MAX_COUNT)).max(1);
        let count = bytes.len().div_ceil(piece);
        self.held += bytes.len();
        self.open.push_back(Message {
            number: self.next_number,
            tag,
            bytes,
            piece,
            pieces: vec![Piece::Waiting { sent: Sent::Never }; count],
            cursor: 0,
            missing: count,
            news: now,
        });
        self.next_number += 1;
        true
    }

    fn drop_open(
        &mut self,
        mut is_dropped: impl FnMut(&Message) -> bool,
        mut forget: impl FnMut(u64),
    ) -> Vec<Message> {
        let mut dropped = Vec::new();
        while let Some(at) = self.open.iter().position(&mut is_dropped)
            && let Some(message) = self.open.remove(at)
        {
            for piece in &message.pieces {
                if let Piece::UnderWay { packet, .. } = piece {
                    forget(*packet);
                }
            }
            self.held -= message.bytes.len();
            dropped.push(message);
        }
        dropped
    }

    fn piece(&mut self, message: u32, index: u16) -> Option<&mut Piece> {
        let message = self.open.iter_mut().find(|open| open.number == message)?;
        message.pieces.get_mut(usize::from(index))
    }
}

impl Message {
    /// The first piece that waits; `at` is this message's place.
    fn next(&mut self, at: usize) -> Option<Fragment> {
        let is_done = |piece: &&Piece| !matches!(piece, Piece::Waiting { .. });
        self.cursor += self.pieces[self.cursor..].iter().take_while(is_done).count();
        let bytes = self.piece(self.cursor)?;
        let index = u16::try_from(self.cursor).unwrap_or(u16::MAX);
        Some(Fragment { message: self.number, index, size: HEADER + bytes.len(), at })
    }

    fn piece(&self, index: usize) -> Option<&[u8]> {
        self.bytes.chunks(self.piece).nth(index)
    }
}

/// Message, count and bitmap of a fragment_ack, if it has the form of one.
fn split_ack(content: &[u8]) -> Option<(u32, usize, &[u8])> {
    let (number, rest) = content.split_first_chunk()?;
    let (count, bitmap) = rest.split_first_chunk()?;
    let count = usize::from(u16::from_be_bytes(*count));
    let spare = match (count % 8, bitmap.last()) {
        (0, _) | (_, None) => 0,
        (used, Some(last)) => last << used,
    };
    let is_well_formed = count <= MAX_COUNT && bitmap.len() == count.div_ceil(8) && spare == 0;
    is_well_formed.then_some((u32::from_be_bytes(*number), count, bitmap))
}

#[cfg(test)]
#[path = "fragments_tests.rs"]
mod tests;
