//! Whether a queue has become a standing one, which a queue that only takes up bursts is not
//! (CoDel, RFC 8289, section 3).

use std::time::{Duration, Instant};

/// A wait that a queue may cost for good.
pub(crate) const TARGET: Duration = Duration::from_millis(5);

/// Longer than a burst takes to drain.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// Who of a line is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nobody waits for long, so all are in time.
    #[default]
    OldestFirst,
    /// Not all can be in time: whoever has just come is, and the oldest may have been given up.
    NewestFirst,
}

/// Looks at the oldest that waits, whenever one comes or goes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StandingDelay {
    above_since: Option<Instant>,
    order: Order,
}

impl StandingDelay {
    /// The oldest has waited so long; `None` if nobody waits.
    pub(crate) fn look(&mut self, oldest: Option<Duration>, now: Instant) {
        if oldest.is_none_or(|waited| waited <= TARGET) {
            *self = Self::default();
            return;
        }
        let since = *self.above_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= INTERVAL {
            self.order = Order::NewestFirst;
        }
    }

    pub(crate) fn order(&self) -> Order {
        self.order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_delay_above_the_target_turns_the_order_after_the_interval_and_not_before() {
        let start = Instant::now();
        let mut delay = StandingDelay::default();
        delay.look(Some(TARGET + MS), start);
        delay.look(Some(TARGET + MS), start + INTERVAL - MS);
        assert_eq!(delay.order(), Order::OldestFirst);
        delay.look(Some(TARGET + MS), start + INTERVAL);
        assert_eq!(delay.order(), Order::NewestFirst);
    }

    #[test]
    fn a_burst_that_drains_in_between_begins_anew() {
        let start = Instant::now();
        for drained in [Some(TARGET), None] {
            let mut delay = StandingDelay::default();
            delay.look(Some(TARGET + MS), start);
            delay.look(drained, start + 50 * MS);
            delay.look(Some(TARGET + MS), start + 60 * MS);
            delay.look(Some(TARGET + MS), start + 159 * MS);
            assert_eq!(delay.order(), Order::OldestFirst);
            delay.look(Some(TARGET + MS), start + 160 * MS);
            assert_eq!(delay.order(), Order::NewestFirst);
            delay.look(drained, start + 161 * MS);
            assert_eq!(delay.order(), Order::OldestFirst, "the queue is short again");
        }
    }
}
