//! The server: what it remembers of each client, and the sessions that it has open.

use super::Bug;
use super::network::{Answer, Body, State};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) restarts: u8,
    /// The id of the memory made next.
    next_memory: u8,
    pub(super) clients: Vec<Admitted>,
}

/// What the server has of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Admitted {
    /// Those that are open, in rising order.
    pub(super) sessions: Vec<u8>,
    pub(super) memory: Option<Memory>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Memory {
    id: u8,
    floor: usize,
    /// By call; those below the floor are forgotten.
    calls: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    New,
    /// Started by this attempt, which came over this session.
    AtWork {
        session: u8,
        attempt: u8,
    },
    Done,
    Refused,
    /// The client was told that it will never run.
    Fenced,
    /// Below the floor.
    Freed,
}

/// What the policy, the limits and the load make of a request at one time. Another time may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    Refuse,
}

/// What a request makes the server do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Begin { call: usize, attempt: u8 },
    Send(Body),
    Nothing,
}

impl Server {
    pub(super) fn new(clients: usize) -> Self {
        Self { restarts: 0, next_memory: 0, clients: vec![Admitted::default(); clients] }
    }

    /// Opens a session, with a memory for it; returns the memory's id.
    pub(super) fn admit(&mut self, client: usize, session: u8, calls: usize) -> u8 {
        let admitted = &mut self.clients[client];
        admitted.sessions.push(session);
        let memory = admitted.memory.get_or_insert_with(|| {
            self.next_memory += 1;
            Memory { id: self.next_memory, floor: 0, calls: vec![Entry::New; calls] }
        });
        memory.id
    }

    /// The process ends, with all that it knew and did, and another starts.
    pub(super) fn restart(&mut self) {
        self.restarts += 1;
        self.clients.fill(Admitted::default());
    }

    /// Whether every client has acknowledged every call.
    pub(super) fn has_freed_all(&self) -> bool {
        self.clients.iter().all(|admitted| {
            let memory = admitted.memory.as_ref();
            memory.is_some_and(|memory| memory.calls.iter().all(|entry| *entry == Entry::Freed))
        })
    }
}

impl Admitted {
    pub(super) fn has_open(&self, session: u8) -> bool {
        self.sessions.contains(&session)
    }

    /// Whether the floor is below this one.
    pub(super) fn awaits_floor(&self, floor: usize) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.floor < floor)
    }

    /// Whether nothing of the client holds the memory but the lease.
    pub(super) fn is_leased(&self) -> bool {
        self.sessions.is_empty() && self.memory.is_some()
    }
}

impl Memory {
    pub(super) fn entry(&self, call: usize) -> Entry {
        self.calls[call]
    }

    pub(super) fn handle(&mut self, session: u8, body: Body, verdict: Verdict, bug: Bug) -> Effect {
        match body {
            Body::Request { call, attempt } => self.request(session, call, attempt, verdict, bug),
            Body::Acknowledge { floor } => {
                self.acknowledge(floor);
                Effect::Nothing
            }
            Body::Inquire { call } => {
                Effect::Send(Body::Outcome { call, state: self.inquire(call, bug) })
            }
            Body::Memory { .. } | Body::Reply { .. } | Body::Outcome { .. } => Effect::Nothing,
        }
    }

    /// The handler has ended; returns where its answer goes.
    pub(super) fn finish(&mut self, call: usize, bug: Bug) -> Option<(u8, Body)> {
        let Entry::AtWork { session, attempt } = self.calls[call] else { return None };
        self.calls[call] = if bug == Bug::FreedWhenDone { Entry::New } else { Entry::Done };
        Some((session, Body::Reply { call, attempt, answer: Answer::Ran }))
    }

    fn request(
        &mut self,
        session: u8,
        call: usize,
        attempt: u8,
        verdict: Verdict,
        bug: Bug,
    ) -> Effect {
        let entry = &mut self.calls[call];
        let answer = match (*entry, verdict) {
            (Entry::New, Verdict::Allow) => {
                *entry = Entry::AtWork { session, attempt };
                return Effect::Begin { call, attempt };
            }
            (Entry::New, Verdict::Refuse) => {
                if bug != Bug::NoTombstone {
                    *entry = Entry::Refused;
                }
                Answer::Refused
            }
            (Entry::Refused, _) => Answer::Refused,
            (Entry::Fenced | Entry::Freed, _) => Answer::Stale,
            (Entry::AtWork { .. } | Entry::Done, Verdict::Refuse) => {
                if bug == Bug::DenialOfDuplicate { Answer::Refused } else { Answer::Stale }
            }
            (Entry::Done, Verdict::Allow) => Answer::Ran,
            // "I am at work": it tells the client nothing that it could say.
            (Entry::AtWork { .. }, Verdict::Allow) => return Effect::Nothing,
        };
        Effect::Send(Body::Reply { call, attempt, answer })
    }

    fn inquire(&mut self, call: usize, bug: Bug) -> State {
        match self.calls[call] {
            Entry::New => {
                if bug != Bug::NoFence {
                    self.calls[call] = Entry::Fenced;
                }
                State::NotRun
            }
            Entry::Refused | Entry::Fenced => State::NotRun,
            Entry::AtWork { .. } => State::AtWork,
            Entry::Done => State::Ran,
            Entry::Freed => State::NotKnown,
        }
    }

    /// Frees what lies below the floor. A handler at work goes on, and its answer goes nowhere.
    fn acknowledge(&mut self, floor: usize) {
        if floor > self.floor {
            self.floor = floor;
            self.calls[..floor].fill(Entry::Freed);
        }
    }
}
