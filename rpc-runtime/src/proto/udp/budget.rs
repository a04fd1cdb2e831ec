//! How many retries a client allows itself, so that a server in trouble is not met by a storm.

use std::time::{Duration, Instant};

/// A retry takes this much; a call gives a fifth of it.
const RETRY: u32 = 5;

/// What each new call adds.
const CALL: u32 = 1;

/// Retries a second that are allowed whatever the calls.
const STEADY: u32 = 10;

/// As much as ten seconds of rest earn, so that a short outage is ridden out and a long one is not
/// met with all the retries that the calls before it had earned.
const MOST: u32 = 10 * STEADY * RETRY;

/// Tokens for retries: a fifth of the calls, and ten a second. It starts full.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    fifths: u32,
    refilled: Instant,
}

impl RetryBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { fifths: MOST, refilled: now }
    }

    /// A call was sent for the first time.
    pub(crate) fn called(&mut self) {
        self.fifths = (self.fifths + CALL).min(MOST);
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
        self.refilled + missing * EARN
    }

    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.refilled);
        let earned = since.as_nanos() / EARN.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX).min(MOST);
        // A part of a token that is not earned yet stays in the time.
        self.refilled = if earned == MOST { now } else { self.refilled + earned * EARN };
        self.fifths = (self.fifths + earned).min(MOST);
    }
}

/// In which time a fifth of a retry is earned.
const EARN: Duration = Duration::from_millis(1000 / (STEADY * RETRY) as u64);

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut RetryBudget, now: Instant) -> u32 {
        (0..).take_while(|_| budget.take(now)).count().try_into().unwrap()
    }

    #[test]
    fn retries_are_a_fifth_of_the_calls_and_ten_a_second() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(start);
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
        let mut budget = RetryBudget::new(now);
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
        let mut budget = RetryBudget::new(now);
        taken(&mut budget, now);
        let next = budget.next_at();
        assert!(!budget.take(next - Duration::from_millis(1)));
        assert!(budget.take(next));
    }
}
