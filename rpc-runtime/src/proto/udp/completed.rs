//! INITs whose handshake is complete: a repeat of one is late or replayed, and begins nothing.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use super::seeded::Seeded;

/// How long repeats are dropped (protocol, handshake point 6).
const REMEMBERED: Duration = Duration::from_secs(60);

/// How many are remembered. Beyond it the oldest is forgotten early: a repeat of it then takes a
/// place among the half open, and no more.
const MAX_COMPLETED: usize = 16_384;

/// H(INIT).
pub(crate) type InitHash = [u8; 32];

#[derive(Debug)]
pub(crate) struct Completed {
    ids: HashSet<InitHash, Seeded>,
    /// Oldest first.
    order: VecDeque<(Instant, InitHash)>,
}

impl Completed {
    pub(crate) fn new(hasher: Seeded) -> Self {
        Self { ids: HashSet::with_hasher(hasher), order: VecDeque::new() }
    }

    pub(crate) fn insert(&mut self, init: InitHash, now: Instant) {
        self.expire(now);
        if self.order.len() >= MAX_COMPLETED {
            self.forget_oldest();
        }
        if self.ids.insert(init) {
            self.order.push_back((now, init));
        }
    }

    pub(crate) fn contains(&mut self, init: &InitHash, now: Instant) -> bool {
        self.expire(now);
        self.ids.contains(init)
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, _)) = self.order.front()
            && now.saturating_duration_since(*at) >= REMEMBERED
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, init)) = self.order.pop_front() {
            self.ids.remove(&init);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::udp::testing::{rng, start};

    fn id(number: u32) -> InitHash {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        id
    }

    #[test]
    fn an_init_is_remembered_for_a_minute() {
        let (mut completed, start) = (Completed::new(Seeded::draw(&mut rng(1))), start());
        completed.insert(id(1), start);
        assert!(completed.contains(&id(1), start + Duration::from_millis(59_999)));
        assert!(!completed.contains(&id(1), start + Duration::from_secs(60)));
        assert_eq!((completed.ids.len(), completed.order.len()), (0, 0));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let (mut completed, start) = (Completed::new(Seeded::draw(&mut rng(1))), start());
        for number in 0..20_000 {
            completed.insert(id(number), start);
        }
        assert_eq!((completed.ids.len(), completed.order.len()), (MAX_COMPLETED, MAX_COMPLETED));
        assert!(completed.contains(&id(19_999), start));
        assert!(!completed.contains(&id(0), start));
    }
}
