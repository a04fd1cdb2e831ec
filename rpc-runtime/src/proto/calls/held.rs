//! Calls that ended without an answer: the server is kept from forgetting them for a while, so
//! that somebody can ask what became of them.

use std::{
    collections::VecDeque,
    task::Waker,
    time::{Duration, Instant},
};

use super::{lease::Records, window::Window};
use crate::{error::Outcome, proto::frame::WireOutcome};

/// Calls held at the most; then the oldest is let go.
const MAX_HELD: usize = 1024;

pub(super) struct HeldCalls {
    /// By number, which is not by time, as a call that began first can end last.
    calls: VecDeque<Held>,
    /// A server remembers no longer than its lease.
    lease: Duration,
}

/// What a call leaves at a durable server that has run it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Durability {
    /// Nothing that outlasts the server's memory.
    Remembered,
    /// A record. The call was first sent at `first`.
    Recorded { first: Instant },
}

impl Durability {
    /// Whether these records tell what became of the call.
    pub(super) fn is_covered(self, records: Option<Records>) -> bool {
        match (self, records) {
            (Self::Recorded { first }, Some(records)) => records.cover(first),
            _ => false,
        }
    }
}

struct Held {
    number: u64,
    durability: Durability,
    until: Instant,
    outcome: Option<Outcome>,
    /// Who asks. One question is under way for all of them.
    asking: Vec<Waker>,
}

impl HeldCalls {
    pub(super) fn new(lease: Duration) -> Self {
        Self { calls: VecDeque::new(), lease }
    }

    pub(super) fn insert(
        &mut self,
        number: u64,
        durability: Durability,
        now: Instant,
        window: &mut Window,
    ) {
        if self.calls.len() >= MAX_HELD
            && let Some(oldest) = self.calls.pop_front()
        {
            release(oldest, window);
        }
        window.hold(number);
        let until = now.checked_add(self.lease).unwrap_or(now);
        let (outcome, asking) = (None, Vec::new());
        self.calls.push_back(Held { number, durability, until, outcome, asking });
    }

    /// What is known of the call. `None` if it is not held. That it is at work is told once: who
    /// asks later wants to know anew.
    pub(super) fn look_up(&mut self, number: u64) -> Option<Option<Outcome>> {
        let index = self.find(number)?;
        let known = &mut self.calls[index].outcome;
        Some(match *known {
            Some(Outcome::Running) => known.take(),
            settled => settled,
        })
    }

    /// Somebody wants to be woken when it is known; `true` if nobody has asked before.
    pub(super) fn ask(&mut self, number: u64, waker: &Waker) -> bool {
        let Some(index) = self.find(number) else { return false };
        let asking = &mut self.calls[index].asking;
        let is_first = asking.is_empty();
        if !asking.iter().any(|other| other.will_wake(waker)) {
            asking.push(waker.clone());
        }
        is_first
    }

    /// It is known now what became of the call: the server may forget it.
    pub(super) fn learn(&mut self, number: u64, outcome: Outcome, window: &mut Window) {
        let Some(index) = self.find(number) else { return };
        let held = &mut self.calls[index];
        if matches!(held.outcome, None | Some(Outcome::Running)) {
            held.outcome = Some(outcome);
        }
        held.asking.drain(..).for_each(Waker::wake);
        // What is at work can still be asked about.
        if outcome != Outcome::Running {
            window.settle(number);
        }
    }

    /// Lets go of calls that no server remembers any more.
    pub(super) fn expire(&mut self, now: Instant, window: &mut Window) {
        while self.calls.front().is_some_and(|oldest| oldest.until <= now)
            && let Some(oldest) = self.calls.pop_front()
        {
            release(oldest, window);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.calls.front().map(|oldest| oldest.until)
    }

    /// The server that knew about them is gone; these records are left.
    pub(super) fn forget(&mut self, records: Option<Records>, window: &mut Window) {
        for held in &mut self.calls {
            let is_open = matches!(held.outcome, None | Some(Outcome::Running));
            if is_open && held.durability.is_covered(records) {
                held.outcome = None;
                continue;
            }
            if is_open {
                held.outcome = Some(Outcome::Unknown);
            }
            held.asking.drain(..).for_each(Waker::wake);
            window.settle(held.number);
        }
    }

    /// The calls that somebody asks about.
    pub(super) fn asked(&self) -> impl Iterator<Item = u64> {
        self.calls.iter().filter(|held| !held.asking.is_empty()).map(|held| held.number)
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.calls.iter().position(|held| held.number == number)
    }
}

fn release(held: Held, window: &mut Window) {
    held.asking.into_iter().for_each(Waker::wake);
    window.settle(held.number);
}

impl From<WireOutcome> for Outcome {
    fn from(outcome: WireOutcome) -> Self {
        match outcome {
            WireOutcome::Fenced => Self::DidNotRun,
            WireOutcome::Ran => Self::Ran,
            WireOutcome::AtWork => Self::Running,
            WireOutcome::NotKnown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::task::{ArcWake, waker};

    use super::*;
    use crate::clock;

    struct Asker;

    impl ArcWake for Asker {
        fn wake_by_ref(_: &Arc<Self>) {}
    }

    #[test]
    fn who_looks_again_asks_no_second_question() {
        let (mut window, now) = (Window::default(), clock::now());
        let mut held = HeldCalls::new(Duration::from_secs(60));
        held.insert(0, Durability::Remembered, now, &mut window);
        let (asker, other) = (waker(Arc::new(Asker)), waker(Arc::new(Asker)));
        let asked = [&asker, &asker, &other, &asker].map(|asker| held.ask(0, asker));
        assert_eq!(asked, [true, false, false, false]);
        held.learn(0, Outcome::Running, &mut window);
        assert!(held.ask(0, &asker), "what is at work is asked about anew");
    }
}
