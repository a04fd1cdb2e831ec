//! A channel between two connections: what it sends again, what it says nobody knows, and when it
//! gives up.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bailiwick::{
    CallError, CallKey, Channel, ChannelConfig, ConnectError, Context, Disconnected, Endpoint,
    Executed, Limits, NotSent, Outcome, PublicKey, Reconnect, testing::test_identity,
};
use bailiwick_crypto::Alert;
use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{runtime::Handle, task::JoinHandle, time};

use crate::{
    probe::{Probe, ProbeClient},
    relay::{Budget, Flow, Relay},
    world::{World, cx, eventually},
};

/// Short pauses, so that many connections are made in little time.
pub(crate) fn eager() -> Limits {
    Limits { max_reconnect_pause: Duration::from_millis(5), ..Limits::default() }
}

pub(crate) async fn channel(endpoint: &Endpoint, server: PublicKey, limits: Limits) -> Channel {
    try_channel(endpoint, server, limits, Reconnect::Always).await.unwrap()
}

pub(crate) async fn try_channel(
    endpoint: &Endpoint,
    server: PublicKey,
    limits: Limits,
    reconnect: Reconnect,
) -> Result<Channel, ConnectError> {
    let config = ChannelConfig { limits, reconnect, ..ChannelConfig::default() };
    Channel::connect_with(endpoint.clone(), server, test_identity("alice"), config).await
}

/// A call that is at work on the server.
async fn hanging(alice: &ProbeClient, world: &World) -> JoinHandle<Result<(), CallError>> {
    let (alice, before) = (alice.clone(), world.state.hanging());
    let call = tokio::spawn(async move { alice.hang(&cx()).await });
    eventually("it hangs", || world.state.hanging() == before + 1).await;
    call
}

#[tokio::test]
async fn a_counter_is_exact_over_two_hundred_connections_cut_at_random() {
    const CUTS: usize = 200;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let world = World::start().await;
    let mut chance = StdRng::seed_from_u64(seed);
    let relay = Relay::with(world.address, move || {
        let bytes = chance.random_range(100..3000);
        match chance.random() {
            true => Budget { up: bytes, ..Budget::ENDLESS },
            false => Budget { down: bytes, ..Budget::ENDLESS },
        }
    })
    .await;
    let channel = loop {
        let connecting = try_channel(&relay.endpoint, world.server, eager(), Reconnect::Always);
        match connecting.await {
            Ok(channel) => break channel,
            Err(error) => println!("cut in the first handshake: {error}"),
        }
    };
    let alice = ProbeClient::new(channel);
    let relay = &relay;
    let callers = (0..8).map(|_| {
        let alice = alice.clone();
        async move {
            let mut answers = Vec::new();
            while relay.accepted() <= CUTS {
                answers.push(alice.increment(&cx(), "k".into()).await.unwrap());
            }
            answers
        }
    });
    let answers = join_all(callers).await.concat();
    let distinct: HashSet<_> = answers.iter().copied().collect();
    assert_eq!(distinct.len(), answers.len(), "seed {seed}: no answer comes twice");
    assert_eq!(world.state.counter(), answers.len() as u64, "seed {seed}");
}

#[tokio::test]
async fn a_handler_at_work_when_its_connection_is_cut_runs_once_and_answers_over_the_next() {
    let world = World::start().await;
    let relay = Relay::to(world.address).await;
    let alice = ProbeClient::new(channel(&relay.endpoint, world.server, eager()).await);
    let call = hanging(&alice, &world).await;
    for connections in 2..5 {
        relay.cut();
        eventually("it is back", || relay.accepted() == connections).await;
        assert_eq!(alice.touch(&cx(), "k".into()).await, Ok(()));
    }
    assert_eq!(world.state.hanging(), 1);
    world.state.go.add_permits(1);
    assert_eq!(call.await.unwrap(), Ok(()));
    assert_eq!(world.state.begun(), 1 + 3, "the call, and three touches");
}

#[tokio::test]
async fn an_answer_that_is_lost_is_given_again_and_the_call_is_not_run_again() {
    let world = World::start().await;
    let relay = Relay::to(world.address).await;
    let alice = ProbeClient::new(channel(&relay.endpoint, world.server, eager()).await);
    relay.downward(Flow::Lost);
    let call = tokio::spawn(async move { alice.increment(&cx(), "k".into()).await });
    eventually("it runs", || world.state.counter() == 1).await;
    relay.cut();
    relay.downward(Flow::Carried);
    assert_eq!(call.await.unwrap(), Ok(1));
    assert_eq!(world.state.counter(), 1);
}

#[tokio::test]
async fn of_a_server_that_was_killed_only_what_may_have_run_and_must_not_twice_is_unknown() {
    let world = World::start().await;
    let channel = channel(&world.endpoint(), world.server, eager()).await;
    let alice = ProbeClient::new(channel.clone());
    let at_most_once = hanging(&alice, &world).await;
    let other = alice.clone();
    let readonly = tokio::spawn(async move { other.stare(&cx()).await });
    let other = alice.clone();
    let idempotent = tokio::spawn(async move { other.linger(&cx()).await });
    eventually("all hang", || world.state.hanging() == 3).await;
    let dead = world.kill().await;
    let other = alice.clone();
    let never_sent = tokio::spawn(async move {
        // Until the client has noticed.
        time::sleep(Duration::from_millis(50)).await;
        other.increment(&cx(), "k".into()).await
    });
    time::sleep(Duration::from_millis(100)).await;

    let world = dead.restart().await;
    world.state.go.add_permits(2);
    let lost = at_most_once.await.unwrap().unwrap_err();
    let CallError::OutcomeUnknown { call } = lost else { panic!("{lost:?}") };
    assert_eq!(lost.executed(), Executed::Unknown);
    assert_eq!(channel.outcome(&cx(), call).await, Outcome::Unknown);
    assert_eq!(readonly.await.unwrap(), Ok(()));
    assert_eq!(idempotent.await.unwrap(), Ok(()));
    assert_eq!(never_sent.await.unwrap(), Ok(1));
    assert_eq!(world.state.begun(), 3, "two again, one for the first time");
}

#[tokio::test]
async fn over_a_server_that_is_restarted_in_good_order_nothing_is_unknown() {
    let mut world = World::start().await;
    let alice = ProbeClient::new(channel(&world.endpoint(), world.server, eager()).await);
    let stop = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (alice, stop) = (alice.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answered = 0_u64;
                while stop.load(Ordering::SeqCst) == 0 {
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
    for _ in 0..5 {
        let state = Arc::clone(&world.state);
        eventually("some run", || state.counter() > 20).await;
        world = world.end().await.restart().await;
        ran += state.counter();
    }
    stop.store(1, Ordering::SeqCst);
    let answered: u64 = join_all(callers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(answered, ran + world.state.counter());
}

#[tokio::test]
async fn a_call_at_work_when_a_server_drains_is_answered() {
    let mut world = World::start().await;
    let alice = ProbeClient::new(channel(&world.endpoint(), world.server, eager()).await);
    let call = hanging(&alice, &world).await;
    world.stop();
    time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.state.hanging(), 1);
    world.state.go.add_permits(1);
    assert_eq!(call.await.unwrap(), Ok(()));
}

/// A call whose answer was not awaited to the end.
async fn given_up(alice: &ProbeClient, key: &str) -> CallKey {
    let cx = Context::within(Duration::from_millis(200));
    let error = alice.increment(&cx, key.into()).await.unwrap_err();
    let CallError::DeadlineExceeded { executed: Executed::Unknown, call: Some(call) } = error
    else {
        panic!("{error:?}")
    };
    call
}

#[tokio::test]
async fn of_a_call_given_up_the_server_says_whether_it_ran_and_then_it_never_runs() {
    let world = World::start().await;
    let relay = Relay::to(world.address).await;
    let channel = channel(&relay.endpoint, world.server, eager()).await;
    let alice = ProbeClient::new(channel.clone());

    relay.downward(Flow::Lost);
    let ran = given_up(&alice, "ran").await;
    assert_eq!(world.state.increments("ran"), 1);
    relay.cut();
    relay.downward(Flow::Carried);
    assert_eq!(channel.outcome(&cx(), ran).await, Outcome::Ran);

    assert_eq!(alice.touch(&cx(), "k".into()).await, Ok(()));
    relay.upward(Flow::Lost);
    let not_run = given_up(&alice, "not run").await;
    relay.cut();
    relay.upward(Flow::Carried);
    assert_eq!(channel.outcome(&cx(), not_run).await, Outcome::DidNotRun);
    assert_eq!(channel.outcome(&cx(), not_run).await, Outcome::DidNotRun, "for good");
    time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.state.increments("not run"), 0);
    assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(2));
}

#[tokio::test]
async fn a_call_at_work_is_asked_for_until_it_has_run() {
    let world = World::start().await;
    let relay = Relay::to(world.address).await;
    let channel = channel(&relay.endpoint, world.server, eager()).await;
    let alice = ProbeClient::new(channel.clone());
    // The request is late, and so the handler may run on after the caller has given up.
    relay.upward(Flow::Held);
    let other = alice.clone();
    let call = tokio::spawn(async move {
        other.hang(&Context::within(Duration::from_millis(1000))).await.unwrap_err()
    });
    time::sleep(Duration::from_millis(700)).await;
    relay.upward(Flow::Carried);
    let given_up = call.await.unwrap();
    let call = given_up.unknown_call().unwrap();
    assert_eq!(world.state.hanging(), 1);
    assert_eq!(channel.outcome(&cx(), call).await, Outcome::Running);
    // Its connection breaks, so that it does not end by its answer.
    relay.cut();
    world.state.go.add_permits(1);
    eventually("it ends", || world.state.hanging() == 0).await;
    assert_eq!(channel.outcome(&cx(), call).await, Outcome::Ran);
}

#[tokio::test]
async fn after_a_restart_nobody_knows_what_a_call_given_up_did() {
    let world = World::start().await;
    let relay = Relay::to(world.address).await;
    let channel = channel(&relay.endpoint, world.server, eager()).await;
    let alice = ProbeClient::new(channel.clone());
    relay.downward(Flow::Lost);
    let call = given_up(&alice, "k").await;
    let world = world.kill().await.restart().await;
    relay.cut();
    relay.downward(Flow::Carried);
    assert_eq!(channel.outcome(&cx(), call).await, Outcome::Unknown);
    assert_eq!(world.state.begun(), 0);
}

#[tokio::test]
async fn a_key_that_is_not_admitted_any_more_ends_all_calls_with_what_is_true_of_them() {
    let world = World::start().await;
    let alice = ProbeClient::new(channel(&world.endpoint(), world.server, eager()).await);
    let sent = hanging(&alice, &world).await;
    let dead = world.kill().await;
    time::sleep(Duration::from_millis(50)).await;
    let other = alice.clone();
    let never_sent = tokio::spawn(async move { other.increment(&cx(), "k".into()).await });
    time::sleep(Duration::from_millis(20)).await;
    let world = dead.restart_knowing(&["bob"]).await;
    let sent = sent.await.unwrap().unwrap_err();
    assert!(matches!(sent, CallError::OutcomeUnknown { .. }), "{sent:?}");
    let denied = NotSent::Disconnected(Disconnected::Alert(Alert::AccessDenied));
    assert_eq!(never_sent.await.unwrap(), Err(CallError::NotSent(denied.clone())));
    let after = alice.increment(&cx(), "k".into()).await;
    assert_eq!(after, Err(CallError::NotSent(denied)));
    assert_eq!(world.state.begun(), 0);
}

#[tokio::test]
async fn a_server_that_is_away_is_not_dialled_in_a_storm() {
    let world = World::start().await;
    let relay = Relay::to(world.address).await;
    let alice = ProbeClient::new(channel(&relay.endpoint, world.server, Limits::default()).await);
    let dead = world.kill().await;
    let other = alice.clone();
    let call = tokio::spawn(async move { other.touch(&cx(), "k".into()).await });
    time::sleep(Duration::from_secs(1)).await;
    let dialled = relay.accepted() - 1;
    // Pauses of 5, 10, 20 ... ms on the average, that is 8 in a second; twice as many happen in
    // less than one run of a million.
    assert!((2..=16).contains(&dialled), "{dialled} times");
    let _world = dead.restart().await;
    assert_eq!(call.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn nobody_dials_while_there_is_nothing_to_send() {
    let world = World::start().await;
    let relay = Relay::to(world.address).await;
    let alice = ProbeClient::new(channel(&relay.endpoint, world.server, eager()).await);
    relay.cut();
    time::sleep(Duration::from_millis(200)).await;
    assert_eq!(relay.accepted(), 1);
    assert_eq!(alice.touch(&cx(), "k".into()).await, Ok(()));
    assert_eq!(relay.accepted(), 2);
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn a_channel_dropped_while_it_is_disconnected_leaves_no_task() {
    let world = World::start().await;
    let (endpoint, server) = (world.endpoint(), world.server);
    let idle = channel(&endpoint, server, eager()).await;
    let calling = ProbeClient::new(channel(&endpoint, server, eager()).await);
    let _dead = world.kill().await;
    time::sleep(Duration::from_millis(50)).await;
    assert_eq!(tasks(), 2);
    // One has nothing to send, and the other dials.
    let call = tokio::spawn(async move { calling.touch(&cx(), "k".into()).await });
    time::sleep(Duration::from_millis(50)).await;
    call.abort();
    drop(idle);
    eventually("both are gone", || tasks() == 0).await;
}

#[tokio::test]
async fn a_question_about_a_call_does_not_outlive_its_channel() {
    let world = World::start().await;
    let channel = channel(&world.endpoint(), world.server, eager()).await;
    let alice = ProbeClient::new(channel.clone());
    let call = tokio::spawn(async move {
        alice.hang(&Context::within(Duration::from_millis(300))).await.unwrap_err()
    });
    eventually("it hangs", || world.state.hanging() == 1).await;
    let _dead = world.kill().await;
    let call = call.await.unwrap().unknown_call().unwrap();
    let soon = Context::within(Duration::from_millis(100));
    assert_eq!(channel.outcome(&soon, call).await, Outcome::Unknown, "nobody is there to say");
    drop(channel);
    eventually("its task ends", || tasks() == 0).await;
}

#[tokio::test]
async fn a_call_whose_deadline_passes_while_there_is_no_connection_was_not_sent() {
    let world = World::start().await;
    let alice = ProbeClient::new(channel(&world.endpoint(), world.server, eager()).await);
    let _dead = world.kill().await;
    time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    let late = Context::within(Duration::from_millis(300));
    let error = alice.increment(&late, "k".into()).await.unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(300), "it waits for a connection");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(error.executed(), Executed::No);
    assert!(matches!(error, CallError::NotSent(NotSent::Disconnected(_))), "{error:?}");
}
