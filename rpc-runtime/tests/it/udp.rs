//! Calls over UDP, on real sockets.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bailiwick::{
    Bytes, CallError, Channel, ChannelConfig, ConnectError, Context, Drained, Endpoint, Executed,
    Limits, NotSent, Outcome, PublicKey, testing::test_identity,
};
use futures_util::future::join_all;
use tokio::time;

use crate::{
    probe::{Greeter, GreeterClient, Probe, ProbeClient},
    relay::Flow,
    udp_relay::UdpRelay,
    world::{Beside, World, cx, eventually},
};

async fn world() -> World {
    World::over_udp(Limits::default(), Beside::Nothing).await
}

async fn connect(endpoint: &Endpoint, server: PublicKey, limits: Limits) -> Channel {
    let config = ChannelConfig { limits, ..ChannelConfig::default() };
    let alice = test_identity("alice");
    Channel::connect_with(endpoint.clone(), server, alice, config).await.unwrap()
}

#[tokio::test]
async fn calls_of_each_delivery_and_service_go_there_and_back() {
    let world = world().await;
    let channel = world.channel("alice", Limits::default()).await.unwrap();
    let (alice, greeter) = (ProbeClient::new(channel.clone()), GreeterClient::new(channel));
    assert_eq!(alice.echo(&cx(), "hello".into()).await, Ok("hello".into()));
    assert_eq!(alice.echo(&cx(), Bytes::new()).await, Ok(Bytes::new()));
    assert_eq!(alice.touch(&cx(), "k".into()).await, Ok(()));
    assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(1));
    let full = alice.increment(&cx(), "full".into()).await.unwrap_err();
    assert_eq!((full.executed(), full), (Executed::Yes, CallError::App("no room".into())));
    assert_eq!(greeter.greet(&cx(), "Bob".into()).await, Ok("Good day, Bob.".into()));
    let said = cx().with_metadata("principal", "bob");
    assert_eq!(alice.who(&said).await, Ok(("alice".into(), Some("bob".into()))));
    assert_eq!(world.state.counter(), 1);
}

#[tokio::test]
async fn the_policy_is_judged_over_udp_too() {
    let world = world().await;
    let bob = world.client("bob").await;
    let error = bob.increment(&cx(), "alice".into()).await.unwrap_err();
    assert!(matches!(error, CallError::Denied(_)), "{error:?}");
    assert_eq!(bob.increment(&cx(), "bob".into()).await, Ok(1));
    assert_eq!(world.records("object", "table/alice").len(), 1);
    assert_eq!(world.state.begun(), 1);
}

#[tokio::test]
async fn many_calls_at_once_are_all_answered_each_once() {
    let world = world().await;
    let alice = world.client("alice").await;
    let calls = (0..500).map(|_| {
        let alice = alice.clone();
        async move { alice.increment(&cx(), "k".into()).await.unwrap() }
    });
    let mut answers = join_all(calls).await;
    answers.sort_unstable();
    assert!(answers.into_iter().eq(1..=500));
}

#[tokio::test]
async fn a_long_message_goes_in_fragments_or_by_tcp_and_runs_once() {
    let world = World::over_udp(Limits::default(), Beside::Tcp).await;
    let alice = world.client("alice").await;
    for size in [1_200, 1_500, 60_000, 65_536, 1_000_000] {
        let value = Bytes::from(vec![3; size]);
        assert_eq!(alice.echo(&cx(), value.clone()).await, Ok(value), "{size} bytes");
    }
    // A long answer to a short call: it runs once, and its answer is fetched by TCP.
    for (calls, size) in [60_000, 65_536, 1_000_000].into_iter().enumerate() {
        let answer = alice.produce(&cx(), size).await.unwrap();
        assert_eq!(answer.len(), size as usize);
        assert_eq!(world.state.produced(), calls + 1, "{size} bytes");
    }
    let limit = Limits::default().max_frame as usize;
    let error = alice.echo(&cx(), vec![3; limit].into()).await.unwrap_err();
    let NotSent::TooLarge { size, limit: told } = not_sent(error) else { panic!("too large") };
    assert!(size > limit && told == limit, "{size}, {told}");
}

fn not_sent<E: std::fmt::Debug>(error: CallError<E>) -> NotSent {
    let CallError::NotSent(why) = error else { panic!("{error:?}") };
    why
}

#[tokio::test]
async fn without_tcp_a_message_that_is_too_long_is_a_clear_error() {
    let world = world().await;
    let alice = world.client("alice").await;
    let value = Bytes::from(vec![3; 60_000]);
    assert_eq!(alice.echo(&cx(), value.clone()).await, Ok(value));
    let error = alice.echo(&cx(), vec![3; 65_536].into()).await.unwrap_err();
    assert_eq!(error.executed(), Executed::No);
    assert!(
        matches!(error, CallError::NotSent(NotSent::TooLarge { limit: 65_532, .. })),
        "{error:?}"
    );
    let error = alice.produce(&cx(), 100_000).await.unwrap_err();
    assert_eq!(error.executed(), Executed::Yes);
    assert!(matches!(error, CallError::AnswerLost { .. }), "{error:?}");
    assert_eq!(world.state.produced(), 1);
    assert_eq!(alice.touch(&cx(), "k".into()).await, Ok(()), "the session goes on");
}

#[tokio::test]
async fn a_stranger_is_turned_away_and_recorded() {
    let world = world().await;
    let error = world.channel("stranger", Limits::default()).await.unwrap_err();
    let stranger = test_identity("stranger").public_key();
    assert!(
        matches!(error, ConnectError::AccessDenied { identity, .. } if identity == stranger),
        "{error:?}"
    );
    world.recorded("reason", "unknown_principal").await;
    let _alice = world.client("alice").await;
}

#[tokio::test]
async fn a_server_says_nothing_to_who_dials_another_key() {
    let world = world().await;
    let limits = Limits { handshake_timeout_udp: Duration::from_millis(500), ..Limits::default() };
    let config = ChannelConfig { limits, ..ChannelConfig::default() };
    let other = test_identity("elsewhere").public_key();
    let began = Instant::now();
    let dialled =
        Channel::connect_with(world.endpoint(), other, test_identity("alice"), config).await;
    assert!(
        matches!(dialled, Err(ConnectError::NoAnswer { server, .. }) if server == other),
        "{dialled:?}"
    );
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn where_nobody_listens_it_does_not_take_the_whole_time_for_a_handshake() {
    let world = world().await;
    let (endpoint, server) = (world.endpoint(), world.server);
    let _dead = world.kill().await;
    let began = Instant::now();
    let dialled = Channel::connect(endpoint, server, test_identity("alice")).await;
    assert!(matches!(dialled, Err(ConnectError::Unreachable { .. })), "{dialled:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn of_a_server_that_was_killed_only_what_may_have_run_and_must_not_twice_is_unknown() {
    let world = world().await;
    let channel = world.channel("alice", Limits::default()).await.unwrap();
    let alice = ProbeClient::new(channel.clone());
    let other = alice.clone();
    let at_most_once = tokio::spawn(async move { other.hang(&cx()).await });
    let other = alice.clone();
    let readonly = tokio::spawn(async move { other.stare(&cx()).await });
    let other = alice.clone();
    let idempotent = tokio::spawn(async move { other.linger(&cx()).await });
    eventually("all hang", || world.state.hanging() == 3).await;
    let world = world.kill().await.restart().await;
    world.state.go.add_permits(2);
    let lost = at_most_once.await.unwrap().unwrap_err();
    let CallError::OutcomeUnknown { call } = lost else { panic!("{lost:?}") };
    assert_eq!(channel.outcome(&cx(), call).await, Outcome::Unknown);
    assert_eq!(readonly.await.unwrap(), Ok(()));
    assert_eq!(idempotent.await.unwrap(), Ok(()));
    assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(1));
    assert_eq!(world.state.hanging(), 0, "what is unknown is not run again");
}

#[tokio::test]
async fn over_a_server_that_is_restarted_in_good_order_nothing_is_unknown() {
    let mut world = world().await;
    let alice = world.client("alice").await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (alice, stop) = (alice.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answered = 0_u64;
                while !stop.load(Ordering::SeqCst) {
                    match alice.increment(&cx(), "k".into()).await {
                        Ok(_) => answered += 1,
                        Err(error) => assert_eq!(error.executed(), Executed::No, "{error:?}"),
                    }
                }
                answered
            })
        })
        .collect();
    let mut ran = 0;
    for _ in 0..2 {
        let state = Arc::clone(&world.state);
        eventually("some run", || state.counter() > 20).await;
        world = world.end().await.restart().await;
        ran += state.counter();
    }
    stop.store(true, Ordering::SeqCst);
    let answered: u64 = join_all(callers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(answered, ran + world.state.counter());
}

#[tokio::test]
async fn a_call_at_work_when_a_server_drains_is_answered() {
    let mut world = world().await;
    let alice = world.client("alice").await;
    let other = alice.clone();
    let call = tokio::spawn(async move { other.hang(&cx()).await });
    eventually("it hangs", || world.state.hanging() == 1).await;
    world.stop();
    time::sleep(Duration::from_millis(50)).await;
    let state = Arc::clone(&world.state);
    assert_eq!(state.hanging(), 1);
    state.go.add_permits(1);
    assert_eq!(call.await.unwrap(), Ok(()));
    assert_eq!(world.drained().await, Drained::Completely);
}

/// What a server of one client takes.
fn one_session() -> Limits {
    Limits { max_connections: 1, ..Limits::default() }
}

#[tokio::test]
async fn closing_a_channel_gives_its_place_to_another() {
    let world = World::over_udp(one_session(), Beside::Nothing).await;
    let brief = Limits { handshake_timeout_udp: Duration::from_millis(500), ..Limits::default() };
    let alice = world.channel("alice", Limits::default()).await.unwrap();
    assert!(world.channel("bob", brief).await.is_err(), "the only place is taken");
    alice.close().await;
    let bob = world.client("bob").await;
    assert_eq!(bob.increment(&cx(), "bob".into()).await, Ok(1));
}

#[tokio::test]
async fn a_client_whose_port_changes_goes_on_in_the_same_session() {
    // So that there can be no other.
    let world = World::over_udp(one_session(), Beside::Nothing).await;
    let relay = UdpRelay::to(world.address).await;
    let alice = ProbeClient::new(connect(&relay.endpoint, world.server, Limits::default()).await);
    let other = alice.clone();
    let call = tokio::spawn(async move { other.hang(&cx()).await });
    eventually("it hangs", || world.state.hanging() == 1).await;
    for moves in 1..=5 {
        relay.move_client().await;
        assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(moves));
    }
    world.state.go.add_permits(1);
    assert_eq!(call.await.unwrap(), Ok(()), "its answer finds the way to the new address");
    assert_eq!(world.state.begun(), 6);
}

#[tokio::test]
async fn a_session_idles_out_and_the_next_call_makes_another() {
    let limits = Limits {
        idle_timeout: Duration::from_secs(1),
        keepalive: Duration::from_millis(300),
        ..one_session()
    };
    let world = World::over_udp(limits.clone(), Beside::Nothing).await;
    let relay = UdpRelay::to(world.address).await;
    let alice = ProbeClient::new(connect(&relay.endpoint, world.server, limits).await);
    time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(1), "its questions keep it up");
    relay.upward(Flow::Lost);
    relay.downward(Flow::Lost);
    time::sleep(Duration::from_millis(1500)).await;
    relay.upward(Flow::Carried);
    relay.downward(Flow::Carried);
    assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(2));
    let brief = Limits { handshake_timeout_udp: Duration::from_millis(300), ..Limits::default() };
    let bob = world.channel("bob", brief).await;
    assert!(bob.is_err(), "the one place is taken, by the second session alone");
}

#[tokio::test]
async fn of_a_call_given_up_the_server_says_whether_it_ran_and_then_it_never_runs() {
    let world = world().await;
    let relay = UdpRelay::to(world.address).await;
    let channel = connect(&relay.endpoint, world.server, Limits::default()).await;
    let alice = ProbeClient::new(channel.clone());
    let given_up = async |key: &str| {
        let soon = Context::within(Duration::from_millis(200));
        let error = alice.increment(&soon, key.into()).await.unwrap_err();
        assert_eq!(error.executed(), Executed::Unknown, "{error:?}");
        error.unknown_call().unwrap()
    };
    relay.downward(Flow::Lost);
    let ran = given_up("ran").await;
    relay.downward(Flow::Carried);
    assert_eq!(channel.outcome(&cx(), ran).await, Outcome::Ran);
    assert_eq!(world.state.increments("ran"), 1, "though it was asked for several times");

    relay.upward(Flow::Lost);
    let not_run = given_up("not run").await;
    relay.upward(Flow::Carried);
    assert_eq!(channel.outcome(&cx(), not_run).await, Outcome::DidNotRun);
    assert_eq!(channel.outcome(&cx(), not_run).await, Outcome::DidNotRun, "for good");
    assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(2));
    assert_eq!(world.state.increments("not run"), 0);
}

#[tokio::test]
async fn a_call_that_takes_long_is_not_asked_for_in_a_storm_and_runs_once() {
    let world = world().await;
    let alice = world.client("alice").await;
    let call = tokio::spawn(async move { alice.hang(&cx()).await });
    eventually("it hangs", || world.state.hanging() == 1).await;
    time::sleep(Duration::from_millis(1000)).await;
    world.state.go.add_permits(1);
    assert_eq!(call.await.unwrap(), Ok(()));
    assert_eq!(world.state.begun(), 1);
}

#[tokio::test]
async fn dropping_a_call_drops_its_handler() {
    let world = world().await;
    let alice = world.client("alice").await;
    let call = tokio::spawn(async move {
        let _ = time::timeout(Duration::from_millis(200), alice.hang(&cx())).await;
        alice
    });
    eventually("it hangs", || world.state.hanging() == 1).await;
    let alice = call.await.unwrap();
    eventually("it is dropped", || world.state.hanging() == 0).await;
    assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(1));
}

/// Names the process that is a server and nothing else.
const SERVER: &str = "BAILIWICK_TEST_UDP_SERVER";

const MEMORY_TEST: &str = "udp::an_idle_session_costs_a_server_at_most_eight_kib";

/// Each makes a call before it idles, so that what comes with the first call is counted too.
#[test]
fn an_idle_session_costs_a_server_at_most_eight_kib() {
    const SESSIONS: usize = 600;
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    if env::var_os(SERVER).is_some() {
        return runtime().block_on(serve_until_stdin_ends());
    }
    let mut server = ServerProcess::start();
    runtime().block_on(async {
        let mut sessions = server.sessions(100).await;
        time::sleep(Duration::from_millis(500)).await;
        let before = server.resident();
        sessions.extend(server.sessions(SESSIONS).await);
        time::sleep(Duration::from_millis(500)).await;
        let each = server.resident().saturating_sub(before) / SESSIONS;
        println!("{each} bytes for each session");
        assert!(each <= 8 << 10, "{each} bytes for each session");
        drop(sessions);
    });
}

async fn serve_until_stdin_ends() {
    let world = world().await;
    println!("listening at {} as {}", world.address, world.server);
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await;
}

struct ServerProcess {
    process: Child,
    endpoint: Endpoint,
    key: PublicKey,
}

impl ServerProcess {
    fn start() -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", MEMORY_TEST, "--nocapture"])
            .env(SERVER, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut said = lines.map(Result::unwrap).filter(|line| line.contains("listening at "));
        let said = said.next().unwrap();
        let (_, said) = said.split_once("listening at ").unwrap();
        let (address, key) = said.split_once(" as ").unwrap();
        Self { process, endpoint: Endpoint::udp(address), key: key.parse().unwrap() }
    }

    async fn sessions(&self, count: usize) -> Vec<ProbeClient> {
        let mut sessions = Vec::new();
        for _ in 0..count / 10 {
            sessions.extend(join_all((0..10).map(async |_| self.session().await)).await);
        }
        sessions
    }

    async fn session(&self) -> ProbeClient {
        let channel = connect(&self.endpoint, self.key, Limits::default()).await;
        let alice = ProbeClient::new(channel);
        alice.increment(&cx(), "k".into()).await.unwrap();
        alice
    }

    fn resident(&mut self) -> usize {
        let statm = format!("/proc/{}/statm", self.process.id());
        let pages = fs::read_to_string(statm).unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
