//! `hashtable hammer`: its summary, and that it can tell a wrong sum.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    relay,
    support::{Ran, Running, World},
};

/// `hashtable hammer` as `who` at `connect`, with `more` arguments, of the key `count`.
fn hammer_at(world: &World, connect: &str, server: &Running, who: &str, more: &str) -> Command {
    let identity = format!("{who}.key");
    let dial = ["hammer", "--connect", connect, "--server", &server.server];
    let mut command = world.command(&dial);
    command.args(["--identity", &identity]).args(more.split_whitespace());
    command.args(["increment", "count"]);
    command
}

fn hammer(world: &World, server: &Running, who: &str, more: &str) -> Ran {
    run(hammer_at(world, &server.connect, server, who, more))
}

fn run(mut command: Command) -> Ran {
    Ran::from(command.output().unwrap())
}

fn summary(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 1);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn count(summary: &Value, field: &str) -> u64 {
    summary[field].as_u64().unwrap()
}

#[test]
fn every_call_counts_once_over_many_connections() {
    let world = World::new();
    let server = world.serve();
    for round in 1..=2 {
        let ran = hammer(&world, &server, "alice", "--calls 500 --clients 24 --json");
        let mut summary = summary(&ran);
        let seconds = summary.as_object_mut().unwrap().remove("seconds").unwrap();
        assert!(seconds.as_f64().is_some_and(|seconds| seconds > 0.0));
        let last = 500 * round;
        let expected = json!({
            "calls": 500, "acknowledged": 500, "did_not_run": {}, "unknown": 0,
            "found_executed": 0, "found_not_executed": 0, "still_unknown": 0,
            "distinct_replies": 500, "initial_value": last - 500, "final_value": last,
            "expected": [last, last], "restarts": 0, "verdict": "exact",
        });
        assert_eq!(summary, expected);
    }
    world.call(&server, "bob", &["get", "count"]).done("1000\n");
}

#[test]
fn many_calls_share_a_connection_and_people_read_the_sum_in_words() {
    let world = World::new();
    let server = world.serve();
    let ran = hammer(&world, &server, "alice", "--calls 1000 --clients 2 --outstanding 32");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for words in ["1000 in ", "did not run    0\n", "exact          by the answers it is 1000\n"] {
        assert!(ran.stdout.contains(words), "no {words:?} in:\n{}", ran.stdout);
    }
}

#[test]
fn it_ends_when_its_time_is_over_and_says_each_second_how_it_is_getting_on() {
    let world = World::new();
    let server = world.serve();
    let ran = hammer(&world, &server, "alice", "--seconds 2 --clients 2 --json");
    let summary = summary(&ran);
    assert_eq!(summary["verdict"], "exact");
    assert_eq!(summary["calls"], summary["final_value"]);
    assert!(ran.stderr.lines().count() >= 2, "{}", ran.stderr);
    assert!(ran.stderr.lines().all(|line| line.contains(" acknowledged, ")), "{}", ran.stderr);
}

#[test]
fn over_connections_that_break_every_call_is_answered_and_none_runs_twice() {
    let world = World::new();
    let server = world.serve();
    let breaking = relay::start_breaking(server.address(), 1500);
    let more = "--calls 400 --clients 4 --outstanding 4 --json";
    let ran = run(hammer_at(&world, &breaking, &server, "alice", more));
    let summary = summary(&ran);
    assert_eq!(count(&summary, "acknowledged"), 400, "{summary}");
    assert_eq!(summary["verdict"], "exact", "{summary}");
    world.call(&server, "bob", &["get", "count"]).done("400\n");
}

#[test]
fn over_datagrams_that_are_lost_and_doubled_the_value_is_exact() {
    let world = World::new();
    let server = world.serve_at(&["udp://127.0.0.1:0"], "server", "audit.jsonl");
    let lossy = relay::start_lossy(server.address(), 7);
    let more = "--calls 600 --clients 4 --outstanding 8 --deadline 20s --json";
    let ran = run(hammer_at(&world, &lossy, &server, "alice", more));
    let summary = summary(&ran);
    assert_eq!(summary["verdict"], "exact", "{summary}");
    assert_eq!(count(&summary, "calls"), 600);
    // A call that lost more attempts than fit before its deadline is found out about.
    let ran = count(&summary, "acknowledged") + count(&summary, "found_executed");
    assert_eq!((ran, count(&summary, "still_unknown")), (600, 0), "{summary}");
}

#[test]
fn a_server_that_is_killed_and_comes_back_makes_no_answer_wrong() {
    killed_and_back("tcp");
}

#[test]
fn a_server_that_is_killed_and_comes_back_makes_no_answer_wrong_over_udp() {
    killed_and_back("udp");
}

fn killed_and_back(scheme: &str) {
    let world = World::new();
    let first = world.serve_at(&[&format!("{scheme}://127.0.0.1:0")], "server", "audit.jsonl");
    let endpoint = first.connect.clone();
    let more = "--seconds 4 --clients 4 --outstanding 4 --json";
    let mut command = hammer_at(&world, &endpoint, &first, "alice", more);
    let mut hammer = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_a_line(&mut hammer);
    drop(first);
    let _second = world.serve_at(&[&endpoint], "server", "audit.jsonl");

    let ran = Ran::from(hammer.wait_with_output().unwrap());
    let summary = summary(&ran);
    assert_eq!(count(&summary, "restarts"), 1, "{summary}");
    assert!(["exact", "within"].contains(&summary["verdict"].as_str().unwrap()), "{summary}");
    let ended = ["acknowledged", "unknown"].map(|field| count(&summary, field));
    let not_run: u64 =
        summary["did_not_run"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(ended.iter().sum::<u64>() + not_run, count(&summary, "calls"), "{summary}");
    assert!(count(&summary, "final_value") > 0, "the second server was called: {summary}");
}

/// Until the hammer has been at work for a second.
fn wait_for_a_line(hammer: &mut Child) {
    let mut stderr = BufReader::new(hammer.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("acknowledged"), "{line}");
    // It does not matter to it that nobody reads the others.
}

#[test]
fn a_refusal_ends_it_with_the_code_of_a_call() {
    let world = World::new();
    let server = world.serve();
    let few = "--calls 5 --clients 2";
    hammer(&world, &server, "bob", few).failed(3, &["denied", "`write` on `table/count`"]);
    world.call(&server, "alice", &["put", "count", "many"]).done("");
    hammer(&world, &server, "alice", few).failed(1, &["not a decimal number"]);
    hammer(&world, &server, "alice", "--calls 0").failed(2, &["--calls"]);
    hammer(&world, &server, "alice", "").failed(2, &["--calls", "--seconds"]);
    hammer(&world, &server, "alice", "--seconds 0").failed(2, &["--seconds"]);
}

#[test]
fn a_value_that_somebody_else_changes_is_a_contradiction() {
    let world = World::new();
    let server = world.serve();
    let mut command = hammer_at(&world, &server.connect, &server, "alice", "--seconds 2 --json");
    let mut hammer = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(hammer.stderr.take().unwrap());
    stderr.read_line(&mut String::new()).unwrap();
    assert_eq!(world.call(&server, "alice", &["increment", "count", "1"]).code, Some(0));
    let ran = Ran::from(hammer.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1));
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(summary["verdict"], "contradiction", "{summary}");
    let rest: Vec<_> = stderr.lines().map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.contains("the value should be")), "{rest:?}");
}

#[test]
fn without_a_server_it_is_exit_5() {
    let world = World::new();
    let server = world.serve();
    let mut command = hammer_at(&world, &server.connect, &server, "alice", "--calls 1");
    drop(server);
    Ran::from(command.output().unwrap()).failed(5, &["cannot reach"]);
}
