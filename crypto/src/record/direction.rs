//! One direction of a connection: its current key, and how far it is used.

use std::time::Instant;

use zeroize::Zeroizing;

use super::{RecordError, RecordLimits};
use crate::aead::{Aead as _, Selected};
use crate::schedule;
use crate::secret::Secret;

/// A direction's key epoch: 0 after the handshake, + 1 with each key update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Epoch(u64);

/// The number of a record under its key; it makes the nonce, so it is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sequence(u64);

/// Bytes sealed under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct KeyBytes(u64);

pub(super) struct Direction {
    /// ts[n], from which ts[n + 1] will be made.
    secret: Secret,
    cipher: Selected,
    iv: Zeroizing<[u8; 12]>,
    epoch: Epoch,
    /// The next record's.
    sequence: Sequence,
    bytes: KeyBytes,
    since: Instant,
}

impl Direction {
    pub(super) fn new(secret: Secret, now: Instant) -> Self {
        let (key, iv) = schedule::record_keys(&secret);
        Self {
            secret,
            cipher: Selected::new(key.as_bytes()),
            iv: Zeroizing::new(iv),
            epoch: Epoch(0),
            sequence: Sequence(0),
            bytes: KeyBytes(0),
            since: now,
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn cipher(&self) -> &Selected {
        &self.cipher
    }

    /// Whether the key has reached a threshold.
    pub(super) fn is_due(&self, limits: &RecordLimits, now: Instant) -> bool {
        self.sequence.0 >= limits.records
            || self.bytes.0 >= limits.bytes
            || now.saturating_duration_since(self.since) >= limits.age
    }

    /// The nonce of the next record: iv XOR (0^4 ‖ be64(sequence)).
    pub(super) fn nonce(&self, limits: &RecordLimits) -> Result<[u8; 12], RecordError> {
        if self.sequence.0 >= limits.hard_stop() {
            return Err(RecordError::Exhausted);
        }
        Ok(schedule::nonce(&self.iv, self.sequence.0))
    }

    /// Uses up the next number, for a record of `len` bytes without its header.
    pub(super) fn advance(&mut self, len: u64) -> Result<(), RecordError> {
        let sequence = self.sequence.0.checked_add(1).ok_or(RecordError::Exhausted)?;
        let bytes = self.bytes.0.checked_add(len).ok_or(RecordError::Exhausted)?;
        (self.sequence, self.bytes) = (Sequence(sequence), KeyBytes(bytes));
        Ok(())
    }

    /// Goes on to the next epoch; the secret of the last is erased.
    pub(super) fn ratchet(&mut self, now: Instant) -> Result<(), RecordError> {
        let epoch = self.epoch.0.checked_add(1).ok_or(RecordError::Exhausted)?;
        let secret = schedule::next_traffic_secret(&self.secret);
        *self = Self { epoch: Epoch(epoch), ..Self::new(secret, now) };
        Ok(())
    }
}
