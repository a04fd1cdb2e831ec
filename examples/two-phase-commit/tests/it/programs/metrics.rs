//! What a node shows to Prometheus.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::programs::support::{PATIENCE, World};

/// An address that nobody has.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An answer, its head included; nothing from where nobody listens.
fn get(address: SocketAddr, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).unwrap();
        stream.read_to_string(&mut answer).unwrap();
    }
    answer
}

/// The value of a metric without labels.
fn value(address: SocketAddr, name: &str) -> Option<f64> {
    let page = get(address, "/metrics");
    let line = page.lines().find(|line| line.split(' ').next() == Some(name))?;
    line.split(' ').nth(1)?.parse().ok()
}

#[track_caller]
fn until(address: SocketAddr, name: &str, enough: impl Fn(f64) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !value(address, name).is_some_and(&enough) {
        assert!(Instant::now() < end, "{name}: {:?}", value(address, name));
        // Real processes have no virtual time.
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_is_in_doubt_and_what_is_unfinished_are_metrics() {
    let world = World::new();
    let (p1_at, coordinator_at) = (free_address(), free_address());
    let (p1_metrics, coordinator_metrics) = (p1_at.to_string(), coordinator_at.to_string());
    let _p1 = world.start_with("p1", &["--metrics", &p1_metrics]);
    let (p2, _p3) = (world.start("p2"), world.start("p3"));
    until(p1_at, "bailiwick_in_doubt_transactions", |count| count == 0.0);
    let dying = world.start_with("coordinator", &["--die", "after-commit"]);
    world.call("alice", "transfer --timeout 2s p1/alice p2/bob 30").failed(4, &[]);
    assert!(!dying.wait().success());
    until(p1_at, "bailiwick_in_doubt_transactions", |count| count == 1.0);
    until(p1_at, "bailiwick_in_doubt_oldest_seconds", |age| age > 0.0);
    until(p1_at, "bailiwick_forced_writes_total", |count| count >= 1.0);

    p2.kill();
    let _coordinator = world.start_with("coordinator", &["--metrics", &coordinator_metrics]);
    until(p1_at, "bailiwick_in_doubt_transactions", |count| count == 0.0);
    until(coordinator_at, "bailiwick_unfinished_transactions", |count| count == 1.0);
    let _p2 = world.start("p2");
    until(coordinator_at, "bailiwick_unfinished_transactions", |count| count == 0.0);
    assert!(get(p1_at, "/healthz").starts_with("HTTP/1.1 200 "));
}
