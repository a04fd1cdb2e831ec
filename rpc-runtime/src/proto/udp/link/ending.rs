//! How a link ends: the last word, and its repetitions for a peer that has not heard it.

use std::time::{Duration, Instant};

use super::{Alert, Failure, Link};

/// The last word is repeated at most four times a second.
const BETWEEN: Duration = Duration::from_millis(250);

/// And for as many retransmission timeouts.
const PERIOD: u32 = 3;

#[derive(Debug)]
pub(super) enum State {
    Open,
    /// Each packet that comes is answered by the last word.
    Ending(Ending),
    /// Nothing can be sealed any more, and the owner has not been told.
    Failed(Failure, Instant),
    /// Nothing is sent and nothing is opened.
    Ended,
}

#[derive(Debug)]
pub(super) struct Ending {
    pub(super) word: LastWord,
    /// Whether it is to be sent now.
    pub(super) is_due: bool,
    next: Instant,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastWord {
    Close,
    Alert(Alert),
}

impl State {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::Open | Self::Ended => None,
            Self::Ending(ending) => Some(ending.until),
            Self::Failed(_, since) => Some(*since),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Failure> {
        match self {
            Self::Ending(ending) if ending.until <= now => *self = Self::Ended,
            Self::Failed(..) => {
                if let Self::Failed(failure, _) = std::mem::replace(self, Self::Ended) {
                    return Err(failure);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Ending {
    /// A packet has come from a peer that has not heard the last word.
    pub(super) fn asked(&mut self, now: Instant) {
        self.is_due |= self.next <= now;
    }

    pub(super) fn said(&mut self, now: Instant) {
        self.is_due = false;
        self.next = now + BETWEEN;
    }
}

impl Link {
    /// Ends the session in good order. Frames without a tag that still wait leave before.
    pub(crate) fn close(&mut self, now: Instant) {
        self.last_word(LastWord::Close, now);
    }

    /// Ends the session at once, and tells the peer why.
    pub(crate) fn abort(&mut self, alert: Alert, now: Instant) {
        self.outgoing = Default::default();
        self.last_word(LastWord::Alert(alert), now);
    }

    /// Whether nothing is left to do, now that the session has ended.
    pub(crate) fn is_drained(&self, now: Instant) -> bool {
        match &self.state {
            State::Open | State::Failed(..) => false,
            State::Ending(ending) => ending.until <= now,
            State::Ended => true,
        }
    }

    fn last_word(&mut self, word: LastWord, now: Instant) {
        if !self.state.is_open() {
            return;
        }
        let until = now + PERIOD * self.rto();
        self.state = State::Ending(Ending { word, is_due: true, next: now, until });
        self.drop_messages();
    }

    /// Ends the session without a word.
    pub(super) fn end(&mut self) {
        self.state = State::Ended;
        self.outgoing = Default::default();
        self.drop_messages();
    }

    /// Ends the session as a failure asks for.
    pub(super) fn fail(&mut self, failure: &Failure, now: Instant) {
        match failure.alert {
            Some(alert) => self.abort(alert, now),
            None => self.end(),
        }
    }

    /// What is half here and half sent is of no use any more; its memory is given back.
    fn drop_messages(&mut self) {
        self.fragments = Default::default();
        self.reassembly.clear();
        self.responses.clear();
    }
}
