//! `hashtable call`: each exit code, what stands on stdout, and the mend on stderr.

use std::net::TcpListener;

use crate::{
    relay::{self, Mishap},
    support::World,
};

#[test]
fn values_come_back_as_they_were_put() {
    let world = World::new();
    let server = world.serve();
    let alice = |operation: &[&str]| world.call(&server, "alice", operation);

    alice(&["put", "greeting", "good morning"]).done("");
    alice(&["get", "greeting"]).done("good morning\n");
    alice(&["put", "empty", ""]).done("");
    alice(&["get", "empty"]).done("\n");
    alice(&["put", "option", "-x y"]).done("");
    alice(&["get", "option"]).done("-x y\n");
    alice(&["delete", "option"]).done("yes\n");
    alice(&["increment", "count", "44"]).done("44\n");
    alice(&["increment", "count", "-2"]).done("42\n");
    alice(&["keys", ""]).done("count\nempty\ngreeting\n");
    alice(&["keys", "g"]).done("greeting\n");
    alice(&["keys"]).done("count\nempty\ngreeting\n");
    alice(&["delete", "empty"]).done("yes\n");
    alice(&["delete", "empty"]).done("no\n");
    alice(&["keys", "e"]).done("");
    alice(&["cas", "count", "--if", "41", "0"]).done("no\n");
    alice(&["cas", "count", "--if-absent", "0"]).done("no\n");
    alice(&["cas", "count", "--if", "42", "-1"]).done("yes\n");
    alice(&["cas", "new", "--if-absent", ""]).done("yes\n");
    alice(&["cas", "count", "--if", "-1", "42"]).done("yes\n");
    let stats = "keys         3\nbytes        30\nkept         in memory only\n";
    alice(&["stats"]).done(stats);
    world.call(&server, "bob", &["get", "count"]).done("42\n");
}

#[test]
fn the_services_own_error_is_exit_1() {
    let world = World::new();
    let server = world.serve();
    world.call(&server, "alice", &["get", "k"]).failed(1, &["no such key", "keys"]);
    world.call(&server, "alice", &["put", "k", "text"]).done("");
    world.call(&server, "alice", &["increment", "k", "1"]).failed(1, &["not a decimal number"]);
    let long = "v".repeat(64 * 1024 + 1);
    world.call(&server, "alice", &["put", "k", &long]).failed(1, &["65536 bytes", "pieces"]);
}

#[test]
fn usage_is_exit_2_and_nothing_is_sent() {
    let world = World::new();
    let key = world.key("server").to_string();
    // Nobody listens there; these do not get that far.
    let at = "tcp://127.0.0.1:1";
    world.run(&["call"]).failed(2, &["--connect", "--server", "--identity"]);
    world.call_at(at, &key, "alice", &["frobnicate"]).failed(2, &["frobnicate"]);
    world.call_at(at, &key, "alice", &["increment", "k", "many"]).failed(2, &["many"]);
    world.call_at(at, &key, "alice", &["cas", "k", "v"]).failed(2, &["--if", "--if-absent"]);
    world.call_at("127.0.0.1:1", &key, "alice", &["keys"]).failed(2, &["tcp://127.0.0.1:1"]);
    world.call_at(at, "ed25519:12", "alice", &["keys"]).failed(2, &["64 hexadecimal digits"]);
    let soon = world.run(&[
        "call",
        "--connect",
        at,
        "--server",
        &key,
        "--identity",
        "alice.key",
        "--timeout",
        "2",
        "keys",
    ]);
    soon.failed(2, &["500ms"]);
    world.call_at(at, &key, "nobody", &["keys"]).failed(2, &["nobody.key", "bailiwick keygen"]);
    world.write("alice.key", "not a key\n");
    world.call_at(at, &key, "alice", &["keys"]).failed(2, &["alice.key"]);
}

#[test]
fn a_denied_call_is_exit_3_and_names_the_right_that_is_missing() {
    let world = World::new();
    let server = world.serve();
    let denied = world.call(&server, "bob", &["put", "k", "v"]);
    denied.failed(3, &["denied", "audit #", "`write` on `table/k`"]);
    world.call(&server, "bob", &["keys"]).failed(3, &["`list` on `table`"]);
    world.call(&server, "alice", &["put", "salary", "1"]).failed(3, &["denied"]);
    world.call(&server, "bob", &["get", "k"]).failed(1, &["no such key"]);
}

#[test]
fn a_key_that_cannot_be_an_object_is_denied_with_the_reason() {
    let world = World::new();
    let server = world.serve();
    let help = ["a `/` inside one segment", "choose a key without it"];
    world.call(&server, "alice", &["put", "a/b", "v"]).failed(3, &help);
    world.call(&server, "alice", &["get", ".."]).failed(3, &["`..`"]);
    assert!(world.read("audit.jsonl").contains(r#""reason":"bad_object""#));
}

#[test]
fn a_stranger_is_denied_and_learns_the_line_that_is_missing() {
    let world = World::new();
    let server = world.serve();
    let line = format!("principal NAME = {}", world.key("mallory"));
    world.call(&server, "mallory", &["get", "k"]).failed(3, &["does not admit", &line]);
    assert!(world.read("audit.jsonl").contains(r#""event":"handshake.refused""#));
}

#[test]
fn a_lost_answer_is_exit_4_and_the_call_may_have_run() {
    let world = World::new();
    let server = world.serve();
    let relayed = relay::start(server.address(), Mishap::AnswerIsLost);
    let increment = ["--timeout", "500ms", "increment", "k", "1"];
    let lost = world.call_at(&relayed, &server.server, "alice", &increment);
    lost.failed(4, &["deadline", "read the key before you repeat it"]);
    world.call(&server, "alice", &["get", "k"]).done("1\n");
}

#[test]
fn an_answer_that_is_lost_with_its_connection_comes_over_the_next_one() {
    let world = World::new();
    let server = world.serve();
    let breaking = relay::start_breaking_once(server.address());
    let increment = ["increment", "k", "1"];
    world.call_at(&breaking, &server.server, "alice", &increment).done("1\n");
    world.call(&server, "alice", &["get", "k"]).done("1\n");
}

#[test]
fn an_answer_that_does_not_come_in_time_is_exit_4() {
    let world = World::new();
    let server = world.serve();
    let relayed = relay::start(server.address(), Mishap::RequestVanishes);
    let late = ["--timeout", "500ms", "put", "k", "v"];
    let late = world.call_at(&relayed, &server.server, "alice", &late);
    late.failed(4, &["deadline", "read the key before you repeat it"]);
    world.call(&server, "alice", &["get", "k"]).failed(1, &["no such key"]);
}

#[test]
fn a_server_that_is_not_there_or_not_the_right_one_is_exit_5() {
    let world = World::new();
    let key = world.key("server").to_string();

    let impostor = world.serve_as("impostor", "impostor.jsonl");
    let cheated = world.call_at(&impostor.connect, &key, "alice", &["put", "k", "secret"]);
    cheated.failed(5, &["did not answer the handshake", "bailiwick pubkey"]);

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let at = format!("tcp://{address}");
    let unanswered = world.call_at(&at, &key, "alice", &["--timeout", "300ms", "keys"]);
    unanswered.failed(5, &["did not finish the handshake"]);
    drop(silent);

    world.call_at(&at, &key, "alice", &["keys"]).failed(5, &["cannot reach", "running"]);
}

#[test]
fn calls_go_over_udp_as_over_tcp() {
    let world = World::new();
    let endpoints = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"];
    let server = world.serve_at(&endpoints, "server", "audit.jsonl");
    let alice = |operation: &[&str]| world.call(&server, "alice", operation);
    alice(&["put", "greeting", "good morning"]).done("");
    alice(&["increment", "count", "42"]).done("42\n");
    world.call(&server, "bob", &["put", "greeting", "boo"]).failed(3, &["denied", "audit #"]);
    let line = format!("principal NAME = {}", world.key("mallory"));
    world.call(&server, "mallory", &["get", "k"]).failed(3, &["does not admit", &line]);

    // The longest value there may be goes by TCP.
    let long = "v".repeat(64 * 1024);
    alice(&["put", "long", &long]).done("");
    alice(&["get", "long"]).done(&(long + "\n"));
    let over_tcp = world.call_at(&server.others[0], &server.server, "bob", &["get", "count"]);
    over_tcp.done("42\n");
}

#[test]
fn silence_over_udp_is_exit_5_and_says_what_may_be_wrong() {
    let world = World::new();
    let key = world.key("server").to_string();
    let causes = ["nobody answers", "running", "bailiwick pubkey", "firewall"];
    let keys = ["--timeout", "300ms", "keys"];

    let impostor = world.serve_at(&["udp://127.0.0.1:0"], "impostor", "impostor.jsonl");
    world.call_at(&impostor.connect, &key, "alice", &keys).failed(5, &causes);
    let at = impostor.connect.clone();
    drop(impostor);
    world.call_at(&at, &key, "alice", &keys).failed(5, &causes);
}
