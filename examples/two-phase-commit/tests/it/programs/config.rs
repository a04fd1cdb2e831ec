//! Nodes from files of settings, and what is said of a bad one.

use rustix::process::Signal;

use crate::programs::support::{Ran, Running, World};

/// The settings of a node; `role` is the name of its policy.
fn settings(world: &World, name: &str, role: &str, own: &str) -> String {
    let nodes = world.read("nodes");
    let line = nodes.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    let endpoint = line.split(' ').nth(1).unwrap();
    format!(
        "identity = \"../{name}.key\"\n\
         listen = [\"{endpoint}\"]\n\
         [policy]\n\
         file = \"../{role}.acl\"\n\
         principals = \"../principals.acl\"\n\
         [audit]\n\
         file = \"{name}.jsonl\"\n\
         [limits]\n\
         drain_timeout = \"2s\"\n\
         [two-phase-commit]\n\
         data = \"{name}.d\"\n\
         nodes = \"../nodes\"\n\
         {own}"
    )
}

/// A bank whose coordinator and first participant have settings in a folder of their own.
fn world() -> World {
    let world = World::new();
    std::fs::create_dir(world.path("etc")).unwrap();
    let own = "metrics = \"127.0.0.1:0\"\nlog = \"off\"\n";
    world.write("etc/coordinator.toml", &settings(&world, "coordinator", "coordinator", own));
    world.write("etc/p1.toml", &settings(&world, "p1", "participant", "name = \"p1\"\n"));
    world
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn start(world: &World, name: &str, line: &str) -> Running {
    world.spawn(name, world.command(&words(line)))
}

#[test]
fn nodes_that_files_describe_keep_accounts_and_decide_and_their_state_lies_beside_the_files() {
    let world = world();
    let p1 = "participant --config etc/p1.toml --open alice=100";
    let _p1 = start(&world, "p1", p1);
    let _p2 = world.start("p2");
    let coordinator = start(&world, "coordinator", "coordinator --config etc/coordinator.toml");
    world.call("alice", "transfer p1/alice p2/bob 30").done("committed ");
    world.call("bob", "transfer p1/alice p2/bob 30").failed(3, &["denied"]);
    for state in ["etc/p1.d", "etc/coordinator.d"] {
        assert!(world.path(state).is_dir(), "{state}");
    }
    assert!(world.read("etc/coordinator.jsonl").contains("\"bob\""), "its refusal is on record");
    coordinator.signal(Signal::TERM);
    assert!(coordinator.wait().success());
    let _again = start(&world, "coordinator", "coordinator --config etc/coordinator.toml");
    world.until("alice", "balance p1/alice", |ran| ran.stdout == "p1/alice 70\n");
}

/// Starts a participant whose settings have `new` in the place of `old`.
fn refused(old: &str, new: &str) -> Ran {
    let world = world();
    let text = world.read("etc/p1.toml");
    assert!(text.contains(old), "no {old:?} in {text}");
    world.write("etc/p1.toml", &text.replace(old, new));
    world.run(&words("participant --config etc/p1.toml"))
}

#[test]
fn all_that_is_wrong_with_a_file_is_said_with_line_column_and_mend() {
    refused("data = \"p1.d\"\nnodes", "date = 5\nmetrics = \"here\"\nlog = \"\"\nnodes").failed(
        1,
        &[
            "the settings etc/p1.toml are refused",
            "etc/p1.toml:10:1: `data` is missing",
            "add `data = …` below `[two-phase-commit]`",
            "etc/p1.toml:11:1: unknown key `date`",
            "did you mean `data`?",
            "etc/p1.toml:12:11: `metrics` cannot be this: `here` is no address",
            "etc/p1.toml:13:7: `log` cannot be this: `` is none of them",
        ],
    );
    refused("\"p1\"", "\"coordinator\"")
        .failed(1, &["`name` cannot be this: `coordinator` is no participant", "such as \"p1\""]);
    refused("drain_timeout", "drain_time").failed(1, &["unknown key `drain_time`"]);
    // A coordinator has no such name, and a participant none without it.
    let world = world();
    world.run(&words("coordinator --config etc/p1.toml")).failed(1, &["unknown key `name`"]);
    world
        .run(&words("participant --config etc/coordinator.toml"))
        .failed(1, &["`name` is missing", "add `name = …` below `[two-phase-commit]`"]);
}

#[test]
fn a_file_that_cannot_be_used_is_said_with_where_it_is_named() {
    refused("../p1.key", "p1.key").failed(
        1,
        &[
            "etc/p1.toml:1:12: `identity` cannot be used",
            "etc/p1.key: cannot be read",
            "relative paths begin at the folder of this file",
        ],
    );
    refused("../participant.acl", "p.acl")
        .failed(1, &["etc/p1.toml:4:8: `policy.file` cannot be used"]);
    refused("../nodes", "nodes").failed(1, &["cannot read the nodes in etc/nodes"]);
    refused("../p1.key", "../p2.key").failed(1, &["p2.key has the key", "the file of nodes says"]);
}

#[test]
fn what_a_file_stands_for_is_not_given_besides() {
    let world = world();
    world
        .run(&words("participant --config etc/p1.toml --name p1"))
        .failed(2, &["cannot be used with '--name <NAME>'"]);
    world.run(&words("coordinator")).failed(2, &["--data", "--nodes", "--identity", "--audit"]);
}
