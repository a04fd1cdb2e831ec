//! What a server answers to requests that come again, over whichever connection.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context as Polling, Poll, Waker},
    time::SystemTime,
};

use bailiwick_acl::audit::{AuditLog, Memory as LogMemory};
use bailiwick_crypto::{Identity, PublicKey};

use super::*;
use crate::{
    config::Limits,
    dispatch::{Awaits, Handled},
    error::CallError,
    id::Incarnation,
    marshal::{self, Message},
    policy_file::{PolicyFile, facts},
    proto::{
        frame::{RequestHeader, WireOutcome},
        memories::Memories,
    },
    service::{MethodDescription, ObjectDescription, ServiceDescription},
};

const ALLOWED: &str = "alice | bank | use | allow\nbob | bank | use | allow\n";
const NOT_ALICE: &str = "alice | bank | use | deny\nbob | bank | use | allow\n";

const fn method(id: u64, name: &'static str, delivery: Delivery) -> MethodDescription {
    MethodDescription {
        service: "Bank",
        name,
        id: MethodId::new(id),
        verb: "use",
        object: ObjectDescription::Template("bank"),
        delivery,
        recorded: Recorded::AsTheServerSays,
        timeout: None,
        reserve: false,
        arguments: &[],
        result: "u64",
        error: "Never",
    }
}

const PAY: u64 = 1;
const BALANCE: u64 = 2;
const WAIT: u64 = 3;
const WATCH: u64 = 4;
const PRINT: u64 = 5;
const PANIC: u64 = 6;

static BANK: ServiceDescription = ServiceDescription {
    name: "Bank",
    methods: &[
        method(PAY, "pay", Delivery::AtMostOnce),
        method(BALANCE, "balance", Delivery::Readonly),
        method(WAIT, "wait", Delivery::AtMostOnce),
        method(WATCH, "watch", Delivery::Readonly),
        method(PRINT, "print", Delivery::Idempotent),
        method(PANIC, "panic", Delivery::AtMostOnce),
    ],
};

/// Counts what has begun. Those who wait do so until the bank is open.
#[derive(Default)]
struct Bank {
    begun: AtomicUsize,
    open: AtomicBool,
}

impl Service for Arc<Bank> {
    fn description(&self) -> &'static ServiceDescription {
        &BANK
    }

    fn handle(&self, method: usize, request: Request<'_>) -> Handled {
        let bank = Arc::clone(self);
        let authorized = request.authorize::<u64>(|objects, _| {
            objects.literal("bank");
        });
        let begun = move || bank.begun.fetch_add(1, Ordering::Relaxed) as u64 + 1;
        let bank = Arc::clone(self);
        match method {
            0 | 1 => authorized.dispatch(|_, _| async move { Ok::<_, CallError>(begun()) }),
            2 | 3 => authorized.dispatch(|_, _| async move {
                let begun = begun();
                std::future::poll_fn(|_| match bank.open.load(Ordering::Relaxed) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                })
                .await;
                Ok::<_, CallError>(begun)
            }),
            4 => authorized.dispatch(|_, length| async move {
                begun();
                Ok::<_, CallError>(vec![7_u8; usize::try_from(length).unwrap()])
            }),
            _ => authorized.dispatch(|_, _| async move {
                begun();
                bug()
            }),
        }
    }
}

fn bug() -> Result<u64, CallError> {
    panic!("a handler's bug")
}

/// A server without sockets.
struct Scene {
    router: Router,
    memories: Memories,
    bank: Arc<Bank>,
    log: AuditLog,
    now: Instant,
    /// How the server and the connection stand.
    draining: bool,
    in_flight: usize,
    news: News,
    max_here: u32,
}

/// A client's connection.
struct Peer {
    memory: Attached,
    session: Arc<SessionInfo>,
    caller: Caller,
    names: Names,
    parked: Parked,
}

/// What a client reads, and what goes on at the server.
#[derive(Default)]
struct Outcome {
    frames: Vec<Seen>,
    pending: Option<Pending>,
}

#[derive(Debug, PartialEq)]
enum Seen {
    Reply { call: u64, attempt: u64, status: u8, body: Vec<u8> },
    Working { call: u64, attempt: u64 },
    Outcome(WireOutcome),
    Memory([u8; 8]),
}

fn key(name: &str) -> PublicKey {
    let seed = name.bytes().next().unwrap_or_default();
    Identity::from_seed(&[seed; 32]).public_key()
}

fn policy(rows: &str) -> acl::Policy {
    policy_of([("alice", "alice"), ("bob", "bob")], rows)
}

/// Principals by the names whose keys they have.
fn policy_of(principals: [(&str, &str); 2], rows: &str) -> acl::Policy {
    let keys = principals.map(|(name, owner)| format!("principal {name} = {}\n", key(owner)));
    let file = PolicyFile::from_text("policy.acl", keys.concat() + rows);
    file.load(&[facts(&BANK).unwrap()]).unwrap().policy
}

impl Scene {
    fn set() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let (bank, log) = (Arc::new(Bank::default()), AuditLog::memory());
        let monitor = Monitor::new(policy(ALLOWED), log.clone(), SystemTime::now).unwrap();
        let memories = Memories::new(&limits);
        let services: Vec<Box<dyn Service>> = vec![Box::new(Arc::clone(&bank))];
        Self {
            router: Router::new(
                services,
                Arc::new(monitor),
                Arc::new(RedactionKey::new([7; 32].into())),
                limits,
            )
            .unwrap(),
            memories,
            bank,
            log,
            now: Instant::now(),
            draining: false,
            in_flight: 0,
            news: News::WhenAsked,
            max_here: 1 << 20,
        }
    }

    fn connect(&self, name: &str) -> Peer {
        let client = key(name);
        let incarnation = Incarnation::from_bytes([1; 16]);
        let memory = self.memories.attach(client, incarnation, [9; 8]).unwrap();
        let fingerprint = client.fingerprint().to_string();
        let monitor = &self.router.monitor;
        let caller = monitor.admit(client.as_bytes(), &fingerprint, [0; 8], "here").unwrap();
        let principal = caller.principal().clone();
        let peer = "here".to_owned();
        let session = Arc::new(SessionInfo { principal, client, incarnation, peer });
        Peer { memory, session, caller, names: Names::default(), parked: Parked::default() }
    }

    fn receive(&self, peer: &mut Peer, frame: &[u8]) -> Result<Outcome, ProtocolError> {
        let mut out = Frames::default();
        let received =
            self.router.receive(&Joined::Lent(frame), &mut self.connection(peer), &mut out)?;
        let pending = match received {
            Received::Pending(pending) => Some(pending),
            _ => None,
        };
        Ok(Outcome { frames: read(out), pending })
    }

    fn connection<'a>(&self, peer: &'a mut Peer) -> Connection<'a> {
        Connection {
            session: &peer.session,
            caller: &mut peer.caller,
            names: &mut peer.names,
            memory: &peer.memory,
            tcp_port: 0,
            max_frame: 1 << 20,
            max_here: self.max_here,
            max_in_flight: 10,
            in_flight: self.in_flight,
            parked: &mut peer.parked,
            origin: None,
            news: self.news,
            draining: self.draining,
            arrived: self.now,
            late: Duration::ZERO,
            now: self.now,
        }
    }

    fn send(&self, peer: &mut Peer, sent: Sent) -> Outcome {
        self.receive(peer, &sent.frame()).unwrap()
    }

    /// The status and body of the one reply.
    fn answer(&self, peer: &mut Peer, sent: Sent) -> (u8, Vec<u8>) {
        let mut outcome = self.send(peer, sent);
        assert_eq!(outcome.frames.len(), 1, "{:?}", outcome.frames);
        match outcome.frames.remove(0) {
            Seen::Reply { call, attempt, status, body } => {
                assert_eq!((call, attempt), (sent.call, sent.attempt));
                (status, body)
            }
            other => panic!("{other:?} in place of a reply"),
        }
    }

    fn inquire(&self, peer: &mut Peer, call: u64) -> Seen {
        let mut frame = Vec::new();
        frame::put_inquire(call, &mut frame);
        self.receive(peer, &frame[4..]).unwrap().frames.remove(0)
    }

    /// What becomes of the calls that waited, once one at work has ended.
    fn resume(&self, peer: &mut Peer) -> Vec<(Received, Vec<Seen>)> {
        let polled = peer.parked.poll(&mut Polling::from_waker(Waker::noop()));
        let Poll::Ready(summoned) = polled else { return Vec::new() };
        let resumed = summoned.into_iter().map(|summons| {
            let mut out = Frames::default();
            let received = self.router.resume(summons, &mut self.connection(peer), &mut out);
            (received, read(out))
        });
        resumed.collect()
    }

    fn replace_policy(&self, rows: &str) {
        self.router.monitor.replace(policy(rows)).unwrap();
    }

    fn begun(&self) -> usize {
        self.bank.begun.load(Ordering::Relaxed)
    }

    fn records(&self, reason: &str) -> usize {
        let field = format!("\"reason\":\"{reason}\"");
        self.log.lines().iter().filter(|line| line.contains(&field)).count()
    }
}

/// A request, for tests to change.
#[derive(Clone, Copy)]
struct Sent {
    call: u64,
    floor: u64,
    attempt: u64,
    method: u64,
    argument: u64,
    remaining: Duration,
}

fn sent(call: u64, method: u64) -> Sent {
    let remaining = Duration::from_secs(5);
    Sent { call, floor: 0, attempt: 0, method, argument: 0, remaining }
}

impl Sent {
    fn again(self) -> Self {
        Self { attempt: self.attempt + 1, ..self }
    }

    fn frame(self) -> Vec<u8> {
        let Self { call, floor, attempt, method, argument, remaining } = self;
        let method = MethodId::new(method);
        let header = RequestHeader { call, floor, attempt, method, remaining };
        let mut rest = vec![0];
        marshal::encode(&argument, &mut rest).unwrap();
        let mut frame = Vec::new();
        frame::put_request(&header, &Message::Short(rest), &mut frame);
        frame.split_off(4)
    }
}

fn read(mut frames: Frames) -> Vec<Seen> {
    let mut seen = Vec::new();
    let all = frames.take_all();
    let mut out = &all[..];
    while let Some((length, rest)) = out.split_first_chunk() {
        let (frame, behind) = rest.split_at(u32::from_be_bytes(*length) as usize);
        out = behind;
        seen.push(match Frame::parse(frame, 0).unwrap() {
            Frame::Reply(reply) => Seen::Reply {
                call: reply.call,
                attempt: reply.attempt,
                status: reply.status,
                body: reply.body.to_vec(),
            },
            Frame::Working { call, attempt, .. } => Seen::Working { call, attempt },
            Frame::Outcome { outcome, .. } => Seen::Outcome(outcome),
            Frame::Memory(memory) => Seen::Memory(memory.id),
            other => panic!("{other:?}"),
        });
    }
    seen
}

/// Lets a handler go on; its frames if it is done.
fn drive(pending: &mut Pending) -> Option<Vec<Seen>> {
    match pending.frame.as_mut().poll(&mut Polling::from_waker(Waker::noop())) {
        Poll::Ready(frames) => Some(read(frames)),
        Poll::Pending => None,
    }
}

const STALE: (u8, Vec<u8>) = (9, Vec::new());

#[test]
fn a_duplicate_gets_the_answer_that_was_kept_over_any_connection() {
    let scene = Scene::set();
    let (mut first, mut second) = (scene.connect("alice"), scene.connect("alice"));
    let call = sent(3, PAY);
    assert_eq!(scene.answer(&mut first, call), (0, vec![1]));
    assert_eq!(scene.answer(&mut first, call.again()), (0, vec![1]));
    assert_eq!(scene.answer(&mut second, call.again().again()), (0, vec![1]));
    assert_eq!(scene.begun(), 1);
}

#[test]
fn clients_do_not_touch_each_others_calls() {
    let scene = Scene::set();
    let (mut alice, mut bob) = (scene.connect("alice"), scene.connect("bob"));
    assert_eq!(scene.answer(&mut alice, sent(0, PAY)), (0, vec![1]));
    assert_eq!(scene.answer(&mut bob, Sent { floor: 0, ..sent(0, PAY) }), (0, vec![2]));
    assert_eq!(scene.answer(&mut bob, Sent { floor: 9, ..sent(9, PAY) }), (0, vec![3]));
    assert_eq!(scene.answer(&mut alice, sent(0, PAY)), (0, vec![1]), "not acknowledged by bob");
    assert_eq!(scene.inquire(&mut bob, 10), Seen::Outcome(WireOutcome::Fenced));
    assert_eq!(scene.answer(&mut alice, sent(10, PAY)), (0, vec![4]));
}

#[test]
fn what_is_acknowledged_or_cancelled_never_runs_again() {
    let scene = Scene::set();
    let mut alice = scene.connect("alice");
    for call in 0..3 {
        scene.answer(&mut alice, sent(call, PAY));
    }
    scene.answer(&mut alice, Sent { floor: 1, ..sent(3, PAY) });
    assert_eq!(scene.answer(&mut alice, sent(0, PAY).again()), STALE);

    let mut frame = Vec::new();
    frame::put_acknowledge(1, &[(2, 3)], &mut frame);
    assert!(scene.receive(&mut alice, &frame[4..]).unwrap().frames.is_empty());
    assert_eq!(scene.answer(&mut alice, sent(2, PAY).again()), STALE);
    assert_eq!(scene.answer(&mut alice, sent(1, PAY).again()), (0, vec![2]));

    frame.clear();
    frame::put_cancel(7, &mut frame);
    let _ = scene.receive(&mut alice, &frame[4..]).unwrap();
    assert_eq!(scene.answer(&mut alice, sent(7, PAY)), STALE, "cancelled before it came");
    assert_eq!(scene.begun(), 4);
}

#[test]
fn a_duplicate_of_a_call_at_work_is_told_so_and_runs_nothing() {
    let scene = Scene::set();
    let mut alice = scene.connect("alice");
    let call = sent(0, WAIT);
    let Outcome { frames, pending } = scene.send(&mut alice, call);
    assert!(frames.is_empty(), "nobody has asked");
    let mut pending = pending.unwrap();
    let duplicate = scene.send(&mut alice, call.again());
    assert_eq!(duplicate.frames, [Seen::Working { call: 0, attempt: 1 }]);
    assert!(duplicate.pending.is_none(), "the answer comes here already");
    assert!(drive(&mut pending).is_none());
    scene.bank.open.store(true, Ordering::Relaxed);
    let reply = Seen::Reply { call: 0, attempt: 0, status: 0, body: vec![1] };
    assert_eq!(drive(&mut pending), Some(vec![reply]));
    assert_eq!(scene.answer(&mut alice, call.again()), (0, vec![1]));
    assert_eq!(scene.begun(), 1);
}

#[test]
fn over_udp_a_call_that_takes_its_time_is_reported_at_once() {
    let mut scene = Scene::set();
    scene.news = News::AtOnce;
    let mut alice = scene.connect("alice");
    let outcome = scene.send(&mut alice, sent(0, WAIT));
    assert_eq!(outcome.frames, [Seen::Working { call: 0, attempt: 0 }]);
    assert_eq!(outcome.pending.unwrap().awaits, Awaits::Handler);
    assert_eq!(scene.answer(&mut alice, sent(1, PAY)), (0, vec![2]), "not one that is done");
}

#[test]
fn the_answer_to_a_call_at_work_comes_over_the_connection_that_asked_last() {
    let scene = Scene::set();
    let mut peers = [(); 3].map(|()| scene.connect("alice"));
    let call = sent(0, WAIT);
    let mut handler = scene.send(&mut peers[0], call).pending.unwrap();
    let mut watchers = [1, 2].map(|peer| {
        let outcome = scene.send(&mut peers[peer], call.again());
        assert_eq!(outcome.frames, [Seen::Working { call: 0, attempt: 1 }]);
        let mut watcher = outcome.pending.unwrap();
        assert_eq!(watcher.awaits, Awaits::Another);
        assert!(drive(&mut watcher).is_none());
        watcher
    });
    assert_eq!(drive(&mut watchers[0]), Some(vec![]), "the third connection took over");
    scene.bank.open.store(true, Ordering::Relaxed);
    assert!(drive(&mut handler).is_some());
    let reply = Seen::Reply { call: 0, attempt: 1, status: 0, body: vec![1] };
    assert_eq!(drive(&mut watchers[1]), Some(vec![reply]));
    assert_eq!(scene.begun(), 1);
}

#[test]
fn a_handler_that_is_dropped_leaves_its_call_stale() {
    let scene = Scene::set();
    let mut alice = scene.connect("alice");
    drop(scene.send(&mut alice, sent(0, WAIT)).pending);
    assert_eq!(scene.answer(&mut alice, sent(0, WAIT).again()), STALE);
    assert_eq!(scene.inquire(&mut alice, 0), Seen::Outcome(WireOutcome::NotKnown));
    assert_eq!(scene.begun(), 1);
}

#[test]
fn a_panic_is_an_answer_that_is_kept() {
    let scene = Scene::set();
    let mut alice = scene.connect("alice");
    for _ in 0..2 {
        assert_eq!(scene.answer(&mut alice, sent(0, PANIC)), (7, vec![]));
    }
    assert_eq!(scene.begun(), 1);
    assert_eq!(scene.inquire(&mut alice, 0), Seen::Outcome(WireOutcome::Ran));
}

#[test]
fn a_readonly_call_runs_again_unless_it_is_at_work() {
    let scene = Scene::set();
    let mut alice = scene.connect("alice");
    for run in 1..=3 {
        assert_eq!(scene.answer(&mut alice, sent(0, BALANCE)), (0, vec![run]));
    }
    let watching = scene.send(&mut alice, sent(1, WATCH)).pending.unwrap();
    assert_eq!(watching.awaits, Awaits::Readonly);
    let duplicate = scene.send(&mut alice, sent(1, WATCH).again());
    assert_eq!(duplicate.frames, [Seen::Working { call: 1, attempt: 1 }]);
    assert_eq!(scene.begun(), 4);
    // Its connection is gone: somewhere else it simply runs again.
    drop(watching);
    assert!(scene.send(&mut scene.connect("alice"), sent(1, WATCH).again()).pending.is_some());
    assert_eq!(scene.begun(), 5);
}

#[test]
fn the_same_number_for_another_call_is_on_record_each_time_and_changes_nothing() {
    let scene = Scene::set();
    let mut alice = scene.connect("alice");
    assert_eq!(scene.answer(&mut alice, sent(0, PAY)), (0, vec![1]));
    let others = [
        Sent { argument: 5, ..sent(0, PAY) },
        sent(0, WAIT),
        sent(0, BALANCE),
        sent(0, 0xdead), // no such method
    ];
    for (tries, other) in (1..).zip(others) {
        assert_eq!(scene.answer(&mut alice, other).0, 2, "denied");
        assert_eq!(scene.records("false_retry"), tries);
    }
    assert_eq!(scene.answer(&mut alice, sent(0, PAY)), (0, vec![1]));
    assert_eq!(scene.begun(), 1);
}

#[test]
fn a_false_retry_of_what_was_refused_is_on_record_too() {
    let scene = Scene::set();
    scene.replace_policy(NOT_ALICE);
    let mut alice = scene.connect("alice");
    assert_eq!(scene.answer(&mut alice, sent(0, PAY)).0, 2);
    scene.replace_policy(ALLOWED);
    assert_eq!(scene.answer(&mut alice, Sent { argument: 5, ..sent(0, PAY) }).0, 2);
    assert_eq!(scene.records("false_retry"), 1);
    assert_eq!(scene.begun(), 0);
}

#[test]
fn each_refusal_is_final_though_its_reason_has_passed() {
    type Change = fn(&mut Scene);
    let cases: [(&str, u8, Sent, Change, Change); 7] = [
        ("denied", 2, sent(0, PAY), |s| s.replace_policy(NOT_ALICE), |s| s.replace_policy(ALLOWED)),
        (
            "denied, readonly",
            2,
            sent(0, BALANCE),
            |s| s.replace_policy(NOT_ALICE),
            |s| {
                s.replace_policy(ALLOWED);
            },
        ),
        ("overloaded", 3, sent(0, PAY), |s| s.in_flight = 10, |s| s.in_flight = 0),
        ("draining", 8, sent(0, PAY), |s| s.draining = true, |s| s.draining = false),
        (
            "unrecorded",
            8,
            sent(0, PAY),
            |s| s.log.set_memory(LogMemory::Full),
            |s| s.log.set_memory(LogMemory::Free),
        ),
        (
            "late",
            4,
            Sent { remaining: Duration::ZERO, ..sent(0, PAY) },
            |_| {},
            |s| s.now += Duration::from_secs(1),
        ),
        ("unknown", 5, sent(0, 0xdead), |_| {}, |_| {}),
    ];
    for (what, status, call, begin, end) in cases {
        let mut scene = Scene::set();
        let (mut first, mut second) = (scene.connect("alice"), scene.connect("alice"));
        begin(&mut scene);
        if what == "unrecorded" {
            // It is the first record that cannot be written which makes the log unhealthy.
            scene.answer(&mut first, sent(7, 0xdead));
        }
        let refused = scene.answer(&mut first, call);
        assert_eq!(refused.0, status, "{what}");
        end(&mut scene);
        let patient = Sent { remaining: Duration::from_secs(5), ..call.again() };
        for peer in [&mut first, &mut second] {
            assert_eq!(scene.answer(peer, patient), refused, "{what}: again");
        }
        assert_eq!(scene.inquire(&mut second, 0), Seen::Outcome(WireOutcome::Fenced), "{what}");
        assert_eq!(scene.begun(), 0, "{what}");
        assert_eq!(scene.answer(&mut second, sent(1, PAY)).0, 0, "{what}: a new call runs");
    }
}

#[test]
fn arguments_that_do_not_decode_are_refused_for_good() {
    let scene = Scene::set();
    let mut alice = scene.connect("alice");
    let mut frame = sent(0, PAY).frame();
    let last = frame.len() - 1;
    frame[last] = 0x80;
    for _ in 0..2 {
        let outcome = scene.receive(&mut alice, &frame).unwrap();
        let malformed = Seen::Reply { call: 0, attempt: 0, status: 6, body: vec![] };
        assert_eq!(outcome.frames, [malformed]);
    }
    assert_eq!(scene.answer(&mut alice, sent(0, PAY)).0, 2, "a false retry");
    assert_eq!(scene.begun(), 0);
}

#[test]
fn a_permission_that_is_gone_keeps_the_answer_back_and_never_says_that_it_did_not_run() {
    let scene = Scene::set();
    let mut alice = scene.connect("alice");
    assert_eq!(scene.answer(&mut alice, sent(0, PAY)), (0, vec![1]));
    assert_eq!(scene.answer(&mut alice, sent(1, BALANCE)), (0, vec![2]));
    let handler = scene.send(&mut alice, sent(2, WAIT)).pending;
    scene.replace_policy(NOT_ALICE);
    for (call, denied) in (1..).zip([sent(0, PAY), sent(2, WAIT), sent(1, BALANCE)]) {
        assert_eq!(scene.answer(&mut alice, denied.again()), STALE);
        assert_eq!(scene.records("row"), call, "a denial is on record");
    }
    scene.replace_policy(ALLOWED);
    assert_eq!(scene.answer(&mut alice, sent(0, PAY).again()), (0, vec![1]), "it is still there");
    let working = scene.send(&mut alice, sent(2, WAIT).again()).frames;
    assert_eq!(working, [Seen::Working { call: 2, attempt: 1 }]);
    drop(handler);
    assert_eq!(scene.begun(), 3);
}

#[test]
fn a_server_that_takes_nothing_new_still_answers_what_it_ran() {
    let limits: [fn(&mut Scene); 3] =
        [|s| s.draining = true, |s| s.in_flight = 10, |s| s.now += Duration::from_secs(10)];
    for limit in limits {
        let mut scene = Scene::set();
        let mut alice = scene.connect("alice");
        let call = sent(0, PAY);
        assert_eq!(scene.answer(&mut alice, call), (0, vec![1]));
        assert_eq!(scene.answer(&mut alice, sent(1, BALANCE)), (0, vec![2]));
        limit(&mut scene);
        let late = Sent { remaining: Duration::ZERO, ..call.again() };
        assert_eq!(scene.answer(&mut alice, late), (0, vec![1]));
        let readonly = Sent { remaining: Duration::ZERO, ..sent(1, BALANCE).again() };
        assert_eq!(scene.answer(&mut alice, readonly), STALE, "it ran, and now does not");
        assert_eq!(scene.begun(), 2);
    }
}

#[test]
fn an_answer_too_long_for_udp_is_kept_for_tcp() {
    let mut scene = Scene::set();
    scene.max_here = 1000;
    let (mut udp, mut tcp) = (scene.connect("alice"), scene.connect("alice"));
    let call = Sent { argument: 5000, ..sent(0, PRINT) };
    for _ in 0..2 {
        assert_eq!(scene.answer(&mut udp, call), (11, vec![]));
    }
    scene.max_here = 1 << 20;
    let (status, body) = scene.answer(&mut tcp, call.again());
    assert_eq!((status, body.len()), (0, 5002), "a length of two bytes");
    assert_eq!(scene.begun(), 1);
}

#[test]
fn an_answer_too_long_for_the_client_is_an_internal_failure_also_the_next_time() {
    let scene = Scene::set();
    let mut alice = scene.connect("alice");
    let call = Sent { argument: 1 << 20, ..sent(0, PRINT) };
    for _ in 0..2 {
        assert_eq!(scene.answer(&mut alice, call), (7, vec![]));
    }
    assert_eq!(scene.begun(), 1);
}

#[test]
fn what_could_not_be_kept_is_refused_before_it_runs() {
    let scene = Scene::with(Limits { max_kept_answers: 1 << 18, ..Limits::default() });
    let mut alice = scene.connect("alice");
    let print = |call| Sent { argument: 1 << 16, ..sent(call, PRINT) };
    let mut call = 0;
    while scene.answer(&mut alice, print(call)).0 == 0 {
        call += 1;
    }
    assert_eq!(call, 3, "three of 64 KiB, with what each costs beside its bytes");
    assert_eq!(scene.begun(), 3);
    assert_eq!(scene.answer(&mut alice, print(3)).0, 3, "overloaded, for good");
    let freed = Sent { floor: 1, ..print(4) };
    assert_eq!(scene.answer(&mut alice, freed).0, 0);
    for kept in 1..3 {
        assert_eq!(scene.answer(&mut alice, print(kept)).0, 0, "nothing was evicted");
    }
    assert_eq!(scene.begun(), 4);
}

#[test]
fn an_answer_that_was_lost_is_told_as_that() {
    let scene = Scene::with(Limits { max_kept_answers: 1 << 16, ..Limits::default() });
    let mut alice = scene.connect("alice");
    let call = Sent { argument: 1 << 16, ..sent(0, PRINT) };
    assert_eq!(scene.answer(&mut alice, call).0, 0, "the first time it is there");
    assert_eq!(scene.answer(&mut alice, call.again()), (10, vec![]));
    assert_eq!(scene.begun(), 1);
}

#[test]
fn who_asks_is_told_which_memory_there_is_and_what_became_of_a_call() {
    let scene = Scene::set();
    let mut alice = scene.connect("alice");
    let mut frame = Vec::new();
    frame::put_which_memory(&mut frame);
    let told = scene.receive(&mut alice, &frame[4..]).unwrap().frames;
    assert_eq!(told, [Seen::Memory([9; 8])]);

    scene.answer(&mut alice, sent(0, PAY));
    assert_eq!(scene.inquire(&mut alice, 0), Seen::Outcome(WireOutcome::Ran));
    assert_eq!(scene.inquire(&mut alice, 1), Seen::Outcome(WireOutcome::Fenced));
    assert_eq!(scene.answer(&mut alice, sent(1, PAY)), STALE, "fenced");
    assert_eq!(scene.begun(), 1);
}

#[test]
fn numbers_out_of_range_break_the_protocol() {
    let scene = Scene::set();
    let mut alice = scene.connect("alice");
    for (call, floor) in [(3, 4), (frame::SPAN, 0), (u64::MAX, 5)] {
        let wrong = Sent { floor, ..sent(call, PAY) };
        let refused = scene.receive(&mut alice, &wrong.frame()).err();
        assert_eq!(refused, Some(ProtocolError::CallNumber), "{call} above {floor}");
    }
    assert_eq!(scene.begun(), 0);
}

/// One call at work, and one that waits.
fn full() -> (Scene, Peer, Pending) {
    let scene =
        Scene::with(Limits { max_concurrent_calls: 1, max_queued_calls: 1, ..Limits::default() });
    let mut peer = scene.connect("alice");
    let at_work = scene.send(&mut peer, sent(0, WAIT)).pending.unwrap();
    let waits = scene.send(&mut peer, sent(1, PAY));
    assert!(waits.pending.is_none() && waits.frames.is_empty(), "nothing is said of it yet");
    (scene, peer, at_work)
}

#[test]
fn a_call_that_finds_all_places_taken_runs_when_one_is_free() {
    let (scene, mut peer, at_work) = full();
    assert_eq!((scene.begun(), scene.resume(&mut peer).len()), (1, 0));
    // Asked again meanwhile, it is at work as far as the client need know.
    let again = scene.send(&mut peer, sent(1, PAY).again());
    assert_eq!(again.frames, [Seen::Working { call: 1, attempt: 1 }]);
    drop(at_work);
    let resumed = scene.resume(&mut peer);
    let [(Received::Done, frames)] = &resumed[..] else { panic!("{}", resumed.len()) };
    assert!(
        matches!(frames[..], [Seen::Reply { call: 1, attempt: 0, status: 0, .. }]),
        "{frames:?}"
    );
    assert_eq!(scene.begun(), 2);
    assert_eq!(scene.answer(&mut peer, sent(2, PAY)).0, 0, "the place is free again");
}

#[test]
fn what_there_was_no_room_for_never_runs_also_once_there_is() {
    let (scene, mut peer, at_work) = full();
    let (status, _) = scene.answer(&mut peer, sent(2, PAY));
    assert_eq!(status, 3);
    drop(at_work);
    scene.resume(&mut peer);
    let (status, _) = scene.answer(&mut peer, sent(2, PAY).again());
    assert_eq!((status, scene.begun()), (3, 2));
    assert_eq!(scene.inquire(&mut peer, 2), Seen::Outcome(WireOutcome::Fenced));
}

#[test]
fn arguments_that_do_not_decode_are_not_looked_at_before_it_is_their_turn() {
    let (scene, mut peer, at_work) = full();
    let mut garbage = sent(2, PAY).frame();
    garbage.push(0xff);
    let refused = scene.receive(&mut peer, &garbage).unwrap();
    assert!(matches!(refused.frames[..], [Seen::Reply { status: 3, .. }]), "{:?}", refused.frames);
    drop(at_work);
}

#[test]
fn a_call_that_waited_is_judged_by_the_policy_of_the_time_at_which_it_begins() {
    // A row against her, and a key that is hers no more.
    let rotated = policy_of([("alice", "carol"), ("bob", "bob")], ALLOWED);
    for next in [policy(NOT_ALICE), rotated] {
        let (scene, mut peer, at_work) = full();
        scene.router.monitor.replace(next).unwrap();
        drop(at_work);
        let resumed = scene.resume(&mut peer);
        assert!(
            matches!(resumed[0].1[..], [Seen::Reply { call: 1, status: 2, .. }]),
            "{:?}",
            resumed[0].1
        );
        assert_eq!(scene.begun(), 1);
    }
}

#[test]
fn a_call_whose_time_is_over_when_it_leaves_the_queue_did_not_run() {
    let (mut scene, mut peer, at_work) = full();
    scene.now += Duration::from_secs(5);
    drop(at_work);
    let resumed = scene.resume(&mut peer);
    let late = Seen::Reply { call: 1, attempt: 0, status: 4, body: vec![0] };
    assert_eq!(resumed[0].1, [late]);
    assert_eq!(scene.inquire(&mut peer, 1), Seen::Outcome(WireOutcome::Fenced));
    assert_eq!(scene.begun(), 1);
}

#[test]
fn a_call_whose_connection_ends_while_it_waits_did_not_run_and_leaves_the_queue() {
    let (scene, mut peer, at_work) = full();
    drop(std::mem::take(&mut peer.parked));
    assert_eq!(scene.inquire(&mut peer, 1), Seen::Outcome(WireOutcome::Fenced));
    let waits = scene.send(&mut peer, sent(2, PAY));
    assert!(waits.frames.is_empty(), "there is room: {:?}", waits.frames);
    drop(at_work);
    assert_eq!(scene.resume(&mut peer).len(), 1);
    assert_eq!(scene.begun(), 2);
}

#[test]
fn a_readonly_call_that_waits_over_two_connections_is_counted_once_for_each_and_outlives_one() {
    let scene =
        Scene::with(Limits { max_concurrent_calls: 1, max_queued_calls: 9, ..Limits::default() });
    let (mut first, mut second) = (scene.connect("alice"), scene.connect("alice"));
    let at_work = scene.send(&mut first, sent(0, WAIT)).pending.unwrap();
    let waits = |peer: &mut Peer, sent: Sent| {
        let frame = sent.frame();
        let connection = &mut scene.connection(peer);
        match scene.router.receive(&Joined::Lent(&frame), connection, &mut Frames::default()) {
            Ok(Received::Parked { more }) => more,
            _ => panic!("it does not wait"),
        }
    };
    assert!(waits(&mut first, sent(1, BALANCE)));
    assert!(waits(&mut second, sent(1, BALANCE).again()));
    assert!(!waits(&mut first, sent(1, BALANCE).again()), "it waited there before");
    assert_eq!((first.parked.len(), second.parked.len()), (1, 1));
    first.parked = Parked::default();
    drop(at_work);
    let resumed = scene.resume(&mut second);
    assert!(matches!(resumed[0].1[..], [Seen::Reply { status: 0, .. }]), "{:?}", resumed[0].1);
    // Nobody is told afterwards that it did not run.
    assert_eq!(scene.answer(&mut second, sent(1, BALANCE).again()).0, 0);
}

#[test]
fn a_client_that_is_told_of_its_calls_at_once_is_told_that_one_waits() {
    let (mut scene, mut peer, at_work) = full();
    drop(at_work);
    scene.resume(&mut peer);
    scene.news = News::AtOnce;
    let _at_work = scene.send(&mut peer, sent(2, WAIT)).pending.unwrap();
    let waits = scene.send(&mut peer, sent(3, PAY));
    assert_eq!(waits.frames, [Seen::Working { call: 3, attempt: 0 }]);
}

#[test]
fn a_request_that_waited_behind_others_until_its_time_was_over_does_not_run() {
    let scene = Scene::set();
    let mut peer = scene.connect("alice");
    let mut connection = scene.connection(&mut peer);
    connection.late = Duration::from_secs(5);
    let (frame, mut out) = (sent(0, PAY).frame(), Frames::default());
    let received = scene.router.receive(&Joined::Lent(&frame), &mut connection, &mut out);
    assert!(matches!(received, Ok(Received::Done)));
    assert!(matches!(read(out)[..], [Seen::Reply { status: 4, .. }]));
    assert_eq!(scene.begun(), 0);
}

#[test]
fn cancels_acknowledgements_pings_and_questions_do_not_wait() {
    let (scene, mut peer, _at_work) = full();
    let mut frames = Vec::new();
    frame::put_cancel(1, &mut frames);
    let received = scene.router.receive(
        &Joined::Lent(&frames[4..]),
        &mut scene.connection(&mut peer),
        &mut Frames::default(),
    );
    assert!(matches!(received, Ok(Received::Cancelled(1))));
    assert!(peer.parked.cancel(None, 1));
    assert!(!peer.parked.cancel(None, 1));
    assert_eq!(scene.inquire(&mut peer, 0), Seen::Outcome(WireOutcome::AtWork));
    assert_eq!(scene.inquire(&mut peer, 1), Seen::Outcome(WireOutcome::NotKnown));
    let mut ping = Vec::new();
    frame::put_ping(7, &mut ping);
    let mut out = Frames::default();
    let connection = &mut scene.connection(&mut peer);
    let received = scene.router.receive(&Joined::Lent(&ping[4..]), connection, &mut out);
    assert!(matches!(received, Ok(Received::Done)) && !out.is_empty());
}
