//! One timer a connection, armed for the earliest of all its times.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::Sleep;

/// Wakes a task at the earliest time it was asked for.
///
/// Most times move later with every record that comes. The timer is not armed anew for those:
/// it wakes the task too early once, and is armed again then.
#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
}

impl Timer {
    /// Whether the time has come that the timer was armed for.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.armed.is_some_and(|at| at <= now);
        if due {
            self.armed = None;
        }
        due
    }

    /// Makes sure that the task is woken at `at`; `true` if that time has come meanwhile.
    pub(crate) fn arm(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(at) = at.filter(|at| self.armed.is_none_or(|armed| *at < armed)) else {
            return false;
        };
        self.armed = Some(at);
        let deadline = tokio::time::Instant::from_std(at);
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                sleep.as_mut().reset(deadline);
                sleep
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(deadline))),
        };
        sleep.as_mut().poll(cx) == Poll::Ready(())
    }

    /// Forgets the task it would wake: the connection has moved to another.
    pub(crate) fn disarm(&mut self) {
        self.armed = None;
    }
}
