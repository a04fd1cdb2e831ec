//! How long datagrams may be on this path: packetization layer path MTU discovery (RFC 8899).
//!
//! A probe is a path challenge padded to the size it asks about; a response of the same size is
//! the answer. Probes leave only while there is traffic, and the loss of one says nothing about
//! congestion. Sizes are those of a datagram's content.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Every path carries this, or the transport is not for it (BASE_PLPMTU).
pub(super) const BASE: usize = 1200;

/// Sizes that paths have: IPv6's minimum, tunnels, Ethernet, 4 KiB pages, jumbo frames, and what
/// only a loopback carries.
const LADDER_V4: &[usize] = &[1232, 1400, 1472, 4096, 8972, 16_384, 32_768, MAX_DATAGRAM];
const LADDER_V6: &[usize] = &[1232, 1400, 1452, 4096, 8952, 16_384, 32_768, 65_487];

/// No datagram has more content: 65,535 less the headers of IPv4 and UDP.
const MAX_DATAGRAM: usize = 65_507;

/// So many probes of one size go unanswered before the search ends (MAX_PROBES).
const MAX_PROBES: u8 = 3;

/// Then it is this long until the next (PMTU_RAISE_TIMER).
const RAISE: Duration = Duration::from_secs(600);

/// So many packets above [`BASE`] in a row are lost before the path counts as narrower.
const BLACK_HOLE: u8 = 6;

#[derive(Debug)]
pub(super) struct Mtu {
    current: usize,
    ladder: &'static [usize],
    /// What the local interface carries, if that is known; asked about first.
    hint: Option<usize>,
    /// The operating system refuses longer ones.
    ceiling: usize,
    search: Search,
    /// Packets above the base that were lost since one arrived.
    lost_in_a_row: u8,
    /// The last probe's. An answer is authenticated, so that a count is as good as a secret: a
    /// peer that lies about its path harms itself.
    token: u64,
    has_traffic: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    Ready { size: usize, lost: u8 },
    Asked { size: usize, lost: u8, until: Instant },
    Over { again: Instant },
}

/// What to send: a path challenge with this token in a datagram of this size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) token: [u8; 8],
    pub(super) size: usize,
}

impl Mtu {
    pub(super) fn new(peer: SocketAddr, local: Option<u16>, now: Instant) -> Self {
        let ladder = match peer.ip().to_canonical().is_ipv4() {
            true => LADDER_V4,
            false => LADDER_V6,
        };
        let hint = local.map(usize::from).filter(|hint| *hint > BASE);
        let longest = ladder[ladder.len() - 1];
        let ceiling = hint.unwrap_or(longest).min(longest);
        let mut mtu = Self {
            current: BASE,
            ladder,
            hint: hint.map(|_| ceiling),
            ceiling,
            search: Search::Over { again: now },
            lost_in_a_row: 0,
            token: 0,
            has_traffic: false,
        };
        mtu.search_on(now);
        mtu
    }

    /// The longest datagram to send now.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// Something worth a longer datagram has been sent.
    pub(super) fn traffic(&mut self) {
        self.has_traffic = true;
    }

    /// The next probe, if one is due. It counts as sent.
    pub(super) fn probe(&mut self, now: Instant, rto: Duration) -> Option<Probe> {
        if !self.has_traffic {
            return None;
        }
        if matches!(self.search, Search::Over { again } if again <= now) {
            // What the operating system refused before may have changed as well.
            self.ceiling = self.hint.unwrap_or(self.ladder[self.ladder.len() - 1]);
            self.search_on(now);
        }
        let Search::Ready { size, lost } = self.search else { return None };
        self.has_traffic = false;
        self.token += 1;
        self.search = Search::Asked { size, lost, until: now + rto };
        Some(Probe { token: self.token.to_be_bytes(), size })
    }

    /// A response came back: whether it was one to a probe.
    pub(super) fn answered(&mut self, token: [u8; 8], size: usize, now: Instant) -> bool {
        let Search::Asked { size: asked, .. } = self.search else { return false };
        if token != self.token.to_be_bytes() {
            return false;
        }
        if size == asked {
            self.current = self.current.max(size);
            self.lost_in_a_row = 0;
            self.search_on(now);
        }
        true
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match self.search {
            Search::Asked { until, .. } => Some(until),
            Search::Ready { .. } | Search::Over { .. } => None,
        }
    }

    /// Gives up a probe that was not answered in time.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Search::Asked { size, lost, until } = self.search
            && until <= now
        {
            self.search = match lost + 1 {
                lost if lost < MAX_PROBES => Search::Ready { size, lost },
                _ if self.hint == Some(size) => {
                    // The interface carries it and the path does not: climb from below.
                    self.hint = None;
                    self.ceiling = self.ceiling.min(size - 1);
                    self.next_step(now)
                }
                _ => Search::Over { again: now + RAISE },
            };
        }
    }

    /// A packet of this size has arrived.
    pub(super) fn passed(&mut self, size: usize) {
        if size > BASE {
            self.lost_in_a_row = 0;
        }
    }

    /// A packet of this size was lost. Whether the path counts as narrower since.
    pub(super) fn lost(&mut self, size: usize, now: Instant) -> bool {
        // Packets from before the path became narrower say nothing new.
        if size <= BASE || size > self.current {
            return false;
        }
        self.lost_in_a_row += 1;
        if self.lost_in_a_row < BLACK_HOLE {
            return false;
        }
        self.fall(now);
        true
    }

    /// The operating system refused a datagram of this size. Whether packets have to be shorter
    /// since.
    pub(super) fn too_big(&mut self, size: usize, now: Instant) -> bool {
        self.ceiling = self.ceiling.min(size.saturating_sub(1)).max(BASE);
        self.hint = self.hint.filter(|hint| *hint <= self.ceiling);
        if size <= self.current {
            self.fall(now);
            return true;
        }
        if matches!(self.search, Search::Ready { size, .. } | Search::Asked { size, .. } if size > self.ceiling)
        {
            self.search_on(now);
        }
        false
    }

    /// The path has changed: nothing is known of the new one.
    pub(super) fn start_over(&mut self, peer: SocketAddr, now: Instant) {
        let token = self.token;
        *self = Self::new(peer, None, now);
        self.token = token;
    }

    fn fall(&mut self, now: Instant) {
        self.current = BASE;
        self.lost_in_a_row = 0;
        self.hint = None;
        self.search = self.next_step(now);
    }

    fn search_on(&mut self, now: Instant) {
        self.search = match self.hint {
            Some(hint) if hint > self.current => Search::Ready { size: hint, lost: 0 },
            _ => self.next_step(now),
        };
    }

    /// The next size to ask about: the lowest that is not known to pass.
    fn next_step(&self, now: Instant) -> Search {
        let mut steps = self.ladder.iter().copied();
        match steps.find(|step| *step > self.current && *step <= self.ceiling) {
            Some(size) => Search::Ready { size, lost: 0 },
            None => Search::Over { again: now + RAISE },
        }
    }
}

#[cfg(test)]
#[path = "mtu_tests.rs"]
mod tests;
