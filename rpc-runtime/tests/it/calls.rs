//! What a call is: its way there and back, its deadline, its end, its limits.

use std::time::{Duration, Instant};

use bailiwick::{Bytes, CallError, Context, Executed, Limits, NotSent, testing::test_identity};
use futures_util::future::join_all;
use tokio::time;

use crate::{
    probe::{Counting, Greeter, GreeterClient, Probe, ProbeClient, State, method},
    raw::{Raw, Seen, request},
    world::{World, cx, eventually},
};

#[tokio::test]
async fn calls_of_each_delivery_go_there_and_back() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    assert_eq!(alice.echo(&cx(), "hello".into()).await, Ok("hello".into()));
    assert_eq!(alice.touch(&cx(), "k".into()).await, Ok(()));
    assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(1));
    let full = alice.increment(&cx(), "full".into()).await.unwrap_err();
    assert_eq!((full.executed(), full), (Executed::Yes, CallError::App("no room".into())));
    assert!(world.records("event", "decision").is_empty());
}

#[tokio::test]
async fn a_channel_in_memory_is_judged_and_answered_alike() {
    let world = ProbeClient::in_memory(Counting(State::new()))
        .policy("alice | probe | read | allow\nbob | table/bob | write | allow");
    let alice = world.as_principal("alice").await;
    let large = Bytes::from(vec![3; 500_000]);
    assert_eq!(alice.echo(&cx(), large.clone()).await, Ok(large));
    let bob = world.as_principal("bob").await;
    assert!(matches!(bob.echo(&cx(), Bytes::new()).await, Err(CallError::Denied(_))));
    assert_eq!(
        world.audit().iter().filter(|line| line.contains("\"decision\":\"deny\"")).count(),
        1
    );
}

#[tokio::test]
async fn a_service_in_memory_that_is_dropped_takes_no_more_calls() {
    let world =
        ProbeClient::in_memory(Counting(State::new())).policy("alice | probe | read | allow");
    let alice = world.as_principal("alice").await;
    assert_eq!(alice.echo(&cx(), Bytes::new()).await, Ok(Bytes::new()));
    drop(world);
    // What is sent before the go-away comes is refused by the server.
    let refused = time::timeout(Duration::from_secs(10), async {
        loop {
            match alice.echo(&cx(), Bytes::new()).await {
                Ok(_) => time::sleep(Duration::from_millis(1)).await,
                Err(error) => break error,
            }
        }
    });
    assert_eq!(refused.await.expect("it takes calls no longer").executed(), Executed::No);
}

#[tokio::test]
async fn many_calls_are_in_flight_on_one_connection() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let replies = join_all((0..2000).map(|_| {
        let alice = alice.clone();
        async move { alice.increment(&cx(), "k".into()).await.unwrap() }
    }));
    let mut replies = replies.await;
    replies.sort_unstable();
    assert_eq!(replies, (1..=2000).collect::<Vec<u64>>());
}

#[tokio::test]
async fn connections_that_look_instead_of_sleeping_carry_all_that_others_do() {
    let limits = Limits { busy_poll: Duration::from_millis(1), ..Limits::default() };
    let world = World::with_limits(limits.clone()).await;
    let alice = ProbeClient::new(world.channel("alice", limits).await.unwrap());
    for size in [0, 1, 5_000, 70_000, 500_000] {
        let sent = Bytes::from(vec![7; size]);
        assert_eq!(alice.echo(&cx(), sent.clone()).await, Ok(sent));
        time::sleep(Duration::from_millis(2)).await;
    }
    let many = join_all((0..200).map(|_| {
        let alice = alice.clone();
        async move { alice.increment(&cx(), "k".into()).await.unwrap() }
    }));
    let mut many = many.await;
    many.sort_unstable();
    assert_eq!(many, (1..=200).collect::<Vec<u64>>());
    alice.channel().clone().close().await;
    drop(alice);
    world.end().await;
}

/// Callers move their futures from task to task, and a spawned one is copied to its place.
#[tokio::test]
async fn a_call_takes_few_bytes_beside_its_arguments() {
    let world = World::start().await;
    let (alice, cx) = (world.client("alice").await, cx());
    let (arguments, size) = (size_of::<Bytes>(), size_of_val(&alice.echo(&cx, Bytes::new())));
    assert!(size <= 2 * arguments + 128, "{size}");
}

#[tokio::test]
async fn several_services_share_a_port_and_a_channel() {
    let world = World::start().await;
    let channel = world.channel("alice", Limits::default()).await.unwrap();
    let (probe, greeter) = (ProbeClient::new(channel.clone()), GreeterClient::new(channel));
    assert_eq!(greeter.greet(&cx(), "Bob".into()).await, Ok("Good day, Bob.".into()));
    assert_eq!(probe.echo(&cx(), "x".into()).await, Ok("x".into()));
}

#[tokio::test]
async fn messages_of_every_size_up_to_the_limit_arrive_whole() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let kib16 = 16 * 1024;
    for size in [0, 1, kib16 - 30, kib16 - 1, kib16, kib16 + 1, 65_536, (1 << 20) - 100] {
        let value: Bytes = (0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
        assert_eq!(alice.echo(&cx(), value.clone()).await, Ok(value), "{size} bytes");
    }
}

#[tokio::test]
async fn a_request_above_the_servers_limit_is_not_sent() {
    let world = World::with_limits(Limits { max_frame: 1024, ..Limits::default() }).await;
    let alice = world.client("alice").await;
    let error = alice.echo(&cx(), vec![0; 1024].into()).await.unwrap_err();
    assert_eq!(error.executed(), Executed::No);
    assert!(
        matches!(error, CallError::NotSent(NotSent::TooLarge { limit: 1024, .. })),
        "{error:?}"
    );
    assert_eq!(world.state.begun(), 0);
    assert_eq!(alice.echo(&cx(), vec![0; 900].into()).await.unwrap().len(), 900);
}

#[tokio::test]
async fn a_reply_above_the_clients_limit_is_an_internal_failure_of_that_call_alone() {
    let world = World::start().await;
    let limits = Limits { max_frame: 1024, ..Limits::default() };
    let alice = ProbeClient::new(world.channel("alice", limits).await.unwrap());
    assert_eq!(alice.produce(&cx(), 1100).await, Err(CallError::Internal));
    assert_eq!(alice.produce_later(&cx(), 1100).await, Err(CallError::Internal));
    assert_eq!(alice.produce(&cx(), 900).await.unwrap().len(), 900);
}

#[tokio::test]
async fn metadata_travel_and_are_bounded_before_they_are_sent() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let said = cx().with_metadata("principal", "root");
    assert_eq!(alice.who(&said).await, Ok(("alice".into(), Some("root".into()))));

    let too_large = cx().with_metadata("k", "v".repeat(4096));
    let why = NotSent::MetadataTooLarge { size: 4097, limit: 4096 };
    assert_eq!(alice.who(&too_large).await, Err(CallError::NotSent(why)));

    let many = (0..65).fold(cx(), |cx, key| cx.with_metadata(key.to_string(), ""));
    let why = NotSent::TooManyMetadata { count: 65, limit: 64 };
    assert_eq!(alice.who(&many).await, Err(CallError::NotSent(why)));
    assert_eq!(alice.who(&cx()).await, Ok(("alice".into(), None)));
}

#[tokio::test]
async fn the_deadline_travels_and_only_shrinks() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let cx = Context::within(Duration::from_secs(9));
    let left = alice.remaining(&cx).await.unwrap();
    assert!((1..=9_000_000).contains(&left), "{left} µs");
}

#[tokio::test]
async fn a_handler_that_passes_its_context_on_passes_its_deadline_on() {
    let (front, back) = (World::start().await, World::start().await);
    front.state.behind.set(back.client("alice").await).unwrap();
    let alice = front.client("alice").await;
    let left = alice.relay(&Context::within(Duration::from_secs(7))).await.unwrap();
    assert!((1..=7_000_000).contains(&left), "{left} µs");
}

#[tokio::test]
async fn a_huge_deadline_counts_as_the_servers_longest() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let cx = Context::within(Duration::MAX);
    for left in [alice.remaining(&cx).await.unwrap(), alice.patient(&cx).await.unwrap()] {
        assert!((3_500_000_000..=3_600_000_000).contains(&left), "{left} µs");
    }
}

#[tokio::test]
async fn a_server_holds_calls_to_its_longest_deadline() {
    let limits = Limits { max_deadline: Duration::from_millis(80), ..Limits::default() };
    let world = World::with_limits(limits).await;
    let alice = world.client("alice").await;
    let late = alice.hang(&cx()).await.unwrap_err();
    assert!(is_late(&late, Executed::Unknown), "{late:?}");
    eventually("the handler is dropped", || world.state.hanging() == 0).await;
}

#[tokio::test]
async fn a_methods_own_timeout_bounds_every_callers() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let late = alice.brief(&cx()).await.unwrap_err();
    assert!(is_late(&late, Executed::Unknown), "{late:?}");
    eventually("the handler is dropped", || world.state.hanging() == 0).await;
    assert_eq!(world.state.begun(), 1);
}

#[tokio::test]
async fn a_server_holds_a_method_to_its_timeout_whatever_the_client_asks_for() {
    let world = World::start().await;
    let mut client = Raw::client(&world, test_identity("alice")).await;
    client.send(&request(0, method("brief"), &[])).await;
    let late = time::timeout(Duration::from_secs(5), client.frame()).await.unwrap();
    assert_eq!(late, [2, 0, 0, 4, 2], "the deadline is exceeded, and it may have run");
    eventually("the handler is dropped", || world.state.hanging() == 0).await;
}

#[tokio::test]
async fn a_call_whose_deadline_has_passed_is_not_sent() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let late = alice.echo(&Context::within(Duration::ZERO), "x".into()).await.unwrap_err();
    assert!(matches!(late, CallError::DeadlineExceeded { executed: Executed::No, .. }), "{late}");
    assert_eq!(world.state.begun(), 0);
}

#[tokio::test]
async fn dropping_a_call_drops_its_handler() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let cx = cx();
    let mut kept = Box::pin(alice.hang(&cx));
    let mut dropped = Box::pin(alice.hang(&cx));
    for call in [&mut kept, &mut dropped] {
        assert!(time::timeout(Duration::from_millis(1), call).await.is_err());
    }
    eventually("both hang", || world.state.hanging() == 2).await;
    drop(dropped);
    eventually("one is dropped", || world.state.hanging() == 1).await;
    world.state.go.add_permits(1);
    assert_eq!(kept.await, Ok(()));
}

#[tokio::test]
async fn a_panic_in_a_handler_harms_no_other_call() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let other = alice.clone();
    let waiting = tokio::spawn(async move { other.hang(&cx()).await });
    eventually("it hangs", || world.state.hanging() == 1).await;
    for panicked in [alice.panic_at_once(&cx()).await, alice.panic_later(&cx()).await] {
        assert_eq!(panicked, Err(CallError::Internal));
    }
    world.state.go.add_permits(1);
    assert_eq!(waiting.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_handlers_refusal_from_elsewhere_is_not_taken_for_the_servers_own() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    assert_eq!(alice.fail_as_refused(&cx()).await, Err(CallError::Internal));
}

#[tokio::test]
async fn a_call_above_the_clients_limit_waits_its_turn() {
    let world = World::start().await;
    let limits = Limits { max_calls_in_flight: 2, ..Limits::default() };
    let alice = ProbeClient::new(world.channel("alice", limits).await.unwrap());
    let hanging: Vec<_> = (0..2)
        .map(|_| {
            let alice = alice.clone();
            tokio::spawn(async move { alice.hang(&cx()).await })
        })
        .collect();
    eventually("two hang", || world.state.hanging() == 2).await;
    let late = alice.increment(&Context::within(Duration::from_millis(50)), "k".into()).await;
    assert_eq!(late, Err(CallError::DeadlineExceeded { executed: Executed::No, call: None }));

    let third = tokio::spawn(async move { alice.increment(&cx(), "k".into()).await });
    world.state.go.add_permits(2);
    assert_eq!(third.await.unwrap(), Ok(1));
    for call in hanging {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn a_server_refuses_calls_above_its_limit_and_takes_the_next_when_one_ends() {
    let world = World::with_limits(Limits { max_calls_in_flight: 2, ..Limits::default() }).await;
    let alice = world.client("alice").await;
    let other = alice.clone();
    let hanging = tokio::spawn(async move {
        let cx = cx();
        tokio::join!(other.hang(&cx), other.hang(&cx))
    });
    eventually("two hang", || world.state.hanging() == 2).await;
    let error = alice.increment(&cx(), "k".into()).await.unwrap_err();
    assert_eq!(error.executed(), Executed::No);
    assert!(matches!(error, CallError::Overloaded { .. }), "{error:?}");
    assert_eq!(world.state.counter(), 0);

    world.state.go.add_permits(2);
    assert_eq!(hanging.await.unwrap(), (Ok(()), Ok(())));
    assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(1));
}

/// What a server holds for a client that takes nothing: its own bound, and the kernel's buffers.
async fn a_server_stops_working_for_a_client_that_reads_nothing(name: &str) {
    const SIZE: u64 = 256 * 1024;
    const CALLS: usize = 200;
    let world = World::with_limits(Limits { max_unsent: 1 << 20, ..Limits::default() }).await;
    let mut greedy = Raw::client(&world, test_identity("alice")).await;
    let mut size = Vec::new();
    crate::raw::varint(SIZE, &mut size);
    let frames: Vec<_> =
        (0..CALLS as u64).flat_map(|call| request(call, method(name), &size)).collect();
    greedy.send(&frames).await;

    let bystander = world.client("alice").await;
    let mut produced = usize::MAX;
    while produced != world.state.produced() {
        produced = world.state.produced();
        time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(bystander.touch(&cx(), "k".into()).await, Ok(()));
    assert!(produced < CALLS * 3 / 4, "{produced} of {CALLS} results were made for nobody");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_not_read_either() {
    a_server_stops_working_for_a_client_that_reads_nothing("produce").await;
}

#[tokio::test]
async fn handlers_that_take_their_time_stop_too_when_nobody_reads() {
    a_server_stops_working_for_a_client_that_reads_nothing("produce_later").await;
}

#[tokio::test]
async fn keepalive_holds_a_quiet_connection_and_silence_ends_one() {
    let limits = Limits {
        idle_timeout: Duration::from_secs(1),
        keepalive: Duration::from_millis(200),
        ..Limits::default()
    };
    let world = World::with_limits(limits.clone()).await;
    let mut silent = Raw::client(&world, test_identity("alice")).await;
    let alice = ProbeClient::new(world.channel("alice", limits).await.unwrap());
    let ended = time::timeout(Duration::from_secs(5), silent.next()).await.unwrap();
    assert_eq!(ended, Seen::End, "without an alert");
    time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(alice.echo(&cx(), "still here".into()).await, Ok("still here".into()));
}

/// The deadline passed, and the call that can be asked about is named where that is open.
fn is_late<E>(error: &CallError<E>, expected: Executed) -> bool {
    matches!(error, CallError::DeadlineExceeded { executed, .. } if *executed == expected)
        && error.unknown_call().is_some() == (expected == Executed::Unknown)
}

#[tokio::test]
async fn a_deadline_follows_a_clock_that_is_paused_and_moved_on() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    let (other, began) = (alice.clone(), Instant::now());
    let cx = Context::within(Duration::from_secs(25));
    let hanging = tokio::spawn(async move { other.hang(&cx).await });
    eventually("it hangs", || world.state.hanging() == 1).await;
    time::pause();
    time::advance(Duration::from_secs(25)).await;
    time::resume();
    let ended = time::timeout(Duration::from_secs(10), hanging).await;
    let error = ended.expect("its time is over").unwrap().unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
