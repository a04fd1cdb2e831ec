//! When a connection gives its buffers back: not between two calls, but once it has been quiet for a while.

use std::time::{Duration, Instant};

/// How long nothing must have gone or come.
const QUIET: Duration = Duration::from_secs(1);

/// Knows when a connection will have been quiet for long enough, unless it is at rest already.
#[derive(Default)]
pub(crate) struct Quiet {
    at: Option<Instant>,
}

impl Quiet {
    /// Something went or came.
    pub(crate) fn disturb(&mut self, now: Instant) {
        self.at = Some(now + QUIET);
    }

    /// `true`, once, when it has been quiet for long enough.
    pub(crate) fn has_come(&mut self, now: Instant) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }

    /// When [`has_come`](Self::has_come) is to be asked.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_comes_once_after_each_disturbance() {
        let (mut quiet, now) = (Quiet::default(), Instant::now());
        assert!(!quiet.has_come(now + 2 * QUIET), "at rest from the beginning");
        quiet.disturb(now);
        quiet.disturb(now + QUIET / 2);
        assert_eq!(quiet.at(), Some(now + QUIET + QUIET / 2));
        assert!(!quiet.has_come(now + QUIET));
        assert!(quiet.has_come(now + 2 * QUIET));
        assert!(!quiet.has_come(now + 3 * QUIET));
        assert_eq!(quiet.at(), None);
    }
}
