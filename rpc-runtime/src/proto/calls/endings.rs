//! Calls that end without an answer, and what is found out about them later.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use super::{Answer, Before, Calls};
use crate::{
    error::{Executed, NotSent, Outcome},
    proto::frame::{self, WireOutcome},
};

impl Calls {
    /// Ends the calls whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.deadline.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.held.expire(now, &mut self.window);
        let open = || self.waiting.iter().filter(|(_, waiting)| waiting.answer.is_none());
        let late: Vec<_> = open()
            .filter(|(_, waiting)| waiting.deadline <= now)
            .map(|(slot, waiting)| (slot, waiting.number))
            .collect();
        self.deadline = open().map(|(_, waiting)| waiting.deadline).filter(|at| *at > now).min();
        for (slot, number) in late {
            let waiting = &self.waiting[slot];
            if waiting.before == Before::Perhaps {
                // The present server can be asked, and would only know about itself.
                self.window.settle(number);
                self.finish(slot, Answer::DeadlineExceeded(Executed::Unknown));
            } else if waiting.may_have_run() {
                let durability = waiting.durability();
                self.held.insert(number, durability, now, &mut self.window);
                self.finish(slot, Answer::DeadlineExceeded(Executed::Unknown));
            } else {
                self.window.settle(number);
                let why = self.disconnected.clone().map(NotSent::Disconnected);
                let late = Answer::DeadlineExceeded(Executed::No);
                self.finish(slot, why.map_or(late, Answer::NotSent));
            }
        }
        let held = self.held.next_timeout();
        self.deadline = [self.deadline, held].into_iter().flatten().min();
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What has become of a call that ended without an answer; `cx` is woken once it is known.
    pub(crate) fn poll_outcome(&mut self, number: u64, cx: &mut Context<'_>) -> Poll<Outcome> {
        if self.window.slot(number).is_some() {
            return Poll::Ready(Outcome::Running);
        }
        match self.held.look_up(number) {
            None => return Poll::Ready(Outcome::Unknown),
            Some(Some(outcome)) => return Poll::Ready(outcome),
            Some(None) if self.refusing.is_some() => return Poll::Ready(Outcome::Unknown),
            Some(None) => {}
        }
        if self.held.ask(number, cx.waker()) {
            self.inquire(number);
            self.main.wake(self.waiting.len());
        }
        Poll::Pending
    }

    /// Asks only the server that may have run the call, or has its records: another one would answer
    /// that it did not, and see to it that it never does, whatever the first has done.
    fn inquire(&mut self, number: u64) {
        if self.main.open {
            // A memory that is new knows no floor, and takes no numbers that are far from it.
            frame::put_acknowledge(self.window.floor(), &[], &mut self.main.control);
            frame::put_inquire(number, &mut self.main.control);
        }
    }

    /// The server says what became of a call.
    pub(crate) fn tell_outcome(&mut self, call: u64, outcome: WireOutcome) {
        self.held.learn(call, outcome.into(), &mut self.window);
    }

    /// Asks again what was asked and not answered.
    pub(crate) fn ask_again(&mut self) {
        let asked: Vec<_> = self.held.asked().collect();
        asked.into_iter().for_each(|number| self.inquire(number));
    }

    /// Whether somebody waits for an answer of [`ask_again`](Self::ask_again).
    pub(crate) fn is_asking(&self) -> bool {
        self.held.asked().next().is_some()
    }
}
