//! A network that forgets nothing: any message may arrive at any time, again and again, or never.
//!
//! That is loss, duplication, delay and every order at once, in fewer states than if each were a step.

/// A message, with the session under whose keys alone it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Message {
    pub(super) client: usize,
    pub(super) session: u8,
    pub(super) body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Body {
    Request {
        call: usize,
        attempt: u8,
    },
    /// All calls below the floor have ended. Requests say it too: as if this came just before them.
    Acknowledge {
        floor: usize,
    },
    Inquire {
        call: usize,
    },
    Memory {
        id: u8,
        /// Names the log, where there is one.
        store: Option<u8>,
    },
    Reply {
        call: usize,
        attempt: u8,
        answer: Answer,
    },
    Outcome {
        call: usize,
        state: State,
    },
}

/// What a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Answer {
    Ran,
    /// It did not run, and never will.
    Refused,
    /// It will not run again; what it did before is not told: below the floor, fenced, or a duplicate
    /// that the policy does not allow any more.
    Stale,
}

/// What the answer to an inquiry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum State {
    /// It did not run, and never will.
    NotRun,
    Ran,
    AtWork,
    NotKnown,
}

impl Body {
    pub(super) fn is_for_the_server(self) -> bool {
        matches!(self, Self::Request { .. } | Self::Acknowledge { .. } | Self::Inquire { .. })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Network(Vec<Message>); // sorted, each once

impl Network {
    pub(super) fn send(&mut self, client: usize, session: u8, body: Body) {
        let message = Message { client, session, body };
        if let Err(place) = self.0.binary_search(&message) {
            self.0.insert(place, message);
        }
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = Message> {
        self.0.iter().copied()
    }

    /// Forgets what cannot change anything any more, so that states which are alike are equal.
    pub(super) fn retain(&mut self, matters: impl FnMut(&Message) -> bool) {
        self.0.retain(matters);
    }
}
