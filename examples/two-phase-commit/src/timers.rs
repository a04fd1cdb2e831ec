//! One timer for each key, the earliest first.

use std::collections::{BTreeMap, BTreeSet};

use crate::machine::Time;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Timers<K> {
    by_key: BTreeMap<K, Time>,
    by_time: BTreeSet<(Time, K)>,
}

impl<K: Copy + Ord> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }

    /// Sets the key's timer, in place of the one that it has.
    pub(crate) fn set(&mut self, key: K, at: Time) {
        self.clear(key);
        self.by_key.insert(key, at);
        self.by_time.insert((at, key));
    }

    pub(crate) fn clear(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|&(at, _)| at)
    }

    /// Takes one that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<K> {
        let &(at, key) = self.by_time.first()?;
        (at <= now).then(|| {
            self.clear(key);
            key
        })
    }
}

/// The wait before attempt `attempts + 1`: twice as long each time, up to `most`.
pub(crate) fn backoff(first: Time, most: Time, attempts: u32) -> Time {
    first.saturating_mul(1 << attempts.min(16)).min(most)
}
