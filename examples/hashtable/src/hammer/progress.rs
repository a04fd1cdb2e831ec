//! A line each second: how the callers are getting on.

use std::{fmt::Write as _, time::Duration};

use super::tally::Tally;

/// What the last line said.
#[derive(Debug, Default)]
pub(super) struct Progress {
    acknowledged: u64,
    at: Duration,
    /// When a line first said that nothing more had been answered.
    changed: Duration,
}

impl Progress {
    /// The next line, `elapsed` after the beginning.
    pub(super) fn line(&mut self, tally: &Tally, elapsed: Duration) -> String {
        let acknowledged = tally.total_acknowledged();
        let more = acknowledged - self.acknowledged;
        let rate = more as f64 / elapsed.saturating_sub(self.at).as_secs_f64().max(0.001);
        if more > 0 {
            self.changed = elapsed;
        }
        (self.acknowledged, self.at) = (acknowledged, elapsed);
        let seconds = elapsed.as_secs_f64();
        let mut line = format!("{seconds:5.0} s  {acknowledged} acknowledged, {rate:.0}/s");
        let waiting = tally.waiting();
        let rest = [
            (waiting, "under way"),
            (tally.total_did_not_run(), "did not run"),
            (tally.unknown, "ended unknown"),
        ];
        for (count, what) in rest.iter().filter(|(count, _)| *count > 0) {
            // Writing to a string does not fail.
            let _ = write!(line, ", {count} {what}");
        }
        line
    }

    /// How long nothing has been acknowledged, as of the last line.
    pub(super) fn silence(&self) -> Duration {
        self.at.saturating_sub(self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_the_rate_since_the_one_before_and_silence_adds_up() {
        let (mut progress, mut tally) = (Progress::default(), Tally::new(0));
        let second = Duration::from_secs(1);
        for sum in 1..=300 {
            let mark = tally.begin();
            tally.acknowledged(mark, sum);
        }
        assert_eq!(progress.line(&tally, second), "    1 s  300 acknowledged, 300/s");
        tally.begin();
        let line = progress.line(&tally, 2 * second);
        assert_eq!(line, "    2 s  300 acknowledged, 0/s, 1 under way");
        assert_eq!(progress.silence(), second);
        tally.ended_unknown();
        let line = progress.line(&tally, 3 * second);
        assert_eq!(line, "    3 s  300 acknowledged, 0/s, 1 ended unknown");
        assert_eq!(progress.silence(), 2 * second);
        let mark = tally.begin();
        tally.acknowledged(mark, 301);
        progress.line(&tally, 4 * second);
        assert_eq!(progress.silence(), Duration::ZERO);
    }
}
