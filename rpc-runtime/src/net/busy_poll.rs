//! Looking again instead of sleeping, for who has a processor to spare: it takes a sleeping one tens of
//! microseconds to wake, which is most of a lone call.

use std::{
    pin::pin,
    task::Context,
    time::{Duration, Instant},
};

use tokio::task;

use crate::clock;

/// Decides whether a connection that has nothing to do looks again at once or sleeps.
///
/// It looks for as long as it was told to. Where that was in vain it looks half as long the next time,
/// and soon not at all, until something comes so early that looking would have found it.
pub(crate) struct BusyPoll {
    most: Duration,
    window: Duration,
    state: State,
}

/// Windows shorter than this find nothing that one turn does not find.
const LEAST: Duration = Duration::from_micros(1);

/// How often a connection asks its own socket in one turn: a turn of the runtime asks for all others too, and takes
/// longer.
const LOOKS: u32 = 4;

#[derive(Clone, Copy)]
enum State {
    Busy,
    LookingSince(Instant),
    SleepingSince(Instant),
}

impl BusyPoll {
    /// Looks for `most` at the most; zero sleeps at once.
    pub(crate) fn new(most: Duration) -> Self {
        Self { most, window: most, state: State::Busy }
    }

    /// There is nothing to do: `true` if the task is woken to look again, once all others that are ready
    /// have run and the reactor has been asked; `false` if it is to sleep.
    pub(crate) fn looks_again(&mut self, cx: &mut Context<'_>) -> bool {
        if self.most.is_zero() || !self.looks_at(clock::now()) {
            return false;
        }
        // The runtime asks its reactor before it runs a task that has yielded.
        let _ = pin!(task::yield_now()).poll(cx);
        true
    }

    /// How often the socket itself is to be asked in this turn: not in the first that finds nothing, which is
    /// that of others who are ready.
    pub(crate) fn looks(&self) -> u32 {
        match self.state {
            State::LookingSince(_) => LOOKS,
            State::Busy | State::SleepingSince(_) => 0,
        }
    }

    /// Something was sent, and its answer may be looked for.
    pub(crate) fn sent(&mut self) {
        self.state = State::Busy;
    }

    /// Something has come.
    pub(crate) fn found(&mut self) {
        if !self.most.is_zero() {
            self.found_at(clock::now);
        }
    }

    fn looks_at(&mut self, now: Instant) -> bool {
        let since = match self.state {
            State::LookingSince(since) => since,
            // Woken for something that was nothing, a timer perhaps.
            State::SleepingSince(_) => return false,
            State::Busy => now,
        };
        self.state = State::LookingSince(since);
        if now.saturating_duration_since(since) < self.window {
            return true;
        }
        self.window /= 2;
        if self.window < LEAST {
            self.window = Duration::ZERO;
        }
        self.state = State::SleepingSince(since);
        false
    }

    fn found_at(&mut self, now: impl FnOnce() -> Instant) {
        match self.state {
            State::Busy => return,
            State::LookingSince(_) => self.window = self.most,
            State::SleepingSince(since) => {
                if now().saturating_duration_since(since) < self.most {
                    self.window = self.most;
                }
            }
        }
        self.state = State::Busy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(50);

    /// How often a connection looks, a microsecond apart, until it sleeps.
    fn looks(poll: &mut BusyPoll, now: &mut Instant) -> u32 {
        let mut looks = 0;
        while poll.looks_at(*now) {
            *now += Duration::from_micros(1);
            looks += 1;
        }
        looks
    }

    #[test]
    fn what_finds_nothing_is_halved_until_nobody_looks() {
        let (mut poll, mut now) = (BusyPoll::new(MOST), clock::now());
        let mut seen = Vec::new();
        for _ in 0..8 {
            seen.push(looks(&mut poll, &mut now));
            now += Duration::from_secs(1);
            poll.found_at(|| now);
        }
        assert_eq!(seen, [50, 25, 13, 7, 4, 2, 0, 0]);
    }

    #[test]
    fn what_comes_while_it_looks_has_it_look_as_long_again() {
        let (mut poll, mut now) = (BusyPoll::new(MOST), clock::now());
        looks(&mut poll, &mut now);
        now += Duration::from_secs(1);
        poll.found_at(|| now);
        assert!(poll.looks_at(now));
        poll.found_at(|| now);
        assert_eq!(looks(&mut poll, &mut now), 50);
    }

    #[test]
    fn what_comes_early_would_have_been_found() {
        let (mut poll, mut now) = (BusyPoll::new(MOST), clock::now());
        for _ in 0..8 {
            looks(&mut poll, &mut now);
            now += Duration::from_secs(1);
            poll.found_at(|| now);
        }
        assert_eq!(looks(&mut poll, &mut now), 0);
        now += Duration::from_micros(49);
        poll.found_at(|| now);
        assert_eq!(looks(&mut poll, &mut now), 50);
    }

    #[test]
    fn who_has_sent_something_looks_for_its_answer() {
        let (mut poll, mut now) = (BusyPoll::new(MOST), clock::now());
        assert_eq!(looks(&mut poll, &mut now), 50);
        now += Duration::from_secs(1);
        poll.sent();
        assert_eq!(looks(&mut poll, &mut now), 25);
    }

    #[test]
    fn the_socket_is_asked_once_a_turn_has_found_nothing_and_until_sleep() {
        let (mut poll, mut now) = (BusyPoll::new(MOST), clock::now());
        assert_eq!(poll.looks(), 0, "others have the first turn");
        assert!(poll.looks_at(now));
        assert_eq!(poll.looks(), LOOKS);
        poll.found_at(|| now);
        assert_eq!(poll.looks(), 0);
        looks(&mut poll, &mut now);
        assert_eq!(poll.looks(), 0, "it sleeps");
    }

    #[test]
    fn who_is_asleep_looks_no_more_until_something_comes() {
        let (mut poll, mut now) = (BusyPoll::new(MOST), clock::now());
        looks(&mut poll, &mut now);
        assert!(!poll.looks_at(now));
    }
}
