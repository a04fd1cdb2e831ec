//! Messages that are put together from fragments.
//!
//! Only authentic fragments come here, and still nothing they claim is believed: memory grows with
//! the bytes that came, has a bound for each connection and one for all of them, and a fragment
//! that disagrees with its message kills it.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::fragments::{HEADER, MAX_COUNT, MAX_HELD, REMEMBERED};
use crate::error::ProtocolError;

/// A message of which nothing new comes for so long is dropped.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many fragments are acknowledged at once, whatever the time.
const FRAGMENTS_PER_ACK: u8 = 8;

/// Memory for the messages of all connections of an endpoint.
#[derive(Debug)]
pub(crate) struct ReassemblyPool {
    used: AtomicUsize,
    limit: usize,
}

impl ReassemblyPool {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit })
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let sum = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
    }
}

/// What one message has of the pool.
#[derive(Debug)]
struct Share {
    pool: Arc<ReassemblyPool>,
    bytes: usize,
}

impl Share {
    fn take(&mut self, bytes: usize) -> bool {
        let taken = self.pool.take(bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(super) struct Reassembly {
    open: Vec<Message>,
    /// Bytes of the messages in `open`.
    held: usize,
    /// One above the highest message number seen. It and the 63 below it are remembered.
    next_number: u32,
    /// Of those that have ended, by their number modulo 64: how many fragments they had, 0 if they
    /// were killed.
    ended: [Option<u16>; REMEMBERED as usize],
    /// Whose acknowledgement is due, by their number modulo 64.
    due: u64,
    due_at: Option<Instant>,
    /// Fragments since the last acknowledgement.
    fragments: u8,
    max_message: usize,
    pool: Arc<ReassemblyPool>,
}

/// A message of which fragments are here.
#[derive(Debug)]
struct Message {
    number: u32,
    count: u16,
    /// The length of all pieces but the last, once one is here.
    piece: Option<usize>,
    /// All pieces but the last, in the order in which they came, and their indices.
    body: Vec<u8>,
    order: Vec<u16>,
    last: Option<Vec<u8>>,
    newest_index: u16,
    newest: Instant,
    share: Share,
}

/// What is known of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Older than the latest 64: nothing is known.
    Forgotten,
    Ended,
    /// At this place among those that are open.
    Open(usize),
    New,
}

/// What a fragment did to its message.
enum Step {
    /// It was here before.
    Repeated,
    Stored,
    Complete,
    /// It disagrees, or there is no room for it.
    Kill,
}

impl Reassembly {
    /// `max_message`: the longest message that we have told the peer we put together.
    pub(super) fn new(max_message: usize, pool: Arc<ReassemblyPool>) -> Self {
        Self {
            open: Vec::new(),
            held: 0,
            next_number: 0,
            ended: [None; REMEMBERED as usize],
            due: 0,
            due_at: None,
            fragments: 0,
            max_message,
            pool,
        }
    }

    /// Takes a fragment; the result is a message that it completes. It is acknowledged after
    /// `delay` at the latest.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::RecordRule`] for what is no fragment.
    pub(super) fn receive(
        &mut self,
        content: &[u8],
        delay: Duration,
        now: Instant,
    ) -> Result<Option<Vec<u8>>, ProtocolError> {
        let fragment = Fragment::parse(content).ok_or(ProtocolError::RecordRule)?;
        let at = match self.state(fragment.number) {
            State::Forgotten => return Ok(None),
            State::Ended => {
                self.acknowledge(fragment.number, now);
                return Ok(None);
            }
            State::Open(at) => at,
            State::New => self.begin(&fragment, now),
        };
        let held_by_others = self.held - self.open[at].len();
        let message = &mut self.open[at];
        let is_next = fragment.index == message.newest_index.wrapping_add(1);
        let step = message.take(&fragment, self.max_message.min(MAX_HELD - held_by_others), now);
        self.held = held_by_others + message.len();
        match step {
            Step::Stored if is_next && self.fragments + 1 < FRAGMENTS_PER_ACK => {
                self.fragments += 1;
                self.acknowledge(fragment.number, now + delay);
            }
            Step::Stored | Step::Repeated => self.acknowledge(fragment.number, now),
            Step::Kill => {
                self.end(at, 0);
                self.acknowledge(fragment.number, now);
            }
            Step::Complete => {
                let message = self.end(at, fragment.count);
                self.acknowledge(fragment.number, now);
                return Ok(Some(message.join()));
            }
        }
        Ok(None)
    }

    /// The length of the next acknowledgement, if one is due.
    pub(super) fn ack_size(&self, now: Instant) -> Option<usize> {
        let count = self.due_ack(now)?.1;
        Some(ACK_HEADER + usize::from(count).div_ceil(8))
    }

    /// Appends the next acknowledgement, if one is due: it counts as sent.
    pub(super) fn write_ack(&mut self, now: Instant, out: &mut Vec<u8>) {
        let Some((number, count)) = self.due_ack(now) else { return };
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        let bitmap = out.len();
        out.resize(bitmap + usize::from(count).div_ceil(8), 0);
        let bitmap = &mut out[bitmap..];
        let mut set = |index: u16| bitmap[usize::from(index / 8)] |= 0x80 >> (index % 8);
        match self.open.iter().find(|message| message.number == number) {
            Some(message) => {
                message.order.iter().for_each(|index| set(*index));
                if message.last.is_some() {
                    set(count - 1);
                }
            }
            None => (0..count).for_each(set),
        }
        self.due &= !bit(number);
        if self.due == 0 {
            self.due_at = None;
            self.fragments = 0;
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let patience = self.open.iter().map(|message| message.newest + PATIENCE).min();
        self.due_at.into_iter().chain(patience).min()
    }

    /// Drops messages of which nothing new has come for too long.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(at) = self.open.iter().position(|message| message.newest + PATIENCE <= now) {
            self.end(at, 0);
        }
    }

    /// Drops what is half here, and owes no more acknowledgements.
    pub(super) fn clear(&mut self) {
        (self.open, self.held, self.due, self.due_at) = (Vec::new(), 0, 0, None);
    }

    /// Gives memory back while no message is half here.
    pub(super) fn rest(&mut self) {
        if self.open.is_empty() {
            self.open = Vec::new();
        }
    }

    /// Bytes on the heap while nothing is half here.
    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.open.capacity() * size_of::<Message>()
    }

    fn state(&self, number: u32) -> State {
        if number >= self.next_number {
            return State::New;
        }
        if number < self.next_number.saturating_sub(REMEMBERED) {
            return State::Forgotten;
        }
        if self.ended[slot(number)].is_some() {
            return State::Ended;
        }
        match self.open.iter().position(|message| message.number == number) {
            Some(at) => State::Open(at),
            None => State::New,
        }
    }

    /// Begins a message, and forgets those that are no longer among the latest.
    fn begin(&mut self, fragment: &Fragment<'_>, now: Instant) -> usize {
        let next = fragment.number + 1;
        if next > self.next_number {
            let first_new = self.next_number.max(next.saturating_sub(REMEMBERED));
            for number in first_new..next {
                self.ended[slot(number)] = None;
                self.due &= !bit(number);
            }
            self.next_number = next;
            let forgotten = next.saturating_sub(REMEMBERED);
            self.open.retain(|message| message.number >= forgotten);
            self.held = self.open.iter().map(Message::len).sum();
        }
        self.open.push(Message {
            number: fragment.number,
            count: fragment.count,
            piece: None,
            body: Vec::new(),
            order: Vec::new(),
            last: None,
            newest_index: u16::MAX,
            newest: now,
            share: Share { pool: Arc::clone(&self.pool), bytes: 0 },
        });
        self.open.len() - 1
    }

    fn end(&mut self, at: usize, count: u16) -> Message {
        let message = self.open.swap_remove(at);
        self.held -= message.len();
        self.ended[slot(message.number)] = Some(count);
        message
    }

    fn acknowledge(&mut self, number: u32, at: Instant) {
        self.due |= bit(number);
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }

    /// Number and count of the next acknowledgement, if it is time for one.
    fn due_ack(&self, now: Instant) -> Option<(u32, u16)> {
        if self.due == 0 || self.due_at? > now {
            return None;
        }
        let oldest = self.next_number.saturating_sub(REMEMBERED);
        let number = (oldest..self.next_number).find(|number| self.due & bit(*number) != 0)?;
        let open = self.open.iter().find(|message| message.number == number);
        Some((number, open.map_or(self.ended[slot(number)].unwrap_or(0), |open| open.count)))
    }
}

impl Message {
    /// Bytes that are here.
    fn len(&self) -> usize {
        self.body.len() + self.last.as_ref().map_or(0, Vec::len)
    }

    fn take(&mut self, fragment: &Fragment<'_>, max_message: usize, now: Instant) -> Step {
        let &Fragment { index, count, bytes, .. } = fragment;
        if count != self.count {
            return Step::Kill;
        }
        let is_last = index == count - 1;
        let here = if is_last { self.last.as_deref() } else { self.find(index) };
        if let Some(here) = here {
            return if here == bytes { Step::Repeated } else { Step::Kill };
        }
        let piece = if is_last { self.piece } else { Some(*self.piece.get_or_insert(bytes.len())) };
        let last = if is_last { Some(bytes.len()) } else { self.last.as_ref().map(Vec::len) };
        let disagrees = match piece {
            Some(piece) => {
                (!is_last && bytes.len() != piece) || last.is_some_and(|last| last > piece)
            }
            None => false,
        };
        // The least that the message has, by what is known of it.
        let least = piece.unwrap_or(1) * usize::from(count - 1) + last.unwrap_or(1);
        if disagrees || least > max_message || !self.take_share(bytes.len()) {
            return Step::Kill;
        }
        (self.newest, self.newest_index) = (now, index);
        if is_last {
            self.last = Some(bytes.to_vec());
        } else {
            self.append(bytes, piece.unwrap_or(bytes.len()) * usize::from(count));
            self.order.push(index);
        }
        if self.order.len() + 1 == usize::from(count) && self.last.is_some() {
            Step::Complete
        } else {
            Step::Stored
        }
    }

    /// With its first fragment a message also pays for itself.
    fn take_share(&mut self, bytes: usize) -> bool {
        let itself = if self.share.bytes == 0 { size_of::<Self>() } else { 0 };
        self.share.take(bytes + itself)
    }

    /// Grows to twice the bytes that came, and never beyond what the message has in all.
    fn append(&mut self, bytes: &[u8], most: usize) {
        let needed = self.body.len() + bytes.len();
        if needed > self.body.capacity() {
            let capacity = (2 * needed).min(most.max(needed));
            self.body.reserve_exact(capacity - self.body.len());
        }
        self.body.extend_from_slice(bytes);
    }

    fn find(&self, index: u16) -> Option<&[u8]> {
        let at = self.order.iter().position(|here| *here == index)?;
        self.body.get(self.range(at))
    }

    fn range(&self, at: usize) -> Range<usize> {
        let piece = self.piece.unwrap_or(0);
        at * piece..(at + 1) * piece
    }

    /// The whole message; all pieces are here.
    fn join(mut self) -> Vec<u8> {
        if !self.order.is_sorted() {
            let mut sorted = Vec::with_capacity(self.len());
            let mut places: Vec<usize> = (0..self.order.len()).collect();
            places.sort_unstable_by_key(|at| self.order[*at]);
            for at in places {
                sorted.extend_from_slice(&self.body[self.range(at)]);
            }
            self.body = sorted;
        }
        self.body.extend_from_slice(self.last.as_deref().unwrap_or_default());
        self.body
    }
}

struct Fragment<'a> {
    number: u32,
    index: u16,
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn parse(content: &'a [u8]) -> Option<Self> {
        let (header, bytes) = content.split_first_chunk::<HEADER>()?;
        let [n0, n1, n2, n3, i0, i1, c0, c1] = *header;
        let (index, count) = (u16::from_be_bytes([i0, i1]), u16::from_be_bytes([c0, c1]));
        let is_well_formed = index < count && usize::from(count) <= MAX_COUNT && !bytes.is_empty();
        let number = u32::from_be_bytes([n0, n1, n2, n3]);
        // No message has the last number: the next one must have a number too.
        let is_well_formed = is_well_formed && number < u32::MAX;
        is_well_formed.then_some(Self { number, index, count, bytes })
    }
}

/// Message number and count.
const ACK_HEADER: usize = 6;

fn slot(number: u32) -> usize {
    (number % REMEMBERED) as usize
}

fn bit(number: u32) -> u64 {
    1 << (number % REMEMBERED)
}

#[cfg(test)]
#[path = "reassembly_tests.rs"]
mod tests;
