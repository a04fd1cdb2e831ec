//! When record keys are changed, and when they must not be used any further.

use std::time::Duration;

/// Thresholds of one sending direction; whichever is reached first changes the key.
///
/// All are configurable so that tests can use 4. Two ends need not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLimits {
    /// Records sealed under one key. Default: 2^24.
    pub records: u64,
    /// Bytes sealed under one key: the sum of the records' lengths, headers left out.
    /// Default: 2^36.
    pub bytes: u64,
    /// Age of a key. It is looked at when something is sealed. Default: 15 minutes.
    pub age: Duration,
    /// Records under one key after which nothing is sealed or opened with it, although the peer has
    /// kept us from changing it. Default, and highest: 2^60.
    pub hard_stop: u64,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            records: 1 << 24,
            bytes: 1 << 36,
            age: Duration::from_secs(15 * 60),
            hard_stop: HARD_STOP,
        }
    }
}

impl RecordLimits {
    /// The hard stop, which no configuration lifts above 2^60.
    pub(super) fn hard_stop(&self) -> u64 {
        self.hard_stop.min(HARD_STOP)
    }
}

const HARD_STOP: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_configuration_lifts_the_hard_stop_above_2_to_the_60() {
        let limits = RecordLimits { hard_stop: u64::MAX, ..RecordLimits::default() };
        assert_eq!(limits.hard_stop(), 1 << 60);
        let limits = RecordLimits { hard_stop: 4, ..RecordLimits::default() };
        assert_eq!(limits.hard_stop(), 4);
    }
}
