//! The server: what it remembers of each client, and the sessions that it has open.

use super::Bug;
use super::log::{Crash, Log};
use super::network::{Answer, Body, State};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Server {
    pub(super) restarts: u8,
    /// The id of the memory made next.
    next_memory: u8,
    pub(super) clients: Vec<Admitted>,
    /// Of a durable service.
    pub(super) log: Option<Log>,
    /// The log has not been read yet.
    pub(super) is_recovering: bool,
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
    pub(super) fn new(clients: usize, log: Option<Log>) -> Self {
        let (clients, is_recovering) = (vec![Admitted::default(); clients], false);
        Self { restarts: 0, next_memory: 0, clients, log, is_recovering }
    }

    /// Opens a session, with a memory for it; returns what the client is told of that.
    pub(super) fn admit(&mut self, client: usize, session: u8, calls: usize) -> Body {
        let store = self.log.as_ref().map(|log| log.store);
        let admitted = &mut self.clients[client];
        admitted.sessions.push(session);
        let memory = admitted.memory.get_or_insert_with(|| {
            self.next_memory += 1;
            Memory { id: self.next_memory, floor: 0, calls: vec![Entry::New; calls] }
        });
        Body::Memory { id: memory.id, store }
    }

    /// The process ends, with all that it knew and did and had not written, and another starts.
    /// Returns the calls whose effects are lost.
    pub(super) fn restart(&mut self, crash: Crash, bug: Bug) -> Vec<(usize, usize)> {
        self.restarts += 1;
        self.clients.fill(Admitted::default());
        let Some(log) = &mut self.log else { return Vec::new() };
        self.is_recovering = true;
        let mut lost = Vec::new();
        match crash {
            Crash::Kill => {}
            Crash::PowerCut => lost = log.cut_power(),
            Crash::Wipe => log.wipe(),
        }
        match bug {
            Bug::RecordsDroppedAtBoot => log.drop_all(),
            // The effect had a record of its own, which was synced first.
            Bug::EffectApart => lost.clear(),
            _ => {}
        }
        lost
    }

    /// The log has been read.
    pub(super) fn recover(&mut self, bug: Bug) {
        self.is_recovering = false;
        if let Some(log) = &mut self.log
            && bug != Bug::RecoveryWithoutSync
        {
            log.sync();
        }
    }

    /// Nothing is remembered of the client any more.
    pub(super) fn expire(&mut self, client: usize) {
        self.clients[client].memory = None;
        if let Some(log) = &mut self.log {
            log.forget(client);
        }
    }

    /// Whether nothing of the client holds what is remembered but the lease.
    pub(super) fn is_leased(&self, client: usize) -> bool {
        let admitted = &self.clients[client];
        let has_records = self.log.as_ref().is_some_and(|log| log.has_any(client));
        admitted.sessions.is_empty()
            && (admitted.memory.is_some() || (has_records && !self.is_recovering))
    }

    /// Takes a message of a client's.
    pub(super) fn handle(
        &mut self,
        client: usize,
        session: u8,
        body: Body,
        verdict: Verdict,
        bug: Bug,
    ) -> Effect {
        // A session that is open has a memory.
        let Some(memory) = &mut self.clients[client].memory else { return Effect::Nothing };
        let Some(log) = &mut self.log else {
            return memory.handle(session, body, verdict, bug);
        };
        if self.is_recovering {
            return memory.put_off(session, body, bug);
        }
        match body {
            Body::Request { call, .. } | Body::Inquire { call } if log.has(client, call) => {
                memory.adopt(call);
            }
            Body::Acknowledge { floor } => log.acknowledge(client, floor),
            _ => {}
        }
        let effect = memory.handle(session, body, verdict, bug);
        if let Effect::Begin { call, .. } = effect {
            log.write(client, call);
        }
        effect
    }

    /// Whether a handler that is at work may come to its end.
    pub(super) fn may_finish(&self, client: usize, call: usize, bug: Bug) -> bool {
        let synced = |log: &Log| log.is_synced(client, call) || bug == Bug::AnsweredBeforeSync;
        self.log.as_ref().is_none_or(synced)
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
}

impl Memory {
    pub(super) fn entry(&self, call: usize) -> Entry {
        self.calls[call]
    }

    fn handle(&mut self, session: u8, body: Body, verdict: Verdict, bug: Bug) -> Effect {
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

    /// The log says that a call which is new here has run.
    fn adopt(&mut self, call: usize) {
        if self.calls[call] == Entry::New {
            self.calls[call] = Entry::Done;
        }
    }

    /// Before the log is read nothing runs. Only what was never sent before cannot be in it.
    fn put_off(&mut self, session: u8, body: Body, bug: Bug) -> Effect {
        match body {
            Body::Request { attempt: 1.., .. } if bug != Bug::RefusedWhileRecovering => {
                Effect::Nothing
            }
            Body::Request { call, attempt } => {
                self.request(session, call, attempt, Verdict::Refuse, bug)
            }
            _ => Effect::Nothing,
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
