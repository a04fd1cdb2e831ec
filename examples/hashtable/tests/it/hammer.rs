//! `hashtable hammer`: its line of JSON, and that it can tell a wrong sum.

use serde_json::Value;

use crate::{
    relay,
    support::{Ran, Running, World},
};

fn hammer(world: &World, server: &Running, who: &str, calls: &str, clients: &str) -> Ran {
    hammer_at(world, &server.connect, server, who, calls, clients)
}

fn hammer_at(
    world: &World,
    connect: &str,
    server: &Running,
    who: &str,
    calls: &str,
    clients: &str,
) -> Ran {
    let identity = format!("{who}.key");
    world.run(&[
        "hammer",
        "--connect",
        connect,
        "--server",
        &server.server,
        "--identity",
        &identity,
        "--calls",
        calls,
        "--clients",
        clients,
        "increment",
        "count",
    ])
}

#[test]
fn every_call_counts_once_over_many_connections() {
    let world = World::new();
    let server = world.serve();
    for round in 1..=2 {
        let ran = hammer(&world, &server, "alice", "500", "24");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.stdout.lines().count(), 1);
        let mut summary: Value = serde_json::from_str(&ran.stdout).unwrap();
        let seconds = summary.as_object_mut().unwrap().remove("seconds").unwrap();
        assert!(seconds.as_f64().is_some_and(|seconds| seconds > 0.0));
        let expected = serde_json::json!({
            "calls": 500, "acknowledged": 500, "unknown": 0, "distinct_replies": 500,
            "final_value": 500 * round,
        });
        assert_eq!(summary, expected);
    }
    world.call(&server, "bob", &["get", "count"]).done("1000\n");
}

#[test]
fn over_connections_that_break_no_call_runs_twice_and_none_is_forgotten() {
    let world = World::new();
    let server = world.serve();
    let breaking = relay::start_breaking(server.address(), 1000);
    let ran = hammer_at(&world, &breaking, &server, "alice", "400", "4");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    let count = |field: &str| summary[field].as_u64().unwrap();
    let (acknowledged, unknown) = (count("acknowledged"), count("unknown"));
    assert_eq!(acknowledged + unknown, 400, "every call was made in the end");
    assert!(unknown > 0, "connections did break: {summary}");
    assert_eq!(count("distinct_replies"), acknowledged);
    assert!((acknowledged..=400).contains(&count("final_value")), "{summary}");
}

#[test]
fn a_refusal_ends_it_with_the_code_of_a_call() {
    let world = World::new();
    let server = world.serve();
    hammer(&world, &server, "bob", "5", "2").failed(3, &["denied", "`write` on `table/count`"]);
    world.call(&server, "alice", &["put", "count", "many"]).done("");
    hammer(&world, &server, "alice", "5", "2").failed(1, &["not a decimal number"]);
    hammer(&world, &server, "alice", "0", "2").failed(2, &["--calls"]);
    drop(server);
}

#[test]
fn without_a_server_it_is_exit_5() {
    let world = World::new();
    let server = world.serve();
    let gone = Gone::of(server);
    let dial = ["hammer", "--connect", &gone.connect, "--server", &gone.server];
    let rest = ["--identity", "alice.key", "--calls", "1", "--clients", "1", "increment", "k"];
    world.run(&[&dial[..], &rest[..]].concat()).failed(5, &["cannot reach"]);
}

/// Where a server was.
struct Gone {
    connect: String,
    server: String,
}

impl Gone {
    fn of(server: Running) -> Self {
        let gone = Self { connect: server.connect.clone(), server: server.server.clone() };
        drop(server);
        gone
    }
}
