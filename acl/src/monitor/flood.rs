//! Keeps a flood of events from filling the log, without losing count.
//!
//! Conservation: records in full + the counts of the summaries = events.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Events of one reason that a second records in full.
pub const FULL_PER_SECOND: u32 = 10;

/// Most reasons that are counted apart; further ones are counted as [`OTHER`].
const MAX_REASONS: usize = 64;
const OTHER: &str = "other";

/// The second under way, for each reason.
#[derive(Debug, Default)]
pub(super) struct Flood {
    windows: BTreeMap<Box<str>, Window>,
}

#[derive(Debug, Default)]
struct Window {
    second: u64,
    full: u32,
    /// Events that are in no record yet.
    owed: u64,
}

impl Flood {
    /// Counts so many events; `true` if they go on record in full. `summarize` writes a summary of the
    /// second before, if one is owed, and says whether that worked.
    pub(super) fn admits(
        &mut self,
        reason: &str,
        count: u64,
        now: SystemTime,
        summarize: impl Fn(&str, u64) -> bool,
    ) -> bool {
        let room = self.windows.len() < MAX_REASONS || self.windows.contains_key(reason);
        let reason = if room { reason } else { OTHER };
        let window = self.windows.entry(reason.into()).or_default();
        let second = second(now);
        if window.second != second {
            window.settle(reason, &summarize);
            window.second = second;
            window.full = 0;
        }
        if window.full < FULL_PER_SECOND {
            window.full += 1;
            return true;
        }
        window.owed = window.owed.saturating_add(count);
        false
    }

    /// Writes the summaries of all seconds but the present one.
    pub(super) fn flush(&mut self, now: SystemTime, summarize: impl Fn(&str, u64) -> bool) {
        let second = second(now);
        for (reason, window) in &mut self.windows {
            if window.second != second {
                window.settle(reason, &summarize);
            }
        }
    }
}

impl Window {
    fn settle(&mut self, reason: &str, summarize: &impl Fn(&str, u64) -> bool) {
        // What cannot be written now is owed to the next summary.
        if self.owed > 0 && summarize(reason, self.owed) {
            self.owed = 0;
        }
    }
}

fn second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
