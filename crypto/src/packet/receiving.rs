//! The receiving direction: which key a packet's epoch bits name, and for which numbers it counts.
//!
//! Only that key is tried. The keys of the previous epoch live for a while, for packets that were
//! overtaken; the next one's is derived beforehand, so that time does not tell when it is tried.

use std::time::{Duration, Instant};

use super::PacketError;
use super::key::{Key, Usage, flags};
use crate::schedule;
use crate::secret::Secret;

pub(super) struct Receiving {
    epoch: u64,
    current: Key,
    next: Key,
    /// ts[n + 1]: ts[n] was erased when it was made.
    next_secret: Secret,
    previous: Option<Previous>,
    /// One above the highest number opened under an older key: the current key opens none below.
    floor: u64,
    /// The lowest number opened under the current key: the previous key opens only those below.
    lowest: u64,
    usage: Usage,
}

struct Previous {
    key: Key,
    /// When the current key opened its first packet.
    since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Previous,
    Current,
    Next,
}

impl Receiving {
    pub(super) fn new(secret: &Secret) -> Self {
        let next_secret = schedule::next_traffic_secret(secret);
        Self {
            epoch: 0,
            current: Key::derive(secret),
            next: Key::derive(&next_secret),
            next_secret,
            previous: None,
            floor: 0,
            lowest: u64::MAX,
            usage: Usage::default(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What the current key has opened.
    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Erases the previous key once it has lived for `life`.
    pub(super) fn expire(&mut self, life: Duration, now: Instant) {
        let lived = |previous: &Previous| now.saturating_duration_since(previous.since);
        if self.previous.as_ref().is_some_and(|previous| lived(previous) >= life) {
            self.previous = None;
        }
    }

    /// The key that a packet's first byte names, if it may have opened this number. `highest` is one
    /// above every number opened so far.
    pub(super) fn select(
        &self,
        first_byte: u8,
        number: u64,
        highest: u64,
    ) -> Option<(Which, &Key)> {
        if first_byte == flags(self.epoch) {
            (number >= self.floor).then_some((Which::Current, &self.current))
        } else if first_byte == flags(self.epoch.wrapping_add(1)) {
            (number >= highest).then_some((Which::Next, &self.next))
        } else if first_byte == flags(self.epoch.wrapping_sub(1)) {
            let previous = self.previous.as_ref().filter(|_| number < self.lowest)?;
            Some((Which::Previous, &previous.key))
        } else {
            None
        }
    }

    /// Takes note of a packet of `len` bytes that has opened under the key selected for it.
    pub(super) fn opened(
        &mut self,
        which: Which,
        number: u64,
        len: usize,
        highest: u64,
        now: Instant,
    ) -> Result<(), PacketError> {
        match which {
            Which::Previous => self.floor = self.floor.max(number.saturating_add(1)),
            Which::Current => {
                self.lowest = self.lowest.min(number);
                self.usage.count(len);
            }
            Which::Next => {
                self.ratchet(highest, now)?;
                self.lowest = number;
                self.usage.count(len);
            }
        }
        Ok(())
    }

    /// Goes on to the next epoch, and derives the one after it.
    fn ratchet(&mut self, highest: u64, now: Instant) -> Result<(), PacketError> {
        self.epoch = self.epoch.checked_add(1).ok_or(PacketError::Exhausted)?;
        let secret = schedule::next_traffic_secret(&self.next_secret);
        let next = std::mem::replace(&mut self.next, Key::derive(&secret));
        let key = std::mem::replace(&mut self.current, next);
        self.next_secret = secret;
        self.previous = Some(Previous { key, since: now });
        self.floor = highest;
        self.usage = Usage::default();
        Ok(())
    }
}
