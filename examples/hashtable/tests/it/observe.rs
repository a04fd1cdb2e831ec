//! What a server shows of itself: metrics, a probe, its health.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use rustix::process::Signal;

use crate::{
    policy::{REFUSED, told},
    support::{POLICY, World},
};

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn calls_are_counted_and_a_probe_is_answered() {
    let world = World::new();
    let mut server = world.serve_showing_metrics();
    let metrics = server.metrics();
    world.call(&server, "alice", &["put", "k", "v"]).done("");
    world.call(&server, "bob", &["get", "k"]).done("v\n");
    world.call(&server, "bob", &["put", "k", "w"]).failed(3, &["denied"]);
    let page = get(&metrics, "/metrics");
    for line in [
        "bailiwick_calls_total{service=\"Table\",method=\"put\",outcome=\"ok\"} 1",
        "bailiwick_calls_total{service=\"Table\",method=\"get\",outcome=\"ok\"} 1",
        "bailiwick_calls_total{service=\"Table\",method=\"put\",outcome=\"denied\"} 1",
        "bailiwick_call_duration_seconds_count{service=\"Table\",method=\"put\"} 1",
        "bailiwick_policy_loads_total{result=\"ok\"} 1",
    ] {
        assert!(page.lines().any(|it| it == line), "no {line} in {page}");
    }
    let probe = get(&metrics, "/healthz");
    assert!(probe.starts_with("HTTP/1.1 200 ") && probe.ends_with("\r\n\r\nserving\n"), "{probe}");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn whoever_the_policy_lets_ask_is_told_how_the_server_is() {
    let world = World::new();
    world.write("policy.acl", &format!("{POLICY}bob | health | read | allow\n"));
    let server = world.serve();
    let ask = |who: &str| {
        let identity = format!("{who}.key");
        let dial = ["--connect", &server.connect, "--server", &server.server];
        world.run(&[&["health"], &dial[..], &["--identity", &identity]].concat())
    };
    ask("bob").done("serving\n");
    ask("alice").failed(3, &["denied", "`read` on `health`"]);
}

#[test]
fn a_policy_that_comes_into_force_or_is_refused_while_it_serves_is_counted() {
    let world = World::new();
    let mut server = world.serve_showing_metrics();
    let metrics = server.metrics();
    let has = |line: &str| {
        let page = get(&metrics, "/metrics");
        assert!(page.lines().any(|it| it == line), "no {line} in {page}");
    };
    has("bailiwick_policy_serial 0");
    world.write("policy.acl", &format!("serial 3\n{POLICY}"));
    told(&mut server, "policy: now in force: serial 3");
    has("bailiwick_policy_loads_total{result=\"ok\"} 2");
    has("bailiwick_policy_serial 3");
    world.write("policy.acl", "alice | table/** | read | alow\n");
    told(&mut server, REFUSED);
    has("bailiwick_policy_loads_total{result=\"refused\"} 1");
    has("bailiwick_policy_loads_total{result=\"ok\"} 2");
    has("bailiwick_policy_serial 3");
}
