//! The clock of a batch of requests: it is read seldom while they are quick, and after each while they
//! are slow, so that a request is not begun whose caller has left while it waited behind others.

use std::time::{Duration, Instant};

/// So many requests share one look at the clock, which costs 19 ns.
const EVERY: u32 = 8;

/// So many requests that take longer than this together are slow.
const SLOW: Duration = Duration::from_millis(1);

/// When the requests of a batch came, and what the time is by now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lateness {
    arrived: Instant,
    now: Instant,
    /// From the one to the other.
    late: Duration,
    left: u32,
    every: u32,
}

impl Lateness {
    pub(crate) fn since(now: Instant) -> Self {
        // Whether the first is slow is not known.
        Self { arrived: now, now, late: Duration::ZERO, left: 1, every: EVERY }
    }

    /// Of requests that came before.
    pub(crate) fn of(arrived: Instant, now: Instant) -> Self {
        let late = now.saturating_duration_since(arrived);
        Self { arrived, late, ..Self::since(now) }
    }

    /// How long ago the requests came.
    pub(crate) fn late(&self) -> Duration {
        self.late
    }

    /// The time before the next request is begun, by `clock` if it is due.
    pub(crate) fn next(&mut self, clock: impl FnOnce() -> Instant) -> Instant {
        if self.left > 0 {
            self.left -= 1;
            return self.now;
        }
        self.look(clock())
    }

    #[cold]
    fn look(&mut self, now: Instant) -> Instant {
        let before = std::mem::replace(&mut self.now, now);
        self.late = now.saturating_duration_since(self.arrived);
        let slow = self.now.saturating_duration_since(before) >= SLOW;
        self.every = if slow { 1 } else { EVERY };
        self.left = self.every - 1;
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the clock is read for so many requests that take so long, and how far it is behind.
    fn reads(requests: u32, each: Duration) -> (u32, Duration) {
        let start = Instant::now();
        let (mut now, mut read, mut behind) = (start, 0, Duration::ZERO);
        let mut lateness = Lateness::since(start);
        for _ in 0..requests {
            let seen = lateness.next(|| {
                read += 1;
                now
            });
            behind = behind.max(now - seen);
            now += each;
        }
        (read, behind)
    }

    #[test]
    fn quick_requests_share_a_look_at_the_clock() {
        let (read, behind) = reads(800, Duration::from_micros(1));
        assert!(read <= 101, "{read}");
        assert!(behind <= Duration::from_micros(8));
    }

    #[test]
    fn slow_requests_are_never_more_than_one_behind() {
        let each = Duration::from_millis(10);
        let (read, behind) = reads(100, each);
        assert_eq!((read, behind), (99, Duration::ZERO));
    }
}
