//! The policy of a server that runs: what is saved counts without a restart, what is wrong does not.

use rustix::process::Signal;

use crate::support::{POLICY, Running, World};

/// What the server says up to a line with `word` in it.
fn told_until(server: &mut Running, word: &str) -> String {
    let mut told = String::new();
    loop {
        let line = server.next_line();
        assert!(!line.is_empty(), "it ended before {word:?}: {told}");
        told += &line;
        if line.contains(word) {
            return told;
        }
    }
}

#[test]
fn a_row_is_added_and_the_call_that_was_refused_is_allowed_without_a_restart() {
    let world = World::new();
    let mut server = world.serve();
    world.call(&server, "bob", &["put", "k", "v"]).failed(3, &["denied"]);
    world.write("policy.acl", &format!("{POLICY}bob | table/k | write | allow\n"));
    told_until(&mut server, "policy: now in force: sha256:");
    world.call(&server, "bob", &["put", "k", "v"]).done("");
    world.call(&server, "bob", &["put", "l", "v"]).failed(3, &["denied"]);
}

#[test]
fn a_file_with_errors_is_told_of_with_its_mends_and_the_one_before_stays() {
    let world = World::new();
    let mut server = world.serve();
    world.write("policy.acl", "alice | table/** | read | alow\nbob | table/* | wirte | allow\n");
    let told = told_until(&mut server, "the one before stays in force");
    for word in ["policy.acl:1:27", "allow", "policy.acl:2:17", "write"] {
        assert!(told.contains(word), "no {word} in {told}");
    }
    world.call(&server, "alice", &["put", "k", "v"]).done("");
    world.call(&server, "bob", &["get", "k"]).done("v");
    assert!(world.read("audit.jsonl").contains(r#""event":"policy.reject","reason":"errors""#));
    // On SIGHUP it is read again, and the same error is not repeated.
    server.signal(Signal::HUP);
    world.write("policy.acl", POLICY);
    world.write("principals.acl", &format!("principal alice = {}\n", world.key("alice")));
    let told = told_until(&mut server, "the one before stays in force");
    assert!(told.contains("bob") && !told.contains("alow"), "{told}");
    let rejected = world.read("audit.jsonl").matches("policy.reject").count();
    assert_eq!(rejected, 2);
}

#[test]
fn a_key_that_is_taken_away_does_not_come_in_again() {
    let world = World::new();
    let mut server = world.serve();
    world.call(&server, "bob", &["get", "k"]).failed(1, &["no such key"]);
    let principals = format!(
        "principal alice = {}\nprincipal bob = {}\n",
        world.key("alice"),
        world.key("mallory")
    );
    world.write("principals.acl", &principals);
    told_until(&mut server, "policy: now in force");
    let refused = world.call(&server, "bob", &["get", "k"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("does not know"), "{}", refused.stderr);
    world.call(&server, "alice", &["put", "k", "v"]).done("");
}
