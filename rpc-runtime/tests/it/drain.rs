//! How a server ends: what runs may finish, nothing new begins, and it does end.

use std::time::Duration;

use bailiwick::{
    CallError, ConnectError, Disconnected, Drained, Endpoint, Executed, Limits, NotSent, Server,
    Unavailable, testing::test_identity,
};
use tokio::time;

use crate::{
    policies::{Folder, next},
    probe::{Probe, method},
    raw::{Raw, Seen, request},
    world::{World, cx, eventually},
};

#[tokio::test]
async fn running_calls_finish_and_new_ones_do_not_run() {
    let mut world = World::start().await;
    let alice = world.client_for_one_connection("alice").await;
    let other = alice.clone();
    let running = tokio::spawn(async move { other.hang(&cx()).await });
    eventually("it hangs", || world.state.hanging() == 1).await;
    world.stop();
    let refused = loop {
        match alice.increment(&cx(), "k".into()).await {
            Ok(_) => time::sleep(Duration::from_millis(1)).await,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.executed(), Executed::No);
    let expected =
        [CallError::NotSent(NotSent::Draining), CallError::Unavailable(Unavailable::Draining)];
    assert!(expected.contains(&refused), "{refused:?}");
    let (begun, state) = (world.state.begun(), world.state.clone());
    state.go.add_permits(1);
    assert_eq!(running.await.unwrap(), Ok(()));
    assert_eq!(world.drained().await, Drained::Completely);
    assert_eq!(state.begun(), begun);
    let after = alice.increment(&cx(), "k".into()).await.unwrap_err();
    let closed = NotSent::Disconnected(Disconnected::Closed);
    assert_eq!(after, CallError::NotSent(closed));
}

#[tokio::test]
async fn a_request_on_its_way_when_the_drain_begins_is_told_that_it_did_not_run() {
    let mut world = World::start().await;
    let mut alice = Raw::client(&world, test_identity("alice")).await;
    alice.send(&request(0, method("hang"), &[])).await;
    eventually("it hangs", || world.state.hanging() == 1).await;
    world.stop();
    assert_eq!(alice.frame().await, [10], "go-away");
    alice.send(&request(1, method("hang"), &[])).await;
    assert_eq!(alice.frame().await, [2, 1, 0, 8, 2], "call 1 is unavailable: draining");
    world.state.go.add_permits(1);
    assert_eq!(alice.frame().await[..4], [2, 0, 0, 0], "call 0 is done");
    assert_eq!(alice.next().await, Seen::Close);
}

#[tokio::test]
async fn a_handler_that_never_ends_cannot_hold_a_server_up() {
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let mut world = World::with_limits(limits).await;
    let alice = world.client_for_one_connection("alice").await;
    let stuck = tokio::spawn(async move { alice.hang(&cx()).await });
    eventually("it hangs", || world.state.hanging() == 1).await;
    world.stop();
    let state = world.state.clone();
    assert_eq!(world.drained().await, Drained::CallsAborted);
    let error = stuck.await.unwrap().unwrap_err();
    assert_eq!(error.executed(), Executed::Unknown);
    assert!(matches!(error, CallError::OutcomeUnknown { .. }), "{error:?}");
    eventually("its handler is dropped", || state.hanging() == 0).await;
}

#[tokio::test]
async fn a_server_that_drains_still_sums_up_refusals_and_follows_its_policy() {
    const ALICE: &str = "alice | probe | read | allow\n";
    let folder = Folder::with(ALICE);
    // What is written at the end of the drain comes too late.
    let limits = Limits { drain_timeout: Duration::from_secs(60), ..Limits::default() };
    let builder = Server::builder(test_identity("server")).limits(limits);
    let tcp = [Endpoint::tcp("127.0.0.1:0")];
    let mut world = World::under_file(folder.watched(), &tcp, builder).await;
    let mut outcomes = world.policy.outcomes();
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let running = tokio::spawn(async move { alice.hang(&cx()).await });
    eventually("it hangs", || world.state.hanging() == 1).await;
    for _ in 0..20 {
        bob.increment(&cx(), "k".into()).await.unwrap_err();
    }
    world.stop();
    eventually("they are summed up", || !world.records("event", "summary").is_empty()).await;
    folder.save(&format!("serial 2\n{ALICE}"));
    assert_eq!(next(&mut outcomes).await.unwrap().revision.serial, Some(2));
    world.state.go.add_permits(1);
    assert_eq!(running.await.unwrap(), Ok(()));
    assert_eq!(world.drained().await, Drained::Completely);
}

#[tokio::test]
async fn a_drained_server_leaves_no_port_open() {
    let mut world = World::start().await;
    let (endpoint, server) = (world.endpoint(), world.server);
    world.stop();
    assert_eq!(world.drained().await, Drained::Completely);
    let error = bailiwick::Channel::connect(endpoint, server, test_identity("alice")).await;
    assert!(matches!(error, Err(ConnectError::Unreachable { .. })), "{error:?}");
}
