//! The policy of a server that runs: what is saved counts without a restart, what is wrong does not.

use rustix::process::Signal;

use crate::support::{POLICY, Running, World};

const IN_FORCE: &str = "policy: now in force: sha256:";
pub(crate) const REFUSED: &str = "policy: the one before stays in force";

/// What the server says of the next change of its policy, whose last line begins with `last`.
pub(crate) fn told(server: &mut Running, last: &str) -> String {
    let mut told = String::new();
    loop {
        let line = server.next_line();
        assert!(!line.is_empty(), "it ended before {last:?}: {told}");
        told += &line;
        if line.starts_with("policy: ") {
            assert!(line.starts_with(last), "{told}");
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
    told(&mut server, IN_FORCE);
    world.call(&server, "bob", &["put", "k", "v"]).done("");
    world.call(&server, "bob", &["put", "l", "v"]).failed(3, &["denied"]);
}

#[test]
fn a_file_with_errors_is_told_of_with_its_mends_and_the_one_before_stays() {
    let world = World::new();
    let mut server = world.serve();
    world.write("policy.acl", "alice | table/** | read | alow\nbob | table/* | wirte | allow\n");
    let refused = told(&mut server, REFUSED);
    for word in ["policy.acl:1:27", "allow", "policy.acl:2:17", "write"] {
        assert!(refused.contains(word), "no {word} in {refused}");
    }
    world.call(&server, "alice", &["put", "k", "v"]).done("");
    world.call(&server, "bob", &["get", "k"]).done("v\n");
    assert!(world.read("audit.jsonl").contains(r#""event":"policy.reject","reason":"errors""#));
    // On SIGHUP it is read again, which neither ends the server nor repeats what was said.
    server.signal(Signal::HUP);
    world.write("policy.acl", &format!("{POLICY}alice | table/x | write | deny\n"));
    told(&mut server, IN_FORCE);
    world.write("principals.acl", &format!("principal alice = {}\n", world.key("alice")));
    let refused = told(&mut server, REFUSED);
    assert!(refused.contains("bob") && !refused.contains("alow"), "{refused}");
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
    told(&mut server, IN_FORCE);
    let refused = world.call(&server, "bob", &["get", "k"]);
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("does not admit the key"), "{}", refused.stderr);
    world.call(&server, "alice", &["put", "k", "v"]).done("");
}
