//! A link in one direction: what becomes of each datagram, as data and a seed.
//!
//! The simulated world and the relay between real sockets use this same code.

use std::net::SocketAddr;
use std::ops::{AddAssign, Range};
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use thiserror::Error;

/// What a link does. The default is a link without faults and without delay.
///
/// Rates are chances from 0 to 1, drawn for each datagram in this order: a partition or the MTU drops
/// it, or it is lost, or it arrives, and then perhaps twice. Each copy is corrupted, held back and
/// delayed on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// The chance that a datagram never arrives. Default: 0.
    pub loss: f64,
    /// The chance that a datagram which is not lost arrives twice. Default: 0.
    pub duplicate: f64,
    /// The chance that a copy is held back, so that later ones can overtake it. Default: 0.
    pub reorder: f64,
    /// The chance that one random bit of a copy flips. The UDP checksum is taken as repaired, so the
    /// copy arrives. Default: 0.
    pub corrupt: f64,
    /// How long a copy is under way, evenly from this range (an empty range: always its start). A copy
    /// that is not held back never overtakes another: then it arrives with it. Default: no time.
    pub delay: Range<Duration>,
    /// How much longer a copy that is held back is under way, at most. Default: 10 ms.
    pub hold: Duration,
    /// The longest IP packet of the path, headers included, in bytes: a larger one is dropped without a
    /// word. Default: 65,535, the longest there is.
    pub mtu: usize,
    /// The longest IP packet of the first hop: of a larger one the sender is told at once. Default: 65,535.
    pub first_hop_mtu: usize,
    /// When nothing sent gets through, in time since the start of the world. Default: never.
    pub partitions: Vec<Range<Duration>>,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            corrupt: 0.0,
            delay: Duration::ZERO..Duration::ZERO,
            hold: Duration::from_millis(10),
            mtu: LONGEST_PACKET,
            first_hop_mtu: LONGEST_PACKET,
            partitions: Vec::new(),
        }
    }
}

/// Why a [`LinkConfig`] is none.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum LinkConfigError {
    /// A rate is not from 0 to 1.
    #[error("{name} is {rate}, which is no chance from 0 to 1 (30 % is 0.3)")]
    Rate {
        /// Which rate.
        name: &'static str,
        /// What it was.
        rate: f64,
    },
    /// The longest delay is below the shortest.
    #[error("the delay ends before it begins")]
    Delay,
}

/// What becomes of one datagram.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// The first hop does not take it: the sender is told.
    TooBig,
    /// It is gone.
    Lost,
    /// It arrives, perhaps twice.
    Arrives {
        /// The first copy made; not always the first to arrive.
        first: Arrival,
        /// The second one.
        again: Option<Arrival>,
    },
}

/// How one copy arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// How long it is under way.
    pub after: Duration,
    /// The bit that flips, counted from the lowest of the first byte.
    flip: Option<usize>,
}

impl Arrival {
    /// Does to the bytes what this arrival does to them.
    pub fn apply(&self, datagram: &mut [u8]) {
        if let Some(bit) = self.flip {
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// What a link has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams that were given to the link.
    pub sent: u64,
    /// Datagrams that the first hop did not take.
    pub too_big: u64,
    /// Datagrams that the path did not take.
    pub over_mtu: u64,
    /// Datagrams sent during a partition.
    pub partitioned: u64,
    /// Datagrams lost by chance.
    pub lost: u64,
    /// Datagrams that arrive twice.
    pub duplicated: u64,
    /// Copies held back.
    pub reordered: u64,
    /// Copies with a bit flipped.
    pub corrupted: u64,
    /// Copies that arrive.
    pub arriving: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.too_big += other.too_big;
        self.over_mtu += other.over_mtu;
        self.partitioned += other.partitioned;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.arriving += other.arriving;
    }
}

/// One direction between two ends, with a generator of its own: what happens on other links changes
/// nothing here.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    rng: Xoshiro256PlusPlus,
    /// When the last copy that was not held back arrives.
    last_arrival: Duration,
    counts: Counts,
}

impl Link {
    /// A link that does as `config` says, by the chances of `seed`.
    ///
    /// # Errors
    ///
    /// [`LinkConfigError`] if `config` has a rate or a delay that cannot be.
    pub fn new(config: LinkConfig, seed: u64) -> Result<Self, LinkConfigError> {
        config.check()?;
        Ok(Self {
            config,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            last_arrival: Duration::ZERO,
            counts: Counts::default(),
        })
    }

    /// One of many links of a world that has one `seed`: `number` gives each chances of its own.
    ///
    /// # Errors
    ///
    /// As [`Link::new`].
    pub fn numbered(config: LinkConfig, seed: u64, number: u64) -> Result<Self, LinkConfigError> {
        // The golden ratio spreads small numbers over all bits.
        Self::new(config, seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Changes what the link does from now on. What is under way arrives as it was going to.
    ///
    /// # Errors
    ///
    /// [`LinkConfigError`], and then nothing has changed.
    pub fn set_config(&mut self, config: LinkConfig) -> Result<(), LinkConfigError> {
        config.check()?;
        self.config = config;
        Ok(())
    }

    /// What the link does.
    #[must_use]
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// What it has done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What it has done since the last time, for those who add it up elsewhere.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Decides about a datagram of `length` bytes to `to`, sent at `at` after the start of the world.
    pub fn judge(&mut self, length: usize, to: SocketAddr, at: Duration) -> Fate {
        self.counts.sent += 1;
        if length > datagram_limit(self.config.first_hop_mtu, to) {
            self.counts.too_big += 1;
            return Fate::TooBig;
        }
        if length > datagram_limit(self.config.mtu, to) {
            self.counts.over_mtu += 1;
            return Fate::Lost;
        }
        if self.config.partitions.iter().any(|partition| partition.contains(&at)) {
            self.counts.partitioned += 1;
            return Fate::Lost;
        }
        if self.rng.random_bool(self.config.loss) {
            self.counts.lost += 1;
            return Fate::Lost;
        }
        let first = self.arrival(length, at);
        let again = self.rng.random_bool(self.config.duplicate).then(|| {
            self.counts.duplicated += 1;
            self.arrival(length, at)
        });
        Fate::Arrives { first, again }
    }

    fn arrival(&mut self, length: usize, at: Duration) -> Arrival {
        self.counts.arriving += 1;
        let flip = (length > 0 && self.rng.random_bool(self.config.corrupt)).then(|| {
            self.counts.corrupted += 1;
            self.rng.random_range(0..length * 8)
        });
        let delay = &self.config.delay;
        let after =
            if delay.is_empty() { delay.start } else { self.rng.random_range(delay.clone()) };
        if self.rng.random_bool(self.config.reorder) {
            self.counts.reordered += 1;
            let held = self.rng.random_range(Duration::ZERO..=self.config.hold);
            return Arrival { after: after + held, flip };
        }
        self.last_arrival = self.last_arrival.max(at + after);
        Arrival { after: self.last_arrival - at, flip }
    }
}

impl LinkConfig {
    /// Whether such a link can be.
    ///
    /// # Errors
    ///
    /// [`LinkConfigError`] says what cannot.
    pub fn check(&self) -> Result<(), LinkConfigError> {
        let rates = [
            ("loss", self.loss),
            ("duplicate", self.duplicate),
            ("reorder", self.reorder),
            ("corrupt", self.corrupt),
        ];
        for (name, rate) in rates {
            if !(0.0..=1.0).contains(&rate) {
                return Err(LinkConfigError::Rate { name, rate });
            }
        }
        if self.delay.start > self.delay.end {
            return Err(LinkConfigError::Delay);
        }
        Ok(())
    }
}

/// The longest datagram to `to` that fits an IP packet of `mtu` bytes: less 28 bytes of headers with
/// IPv4 (RFC 791, RFC 768), 48 with IPv6 (RFC 8200), without options.
#[must_use]
pub fn datagram_limit(mtu: usize, to: SocketAddr) -> usize {
    mtu.saturating_sub(if to.is_ipv4() { 28 } else { 48 })
}

/// An IPv4 packet's length is a u16.
const LONGEST_PACKET: usize = 65_535;
