//! A call that comes again, over TCP: what a client that lost its connection finds.

use std::time::Duration;

use bailiwick::{Drained, Limits, testing::test_identity};
use bailiwick_crypto::{Alert, Params, RecordLimits};
use tokio::time;

use crate::{
    probe::method,
    raw::{Raw, Seen, frame, request, request_of, varint},
    world::{World, eventually},
};

async fn alice(world: &World) -> Raw {
    Raw::life(world, test_identity("alice"), 1).await
}

fn increment(call: u64, attempt: u64) -> Vec<u8> {
    request_of(call, 0, attempt, method("increment"), &[1, b'k'])
}

fn hang(call: u64, attempt: u64) -> Vec<u8> {
    request_of(call, 0, attempt, method("hang"), &[])
}

fn produce(call: u64, floor: u64, size: u64) -> Vec<u8> {
    let mut argument = Vec::new();
    varint(size, &mut argument);
    request_of(call, floor, 0, method("produce"), &argument)
}

/// What became of a call, as the server says it.
async fn outcome(client: &mut Raw, call: u8) -> u8 {
    client.send(&frame(&[12, call])).await;
    match client.frame().await[..] {
        [13, about, outcome] if about == call => outcome,
        ref other => panic!("{other:?} in place of an outcome"),
    }
}

#[tokio::test]
async fn a_lost_answer_is_sent_again_over_a_new_connection_and_nothing_runs_twice() {
    let world = World::start().await;
    let mut first = alice(&world).await;
    assert_eq!(first.tcp_port, world.address.port());
    let memory = first.memory;
    first.send(&increment(0, 0)).await;
    eventually("it ran", || world.state.counter() == 1).await;
    drop(first);

    let mut second = alice(&world).await;
    assert_eq!(second.memory, memory, "the server still knows this client");
    second.send(&increment(0, 1)).await;
    assert_eq!(second.frame().await, [2, 0, 1, 0, 1]);
    second.send(&frame(&[11, 0])).await;
    assert_eq!(second.frame().await[2..10], memory);
    assert_eq!(world.state.counter(), 1);
}

#[tokio::test]
async fn another_life_and_another_key_have_memories_of_their_own() {
    let world = World::start().await;
    let mut lives = [
        alice(&world).await,
        Raw::life(&world, test_identity("alice"), 2).await,
        Raw::life(&world, test_identity("bob"), 1).await,
    ];
    for (counter, client) in (1..).zip(&mut lives) {
        client.send(&request(0, method("increment"), &[3, b'b', b'o', b'b'])).await;
        assert_eq!(client.frame().await, [2, 0, 0, 0, counter]);
    }
    let [a, b, c] = lives.map(|client| client.memory);
    assert!(a != b && b != c && a != c);
}

#[tokio::test]
async fn duplicates_over_two_connections_at_once_run_once() {
    let world = World::start().await;
    let (mut first, mut second) = (alice(&world).await, alice(&world).await);
    for call in 0..100 {
        let sent = increment(call, 0);
        tokio::join!(first.send(&sent), second.send(&sent));
        let answers = (first.frame().await, second.frame().await);
        assert_eq!(answers.0, answers.1);
        assert_eq!(answers.0[answers.0.len() - 2..], [0, u8::try_from(call).unwrap() + 1]);
    }
    assert_eq!(world.state.counter(), 100);
}

#[tokio::test]
async fn what_a_connection_began_goes_on_without_it_and_answers_the_next_one() {
    let world = World::start().await;
    let mut first = alice(&world).await;
    first.send(&hang(0, 0)).await;
    eventually("it hangs", || world.state.hanging() == 1).await;
    drop(first);
    let mut second = alice(&world).await;
    second.send(&hang(0, 1)).await;
    let working = second.frame().await;
    assert_eq!(working[..3], [3, 0, 1]);
    assert_eq!(outcome(&mut second, 0).await, 2, "at work");
    world.state.go.add_permits(1);
    assert_eq!(second.frame().await[..4], [2, 0, 1, 0], "the answer comes without being asked for");
    assert_eq!(outcome(&mut second, 0).await, 1, "ran");
    assert_eq!(world.state.begun(), 1);
}

#[tokio::test]
async fn both_connections_that_wait_for_a_call_are_answered() {
    let world = World::start().await;
    let (mut first, mut second) = (alice(&world).await, alice(&world).await);
    first.send(&hang(0, 0)).await;
    eventually("it hangs", || world.state.hanging() == 1).await;
    second.send(&hang(0, 1)).await;
    assert_eq!(second.frame().await[..3], [3, 0, 1]);
    world.state.go.add_permits(1);
    assert_eq!(first.frame().await[..4], [2, 0, 0, 0]);
    assert_eq!(second.frame().await[..4], [2, 0, 1, 0]);
    assert_eq!(world.state.begun(), 1);
}

#[tokio::test]
async fn a_readonly_handler_ends_with_its_connection_and_runs_again_on_the_next() {
    let world = World::start().await;
    let mut first = alice(&world).await;
    first.send(&request(0, method("stare"), &[])).await;
    eventually("it hangs", || world.state.hanging() == 1).await;
    drop(first);
    eventually("it is dropped", || world.state.hanging() == 0).await;
    let mut second = alice(&world).await;
    second.send(&request_of(0, 0, 1, method("stare"), &[])).await;
    eventually("it hangs again", || world.state.hanging() == 1).await;
    world.state.go.add_permits(1);
    assert_eq!(second.frame().await[..4], [2, 0, 1, 0]);
}

#[tokio::test]
async fn a_call_dropped_at_its_deadline_is_told_so_again_also_without_its_connection() {
    let world = World::start().await;
    let mut first = alice(&world).await;
    first.send(&request(0, method("brief"), &[])).await;
    assert_eq!(first.frame().await, [2, 0, 0, 4, 2]);
    first.send(&request(1, method("brief"), &[])).await;
    eventually("it hangs", || world.state.hanging() == 1).await;
    drop(first);
    eventually("its time is over", || world.state.hanging() == 0).await;
    let mut second = alice(&world).await;
    for call in [0, 1] {
        second.send(&request_of(call.into(), 0, 1, method("brief"), &[])).await;
        assert_eq!(second.frame().await, [2, call, 1, 4, 2], "it may have run");
        assert_eq!(outcome(&mut second, call).await, 3, "nobody knows how far it came");
    }
    assert_eq!(world.state.begun(), 2);
}

#[tokio::test]
async fn a_cancelled_call_is_stale_over_every_connection() {
    let world = World::start().await;
    let (mut first, mut second) = (alice(&world).await, alice(&world).await);
    first.send(&hang(0, 0)).await;
    eventually("it hangs", || world.state.hanging() == 1).await;
    first.send(&frame(&[7, 0])).await;
    eventually("it is dropped", || world.state.hanging() == 0).await;
    for client in [&mut first, &mut second] {
        client.send(&hang(0, 1)).await;
        assert_eq!(client.frame().await, [2, 0, 1, 9]);
    }
    assert_eq!(world.state.begun(), 1);
}

#[tokio::test]
async fn an_inquiry_over_one_connection_fences_a_request_on_its_way_over_another() {
    let world = World::start().await;
    let (mut first, mut second) = (alice(&world).await, alice(&world).await);
    assert_eq!(outcome(&mut second, 0).await, 0, "not run, and never will");
    first.send(&increment(0, 0)).await;
    assert_eq!(first.frame().await, [2, 0, 0, 9]);
    assert_eq!(outcome(&mut second, 0).await, 0);
    assert_eq!(world.state.counter(), 0);
}

#[tokio::test]
async fn a_number_with_other_arguments_is_refused_and_on_record_each_time() {
    let world = World::start().await;
    let mut client = alice(&world).await;
    client.send(&increment(0, 0)).await;
    assert_eq!(client.frame().await, [2, 0, 0, 0, 1]);
    for tries in 1..=3 {
        client.send(&request(0, method("increment"), &[1, b'x'])).await;
        assert_eq!(client.frame().await[..4], [2, 0, 0, 2]);
        let records = world.records("reason", "false_retry");
        assert_eq!(records.len(), tries);
        assert!(records[0].contains(r#""method":"increment""#), "{}", records[0]);
        assert!(records[0].contains(r#""principal":"alice""#), "{}", records[0]);
    }
    client.send(&increment(0, 1)).await;
    assert_eq!(client.frame().await, [2, 0, 1, 0, 1]);
    assert_eq!(world.state.counter(), 1);
}

#[tokio::test]
async fn a_window_of_unacknowledged_64_kib_answers_is_held_to_the_quota() {
    const SIZE: u64 = 64 * 1024;
    let world = World::start().await;
    let quota = Limits::default().max_kept_answers;
    let mut client = alice(&world).await;
    let mut kept = 0;
    let refused = loop {
        client.send(&produce(kept, 0, SIZE)).await;
        let answer = client.frame().await;
        if answer.len() < 100 {
            break answer;
        }
        kept += 1;
    };
    assert!(usize::try_from(kept * SIZE).unwrap() <= quota, "{kept} are kept");
    assert!(usize::try_from((kept + 2) * SIZE).unwrap() > quota, "{kept} are kept");
    let number = u8::try_from(kept).unwrap();
    assert_eq!(refused, [2, number, 0, 3, 50], "overloaded");
    assert_eq!(world.state.produced() as u64, kept, "before it ran");

    client.send(&frame(&[8, 10, 0])).await;
    client.send(&produce(kept, 0, SIZE)).await;
    assert_eq!(client.frame().await, refused, "that is final");
    client.send(&produce(kept + 1, 0, SIZE)).await;
    assert!(client.frame().await.len() > 65_536, "and there is room for others");
    let mut bystander = Raw::life(&world, test_identity("alice"), 2).await;
    bystander.send(&produce(0, 0, SIZE)).await;
    assert!(bystander.frame().await.len() > 65_536, "what others keep is their own");
}

#[tokio::test]
async fn a_client_beyond_the_last_place_is_turned_away_and_recorded() {
    let world = World::with_limits(Limits { max_clients: 2, ..Limits::default() }).await;
    let _alice = alice(&world).await;
    let params = Params::new([2; 16]);
    let identity = test_identity("alice");
    let mut one_too_many = Raw::greet(&world, identity, RecordLimits::default(), params).await;
    assert_eq!(one_too_many.rest().await, [Seen::Alert(Alert::LimitExceeded), Seen::End]);
    world.recorded("reason", "too_many_clients").await;
    let _bob = Raw::life(&world, test_identity("bob"), 1).await;
    let _alice_again = alice(&world).await;
}

#[tokio::test]
async fn a_drain_waits_for_what_a_gone_connection_began() {
    let mut world = World::start().await;
    let mut first = alice(&world).await;
    first.send(&hang(0, 0)).await;
    eventually("it hangs", || world.state.hanging() == 1).await;
    drop(first);
    let state = world.state.clone();
    world.stop();
    let released = async {
        time::sleep(Duration::from_millis(300)).await;
        assert_eq!(state.hanging(), 1, "it still runs");
        state.go.add_permits(1);
    };
    let (drained, ()) = tokio::join!(world.drained(), released);
    assert_eq!(drained, Drained::Completely);
    assert_eq!(state.hanging(), 0);
}

#[tokio::test]
async fn a_drain_does_not_wait_longer_than_it_may_for_what_a_gone_connection_began() {
    let limits = Limits { drain_timeout: Duration::from_millis(300), ..Limits::default() };
    let mut world = World::with_limits(limits).await;
    let mut first = alice(&world).await;
    first.send(&hang(0, 0)).await;
    eventually("it hangs", || world.state.hanging() == 1).await;
    drop(first);
    time::sleep(Duration::from_millis(100)).await;
    let state = world.state.clone();
    world.stop();
    assert_eq!(world.drained().await, Drained::CallsAborted);
    eventually("its handler is dropped", || state.hanging() == 0).await;
}

#[tokio::test]
async fn answers_are_given_again_while_a_server_drains() {
    let mut world = World::start().await;
    let mut client = alice(&world).await;
    client.send(&[increment(0, 0), hang(1, 0)].concat()).await;
    assert_eq!(client.frame().await, [2, 0, 0, 0, 1]);
    eventually("it hangs", || world.state.hanging() == 1).await;
    world.stop();
    assert_eq!(client.frame().await, [10], "go-away");
    client.send(&[increment(0, 1), increment(2, 0)].concat()).await;
    assert_eq!(client.frame().await, [2, 0, 1, 0, 1]);
    assert_eq!(client.frame().await, [2, 2, 0, 8, 2], "a new one does not run");
    world.state.go.add_permits(1);
    assert_eq!(client.frame().await[..4], [2, 1, 0, 0]);
}
