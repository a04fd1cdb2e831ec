//! Many connections: what they cost is bounded, and those who are in stay in.

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use bailiwick::{Limits, testing::test_identity};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

use crate::{
    probe::{Probe, ProbeClient},
    raw::Raw,
    world::{World, cx, eventually},
};

/// How many events a record stands for.
fn events(record: &str) -> usize {
    let Some((_, count)) = record.split_once("\"count\":") else { return 1 };
    let digits = count.split(|letter: char| !letter.is_ascii_digit()).next();
    digits.unwrap().parse().unwrap()
}

/// Whether the server holds a connection open that says nothing.
async fn is_held(socket: &mut TcpStream) -> bool {
    time::timeout(Duration::from_millis(100), socket.read(&mut [0])).await.is_err()
}

#[tokio::test]
async fn a_source_that_takes_all_its_half_open_places_is_refused_and_recorded() {
    let world = World::with_limits(Limits {
        handshake_timeout: Duration::from_secs(2),
        ..Limits::default()
    })
    .await;
    let alice = world.client("alice").await;
    let mut sockets = Vec::new();
    for _ in 0..40 {
        sockets.push(TcpStream::connect(world.address).await.unwrap());
    }
    world.recorded("reason", "too_many_half_open_from_source").await;
    let mut held = 0;
    for socket in &mut sockets[16..] {
        held += usize::from(is_held(socket).await);
    }
    assert_eq!(held, 0, "beyond 16 all are closed");
    assert!(is_held(&mut sockets[0]).await);
    assert_eq!(alice.echo(&cx(), "x".into()).await, Ok("x".into()));

    eventually("each refusal is in a record or in a summary's count", || {
        let records = world.records("reason", "too_many_half_open_from_source");
        records.iter().map(|record| events(record)).sum::<usize>() == 24
    })
    .await;
}

#[tokio::test]
async fn a_source_that_has_all_its_connections_is_refused_until_one_ends() {
    let limits = Limits { max_connections_per_source: 3, ..Limits::default() };
    let world = World::with_limits(limits).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(world.client("alice").await);
    }
    assert!(world.channel("alice", Limits::default()).await.is_err());
    assert_eq!(world.records("reason", "too_many_connections_from_source").len(), 1);
    for client in &clients {
        assert_eq!(client.echo(&cx(), "x".into()).await, Ok("x".into()));
    }
    clients.pop();
    let begun = Instant::now();
    while world.channel("alice", Limits::default()).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(5), "the place stays taken");
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// Names the one process in which memory and files are measured, as no other test runs in it.
const ALONE: &str = "BAILIWICK_TEST_ALONE";

#[test]
fn ten_thousand_connections_from_one_address_leave_nothing_behind() {
    if env::var_os(ALONE).is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(ten_thousand_connections());
    }
    let name = "floods::ten_thousand_connections_from_one_address_leave_nothing_behind";
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

async fn ten_thousand_connections() {
    let world = World::start().await;
    let alice = world.client("alice").await;
    for kind in [strangers, garbage] {
        // What grows once, buffers and the records of a second, has grown by then.
        kind(&world, 1000).await;
        let before = measured(&alice).await;
        kind(&world, 4000).await;
        let after = measured(&alice).await;
        assert_eq!(after.files, before.files, "file descriptors");
        let grown = after.memory.saturating_sub(before.memory);
        assert!(grown < 4 << 20, "{grown} bytes more after 4,000 connections");
    }
    // And some whole handshakes.
    let before = measured(&alice).await;
    for _ in 0..200 {
        drop(Raw::client(&world, test_identity("alice")).await);
    }
    let after = measured(&alice).await;
    assert_eq!(after.files, before.files, "file descriptors");
}

type Kind<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Connections that end without a word.
fn strangers(world: &World, count: usize) -> Kind<'_> {
    Box::pin(async move {
        for _ in 0..count {
            drop(TcpStream::connect(world.address).await.unwrap());
        }
    })
}

/// Connections that send no handshake.
fn garbage(world: &World, count: usize) -> Kind<'_> {
    Box::pin(async move {
        for _ in 0..count {
            let mut socket = TcpStream::connect(world.address).await.unwrap();
            let _ = socket.write_all(&[0xaa; 80]).await;
        }
    })
}

#[derive(Debug)]
struct Measured {
    memory: usize,
    files: usize,
}

/// Once the server has dealt with all that has ended.
async fn measured(alice: &ProbeClient) -> Measured {
    let mut last = usize::MAX;
    loop {
        assert_eq!(alice.echo(&cx(), "x".into()).await, Ok("x".into()));
        time::sleep(Duration::from_millis(200)).await;
        let files = fs::read_dir("/proc/self/fd").unwrap().count();
        if files == last {
            let pages = fs::read_to_string("/proc/self/statm").unwrap();
            let resident: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
            return Measured { memory: resident * 4096, files };
        }
        last = files;
    }
}
