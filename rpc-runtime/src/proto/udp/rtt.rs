//! How long an answer takes, and how long to wait for one (RFC 6298).

use std::time::Duration;

use crate::config::Limits;

/// RFC 6298 calls it G: no timer is finer than this.
const GRANULARITY: Duration = Duration::from_millis(1);

/// No timer is longer than this before jitter. RFC 6298, 2.5 allows a maximum of no less than
/// 60 s for the open Internet; calls have deadlines of seconds, so one lost answer in a row of
/// losses must not cost a minute.
pub(crate) const MAX_RTO: Duration = Duration::from_secs(4);

/// Doubling ends here, or at twice the timeout if that is more. Where half of the datagrams are
/// lost, one call in a thousand needs ten attempts, and has a deadline; it is the retry budget
/// that keeps many such calls from being too much.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The smoothed round trip time and its variation.
#[derive(Clone, Debug)]
pub(crate) struct Rtt {
    /// SRTT and RTTVAR; `None` before the first sample.
    measured: Option<(Duration, Duration)>,
    shortest: Duration,
    initial_rto: Duration,
    min_rto: Duration,
}

impl Rtt {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            measured: None,
            shortest: Duration::MAX,
            initial_rto: limits.initial_rto,
            min_rto: limits.min_rto,
        }
    }

    /// Takes one measurement (2.2, 2.3).
    pub(crate) fn sample(&mut self, rtt: Duration) {
        // A measurement across a suspended machine says nothing about the path.
        let rtt = rtt.min(Duration::from_secs(60));
        self.shortest = self.shortest.min(rtt);
        self.measured = Some(match self.measured {
            None => (rtt, rtt / 2),
            Some((smoothed, variation)) => {
                ((7 * smoothed + rtt) / 8, (3 * variation + smoothed.abs_diff(rtt)) / 4)
            }
        });
    }

    /// The retransmission timeout, neither doubled nor jittered (2.3 with K = 4).
    pub(crate) fn rto(&self) -> Duration {
        match self.measured {
            None => self.initial_rto,
            Some((smoothed, variation)) => {
                // The floor of the configuration wins over our ceiling.
                (smoothed + GRANULARITY.max(4 * variation)).min(MAX_RTO).max(self.min_rto)
            }
        }
    }

    /// The wait before attempt `attempt` + 1: doubled once an attempt (5.5) up to [`MAX_WAIT`], then
    /// spread by up to a fifth in both directions, so that those whom one loss hit do not come
    /// back together. `jitter` is random.
    pub(crate) fn backoff(&self, attempt: u32, jitter: u32) -> Duration {
        let rto = self.rto();
        let doubled = rto.saturating_mul(1 << attempt.min(16)).min(MAX_WAIT.max(2 * rto));
        let fifth = doubled / 5;
        // `jitter / 2^32` of the span from minus to plus a fifth.
        let share = (u64::from(jitter) * 1024) >> 32;
        doubled - fifth + 2 * fifth * u32::try_from(share).unwrap_or(0) / 1024
    }

    /// The shortest round trip seen; nothing that took less can be an answer. Zero before any.
    pub(crate) fn shortest(&self) -> Duration {
        if self.measured.is_some() { self.shortest } else { Duration::ZERO }
    }

    /// The path has changed: what was measured belongs to another.
    pub(crate) fn forget(&mut self) {
        self.measured = None;
        self.shortest = Duration::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rtt() -> Rtt {
        Rtt::new(&Limits::default())
    }

    #[test]
    fn the_first_sample_sets_the_timeout_to_three_times_itself() {
        let mut rtt = rtt();
        assert_eq!(rtt.rto(), 100 * MS);
        rtt.sample(20 * MS);
        assert_eq!(rtt.rto(), 60 * MS, "RFC 6298, 2.2");
    }

    #[test]
    fn later_samples_move_it_by_an_eighth_and_a_quarter() {
        let mut rtt = rtt();
        rtt.sample(80 * MS);
        rtt.sample(160 * MS);
        // SRTT = 7/8 * 80 + 1/8 * 160 = 90; RTTVAR = 3/4 * 40 + 1/4 * 80 = 50.
        assert_eq!(rtt.rto(), 290 * MS, "RFC 6298, 2.3");
        assert_eq!(rtt.shortest(), 80 * MS);
    }

    #[test]
    fn the_timeout_stays_between_its_bounds() {
        let mut rtt = rtt();
        for _ in 0..50 {
            rtt.sample(Duration::from_micros(80));
        }
        assert_eq!(rtt.rto(), 10 * MS);
        rtt.sample(Duration::MAX);
        assert_eq!(rtt.rto(), MAX_RTO);
        let mut slow = Rtt::new(&Limits { min_rto: 2 * MAX_RTO, ..Limits::default() });
        slow.sample(MS);
        assert_eq!(slow.rto(), 2 * MAX_RTO);
    }

    #[test]
    fn each_attempt_waits_twice_as_long_within_a_fifth() {
        let rtt = rtt();
        for (attempt, middle) in [(0, 100), (1, 200), (2, 400), (3, 800), (4, 1000), (99, 1000)] {
            let middle = middle * MS;
            assert_eq!(rtt.backoff(attempt, 0), middle - middle / 5);
            assert_eq!(rtt.backoff(attempt, 1 << 31), middle);
            let most = rtt.backoff(attempt, u32::MAX);
            assert!(most > middle + middle * 19 / 100 && most <= middle + middle / 5, "{most:?}");
        }
    }

    #[test]
    fn on_a_slow_path_the_second_attempt_still_waits_twice_as_long() {
        let mut slow = rtt();
        slow.sample(Duration::from_secs(1));
        assert_eq!(slow.backoff(0, 1 << 31), Duration::from_secs(3));
        assert_eq!(slow.backoff(1, 1 << 31), Duration::from_secs(6));
        assert_eq!(slow.backoff(9, 1 << 31), Duration::from_secs(6));
    }

    #[test]
    fn another_path_is_measured_anew() {
        let mut rtt = rtt();
        rtt.sample(MS);
        rtt.forget();
        assert_eq!((rtt.rto(), rtt.shortest()), (100 * MS, Duration::ZERO));
    }
}
