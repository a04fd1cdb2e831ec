//! A peer that stops in the middle of anything: it is given up in time, and its place is free.

use std::time::{Duration, Instant};

use bailiwick::{ConnectError, Limits, testing::test_identity};
use bailiwick_crypto::{RecordLimits, handshake::MessageKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

use crate::{
    probe::{Probe, ProbeClient, method},
    raw::{Raw, Seen, begin, read_message, request},
    world::{World, cx},
};

const BRIEF: Duration = Duration::from_millis(200);

fn brief() -> Limits {
    Limits {
        handshake_timeout: BRIEF,
        idle_timeout: Duration::from_secs(1),
        keepalive: BRIEF,
        ..Limits::default()
    }
}

/// How much of the handshake a client sends before it stops.
#[derive(Clone, Copy, Debug)]
enum Until {
    Nothing,
    PartOfInit(usize),
    Init,
    PartOfFin(usize),
}

async fn stalled(world: &World, until: Until) -> TcpStream {
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    let awaiting = begin(test_identity("alice"), world.server, RecordLimits::default());
    match until {
        Until::Nothing => {}
        Until::PartOfInit(size) => socket.write_all(&awaiting.init()[..size]).await.unwrap(),
        Until::Init => socket.write_all(awaiting.init()).await.unwrap(),
        Until::PartOfFin(size) => {
            socket.write_all(awaiting.init()).await.unwrap();
            let resp = read_message(&mut socket, MessageKind::Resp).await;
            let (fin, _) = awaiting.read_resp(&resp, Instant::now()).unwrap();
            socket.write_all(&fin[..size]).await.unwrap();
        }
    }
    socket
}

#[tokio::test]
async fn a_handshake_that_stops_anywhere_is_ended_in_time_and_recorded() {
    let world = World::with_limits(brief()).await;
    let stops = [
        Until::Nothing,
        Until::PartOfInit(1),
        Until::PartOfInit(63),
        Until::Init,
        Until::PartOfFin(1),
        Until::PartOfFin(16),
        Until::PartOfFin(100),
    ];
    for (before, until) in stops.into_iter().enumerate() {
        let mut socket = stalled(&world, until).await;
        let mut last = Vec::new();
        let ended = time::timeout(Duration::from_secs(5), socket.read_to_end(&mut last)).await;
        assert!(ended.is_ok(), "{until:?} holds the connection");
        assert_eq!(world.records("reason", "handshake_timeout").len(), before + 1, "{until:?}");
    }
    let alice = world.client("alice").await;
    assert_eq!(alice.echo(&cx(), "x".into()).await, Ok("x".into()));
}

#[tokio::test]
async fn a_handshake_that_is_refused_is_on_record_once() {
    let world = World::with_limits(brief()).await;
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    socket.write_all(&[0xaa; 64]).await.unwrap();
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap(), 0, "it is told nothing");
    // The client stays, until the server no longer waits for it and beyond the handshake's time.
    time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(world.records("event", "handshake.refused").len(), 1);
    assert_eq!(world.records("reason", "malformed_handshake").len(), 1);
}

#[tokio::test]
async fn a_handshake_cut_off_is_on_record_and_one_that_never_began_is_not() {
    let world = World::start().await;
    drop(stalled(&world, Until::Nothing).await);
    drop(stalled(&world, Until::PartOfInit(20)).await);
    world.recorded("reason", "closed_in_handshake").await;
    assert_eq!(world.records("event", "handshake.refused").len(), 1);
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_a_record_or_a_frame_is_given_up() {
    let world = World::with_limits(brief()).await;
    let alice = ProbeClient::new(world.channel("alice", brief()).await.unwrap());
    for what in ["a record's length", "a record", "a frame"] {
        let mut client = Raw::client(&world, test_identity("alice")).await;
        let whole = request(0, method("increment"), &[1, b'k']);
        let bytes = match what {
            "a frame" => client.seal(&whole[..whole.len() - 1]),
            "a record" => client.seal(&whole)[..20].to_vec(),
            _ => client.seal(&whole)[..3].to_vec(),
        };
        client.write(&bytes).await;
        let end = time::timeout(Duration::from_secs(5), client.next()).await;
        assert_eq!(end, Ok(Seen::End), "{what}");
        assert_eq!(alice.touch(&cx(), "k".into()).await, Ok(()), "{what}");
    }
    assert_eq!(world.state.counter(), 0);
}

#[tokio::test]
async fn a_half_open_place_is_free_again_once_its_time_is_over() {
    let limits = Limits { max_half_open_per_source: 2, ..brief() };
    let world = World::with_limits(limits).await;
    let _held = [stalled(&world, Until::Nothing).await, stalled(&world, Until::Init).await];
    let full = world.channel("alice", brief()).await.unwrap_err();
    assert!(matches!(full, ConnectError::NotThisServer { .. }), "{full:?}");
    let tried = Instant::now();
    while world.channel("alice", brief()).await.is_err() {
        assert!(tried.elapsed() < Duration::from_secs(5), "the places stay taken");
        time::sleep(Duration::from_millis(50)).await;
    }
}
