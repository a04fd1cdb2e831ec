//! A server with anything wrong refuses to start, and says where and how to mend it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::support::{Ran, Running, World};

const START: [&str; 11] = [
    "serve",
    "--listen",
    "tcp://127.0.0.1:0",
    "--identity",
    "server.key",
    "--policy",
    "policy.acl",
    "--principals",
    "principals.acl",
    "--audit",
    "audit.jsonl",
];

/// Starts with `value` in place of what `option` has above.
fn start_with(world: &World, option: &str, value: &str) -> Ran {
    let mut arguments = START;
    let at = arguments.iter().position(|it| *it == option).unwrap();
    arguments[at + 1] = value;
    world.run(&arguments)
}

#[test]
fn without_its_key() {
    let world = World::new();
    start_with(&world, "--identity", "none.key").failed(1, &["none.key", "bailiwick keygen"]);
}

#[test]
fn with_a_key_file_that_is_malformed() {
    let world = World::new();
    let text = world.read("server.key").replace("seed: ", "seat: ");
    world.write("server.key", &text);
    world.run(&START).failed(1, &["server.key:4"]);
}

#[test]
fn with_a_key_that_others_can_read() {
    let world = World::new();
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(world.path("server.key"), mode).unwrap();
    world.run(&START).failed(1, &["server.key", "0644", "chmod 600 server.key"]);
}

#[test]
fn without_its_policy() {
    let world = World::new();
    start_with(&world, "--policy", "none.acl").failed(1, &["none.acl", "a policy is a text file"]);
    start_with(&world, "--principals", "none.acl").failed(1, &["none.acl"]);
}

#[test]
fn with_any_error_in_the_policy_all_of_them_are_said() {
    let world = World::new();
    let policy = "alice | table/** | read | alow\nalice | table/** | wirte | allow\n";
    world.write("policy.acl", policy);
    let refused = world.run(&START);
    refused.failed(1, &["policy.acl:1:27", "allow", "policy.acl:2:20", "write"]);
}

#[test]
fn with_a_policy_for_objects_that_the_service_does_not_have() {
    let world = World::new();
    world.write("policy.acl", "alice | tabel/** | read | allow\n");
    world.run(&START).failed(1, &["policy.acl:1:9", "tabel"]);
}

#[test]
fn with_a_principal_that_has_no_key() {
    let world = World::new();
    world.write("principals.acl", &format!("principal alice = {}\n", world.key("alice")));
    world.run(&START).failed(1, &["policy.acl:3:1", "bob"]);
}

#[test]
fn with_an_audit_file_that_cannot_be_written() {
    let world = World::new();
    start_with(&world, "--audit", "none/audit.jsonl").failed(1, &["none/audit.jsonl", "directory"]);
    start_with(&world, "--audit", ".").failed(1, &["not a regular file"]);
}

#[test]
fn with_an_audit_file_that_was_edited() {
    let world = World::new();
    let server = world.serve();
    world.call(&server, "bob", &["put", "k", "v"]).failed(3, &[]);
    drop(server);
    let text = world.read("audit.jsonl").replace("\"bob\"", "\"eve\"");
    world.write("audit.jsonl", &text);
    world.run(&START).failed(1, &["audit.jsonl:3", "edited", "keep the file as evidence"]);
}

#[test]
fn with_an_audit_file_or_a_port_that_another_has() {
    let world = World::new();
    let running = world.serve();
    world.run(&START).failed(1, &["audit.jsonl", "in use by another process"]);

    port_is_taken(&world, &running);
}

fn port_is_taken(world: &World, running: &Running) {
    let mut arguments = START;
    (arguments[2], arguments[10]) = (&running.connect, "other.jsonl");
    let port = running.connect.as_str();
    world.run(&arguments).failed(1, &[port, "another process has this port"]);
}

#[test]
fn with_a_udp_port_that_another_has() {
    let world = World::new();
    port_is_taken(&world, &world.serve_at(&["udp://127.0.0.1:0"], "server", "audit.jsonl"));
}

#[test]
fn with_arguments_that_are_none_it_is_usage() {
    let world = World::new();
    world.run(&START[..9]).failed(2, &["--audit"]);
    start_with(&world, "--listen", "http://127.0.0.1:0").failed(2, &["`tcp://` or `udp://`"]);
    start_with(&world, "--listen", "udp:/127.0.0.1:0").failed(2, &["write `udp://127.0.0.1:0`"]);
    start_with(&world, "--listen", "udp://127.0.0.1").failed(2, &["`host:port`"]);
}
