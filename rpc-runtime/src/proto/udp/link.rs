//! One session over UDP, as either end sees it: frames go in and out, and what is between is lost,
//! repeated and reordered.
//!
//! A link retransmits fragments and nothing else. Whether a call is sent again is its owner's to
//! decide, who is told which packet carried it and which packets are lost.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick_crypto::{
    Alert, ConnectionId, DatagramSession, PacketError, Packets, packet::OVERHEAD,
};

use super::{
    flight::{self, Carried, Flight},
    fragments::{self, Ended, Fragments},
    mtu::{BASE, Mtu},
    outgoing::Outgoing,
    path::Path,
    reassembly::{Reassembly, ReassemblyPool},
    rtt::Rtt,
};
use crate::{
    config::Limits,
    error::{Disconnected, ProtocolError},
    proto::{frame::FrameTooLong, session::Failure},
};

mod ending;
mod receive;
mod transmit;

use ending::{LastWord, State};
#[cfg_attr(not(feature = "net"), allow(unused_imports))]
pub(crate) use transmit::MAX_BATCH;

/// Bytes of a frame's length field.
const LENGTH: usize = 4;

/// A packet whose owner has said nothing about it for so long is no longer counted as under way:
/// it is longer than the longest wait for an answer.
const ABANDONED: Duration = Duration::from_secs(5);

/// The timer of fragments doubles no further: a message lives for seconds only, and by then no more
/// than the smallest window leaves each time.
const MAX_DOUBLINGS: u32 = 3;

/// So many challenges of the peer wait for our response; further ones are dropped.
const MAX_RESPONSES: usize = 4;

pub(crate) struct Link {
    packets: Packets,
    state: State,
    path: Path,
    mtu: Mtu,
    rtt: Rtt,
    flight: Flight,
    outgoing: Outgoing,
    fragments: Fragments,
    /// When fragments under way count as lost (RFC 6298, 5), and how often they have in a row.
    fragments_due: Option<Instant>,
    timeouts: u32,
    reassembly: Reassembly,
    responses: VecDeque<Response>,
    ping_due: bool,
    first: First,
    reports: VecDeque<Report>,
    /// Where a packet's content is put together.
    content: Vec<u8>,
    /// The longest frame that we accept.
    max_frame: usize,
    /// The longest frame that the peer accepts.
    max_message: usize,
    idle_timeout: Duration,
    keepalive: Duration,
    last_received: Instant,
    /// When the peer has waited for anything from us for the keepalive time.
    silent_until: Option<Instant>,
    counters: Counters,
}

/// Where packets go that were put into the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transmit {
    pub(crate) to: SocketAddr,
    /// The length of each packet; the last may be shorter.
    pub(crate) segment: usize,
}

/// What a link tells the owner of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Report {
    /// The frame with this tag has left in this packet.
    Sent { tag: u64, packet: u64 },
    /// The frame with this tag left in fragments, and all have arrived.
    Delivered { tag: u64 },
    /// The frame with this tag left in fragments, and the peer has dropped it or is silent.
    Undelivered { tag: u64 },
    /// Packets sent later were answered, and this one was not.
    Lost { packet: u64 },
}

/// What a link has seen, for tests and traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) opened: u64,
    /// Packets that came again or were too old to tell.
    pub(crate) replayed: u64,
    /// Datagrams that did not open.
    pub(crate) failed: u64,
    pub(crate) sealed: u64,
    /// Packets that were answered by nothing.
    pub(crate) lost: u64,
}

/// A challenge to be answered.
#[derive(Clone, Copy, Debug)]
struct Response {
    to: SocketAddr,
    token: [u8; 8],
    size: usize,
}

/// What has its turn first in the next batch, so that neither starves the other.
#[derive(Clone, Copy, Debug)]
enum First {
    Frames,
    Fragments,
}

impl Link {
    /// `local_mtu`: the longest content of a datagram that the local interface carries, if that is
    /// known. `pool` bounds the messages of all links that share it.
    pub(crate) fn new(
        session: DatagramSession,
        limits: &Limits,
        pool: &Arc<ReassemblyPool>,
        peer: SocketAddr,
        local_mtu: Option<u16>,
        now: Instant,
    ) -> Self {
        let theirs = session.peer_params;
        let rtt = Rtt::new(limits);
        let mut packets = session.packets;
        packets.set_pto(rtt.rto());
        // What fits the smallest packet needs no fragments.
        let unfragmented = BASE - OVERHEAD;
        let reassembled = (theirs.max_reassembly as usize).max(unfragmented) - LENGTH;
        Self {
            packets,
            state: State::Open,
            path: Path::new(peer),
            mtu: Mtu::new(peer, local_mtu, now),
            rtt,
            flight: Flight::new((theirs.replay_slots as usize).min(MAX_UNDER_WAY)),
            outgoing: Outgoing::default(),
            fragments: Fragments::default(),
            fragments_due: None,
            timeouts: 0,
            reassembly: Reassembly::new(limits.max_message_udp as usize, Arc::clone(pool)),
            responses: VecDeque::new(),
            ping_due: false,
            first: First::Frames,
            reports: VecDeque::new(),
            content: Vec::new(),
            max_frame: limits.max_frame as usize,
            max_message: reassembled.min(theirs.max_frame as usize),
            idle_timeout: limits.idle_timeout.min(theirs.idle_timeout),
            keepalive: limits.keepalive,
            last_received: now,
            silent_until: None,
            counters: Counters::default(),
        }
    }

    /// Queues whole frames with their length fields; with a tag it is one frame. Frames with a tag
    /// wait while too much is under way that is not answered; others are answers themselves and
    /// leave at once.
    ///
    /// # Errors
    ///
    /// [`FrameTooLong`] if the peer does not take a frame of this length; nothing is queued.
    pub(crate) fn send(&mut self, frames: &[u8], tag: Option<u64>) -> Result<(), FrameTooLong> {
        let longest = longest_frame(frames);
        if longest > self.max_message {
            return Err(FrameTooLong { size: longest, limit: self.max_message });
        }
        if self.state.is_open() {
            self.outgoing.push(frames, tag);
        }
        Ok(())
    }

    /// Queues one frame to leave in fragments, however short it is: each is acknowledged by the peer,
    /// which data packets are only by answers to what they carry.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub(crate) fn send_in_fragments(&mut self, frame: &[u8], tag: u64) -> Result<(), FrameTooLong> {
        let size = frame.len().saturating_sub(LENGTH);
        if size > self.max_message {
            return Err(FrameTooLong { size, limit: self.max_message });
        }
        if self.state.is_open() {
            self.fragments.push(frame.to_vec(), Some(tag));
        }
        Ok(())
    }

    /// Whether a data packet carries a frame of this length, its length field included, on any path.
    pub(crate) fn fits_any_path(frame: usize) -> bool {
        frame + OVERHEAD <= BASE
    }

    /// Whether a data packet carries such a frame on the path as it is now.
    pub(crate) fn fits_this_path(&self, frame: usize) -> bool {
        frame + OVERHEAD <= self.mtu.current()
    }

    /// Whether the frame with this tag waits here, or has fragments that are not acknowledged.
    pub(crate) fn is_sending(&self, tag: u64) -> bool {
        self.outgoing.has_tag(tag) || self.fragments.has_tag(tag)
    }

    /// The longest frame that the peer takes, without its length field.
    pub(crate) fn max_message(&self) -> usize {
        self.max_message
    }

    /// Bytes of frames that have not left, or have left in fragments that are not acknowledged.
    pub(crate) fn unsent(&self) -> usize {
        self.outgoing.len() + self.fragments.len()
    }

    /// What has happened to frames with tags, in order.
    pub(crate) fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// The peer has answered what went in this packet: it is no longer under way, and packets
    /// before it are judged by it.
    pub(crate) fn answered(&mut self, packet: u64, now: Instant) {
        if let Some(packet) = self.flight.answered(packet) {
            self.mtu.passed(packet.size);
            self.flight.reached(packet.number);
            self.detect_losses(now);
        }
    }

    /// What went in this packet was not answered in time: it is no longer under way.
    pub(crate) fn timed_out(&mut self, packet: u64, now: Instant) {
        if let Some(packet) = self.flight.lost(packet, now) {
            self.lost(packet, now);
        }
    }

    pub(crate) fn sample_rtt(&mut self, rtt: Duration) {
        self.rtt.sample(rtt);
        self.packets.set_pto(self.rtt.rto());
    }

    pub(crate) fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    pub(crate) fn rto(&self) -> Duration {
        self.rtt.rto()
    }

    /// The operating system refused a datagram of this length (`EMSGSIZE`).
    pub(crate) fn too_big(&mut self, size: usize, now: Instant) {
        if self.mtu.too_big(size, now) {
            self.narrowed();
        }
    }

    /// Sends a packet that says that we are here, and nothing else.
    pub(crate) fn ping(&mut self) {
        self.ping_due = true;
    }

    /// What the peer's packets carry to be ours.
    pub(crate) fn id(&self) -> ConnectionId {
        self.packets.local_id()
    }

    /// Where the peer has shown to be.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.path.peer()
    }

    pub(crate) fn last_received(&self) -> Instant {
        self.last_received
    }

    /// The longest datagram that is sent now.
    pub(crate) fn mtu(&self) -> usize {
        self.mtu.current()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// When [`Link::handle_timeout`] and then [`Link::poll_transmit`] want to be called.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if !self.state.is_open() {
            return self.state.next_timeout();
        }
        let abandoned = self.flight.oldest().map(|packet| packet.sent + ABANDONED);
        let idle = Some(self.last_received + self.idle_timeout);
        [
            idle,
            self.silent_until,
            self.fragments_due,
            abandoned,
            self.reassembly.next_timeout(),
            self.fragments.next_timeout(),
            self.path.next_timeout(),
            self.mtu.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Lets happen what was due by now.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the session ended: by silence, or because no packet can be sealed any more.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Failure> {
        self.state.handle_timeout(now)?;
        if !self.state.is_open() {
            return Ok(());
        }
        if self.last_received + self.idle_timeout <= now {
            self.end();
            return Err(Failure::silent(Disconnected::Idle(self.idle_timeout)));
        }
        if self.silent_until.is_some_and(|until| until <= now) {
            self.silent_until = None;
            self.ping_due = true;
        }
        self.time_out_packets(now);
        self.reassembly.handle_timeout(now);
        self.path.handle_timeout(now);
        self.mtu.handle_timeout(now);
        Ok(())
    }

    /// Gives memory back while nothing is under way.
    pub(crate) fn rest(&mut self) {
        self.outgoing.rest();
        self.fragments.rest();
        self.reassembly.rest();
        self.flight.rest();
        self.content = Vec::new();
        if self.reports.is_empty() {
            self.reports = VecDeque::new();
        }
        if self.responses.is_empty() {
            self.responses = VecDeque::new();
        }
    }

    /// Bytes on the heap, those of the packet layer left out.
    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        self.outgoing.heap()
            + self.flight.heap()
            + self.fragments.heap()
            + self.reassembly.heap()
            + self.content.capacity()
            + self.reports.capacity() * size_of::<Report>()
            + self.responses.capacity() * size_of::<Response>()
    }

    fn detect_losses(&mut self, now: Instant) {
        while let Some(packet) = self.flight.next_lost(now) {
            if packet.carried == Carried::Frames {
                self.reports.push_back(Report::Lost { packet: packet.number });
            }
            self.lost(packet, now);
        }
    }

    /// Fragments by their own timer (RFC 6298, 5.4 to 5.7), and what nobody asked about.
    fn time_out_packets(&mut self, now: Instant) {
        let wait = self.fragment_wait();
        let is_due = self.fragments_due.is_some_and(|due| due <= now);
        let is_late = |packet: &flight::Packet| {
            let is_fragment = packet.carried != Carried::Frames;
            packet.sent + ABANDONED <= now || is_fragment && is_due && packet.sent + wait <= now
        };
        let late = |packet: &&flight::Packet| is_late(packet);
        let late: Vec<u64> = self.flight.iter().filter(late).map(|packet| packet.number).collect();
        for number in late {
            self.timed_out(number, now);
        }
        if is_due {
            self.timeouts = self.timeouts.saturating_add(1);
            self.fragments_due = None;
            self.watch_fragments(now);
        }
        while let Some(ended) = self.fragments.give_up(now, |packet| self.flight.forget(packet)) {
            self.report_message(ended);
        }
    }

    /// Starts the timer of fragments if some are under way.
    fn watch_fragments(&mut self, now: Instant) {
        let is_fragment = |packet: &flight::Packet| packet.carried != Carried::Frames;
        if self.fragments_due.is_none() && self.flight.iter().any(is_fragment) {
            self.fragments_due = Some(now + self.fragment_wait());
        }
    }

    fn fragment_wait(&self) -> Duration {
        // In the middle of the jitter: one timer for all fragments of a link keeps no step with
        // those of others.
        self.rtt.backoff(self.timeouts.min(MAX_DOUBLINGS), 1 << 31)
    }

    fn lost(&mut self, packet: flight::Packet, now: Instant) {
        self.counters.lost += 1;
        if let Carried::Fragment { message, index } = packet.carried {
            self.fragments.lost(message, index);
        }
        if self.mtu.lost(packet.size, now) {
            self.narrowed();
        }
    }

    /// Datagrams have become shorter: fragments that fit no more are cut anew.
    fn narrowed(&mut self) {
        let piece = self.piece();
        self.fragments.cut_anew(piece, |packet| self.flight.forget(packet));
    }

    /// How much of a message fits into a fragment now.
    fn piece(&self) -> usize {
        self.mtu.current() - OVERHEAD - fragments::HEADER
    }

    fn report_message(&mut self, ended: Ended) {
        let report = match ended {
            Ended::Delivered(tag) => tag.map(|tag| Report::Delivered { tag }),
            Ended::Undelivered(tag) => tag.map(|tag| Report::Undelivered { tag }),
        };
        self.reports.extend(report);
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.peer())
            .field("packets", &self.packets)
            .field("state", &self.state)
            .field("mtu", &self.mtu())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Packets under way at the most, however wide the peer's replay window.
const MAX_UNDER_WAY: usize = 1024;

/// The length of the longest of these frames, which we wrote ourselves, without its length field.
fn longest_frame(mut frames: &[u8]) -> usize {
    let mut longest = 0;
    while let Some((length, rest)) = frames.split_first_chunk::<LENGTH>() {
        let length = u32::from_be_bytes(*length) as usize;
        longest = longest.max(length);
        frames = rest.get(length..).unwrap_or_default();
    }
    longest
}

/// What an error of the packet layer means for the session, if it ends by it.
fn failure(error: PacketError) -> Option<Failure> {
    if !error.ends_connection() {
        return None;
    }
    let alert = error.alert();
    let why = match alert {
        None => ProtocolError::Record,
        Some(_) => ProtocolError::RecordRule,
    };
    Some(Failure { why: Disconnected::Protocol(why), alert })
}
