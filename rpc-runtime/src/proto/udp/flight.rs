//! Packets that are under way and not answered: how many there may be, and which are lost.
//!
//! NewReno as RFC 9002, 7 has it: slow start, then a packet more a round trip; halved by loss, at
//! most once a round trip. Only packets that will be answered count: requests and fragments.
//! Replies, acknowledgements and pings are clocked by what they answer.

use std::{collections::VecDeque, time::Instant};

/// What may be under way at first: 32 packets of 1,200 bytes. RFC 6928 gives TCP ten, counted for
/// bulk data behind shallow buffers. Here most packets are requests, at most as many as calls may
/// wait, and a peer shows that it can be reached by a handshake of three such packets before;
/// QUIC's first deployments used 32 too.
const INITIAL_WINDOW: usize = 32 * PACKET;

/// As many bytes as a packet has on a path of which nothing is known.
const PACKET: usize = 1200;

/// The window never closes below this. RFC 9002, 7.2 has two packets; but where half of all is
/// lost, two stay without any answer more often than not, and a timer that doubles each time never
/// recovers. Of four, one is answered in two cases out of three.
const MIN_WINDOW: usize = 4 * PACKET;

/// So many packets may leave however large they are.
const MIN_PACKETS: usize = 2;

/// It never opens beyond this, so that the memory for one connection is bounded.
const MAX_WINDOW: usize = 4 << 20;

/// A packet is lost when one sent this many later has been answered (RFC 9002, 6.1.1).
const PACKET_THRESHOLD: u64 = 3;

/// What a packet under way carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// Frames whose owner waits for an answer.
    Frames,
    Fragment {
        message: u32,
        index: u16,
    },
}

/// A packet under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) number: u64,
    pub(super) sent: Instant,
    pub(super) size: usize,
    pub(super) carried: Carried,
}

#[derive(Debug)]
pub(super) struct Flight {
    /// By number, and so by the time they were sent. `None`: answered, behind one that is not.
    packets: VecDeque<(u64, Option<Packet>)>,
    count: usize,
    bytes: usize,
    window: usize,
    /// Above it, the window grows by a packet a round trip.
    slow_start_ends: usize,
    /// Losses among packets sent before this have been paid for.
    recovery: Option<Instant>,
    /// The latest packet that was answered.
    latest: Option<u64>,
    /// The latest packet that filled the window. Answers to later ones show nothing about the path:
    /// it could have carried more (RFC 9002, 7.8).
    filled: Option<u64>,
    max_packets: usize,
}

impl Flight {
    /// `max_packets`: more must not be under way, or the peer's replay window would refuse those
    /// that are overtaken.
    pub(super) fn new(max_packets: usize) -> Self {
        Self {
            packets: VecDeque::new(),
            count: 0,
            bytes: 0,
            window: INITIAL_WINDOW,
            slow_start_ends: usize::MAX,
            recovery: None,
            latest: None,
            filled: None,
            max_packets: max_packets.max(MIN_PACKETS),
        }
    }

    /// Whether one more packet may leave.
    pub(super) fn has_room(&self) -> bool {
        (self.count < MIN_PACKETS || self.bytes < self.window)
            && self.packets.len() < self.max_packets
    }

    pub(super) fn sent(&mut self, packet: Packet) {
        self.count += 1;
        self.bytes += packet.size;
        self.packets.push_back((packet.number, Some(packet)));
        if !self.has_room() {
            self.filled = Some(packet.number);
        }
    }

    /// The peer has answered this packet. Returns it the first time.
    pub(super) fn answered(&mut self, number: u64) -> Option<Packet> {
        let packet = self.remove(number)?;
        if self.filled >= Some(number) && self.recovery.is_none_or(|since| packet.sent > since) {
            self.grow(packet.size);
        }
        Some(packet)
    }

    /// What was answered shows that packets up to this one, less the threshold, have arrived or
    /// are lost.
    pub(super) fn reached(&mut self, number: u64) {
        self.latest = self.latest.max(Some(number));
    }

    /// Takes one packet out that counts as lost because later ones were answered.
    pub(super) fn next_lost(&mut self, now: Instant) -> Option<Packet> {
        let behind = self.latest?.checked_sub(PACKET_THRESHOLD)?;
        let number = self.oldest()?.number;
        if number > behind { None } else { self.lost(number, now) }
    }

    /// Takes a packet out whose answer did not come in time.
    pub(super) fn lost(&mut self, number: u64, now: Instant) -> Option<Packet> {
        let packet = self.remove(number)?;
        if self.recovery.is_none_or(|since| packet.sent > since) {
            self.recovery = Some(now);
            self.window = (self.window / 2).max(MIN_WINDOW);
            self.slow_start_ends = self.window;
        }
        Some(packet)
    }

    /// Takes a packet out that nobody waits for any more.
    pub(super) fn forget(&mut self, number: u64) {
        self.remove(number);
    }

    /// The packet that has been under way for longest.
    pub(super) fn oldest(&self) -> Option<&Packet> {
        self.packets.front()?.1.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Packet> {
        self.packets.iter().filter_map(|(_, packet)| packet.as_ref())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The path has changed: nothing is known of the new one (RFC 9000, 9.4). What is under way
    /// stays counted.
    pub(super) fn start_over(&mut self) {
        self.window = INITIAL_WINDOW;
        self.slow_start_ends = usize::MAX;
        self.recovery = None;
    }

    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            self.packets = VecDeque::new();
        }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.packets.capacity() * size_of::<(u64, Option<Packet>)>()
    }

    fn remove(&mut self, number: u64) -> Option<Packet> {
        if number < self.packets.front()?.0 {
            return None;
        }
        let at = self.packets.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let packet = self.packets[at].1.take()?;
        self.count -= 1;
        self.bytes -= packet.size;
        // The front is always under way, so that the oldest is at hand.
        while self.packets.front().is_some_and(|(_, packet)| packet.is_none()) {
            self.packets.pop_front();
        }
        Some(packet)
    }

    fn grow(&mut self, answered: usize) {
        let more = if self.window < self.slow_start_ends {
            answered
        } else {
            // A packet more once a whole window was answered.
            (answered * PACKET.max(answered) / self.window).max(1)
        };
        self.window = (self.window + more).min(MAX_WINDOW);
    }
}

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
