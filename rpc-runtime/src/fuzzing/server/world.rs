//! A server, its clients and what happens between them: connections as a driver of the core has
//! them, in virtual time.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant, UNIX_EPOCH},
};

use bailiwick_acl::{Monitor, audit::AuditLog};
use bailiwick_crypto::{Alert, Params, Transport, responder};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    open::{Goes, Open},
    peer::{self, Client, MAX_FRAME, Peer},
    service::{Counting, DESCRIPTION, METHODS, Shared, lock},
};
use crate::{
    Identity, Incarnation, Limits, PolicyFile, PublicKey,
    context::{Metadata, SessionInfo},
    fuzzing::steps::Steps,
    marshal::{self, Message},
    net::handlers::Handlers,
    object::Names,
    overload::Parked,
    policy_file::facts,
    proto::{
        frame::{self, RequestHeader, SPAN},
        memories::Memories,
        server::{Handshake, Server},
        session::Flow,
    },
    router::Router,
    shown::RedactionKey,
};

/// Connections at the same time.
const CONNECTIONS: usize = 3;

/// Requests that can be sent again.
const REMEMBERED: usize = 64;

pub(super) const MAX_IN_FLIGHT: usize = 4;
const MAX_UNSENT: usize = 16 * 1024;

/// No answer of the service is longer, and a batch is sealed with what each record adds.
const MAX_ANSWER: usize = (1 << 16) + 1024;

pub(super) struct World {
    state: Shared,
    router: Router,
    memories: Memories,
    handshake: responder::Config,
    clients: Vec<Client>,
    /// The memory that each client life was told of last.
    known: HashMap<(PublicKey, Incarnation), [u8; 8]>,
    connections: [Option<Open>; CONNECTIONS],
    orphans: Vec<Handlers>,
    requests: Vec<(RequestHeader, Vec<u8>)>,
    draining: bool,
    now: Instant,
    rng: StdRng,
}

fn redaction() -> Arc<RedactionKey> {
    Arc::new(RedactionKey::new([7; 32].into()))
}

fn limits() -> Limits {
    Limits {
        max_frame: MAX_FRAME,
        max_calls_in_flight: MAX_IN_FLIGHT,
        max_unsent: MAX_UNSENT,
        max_kept_answers: 64 * 1024,
        max_clients: 4,
        lease: Duration::from_secs(5),
        max_deadline: Duration::from_secs(20),
        ..Limits::default()
    }
}

/// The same rows are read and changed: what one policy allows another may not.
fn policy(which: usize) -> bailiwick_acl::Policy {
    let rows = [
        "alice | table/** | * | allow\nbob | table/** | * | allow\n",
        "alice | table/** | read | allow\nbob | table/a | write | allow\n",
        "bob | table/** | * | allow\n",
    ];
    let keys = format!(
        "principal alice = {}\nprincipal bob = {}\n",
        identity(1).public_key(),
        identity(2).public_key()
    );
    let text = keys + rows[which % rows.len()];
    let facts = facts(&DESCRIPTION).expect("the templates are sound");
    PolicyFile::from_text("policy", text).load(&[facts]).expect("the policies are sound").policy
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

impl World {
    pub(super) fn new() -> Self {
        let state = Shared::default();
        let monitor = Monitor::new(policy(0), AuditLog::memory(), || UNIX_EPOCH);
        let monitor = Arc::new(monitor.expect("a log in memory can be written"));
        let service = Box::new(Counting(Arc::clone(&state)));
        // Alice has two lives; the third key is nobody's.
        let lives = [(1, 1), (1, 2), (2, 1), (3, 1)];
        let client = |(key, life)| Client {
            identity: identity(key),
            incarnation: Incarnation::from_bytes([life; 16]),
        };
        Self {
            state,
            router: Router::new(vec![service], monitor, redaction(), limits())
                .expect("the ids differ"),
            memories: Memories::new(&limits()),
            handshake: responder::Config::new(
                Transport::Tcp,
                identity(9),
                Params { max_frame: MAX_FRAME, ..Params::new([9; 16]) },
            ),
            clients: lives.map(client).into(),
            known: HashMap::new(),
            connections: [const { None }; CONNECTIONS],
            orphans: Vec::new(),
            requests: Vec::new(),
            draining: false,
            now: Instant::now(),
            rng: StdRng::seed_from_u64(7),
        }
    }

    /// Does what the input says next.
    pub(super) fn step(&mut self, operation: u8, steps: &mut Steps<'_>) {
        match operation % 16 {
            0 => self.connect(steps),
            1 | 2 => self.request(steps),
            3 => self.repeat(steps),
            4 => {
                let call = number(steps);
                self.send(steps, |out| frame::put_cancel(call, out));
            }
            5 => self.acknowledge(steps),
            6 => {
                let call = number(steps);
                self.send(steps, |out| frame::put_inquire(call, out));
            }
            7 => {
                let bytes = steps.bytes();
                self.send(steps, |out| {
                    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
                    out.extend_from_slice(bytes);
                });
            }
            8 => {
                let bytes = steps.bytes();
                self.send(steps, |out| out.extend_from_slice(bytes));
            }
            9 => self.cut(steps),
            10 => self.now += Duration::from_millis(u64::from(steps.short())),
            11 => {
                let policy = policy(steps.byte().into());
                self.router.monitor.replace(policy).expect("a log in memory can be written");
            }
            12 => {
                let waiting = lock(&self.state).release();
                waiting.into_iter().for_each(Waker::wake);
            }
            13 => {
                if let Some(open) = &mut self.connections[steps.among(CONNECTIONS)] {
                    open.is_reading = !open.is_reading;
                }
            }
            14 => self.close(steps),
            _ => self.send(steps, frame::put_which_memory),
        }
    }

    fn connect(&mut self, steps: &mut Steps<'_>) {
        let (at, which) = (steps.among(CONNECTIONS), steps.among(self.clients.len()));
        self.disconnect(at);
        let client = self.clients[which].clone();
        let mut core = Server::new(limits());
        let server = identity(9).public_key();
        let awaiting = peer::begin(&client, server, &mut self.rng);
        core.input.append(awaiting.init());
        for part in [Handshake::Answering, Handshake::Waiting] {
            let stands = core.handle_handshake(&self.handshake, &mut self.rng, self.now);
            assert_eq!(stands, part, "INIT is answered by RESP");
        }
        let (fin, session) =
            awaiting.read_resp(core.output.unsent(), self.now).expect("RESP is sound");
        core.output.sent(core.output.len());
        core.input.append(&fin);
        let Handshake::Authenticated(key) =
            core.handle_handshake(&self.handshake, &mut self.rng, self.now)
        else {
            panic!("FIN is sound");
        };
        let peer = Peer::new(client, session.records);
        self.connections[at] = self.look_up(core, key, peer);
    }

    /// As the driver of connections does it.
    fn look_up(&mut self, mut core: Server, key: PublicKey, peer: Peer) -> Option<Open> {
        let monitor = &self.router.monitor;
        let admitted = monitor.admit(key.as_bytes(), "fingerprint", core.session_id(), "peer");
        let Ok(caller) = admitted else {
            assert!(key == identity(3).public_key(), "a principal is refused");
            core.refuse(Alert::AccessDenied, self.now);
            return None;
        };
        let incarnation = core.admit(self.now).expect("the parameters are sound");
        let Ok(memory) = self.memories.attach(key, incarnation, self.rng.random()) else {
            core.abort(Alert::LimitExceeded, self.now);
            return None;
        };
        if self.known.insert((key, incarnation), memory.id()) != Some(memory.id()) {
            lock(&self.state).ledger.forget(key, incarnation);
        }
        core.confirm(self.router.memory_id(&memory, 0), self.now);
        let principal = caller.principal().clone();
        let info = SessionInfo { principal, client: key, incarnation, peer: "peer".to_owned() };
        Some(Open {
            core,
            info: Arc::new(info),
            caller,
            memory,
            handlers: Handlers::default(),
            names: Names::default(),
            parked: Parked::default(),
            peer,
            is_reading: true,
            has_input: false,
        })
    }

    fn request(&mut self, steps: &mut Steps<'_>) {
        const KEYS: [&str; 5] = ["a", "b", "full", "..", ""];
        const REMAINING: [u64; 4] = [0, 50, 1000, 60_000];
        let call = number(steps);
        let behind = steps.byte();
        let floor = if behind < 128 { 0 } else { call.saturating_sub(u64::from(behind) - 128) };
        let method = METHODS[steps.among(METHODS.len())].id;
        let remaining = Duration::from_millis(REMAINING[steps.among(REMAINING.len())]);
        let header = RequestHeader { call, floor, attempt: 0, method, remaining };
        let mut rest = Vec::new();
        frame::put_metadata(&Metadata::default(), &mut rest);
        let arguments = (KEYS[steps.among(KEYS.len())], steps.short());
        marshal::encode(&arguments, &mut rest).expect("two short values");
        if self.requests.len() == REMEMBERED {
            self.requests.remove(0);
        }
        self.requests.push((header, rest.clone()));
        self.send(steps, |out| frame::put_request(&header, &Message::Short(rest), out));
    }

    /// The same request, over whichever connection.
    fn repeat(&mut self, steps: &mut Steps<'_>) {
        if self.requests.is_empty() {
            return;
        }
        let which = steps.among(self.requests.len());
        let (header, rest) = &mut self.requests[which];
        header.attempt += 1;
        let (header, rest) = (*header, rest.clone());
        self.send(steps, |out| frame::put_request(&header, &Message::Short(rest), out));
    }

    fn acknowledge(&mut self, steps: &mut Steps<'_>) {
        let floor = number(steps);
        let mut end = floor;
        let mut ranges = Vec::new();
        for _ in 0..steps.among(4) {
            let first = end.saturating_add(steps.byte().into());
            end = first.saturating_add(steps.byte().into());
            ranges.push((first, end));
        }
        self.send(steps, |out| frame::put_acknowledge(floor, &ranges, out));
    }

    /// Sends what `write` writes over a connection, if it is there.
    fn send(&mut self, steps: &mut Steps<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(open) = &mut self.connections[steps.among(CONNECTIONS)] else { return };
        let mut stream = Vec::new();
        write(&mut stream);
        let records = open.peer.seal(&stream, &mut lock(&self.state).ledger, self.now);
        open.core.input.append(&records);
        open.has_input = true;
    }

    fn close(&mut self, steps: &mut Steps<'_>) {
        let Some(open) = &mut self.connections[steps.among(CONNECTIONS)] else { return };
        let close = open.peer.seal_close(self.now);
        open.core.input.append(&close);
        open.has_input = true;
    }

    /// The stream ends; or bytes come that nobody sealed; or the server begins to shut down.
    fn cut(&mut self, steps: &mut Steps<'_>) {
        let at = steps.among(CONNECTIONS);
        match (steps.byte(), &mut self.connections[at]) {
            (0..=127, _) => self.disconnect(at),
            (128..=250, Some(open)) => {
                open.core.input.append(steps.bytes());
                open.has_input = true;
            }
            (251.., _) => self.drain(),
            _ => {}
        }
    }

    fn drain(&mut self) {
        if !std::mem::replace(&mut self.draining, true) {
            self.connections.iter_mut().flatten().for_each(|open| open.core.go_away());
        }
    }

    fn disconnect(&mut self, at: usize) {
        if let Some(mut open) = self.connections[at].take() {
            open.handlers.orphan();
            self.orphans.push(open.handlers);
        }
    }

    /// Lets everything run that can, and looks whether the promises hold.
    pub(super) fn settle(&mut self) {
        self.memories.expire(&self.router.books, self.now);
        for at in (0..CONNECTIONS).chain(0..CONNECTIONS) {
            self.pump(at);
        }
        let mut cx = Context::from_waker(Waker::noop());
        for orphan in &mut self.orphans {
            orphan.expire(self.now, |_, _| {});
            orphan.poll(&mut cx, |_, _| Flow::Continue);
        }
        self.orphans.retain(|orphan| !orphan.is_empty());
        self.check();
    }

    fn pump(&mut self, at: usize) {
        let Some(open) = &mut self.connections[at] else { return };
        if open.pump(&self.router, &self.state, self.draining, self.now) == Goes::Ended {
            self.disconnect(at);
        }
    }

    fn check(&self) {
        let waiting = |open: &Open| open.core.output.len();
        for open in self.connections.iter().flatten() {
            assert!(waiting(open) <= MAX_UNSENT + MAX_ANSWER, "{} bytes wait", waiting(open));
        }
        let state = lock(&self.state);
        state.ledger.check();
        let readonly = state.live.values().filter(|live| live.is_readonly).count();
        let most = CONNECTIONS * MAX_IN_FLIGHT;
        assert!(readonly <= most, "{readonly} handlers of {most} places");
        // A client that takes no answers gets no handler run, not even to its end.
        if !self.connections.iter().flatten().any(|open| open.core.is_choked()) {
            let late = state.live.values().filter(|live| live.deadline <= self.now).count();
            assert_eq!(late, 0, "handlers have outlived their deadlines");
        }
    }

    /// Ends all that is left: what waits must not keep it from ending.
    pub(super) fn end(mut self) {
        (0..CONNECTIONS).for_each(|at| self.disconnect(at));
        self.now += limits().max_deadline + limits().lease;
        self.settle();
        assert!(lock(&self.state).live.is_empty(), "handlers outlive all connections");
    }
}

/// A call number: one of few, or at an edge of what a server takes.
fn number(steps: &mut Steps<'_>) -> u64 {
    match steps.byte() {
        few @ 0..=199 => u64::from(few) % 16,
        far @ 200..=239 => (SPAN - 20).saturating_add(far.into()) - 200,
        250.. => u64::MAX - u64::from(steps.byte()),
        any => u64::from(any) << steps.among(56),
    }
}
