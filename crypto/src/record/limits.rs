//! When record keys are changed, and when they must not be used any further.

use std::time::Duration;

/// Thresholds; whichever is reached first changes the key: on a stream that of one sending direction,
/// on datagrams those of both, as soon as either direction has reached one.
///
/// All are configurable so that tests can use 4. Two ends need not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLimits {
    /// Records, or packets, sealed under one key. Default: 2^24.
    pub records: u64,
    /// Bytes sealed under one key: the sum of the records' lengths, headers left out, or of whole
    /// packets. Default: 2^36.
    pub bytes: u64,
    /// Age of a key. It is looked at when something is sealed. Default: 15 minutes.
    pub age: Duration,
    /// Records under one key after which nothing is sealed or opened with it, although the peer has
    /// kept us from changing it. Default, and highest: 2^60. Packets are numbered through all keys
    /// of a connection, and this bounds the number.
    pub hard_stop: u64,
    /// Packets that did not open, after which the connection ends: so many forgeries bring an
    /// attacker too near to one that does. Default: 2^36. On a stream the first is the last.
    pub failures: u64,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            records: 1 << 24,
            bytes: 1 << 36,
            age: Duration::from_secs(15 * 60),
            hard_stop: HARD_STOP,
            failures: 1 << 36,
        }
    }
}

impl RecordLimits {
    /// The hard stop, which no configuration lifts above 2^60.
    pub(crate) fn hard_stop(&self) -> u64 {
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
