//! What a link sends, and in which order.

use std::time::Instant;

use bailiwick_crypto::{PacketError, PacketType, packet::OVERHEAD};

use super::{
    First, LastWord, Link, Report, State, Transmit, failure,
    flight::{Carried, Packet},
};
use crate::proto::udp::outgoing::{Fit, Window};

/// As many bytes leave with one system call, unless a single packet has more: an address family's
/// headers leave room for these in what the kernel takes at once.
pub(crate) const MAX_BATCH: usize = 60_000;

type Sealed<T> = Result<T, PacketError>;

impl Link {
    /// Appends packets for one address to `out`: at most `max_segments`, all of one length but the
    /// last. `None` when nothing may be sent now; until then, call it again.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        max_segments: usize,
    ) -> Option<Transmit> {
        let start = out.len();
        let sealed = match &self.state {
            State::Open => self.transmit(now, out, max_segments),
            State::Ending(_) => self.transmit_last_word(now, out),
            State::Failed(..) | State::Ended => return None,
        };
        match sealed {
            Ok(transmit) => transmit,
            Err(error) => {
                out.truncate(start);
                // What cannot be sealed ends the session; the owner hears of it by its timer.
                let failed = failure(error).unwrap_or_else(|| {
                    super::Failure::silent(super::Disconnected::Protocol(
                        super::ProtocolError::Record,
                    ))
                });
                self.end();
                self.state = State::Failed(failed, now);
                None
            }
        }
    }

    fn transmit(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        max_segments: usize,
    ) -> Sealed<Option<Transmit>> {
        if let Some(transmit) = self.transmit_response(now, out)? {
            return Ok(Some(transmit));
        }
        if let Some(challenge) = self.path.challenge(self.rto(), now) {
            self.seal(PacketType::PathChallenge, &challenge.token, challenge.size, now, out)?;
            return Ok(Some(Transmit { to: challenge.to, segment: challenge.size }));
        }
        if let Some(transmit) = self.transmit_batch(now, out, max_segments)? {
            return Ok(Some(transmit));
        }
        if let Some(probe) = self.mtu.probe(now, self.rtt.rto()) {
            self.seal(PacketType::PathChallenge, &probe.token, probe.size, now, out)?;
            return Ok(Some(Transmit { to: self.peer(), segment: probe.size }));
        }
        Ok(None)
    }

    fn transmit_response(&mut self, now: Instant, out: &mut Vec<u8>) -> Sealed<Option<Transmit>> {
        while let Some(response) = self.responses.pop_front() {
            if self.path.may_answer(response.to, response.size) {
                self.seal(PacketType::PathResponse, &response.token, response.size, now, out)?;
                return Ok(Some(Transmit { to: response.to, segment: response.size }));
            }
        }
        Ok(None)
    }

    /// Packets of one length, and a shorter one at the end: whatever has its turn.
    fn transmit_batch(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        max_segments: usize,
    ) -> Sealed<Option<Transmit>> {
        let start = out.len();
        let (mut segment, mut segments) = (self.mtu.current(), 0);
        loop {
            let before = out.len();
            let is_full = before - start + segment > MAX_BATCH || segments >= max_segments;
            if segments > 0 && is_full || !self.seal_next(segment, now, out)? {
                break;
            }
            let size = out.len() - before;
            if segments > 0 && size < segment {
                break;
            }
            (segment, segments) = (size, segments + 1);
        }
        self.first = match self.first {
            First::Frames => First::Fragments,
            First::Fragments => First::Frames,
        };
        if out.len() == start {
            return Ok(None);
        }
        // Whatever it was, the peer knows that we are here.
        self.silent_until = None;
        Ok(Some(Transmit { to: self.peer(), segment }))
    }

    /// Seals one packet of at most `limit` bytes; whether there was one.
    fn seal_next(&mut self, limit: usize, now: Instant, out: &mut Vec<u8>) -> Sealed<bool> {
        let window = if self.flight.has_room() { Window::Open } else { Window::Closed };
        let is_sealed = match self.first {
            First::Frames => {
                self.seal_frames(window, limit, now, out)? || self.seal_fragment(limit, now, out)?
            }
            First::Fragments => {
                self.seal_fragment(limit, now, out)? || self.seal_frames(window, limit, now, out)?
            }
        };
        Ok(is_sealed || self.seal_ack(limit, now, out)? || self.seal_ping(limit, now, out)?)
    }

    fn seal_frames(
        &mut self,
        window: Window,
        limit: usize,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Sealed<bool> {
        loop {
            let (room, most) = (limit.saturating_sub(OVERHEAD), self.mtu.current() - OVERHEAD);
            match self.outgoing.fit(room, most, window) {
                Fit::Nothing => return Ok(false),
                Fit::Fragments { size } => {
                    let (frame, mut tag) = (self.outgoing.front(size).to_vec(), None);
                    self.outgoing.leave(size, |left| tag = Some(left));
                    self.fragments.push(frame, tag);
                }
                Fit::Frames { size, has_tag, is_full } => {
                    // Packets of one length share a system call: worth a few bytes of padding, if
                    // another fits behind.
                    let is_nearly_full = (size + OVERHEAD) * 8 >= limit * 7;
                    let shares = is_full && is_nearly_full && 2 * limit <= MAX_BATCH;
                    let pad_to = if shares { limit } else { 0 };
                    let start = out.len();
                    let packet = self.packets.seal(
                        PacketType::Data,
                        self.outgoing.front(size),
                        pad_to,
                        now,
                        out,
                    )?;
                    self.counters.sealed += 1;
                    let reports = &mut self.reports;
                    self.outgoing
                        .leave(size, |tag| reports.push_back(Report::Sent { tag, packet }));
                    if has_tag {
                        self.under_way(packet, out.len() - start, Carried::Frames, now);
                    }
                    self.mtu.traffic();
                    return Ok(true);
                }
            }
        }
    }

    fn seal_fragment(&mut self, limit: usize, now: Instant, out: &mut Vec<u8>) -> Sealed<bool> {
        if self.fragments.is_empty() || !self.flight.has_room() {
            return Ok(false);
        }
        let Some(fragment) = self.fragments.next(self.piece(), now) else { return Ok(false) };
        let size = fragment.size + OVERHEAD;
        if size > limit {
            return Ok(false);
        }
        let mut content = std::mem::take(&mut self.content);
        content.clear();
        self.fragments.write(fragment, &mut content);
        let packet = self.seal(PacketType::Fragment, &content, 0, now, out)?;
        self.content = content;
        self.fragments.sent(fragment, packet);
        let (message, index) = (fragment.message, fragment.index);
        self.under_way(packet, size, Carried::Fragment { message, index }, now);
        if self.fragments_due.is_none() {
            self.fragments_due = Some(now + self.fragment_wait());
        }
        self.mtu.traffic();
        Ok(true)
    }

    fn seal_ack(&mut self, limit: usize, now: Instant, out: &mut Vec<u8>) -> Sealed<bool> {
        if self.reassembly.ack_size(now).is_none_or(|size| size + OVERHEAD > limit) {
            return Ok(false);
        }
        let mut content = std::mem::take(&mut self.content);
        content.clear();
        self.reassembly.write_ack(now, &mut content);
        self.seal(PacketType::FragmentAck, &content, 0, now, out)?;
        self.content = content;
        Ok(true)
    }

    fn seal_ping(&mut self, limit: usize, now: Instant, out: &mut Vec<u8>) -> Sealed<bool> {
        if limit < OVERHEAD || !std::mem::take(&mut self.ping_due) {
            return Ok(false);
        }
        self.seal(PacketType::Ping, &[], 0, now, out)?;
        Ok(true)
    }

    /// Before a close, what waits and needs no answer; then the last word, when it is due.
    fn transmit_last_word(&mut self, now: Instant, out: &mut Vec<u8>) -> Sealed<Option<Transmit>> {
        let start = out.len();
        let State::Ending(ending) = &mut self.state else { return Ok(None) };
        if !ending.is_due {
            return Ok(None);
        }
        let word = ending.word;
        if !self.seal_frames(Window::Closed, self.mtu.current(), now, out)? {
            match word {
                LastWord::Close => self.seal(PacketType::Close, &[], 0, now, out)?,
                LastWord::Alert(alert) => {
                    self.seal(PacketType::Alert, &[alert.code()], 0, now, out)?
                }
            };
            if let State::Ending(ending) = &mut self.state {
                ending.said(now);
            }
        }
        Ok(Some(Transmit { to: self.peer(), segment: out.len() - start }))
    }

    fn seal(
        &mut self,
        kind: PacketType,
        content: &[u8],
        pad_to: usize,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Sealed<u64> {
        let number = self.packets.seal(kind, content, pad_to, now, out)?;
        self.counters.sealed += 1;
        Ok(number)
    }

    fn under_way(&mut self, number: u64, size: usize, carried: Carried, now: Instant) {
        self.flight.sent(Packet { number, sent: now, size, carried });
    }
}
