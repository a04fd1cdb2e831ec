//! `hashtable serve`: ready lines, the drain, and what stays from one start to the next.

use std::net::TcpStream;

use rustix::process::Signal;

use crate::support::World;

#[test]
fn either_signal_drains_and_ends_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::new();
        let server = world.serve();
        world.call(&server, "alice", &["put", "k", "v"]).done("");
        server.signal(signal);
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("draining") && stderr.contains("stopped"), "{stderr}");
    }
}

#[test]
fn each_endpoint_has_its_line_in_the_order_of_the_arguments() {
    let world = World::new();
    let endpoints = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0", "udp://127.0.0.1:0"];
    let server = world.serve_at(&endpoints, "server", "audit.jsonl");
    assert!(server.connect.starts_with("udp://127.0.0.1:"));
    assert!(server.others[0].starts_with("tcp://127.0.0.1:"));
    assert!(server.others[1].starts_with("udp://127.0.0.1:"));
    assert_ne!(server.connect, server.others[1]);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().0.code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let world = World::new();
    let mut server = world.serve();
    // Holds the drain up for a while. The call comes behind it, so that it has been accepted.
    let _silent = TcpStream::connect(server.address()).unwrap();
    world.call(&server, "alice", &["put", "k", "v"]).done("");
    server.signal(Signal::TERM);
    assert!(server.next_line().starts_with("audit: the log's anchor is ed25519:"));
    assert!(server.next_line().contains("draining"));
    server.signal(Signal::TERM);
    let (status, stderr) = server.wait();
    assert_eq!((status.code(), &*stderr), (Some(130), ""));
}

#[test]
fn the_table_is_new_at_each_start_and_the_audit_log_goes_on() {
    let world = World::new();
    for _ in 0..2 {
        let server = world.serve();
        world.call(&server, "alice", &["get", "k"]).failed(1, &["no such key"]);
        world.call(&server, "alice", &["put", "k", "v"]).done("");
        world.call(&server, "bob", &["put", "k", "w"]).failed(3, &["denied"]);
        server.signal(Signal::TERM);
        assert!(server.wait().0.success());
    }
    let report = bailiwick_acl::audit::verify(world.read("audit.jsonl").as_bytes()).unwrap();
    assert_eq!((report.records, report.denials), (7, 2), "two starts, two denials, three seals");
    assert!(report.closed);
}

#[test]
fn what_is_doubtful_about_the_policy_is_said_and_the_server_starts() {
    let world = World::new();
    // A backslash is refused in every request.
    world.write(
        "policy.acl",
        "alice | table/** | read | allow\nalice | table/a\\\\b | read | deny\n",
    );
    let server = world.serve();
    server.signal(Signal::TERM);
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(0));
    assert!(stderr.contains("policy.acl:2:9"), "{stderr}");
}
