//! How many retries a client allows itself, so that a server in trouble is not met by a storm.

use std::time::{Duration, Instant};

/// A retry takes this much; a call gives a fifth of it.
const RETRY: u32 = 5;

/// What each new call adds.
const CALL: u32 = 1;

/// So many seconds of rest fill it: a short outage is ridden out, and a long one is not met with
/// all the retries that the calls before it had earned.
const FULL_AFTER: u32 = 10;

/// Tokens for retries: a fifth of the calls, and so many a second. It starts full.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    fifths: u32,
    most: u32,
    /// In which time a fifth of a retry is earned.
    earn: Duration,
    refilled: Instant,
}

impl RetryBudget {
    /// `per_second` retries are allowed whatever the calls: 1 to 100,000.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = per_second.clamp(1, 100_000);
        let most = FULL_AFTER * per_second * RETRY;
        let earn = Duration::from_secs(1) / (per_second * RETRY);
        Self { fifths: most, most, earn, refilled: now }
    }

    /// A call was sent for the first time.
    pub(crate) fn called(&mut self) {
        self.fifths = (self.fifths + CALL).min(self.most);
    }

    /// Whether a retry may be sent now; if so it is paid for.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        match self.fifths.checked_sub(RETRY) {
            Some(rest) => {
                self.fifths = rest;
                true
            }
            None => false,
        }
    }

    /// When the next retry may be sent, if no call pays for it before.
    pub(crate) fn next_at(&self) -> Instant {
        let missing = RETRY.saturating_sub(self.fifths);
        self.refilled + missing * self.earn
    }

    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.refilled);
        let earned = since.as_nanos() / self.earn.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX).min(self.most);
        // A part of a token that is not earned yet stays in the time.
        self.refilled = if earned == self.most { now } else { self.refilled + earned * self.earn };
        self.fifths = (self.fifths + earned).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut RetryBudget, now: Instant) -> u32 {
        (0..).take_while(|_| budget.take(now)).count().try_into().unwrap()
    }

    #[test]
    fn retries_are_a_fifth_of_the_calls_and_ten_a_second() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(10, start);
        assert_eq!(taken(&mut budget, start), 100, "at first");
        for _ in 0..50 {
            budget.called();
        }
        assert_eq!(taken(&mut budget, start), 10, "of 50 calls");
        let second = start + Duration::from_secs(1);
        assert_eq!(taken(&mut budget, second), 10, "of a second");
        assert_eq!(taken(&mut budget, second + Duration::from_secs(3600)), 100, "of an hour");
    }

    #[test]
    fn parts_of_a_retry_add_up() {
        let mut now = Instant::now();
        let mut budget = RetryBudget::new(10, now);
        taken(&mut budget, now);
        let mut retries = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(7);
            retries += taken(&mut budget, now);
        }
        assert_eq!(retries, 70);
    }

    #[test]
    fn it_says_when_to_come_back() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(10, now);
        taken(&mut budget, now);
        let next = budget.next_at();
        assert!(!budget.take(next - Duration::from_millis(1)));
        assert!(budget.take(next));
    }
}
