//! Packets on datagrams: what is sealed and opened once the handshake is done.
//!
//! ```text
//! packet = flags(1: 01 KK0000, KK = epoch mod 4) ‖ dcid(8) ‖ pn(8)
//!          ‖ AEAD(key[epoch], nonce(pn), AAD = the 17 bytes before, content ‖ type ‖ 00*)
//! ```
//!
//! Packets may be lost, reordered and repeated; each opens at most once. Numbers go through all key
//! epochs of a connection. What does not open changes nothing and is dropped: an attacker off the
//! path must not be able to end a connection.

mod content;
mod error;
mod key;
mod receiving;
mod sending;
pub mod window;

use std::time::{Duration, Instant};

use crate::aead::TAG;
use crate::handshake::ConnectionId;
use crate::record::{Alert, RecordLimits, Role};
use crate::schedule::TrafficSecrets;
use content::split_inner;
use key::flags;
use receiving::{Receiving, Which};
use sending::Sending;
use window::{ReplayWindow, WindowError};

pub use content::{OpenedPacket, PacketType};
pub use error::PacketError;

/// Bytes in front of the encrypted part: flags, destination id and number.
pub const HEADER: usize = 17;

/// Bytes that a packet adds to its content: header, type and tag.
pub const OVERHEAD: usize = HEADER + 1 + TAG;

/// Longest packet: what UDP over IPv4 carries.
pub const MAX_PACKET: usize = 65_507;

/// Both directions of one connection on datagrams: seals what we send, opens what we receive, and
/// keeps the rules of replay and of key epochs. Closing, alerts and pings are for the caller.
pub struct Packets {
    role: Role,
    limits: RecordLimits,
    local_id: ConnectionId,
    remote_id: ConnectionId,
    sending: Sending,
    receiving: Receiving,
    window: ReplayWindow,
    pto: Duration,
    /// Packets that named one of our keys and did not open under it.
    failures: u64,
    /// The peer was turned away with this; there is nothing else to say.
    refusal: Option<Alert>,
}

impl Packets {
    pub(crate) fn new(
        role: Role,
        secrets: &TrafficSecrets,
        parts: PacketsConfig,
        now: Instant,
    ) -> Self {
        let (send, receive) = match role {
            Role::Initiator => (&secrets.initiator, &secrets.responder),
            Role::Responder => (&secrets.responder, &secrets.initiator),
        };
        let PacketsConfig { limits, local_id, remote_id, replay_slots } = parts;
        Self {
            role,
            limits,
            local_id,
            remote_id,
            sending: Sending::new(send, now),
            receiving: Receiving::new(receive),
            window: ReplayWindow::new(replay_slots, limits.hard_stop()),
            pto: INITIAL_PTO,
            failures: 0,
            refusal: None,
        }
    }

    /// Appends one whole packet to `out`, filled up with zeros (encrypted, behind the type) if it
    /// would have fewer than `pad_to` bytes; the result is its number.
    ///
    /// An initiator starts a new key epoch here when one is due and it has heard the responder in
    /// this one; a responder follows.
    ///
    /// # Errors
    ///
    /// [`PacketError::ContentTooLong`] beyond [`MAX_PACKET`], [`PacketError::Exhausted`] when all
    /// numbers are used, [`PacketError::TooManyFailures`] once the connection has ended by them,
    /// [`PacketError::Refused`] for anything but the alert to a peer that was turned away.
    pub fn seal(
        &mut self,
        kind: PacketType,
        content: &[u8],
        pad_to: usize,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<u64, PacketError> {
        self.check_failures()?;
        self.check_refusal(kind, content)?;
        let len = content.len().saturating_add(OVERHEAD).max(pad_to);
        if len > MAX_PACKET {
            return Err(PacketError::ContentTooLong);
        }
        self.choose_epoch(now)?;
        // Advance before sealing: a failure wastes a number, never repeats a nonce.
        let number = self.sending.advance(len, self.limits.hard_stop())?;

        out.reserve(len);
        let start = out.len();
        out.push(flags(self.sending.epoch()));
        out.extend_from_slice(&self.remote_id);
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(content);
        out.push(kind as u8);
        out.resize(start + len - TAG, 0);
        let (_, packet) = out.split_at_mut(start);
        let (header, inner) = packet.split_at_mut(HEADER);
        match self.sending.key().seal(number, header, inner) {
            Ok(tag) => out.extend_from_slice(&tag),
            Err(_) => {
                // Plaintext must not leave with the buffer.
                out.truncate(start);
                return Err(PacketError::ContentTooLong);
            }
        }
        Ok(number)
    }

    /// Appends the alert to a peer that was turned away; the result is the packet's number. Answer
    /// repeats of its FIN by this, at most four times a second.
    ///
    /// # Errors
    ///
    /// [`PacketError::NotRefused`] if the peer was not turned away, and as [`Packets::seal`].
    pub fn seal_refusal(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<u64, PacketError> {
        let alert = self.refusal.ok_or(PacketError::NotRefused)?;
        self.seal(PacketType::Alert, &[alert.code()], 0, now, out)
    }

    /// Opens one datagram in place.
    ///
    /// # Errors
    ///
    /// [`PacketError`]. Unless [`PacketError::ends_connection`], drop the datagram and go on: nothing
    /// has changed. The datagram's bytes then have no meaning.
    pub fn open<'a>(
        &mut self,
        datagram: &'a mut [u8],
        now: Instant,
    ) -> Result<OpenedPacket<'a>, PacketError> {
        self.check_failures()?;
        if self.refusal.is_some() {
            return Err(PacketError::Refused);
        }
        let len = datagram.len();
        if len < OVERHEAD {
            return Err(PacketError::Malformed);
        }
        let (header, sealed) =
            datagram.split_first_chunk_mut::<HEADER>().ok_or(PacketError::Malformed)?;
        let (inner, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(PacketError::Malformed)?;
        let (first_byte, number) = self.read_header(header)?;

        let highest = self.window.next();
        self.receiving.expire(self.pto.saturating_mul(OLD_KEY_PTOS), now);
        let (which, key) = self
            .receiving
            .select(first_byte, number, highest)
            .filter(|(which, _)| *which != Which::Next || self.may_follow())
            .ok_or(PacketError::NotAuthentic)?;
        if key.open(number, header, inner, tag).is_err() {
            self.failures = self.failures.saturating_add(1);
            self.check_failures()?;
            return Err(PacketError::NotAuthentic);
        }
        self.receiving.opened(which, number, len, highest, now)?;
        self.window.accept(number);

        let (kind, content) = split_inner(inner)?;
        Ok(OpenedPacket { number, is_highest: number >= highest, kind, content })
    }

    /// Sets the probe timeout, the current retransmission timeout. Default: 1 s (RFC 6298, 2.1). The
    /// read key of the previous epoch lives three times as long.
    pub fn set_pto(&mut self, pto: Duration) {
        self.pto = pto;
    }

    /// The id that packets to us carry.
    pub fn local_id(&self) -> ConnectionId {
        self.local_id
    }

    /// The id that packets to the peer carry.
    pub fn remote_id(&self) -> ConnectionId {
        self.remote_id
    }

    /// With which alert the peer was turned away, if it was. Nothing else can be sealed then, and
    /// nothing opened.
    pub fn refusal(&self) -> Option<Alert> {
        self.refusal
    }

    /// Leaves one thing to do: to seal this alert, as often as it is asked for.
    pub(crate) fn end_with(&mut self, alert: Alert) {
        self.refusal = Some(alert);
    }

    fn check_failures(&self) -> Result<(), PacketError> {
        if self.failures >= self.limits.failures {
            return Err(PacketError::TooManyFailures);
        }
        Ok(())
    }

    fn check_refusal(&self, kind: PacketType, content: &[u8]) -> Result<(), PacketError> {
        match self.refusal {
            Some(alert) if kind != PacketType::Alert || content != [alert.code()] => {
                Err(PacketError::Refused)
            }
            _ => Ok(()),
        }
    }

    /// Checks what costs nothing; the result is the first byte and the number.
    fn read_header(&self, header: &[u8; HEADER]) -> Result<(u8, u64), PacketError> {
        let [first_byte, rest @ ..] = header;
        let (dcid, number) = rest.split_first_chunk().ok_or(PacketError::Malformed)?;
        let number = number.first_chunk().ok_or(PacketError::Malformed)?;
        let number = u64::from_be_bytes(*number);
        // 01 KK 0000
        if first_byte & 0b1100_1111 != 0b0100_0000 {
            return Err(PacketError::Malformed);
        }
        if *dcid != self.local_id {
            return Err(PacketError::NotOurs);
        }
        self.window.check(number).map_err(|error| match error {
            WindowError::Seen => PacketError::Replayed,
            WindowError::TooOld => PacketError::TooOld,
            WindowError::BeyondLimit => PacketError::Malformed,
        })?;
        Ok((*first_byte, number))
    }

    /// Only the initiator starts an epoch: if both might, loss would leave one of them deaf for good.
    fn choose_epoch(&mut self, now: Instant) -> Result<(), PacketError> {
        let (ours, theirs) = (self.sending.epoch(), self.receiving.epoch());
        let ratchet = match self.role {
            Role::Initiator => {
                ours == theirs && !self.receiving.usage().is_none() && self.is_due(now)
            }
            Role::Responder => ours < theirs,
        };
        if ratchet { self.sending.ratchet(now) } else { Ok(()) }
    }

    /// Whether either direction's key has reached a threshold.
    fn is_due(&self, now: Instant) -> bool {
        let RecordLimits { records, bytes, age, .. } = self.limits;
        self.sending.usage().has_reached(records, bytes)
            || self.receiving.usage().has_reached(records, bytes)
            || now.saturating_duration_since(self.sending.since()) >= age
    }

    /// Whether the peer may have gone on to the next epoch: an initiator is followed, never led, and
    /// goes on only after it has heard the responder in this one.
    fn may_follow(&self) -> bool {
        match self.role {
            Role::Initiator => self.sending.epoch() > self.receiving.epoch(),
            Role::Responder => self.sending.epoch() == self.receiving.epoch(),
        }
    }
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets")
            .field("local_id", &self.local_id)
            .field("remote_id", &self.remote_id)
            .field("epoch", &self.sending.epoch())
            .field("failures", &self.failures)
            .finish_non_exhaustive()
    }
}

/// What [`Packets`] need beside their keys.
#[derive(Clone, Copy)]
pub(crate) struct PacketsConfig {
    pub(crate) limits: RecordLimits,
    pub(crate) local_id: ConnectionId,
    pub(crate) remote_id: ConnectionId,
    pub(crate) replay_slots: u32,
}

/// Until the round trip is measured (RFC 6298, 2.1).
const INITIAL_PTO: Duration = Duration::from_secs(1);

/// How many probe timeouts the previous read key lives.
const OLD_KEY_PTOS: u32 = 3;
