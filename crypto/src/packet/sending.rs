//! The sending direction: the next packet's number, and the key of the epoch.

use std::time::Instant;

use super::PacketError;
use super::key::{Key, Usage};
use crate::schedule;
use crate::secret::Secret;

pub(super) struct Sending {
    epoch: u64,
    key: Key,
    /// ts[n + 1]: ts[n] was erased when it was made.
    next_secret: Secret,
    /// The next packet's; it makes the nonce, so it is never used twice.
    number: u64,
    usage: Usage,
    since: Instant,
}

impl Sending {
    pub(super) fn new(secret: &Secret, now: Instant) -> Self {
        Self {
            epoch: 0,
            key: Key::derive(secret),
            next_secret: schedule::next_traffic_secret(secret),
            number: 0,
            usage: Usage::default(),
            since: now,
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Uses up the next number, for a packet of `len` bytes in all.
    pub(super) fn advance(&mut self, len: usize, limit: u64) -> Result<u64, PacketError> {
        let number = self.number;
        if number >= limit {
            return Err(PacketError::Exhausted);
        }
        self.number = number.checked_add(1).ok_or(PacketError::Exhausted)?;
        self.usage.count(len);
        Ok(number)
    }

    /// Goes on to the next epoch; numbers go on too.
    pub(super) fn ratchet(&mut self, now: Instant) -> Result<(), PacketError> {
        let epoch = self.epoch.checked_add(1).ok_or(PacketError::Exhausted)?;
        *self = Self { epoch, number: self.number, ..Self::new(&self.next_secret, now) };
        Ok(())
    }
}
