//! When calls of an open loop are due: at random, whatever became of those before.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// A Poisson process: the pauses between arrivals are independent and exponentially distributed,
/// as those of many callers who know nothing of each other. The same for the same seed.
#[derive(Debug)]
pub(crate) struct Arrivals {
    random: SmallRng,
    mean_seconds: f64,
    next_seconds: f64,
    until_seconds: f64,
}

impl Arrivals {
    /// `per_second` arrivals on average, until `until` after the beginning.
    pub(crate) fn new(per_second: f64, until: Duration, seed: u64) -> Self {
        let mut arrivals = Self {
            random: SmallRng::seed_from_u64(seed),
            mean_seconds: per_second.recip(),
            next_seconds: 0.0,
            until_seconds: until.as_secs_f64(),
        };
        arrivals.advance();
        arrivals
    }

    /// When the next one is due, counted from the beginning; `None` when there are no more.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        (self.next_seconds < self.until_seconds).then(|| Duration::from_secs_f64(self.next_seconds))
    }

    /// Takes the next one if it is due at `now`, and says when it was.
    ///
    /// Who comes late gets all that were due meanwhile, each with the time that it was due at.
    pub(crate) fn take(&mut self, now: Duration) -> Option<Duration> {
        let due = self.next_due().filter(|due| *due <= now)?;
        self.advance();
        Some(due)
    }

    fn advance(&mut self) {
        // 1 − [0, 1) is never zero, whose logarithm would be infinite.
        let uniform = 1.0 - self.random.random::<f64>();
        self.next_seconds -= uniform.ln() * self.mean_seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn all(mut arrivals: Arrivals) -> Vec<Duration> {
        std::iter::from_fn(|| arrivals.take(Duration::MAX)).collect()
    }

    #[test]
    fn they_come_at_the_rate_that_was_asked_for_and_in_order() {
        let due = all(Arrivals::new(10_000.0, SECOND, 7));
        // The standard deviation is 100.
        assert!((9_500..10_500).contains(&due.len()), "{}", due.len());
        assert!(due.is_sorted() && due.last() < Some(&SECOND));
    }

    #[test]
    fn their_pauses_are_exponential() {
        let due = all(Arrivals::new(10_000.0, SECOND, 7));
        let pauses = due.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
        let longer_than_mean = pauses.filter(|pause| *pause > 1e-4).count() as f64;
        // P(X > mean) = 1/e; equal pauses would give half or none.
        assert!((longer_than_mean / due.len() as f64 - 0.368).abs() < 0.02);
    }

    #[test]
    fn none_is_due_early_and_none_is_lost_to_who_comes_late() {
        let mut arrivals = Arrivals::new(1_000.0, SECOND, 7);
        let first = arrivals.next_due().unwrap();
        assert_eq!(arrivals.take(first - Duration::from_nanos(1)), None);
        assert_eq!(arrivals.take(first), Some(first));
        let late = all(arrivals);
        let again = all(Arrivals::new(1_000.0, SECOND, 7));
        assert_eq!(late, again[1..], "what was due keeps its time");
    }
}
