//! A client: its calls, the session it uses, and the server's memory that it knows.

use super::Bug;
use super::network::{Answer, Body, State};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    /// How often it has connected. Its session is the last one: numbers count from 1.
    pub(super) session: u8,
    /// Whether it knows which memory the server of this session has.
    is_ready: bool,
    /// The memory that its calls were sent to, and the log behind it.
    memory: Option<(u8, Option<u8>)>,
    /// Its clock says that no server may know any more what it did before, and what comes over this
    /// session and those before it is no younger.
    pub(super) lapsed: Option<u8>,
    pub(super) calls: Vec<Call>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    /// Its caller waits; it has been sent so often.
    Waiting {
        attempts: u8,
    },
    Ended(End),
}

/// What the caller was told at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Ran(Known),
    DidNotRun(Known),
    /// Its deadline has passed: it may have run, and the server can be asked.
    Late,
    /// It may have run; the memory that it was sent to is gone, and no log tells.
    OtherMemory,
    /// It may have run; its session is gone before anybody said to which memory it was sent.
    NoMemory,
    /// It may have run; the client has stopped asking, or the server does not tell.
    NeverKnown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Known {
    ByAnswer { attempt: u8 },
    ByInquiry,
}

impl Call {
    pub(super) fn end(self) -> Option<End> {
        match self {
            Self::Waiting { .. } => None,
            Self::Ended(end) => Some(end),
        }
    }
}

impl End {
    pub(super) fn says_yes(self) -> bool {
        matches!(self, Self::Ran(_))
    }

    pub(super) fn says_no(self) -> bool {
        matches!(self, Self::DidNotRun(_))
    }
}

impl Client {
    pub(super) fn new(calls: usize) -> Self {
        let calls = vec![Call::Waiting { attempts: 0 }; calls];
        Self { session: 0, is_ready: false, memory: None, lapsed: None, calls }
    }

    /// All calls below it have ended, and nobody asks about them any more.
    pub(super) fn floor(&self) -> usize {
        let counts = |call: &Call| matches!(call, Call::Waiting { .. } | Call::Ended(End::Late));
        self.calls.iter().position(counts).unwrap_or(self.calls.len())
    }

    /// Whether it may send. Before it knows whose memory it meets it does so only if it knows of none to
    /// compare that with.
    pub(super) fn may_send(&self) -> bool {
        self.is_ready || (self.session > 0 && self.memory.is_none())
    }

    pub(super) fn connect(&mut self, bug: Bug) {
        if self.memory.is_none() && bug != Bug::FirstMemoryTrusted {
            self.end_unknown(End::NoMemory, true);
        }
        self.session += 1;
        self.is_ready = false;
    }

    /// Nobody can say any more what became of the calls that were sent, and of those that are late.
    fn end_unknown(&mut self, end: End, and_late: bool) {
        for call in &mut self.calls {
            match call {
                Call::Waiting { attempts: 1.. } => *call = Call::Ended(end),
                Call::Ended(End::Late) if and_late => *call = Call::Ended(end),
                Call::Waiting { attempts: 0 } | Call::Ended(_) => {}
            }
        }
    }

    /// The number of the attempt to send now.
    pub(super) fn send(&mut self, call: usize) -> u8 {
        let Call::Waiting { attempts } = &mut self.calls[call] else { panic!("it has ended") };
        *attempts += 1;
        *attempts - 1
    }

    pub(super) fn handle(&mut self, body: Body, bug: Bug) {
        match body {
            Body::Memory { id, store } => self.meet(id, store, bug),
            Body::Reply { call, attempt, answer } => {
                if let waiting @ Call::Waiting { .. } = &mut self.calls[call] {
                    let known = Known::ByAnswer { attempt };
                    *waiting = Call::Ended(match answer {
                        Answer::Ran => End::Ran(known),
                        Answer::Refused => End::DidNotRun(known),
                        Answer::Stale => End::NeverKnown,
                    });
                }
            }
            Body::Outcome { call, state } => {
                if let late @ Call::Ended(End::Late) = &mut self.calls[call] {
                    *late = Call::Ended(match state {
                        State::NotRun => End::DidNotRun(Known::ByInquiry),
                        State::Ran => End::Ran(Known::ByInquiry),
                        State::AtWork => End::Late,
                        State::NotKnown => End::NeverKnown,
                    });
                }
            }
            Body::Request { .. } | Body::Acknowledge { .. } | Body::Inquire { .. } => {}
        }
    }

    /// Whether a message of this session can still change something here.
    pub(super) fn awaits(&self, body: Body) -> bool {
        match body {
            Body::Memory { .. } => !self.is_ready,
            Body::Reply { call, .. } => self.calls[call].end().is_none(),
            Body::Outcome { call, .. } => self.calls[call].end() == Some(End::Late),
            Body::Request { .. } | Body::Acknowledge { .. } | Body::Inquire { .. } => false,
        }
    }

    /// Learns whose memory it talks to. Another one knows nothing of what was sent before, but for
    /// what its log has.
    fn meet(&mut self, id: u8, store: Option<u8>, bug: Bug) {
        let before = self.memory.replace((id, store));
        let is_another = before.is_some_and(|(known, _)| known != id);
        let is_same_log = before.is_some_and(|(_, known)| known == store && store.is_some());
        let has_lapsed = self.lapsed.is_some() && bug != Bug::LeaseIgnored;
        let session = self.session;
        self.lapsed.take_if(|last| *last < session || bug == Bug::LateWordCounts);
        self.is_ready = true;
        if !is_another || bug == Bug::MemoryIgnored {
            return;
        }
        if (is_same_log || bug == Bug::StoreIgnored) && !has_lapsed {
            return;
        }
        self.end_unknown(End::OtherMemory, bug != Bug::InquiryOfOtherMemory);
    }
}
