//! How fast a queue drains, and so when it is worth coming back.

use std::time::{Duration, Instant};

/// Told while nothing is known of the rate.
const UNKNOWN: Duration = Duration::from_millis(50);

/// Nobody is told less or more.
const BOUNDS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));

/// What one interval counts for in the mean: an eighth.
const WEIGHT: u32 = 8;

/// The mean time between two that leave a queue for work, while others wait.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DrainRate {
    last: Option<Instant>,
    interval: Option<Duration>,
}

impl DrainRate {
    /// One has left; others wait behind it, or none.
    pub(crate) fn left(&mut self, now: Instant, others_wait: bool) {
        if let Some(last) = self.last {
            let interval = now.saturating_duration_since(last);
            self.interval = Some(match self.interval {
                Some(mean) => mean - mean / WEIGHT + interval / WEIGHT,
                None => interval,
            });
        }
        // What passes until the next is only work's time if somebody waits for it.
        self.last = others_wait.then_some(now);
    }

    /// How long until so many have left.
    pub(crate) fn time_for(&self, waiting: usize) -> Duration {
        let Some(interval) = self.interval.filter(|_| waiting > 0) else { return UNKNOWN };
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        interval.saturating_mul(waiting).clamp(BOUNDS.0, BOUNDS.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_is_the_time_that_the_queue_takes_to_drain_within_bounds() {
        let mut now = Instant::now();
        let mut rate = DrainRate::default();
        assert_eq!(rate.time_for(100), UNKNOWN);
        for _ in 0..20 {
            now += 2 * MS;
            rate.left(now, true);
        }
        assert_eq!(rate.time_for(100), 200 * MS);
        assert_eq!(rate.time_for(1), BOUNDS.0);
        assert_eq!(rate.time_for(1 << 20), BOUNDS.1);
    }

    #[test]
    fn the_time_in_which_nobody_waits_is_not_in_it() {
        let mut now = Instant::now();
        let mut rate = DrainRate::default();
        for _ in 0..50 {
            rate.left(now, true);
            rate.left(now + 2 * MS, false);
            now += Duration::from_secs(60);
        }
        assert_eq!(rate.time_for(100), 200 * MS);
    }

    #[test]
    fn a_rate_that_changes_is_followed() {
        let mut now = Instant::now();
        let mut rate = DrainRate::default();
        for step in [1, 8] {
            for _ in 0..60 {
                now += step * MS;
                rate.left(now, true);
            }
        }
        let told = rate.time_for(100);
        assert!((780 * MS..=800 * MS).contains(&told), "{told:?}");
    }
}
