//! At most four times a second.

use std::time::{Duration, Instant};

const APART: Duration = Duration::from_millis(250);

/// When something was done last that is not done more often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace(Instant);

impl Pace {
    /// It is done now.
    pub(crate) fn begin(now: Instant) -> Self {
        Self(now)
    }

    /// Whether it may be done again; then it counts as done.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let may = now.saturating_duration_since(self.0) >= APART;
        if may {
            self.0 = now;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_times_a_second() {
        let start = Instant::now();
        let mut pace = Pace::begin(start);
        let each_ms = (0..=1000).map(|ms| start + Duration::from_millis(ms));
        assert_eq!(each_ms.filter(|now| pace.take(*now)).count(), 4);
    }
}
