//! Whether a durable server that was restarted is sure to have the records of this client's calls.
//!
//! A server keeps them for its lease after the last it had to do with the client, over crashes too.
//! So a client reckons how long ago the server is known to have been there: not since an answer came,
//! which the network may have held back, but since that was sent which it answers.

use std::time::{Duration, Instant, SystemTime};

use crate::proto::frame::MemoryId;

/// A client counts on this part of the lease only: neither of the two clocks has to be good.
const PART: u32 = 2;

/// Shows the calendar's time.
pub(crate) type Calendar = fn() -> SystemTime;

/// What the client knows of the time since its server was there.
pub(super) struct Lease {
    /// The latest time after which the server has answered something.
    answered: Option<Instant>,
    /// When the server last said which memory it has, by both clocks: one stands still while the
    /// machine sleeps.
    met: Option<(Instant, SystemTime)>,
    calendar: Calendar,
    /// The last question whether the server is there: its token, and when it was asked.
    question: (u64, Option<Instant>),
}

/// For which calls a server's records count, though its memory is another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records {
    now: Instant,
    answered: Option<Instant>,
    /// How long the machine slept since it was connected last, or longer.
    slept: Duration,
    within: Duration,
}

impl Lease {
    pub(super) fn new(calendar: Calendar) -> Self {
        Self { answered: None, met: None, calendar, question: (0, None) }
    }

    /// The server has answered what was sent at this time.
    pub(super) fn answered(&mut self, sent: Instant) {
        self.answered = self.answered.max(Some(sent));
    }

    /// The server is asked now whether it is there; the question's token.
    pub(super) fn ask(&mut self, now: Instant) -> u64 {
        self.question = (self.question.0.wrapping_add(1), Some(now));
        self.question.0
    }

    /// It is there, if it answers this question.
    pub(super) fn heed(&mut self, token: u64) {
        if let (asked, Some(at)) = self.question
            && asked == token
        {
            self.answered(at);
        }
    }

    /// The server has said which memory it has, over a connection that was made at `since`. Returns
    /// what its records are good for, if they are those of the memory before.
    pub(super) fn meet(
        &mut self,
        before: Option<MemoryId>,
        memory: MemoryId,
        since: Option<Instant>,
        now: Instant,
    ) -> Option<Records> {
        let today = (self.calendar)();
        let slept = self.met.replace((now, today)).map_or(Duration::ZERO, |(then, day)| {
            let passed = today.duration_since(day).unwrap_or_default();
            passed.saturating_sub(now.saturating_duration_since(then))
        });
        let answered = self.answered;
        since.into_iter().for_each(|since| self.answered(since));
        let before = before.filter(|before| before.store == memory.store)?;
        let within = before.lease.min(memory.lease) / PART;
        (memory.store != [0; 8]).then_some(Records { now, answered, slept, within })
    }
}

impl Records {
    /// Whether there is one of a call that was first sent at this time, if it ran.
    pub(super) fn cover(&self, sent: Instant) -> bool {
        let there = self.answered.map_or(sent, |answered| answered.max(sent));
        let silence = self.now.saturating_duration_since(there);
        silence.saturating_add(self.slept) <= self.within
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
