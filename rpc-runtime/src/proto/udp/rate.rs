//! How fast each source begins handshakes: who is too fast must show that it is where it says.

use std::{
    hash::BuildHasher as _,
    time::{Duration, Instant},
};

use super::{seeded::Seeded, sources::Source};

/// INITs a second that a source may send without a token...
const PER_SECOND: u32 = 20;

/// ...and as many at once (protocol, "Packets on UDP").
const BURST: u32 = 5;

/// Sources are counted in this many cells. Two in one cell share its rate, which at the worst
/// costs one of them the round trip of a RETRY; no table grows, and none is to be cleared.
const CELLS: usize = 4096;

/// A leaky bucket for each cell, as the generic cell rate algorithm (ITU-T I.371) keeps it: the
/// time at which the bucket will be empty again.
#[derive(Debug)]
pub(crate) struct Rates {
    empty_at: Box<[Option<Instant>]>,
    hasher: Seeded,
}

impl Rates {
    pub(crate) fn new(hasher: Seeded) -> Self {
        Self { empty_at: vec![None; CELLS].into(), hasher }
    }

    /// Counts an INIT of `source`; `false` if that is one too many at the moment, and then it does
    /// not count.
    pub(crate) fn take(&mut self, source: Source, now: Instant) -> bool {
        const PERIOD: Duration = Duration::from_millis(1000 / PER_SECOND as u64);
        let hash = self.hasher.hash_one(source) % CELLS as u64;
        let cell = usize::try_from(hash).ok().and_then(|at| self.empty_at.get_mut(at));
        let Some(empty_at) = cell else { return false };
        let begins = empty_at.map_or(now, |at| at.max(now));
        if begins.saturating_duration_since(now) > PERIOD * (BURST - 1) {
            return false;
        }
        *empty_at = Some(begins + PERIOD);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::udp::{
        sources::source,
        testing::{rng, start},
    };

    fn rates() -> Rates {
        // With this seed, the two sources below have a cell each.
        Rates::new(Seeded::draw(&mut rng(2)))
    }

    fn from(last: u8) -> Source {
        source([192, 0, 2, last].into())
    }

    #[test]
    fn five_at_once_and_twenty_a_second() {
        let (mut rates, start) = (rates(), start());
        let at_once = (0..100).filter(|_| rates.take(from(1), start)).count();
        assert_eq!(at_once, 5);
        let one_each_ms = (1..=1000_u64).map(|ms| start + Duration::from_millis(ms));
        let within_a_second = one_each_ms.filter(|now| rates.take(from(1), *now)).count();
        assert_eq!(within_a_second, 20);
    }

    #[test]
    fn a_source_at_its_rate_does_not_slow_another() {
        let (mut rates, start) = (rates(), start());
        while rates.take(from(1), start) {}
        assert!(rates.take(from(2), start));
    }

    #[test]
    fn refused_ones_do_not_count() {
        let (mut rates, start) = (rates(), start());
        for _ in 0..100_000 {
            rates.take(from(1), start);
        }
        assert!(!rates.take(from(1), start + Duration::from_millis(49)));
        assert!(rates.take(from(1), start + Duration::from_millis(50)));
    }

    #[test]
    fn a_clock_that_steps_back_harms_nothing() {
        let (mut rates, start) = (rates(), start());
        assert!(rates.take(from(1), start + Duration::from_secs(10)));
        assert!(!rates.take(from(1), start));
        assert!(rates.take(from(1), start + Duration::from_secs(10)));
    }
}
