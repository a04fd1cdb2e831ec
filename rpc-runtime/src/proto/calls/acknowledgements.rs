//! Telling the server which answers have come, so that it need not keep them.
//!
//! Requests carry the floor. What lies beyond it, and the floor itself once nothing more is asked,
//! goes in acknowledgements.

use std::time::{Duration, Instant};

use crate::proto::frame::MAX_RANGES;

/// Answers beyond the floor that are acknowledged together...
const MANY: usize = 256;

/// ...or bytes of such answers, whichever comes first.
const MANY_BYTES: usize = 64 * 1024;

/// After this long without a request the floor is told on its own.
const QUIET: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct Acknowledgements {
    /// Calls beyond the floor, answered since the last acknowledgement.
    beyond: Vec<u64>,
    bytes: usize,
    /// An answer has come that no floor has acknowledged.
    owed: bool,
    due: Option<Instant>,
}

impl Acknowledgements {
    /// An answer of so many bytes has come.
    pub(super) fn answered(&mut self, number: u64, size: usize, floor: u64) {
        self.owed = true;
        if number >= floor {
            self.beyond.push(number);
            self.bytes += size;
        }
    }

    /// A request has taken this floor along.
    pub(super) fn told(&mut self, floor: u64) {
        if self.beyond.is_empty() {
            self.owed = false;
        } else if self.beyond.iter().all(|number| *number < floor) {
            (self.owed, self.bytes) = (false, 0);
            self.beyond.clear();
        }
        self.due = None;
    }

    /// So much has been answered beyond the floor that it is told at once.
    pub(super) fn is_pressing(&self) -> bool {
        self.beyond.len() >= MANY || self.bytes >= MANY_BYTES
    }

    /// When the floor is told if nothing else is sent.
    pub(super) fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        if self.owed && self.due.is_none() {
            self.due = now.checked_add(QUIET);
        }
        self.due.filter(|_| self.owed)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.owed && self.due.is_some_and(|due| due <= now)
    }

    /// What to acknowledge beyond the floor, as (first, one behind the last), ascending.
    pub(super) fn take(&mut self, floor: u64) -> Vec<(u64, u64)> {
        (self.owed, self.due, self.bytes) = (false, None, 0);
        let mut numbers = std::mem::take(&mut self.beyond);
        numbers.retain(|number| *number >= floor);
        numbers.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in numbers {
            let full = ranges.len() == MAX_RANGES;
            match ranges.last_mut() {
                Some((_, behind)) if *behind == number => *behind += 1,
                // What does not fit is told the next time.
                _ if full => self.beyond.push(number),
                _ => ranges.push((number, number + 1)),
            }
        }
        ranges
    }

    /// Another server has the answers on record: it has heard none of what was told before.
    pub(super) fn restate(&mut self, beyond: impl Iterator<Item = u64>) {
        *self = Self { beyond: beyond.collect(), owed: true, ..Self::default() };
    }

    /// The server that kept the answers is gone.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_beyond_the_floor_are_told_as_ranges() {
        let mut owed = Acknowledgements::default();
        for number in [9, 5, 6, 2] {
            owed.answered(number, 10, 4);
        }
        assert_eq!(owed.take(4), [(5, 7), (9, 10)]);
        assert!(!owed.is_pressing());
    }

    #[test]
    fn what_does_not_fit_into_one_acknowledgement_goes_into_the_next() {
        let mut owed = Acknowledgements::default();
        (0..70).for_each(|number| owed.answered(2 * number, 0, 0));
        assert_eq!(owed.take(0).len(), MAX_RANGES);
        let rest = owed.take(0);
        assert_eq!((rest.len(), rest[0]), (6, (128, 129)));
    }

    #[test]
    fn many_answers_or_many_bytes_beyond_the_floor_press() {
        let mut owed = Acknowledgements::default();
        (0..MANY as u64 - 1).for_each(|number| owed.answered(number + 1, 0, 0));
        assert!(!owed.is_pressing());
        owed.answered(999, 0, 0);
        assert!(owed.is_pressing());
        let mut large = Acknowledgements::default();
        large.answered(1, MANY_BYTES, 0);
        assert!(large.is_pressing());
    }

    #[test]
    fn a_floor_that_went_with_a_request_is_not_told_again() {
        let now = Instant::now();
        let mut owed = Acknowledgements::default();
        owed.answered(0, 0, 1);
        assert_eq!(owed.next_timeout(now), Some(now + QUIET));
        assert!(owed.is_due(now + QUIET));
        owed.told(1);
        assert_eq!(owed.next_timeout(now), None);
    }
}
