//! `hashtable serve --config`: a server from a file of settings, and what is said of a bad one.

use std::fs;

use crate::support::{Ran, World};

const SETTINGS: &str = r#"identity = "../server.key"
listen = ["tcp://127.0.0.1:0"]

[policy]
file = "../policy.acl"
principals = "../principals.acl"

[audit]
file = "audit.jsonl"
allowed = "mutating"

[limits]
max_connections = 100

[hashtable]
max_keys = 1
"#;

/// A world whose settings are in a folder of their own.
fn world(settings: &str) -> World {
    let world = World::new();
    fs::create_dir(world.path("etc")).unwrap();
    world.write("etc/bailiwick.toml", settings);
    world
}

fn start(settings: &str) -> Ran {
    world(settings).run(&["serve", "--config", "etc/bailiwick.toml"])
}

#[test]
fn a_server_that_a_file_describes_is_called_denies_and_keeps_its_record_beside_the_file() {
    let world = world(SETTINGS);
    let server = world.serve_from("etc/bailiwick.toml");
    world.call(&server, "alice", &["put", "k", "v"]).done("");
    world.call(&server, "bob", &["get", "k"]).done("v\n");
    world.call(&server, "bob", &["put", "k", "w"]).failed(3, &["denied"]);
    world.call(&server, "alice", &["put", "l", "v"]).failed(1, &["full"]);
    drop(server);
    let log = world.read("etc/audit.jsonl");
    let calls: Vec<_> =
        log.lines().filter(|line| line.contains("\"event\":\"decision\"")).collect();
    // `get` changes nothing.
    assert_eq!(calls.len(), 3, "{log}");
    assert!(calls[1].contains("\"bob\"") && calls[1].contains("deny"), "{}", calls[1]);
    assert!(!world.path("audit.jsonl").exists());
}

#[test]
fn a_table_is_kept_and_metrics_are_shown_where_the_file_says() {
    let more =
        "data = \"table\"\ncheckpoint_after = 100_000\nmetrics = \"127.0.0.1:0\"\nlog = \"off\"\n";
    let world = world(&format!("{SETTINGS}{more}"));
    let mut server = world.serve_from("etc/bailiwick.toml");
    let told: String = (0..2).map(|_| server.next_output()).collect();
    assert!(told.contains("metrics: http://127.0.0.1:"), "{told}");
    assert!(told.contains("recovered: "), "{told}");
    world.call(&server, "alice", &["put", "k", "v"]).done("");
    server.kill();
    assert!(world.path("etc/table").is_dir());
    let mut server = world.serve_from("etc/bailiwick.toml");
    let _: String = (0..2).map(|_| server.next_output()).collect();
    world.call(&server, "bob", &["get", "k"]).done("v\n");
    drop(server);
    let once =
        ["serve", "--config", "etc/bailiwick.toml", "--salvage", "--listen", "tcp://127.0.0.1:0"];
    world.run(&once).failed(2, &["'--config <FILE>' cannot be used with", "--listen"]);
}

#[test]
fn all_that_is_wrong_with_a_file_is_said_with_line_column_and_mend() {
    let settings = SETTINGS
        .replace("tcp://", "tpc://")
        .replace("principals =", "principles =")
        .replace("= 100", "= 0x")
        .replace("max_keys = 1", "max_kees = 1\ndata = 5\nmetrics = \"here\"\nlog = \"\"");
    start(&settings).failed(
        1,
        &[
            "the settings etc/bailiwick.toml are refused",
            "etc/bailiwick.toml:2:10: `listen`",
            "use `tcp://` or `udp://`",
            "etc/bailiwick.toml:6:1: unknown key `principles`",
            "did you mean `principals`?",
            "etc/bailiwick.toml:13:",
            "etc/bailiwick.toml:16:1: unknown key `max_kees`",
            "did you mean `max_keys`?",
            "etc/bailiwick.toml:17:8: `data` cannot be this",
            "etc/bailiwick.toml:18:11: `metrics` cannot be this: `here` is no address",
            "etc/bailiwick.toml:19:7: `log` cannot be this: `` is none of them",
        ],
    );
    start(&SETTINGS.replace("max_keys", "checkpoint_after"))
        .failed(1, &["etc/bailiwick.toml:16:20: `checkpoint_after` is for a table that is kept"]);
    start(&SETTINGS.replace("[hashtable]", "[hashtabel]")).failed(
        1,
        &["etc/bailiwick.toml:15:2: unknown key `hashtabel`", "did you mean `hashtable`?"],
    );
}

#[test]
fn a_file_that_cannot_be_used_is_said_with_where_it_is_named() {
    start(&SETTINGS.replace("../server.key", "server.key")).failed(
        1,
        &[
            "etc/bailiwick.toml:1:12: `identity` cannot be used",
            "etc/server.key: cannot be read",
            "relative paths begin at the folder of this file",
        ],
    );
    start(&SETTINGS.replace("../policy.acl", "policy.acl")).failed(
        1,
        &["etc/bailiwick.toml:5:8: `policy.file` cannot be used", "a policy is a text file"],
    );
    start(&SETTINGS.replace("\"audit.jsonl", "\"none/audit.jsonl"))
        .failed(1, &["etc/bailiwick.toml:9:8: `audit.file` cannot be used", "make its directory"]);
    let world = World::new();
    world
        .run(&["serve", "--config", "none.toml"])
        .failed(1, &["cannot read the settings none.toml"]);
}

#[test]
fn there_is_nothing_to_salvage_of_a_table_in_memory() {
    let world = world(SETTINGS);
    world
        .run(&["serve", "--config", "etc/bailiwick.toml", "--salvage"])
        .failed(2, &["a table in memory has nothing to salvage", "set `data`"]);
}
