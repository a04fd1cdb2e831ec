//! Nodes that do not start, and nodes that die.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rustix::process::Signal;
use serde_json::Value;
use stable_store::{FileStorage, Opening, Options, Progress};
use two_phase_commit::{
    coordinator::Coordinator,
    machine::Machine as _,
    record::CoordinatorRecord,
    txid::{LogId, NodeId, TxId},
};

use crate::programs::support::{Ran, Unread, World};

#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    let (world, nodes) = World::opened();
    world.call("alice", "transfer p1/alice p2/bob 30").done("committed ");
    drop(nodes);
    let _nodes = ["p1", "p2", "p3", "coordinator"].map(|name| world.start(name));
    world.until("bob", "balance p2/bob", |ran| ran.stdout == "p2/bob 80\n");
    world.until("alice", "balance p1/alice", |ran| ran.stdout == "p1/alice 70\n");
}

#[test]
fn a_coordinator_that_dies_before_it_decides_has_aborted() {
    let (world, mut nodes) = World::opened();
    nodes.pop().unwrap().kill();
    let dying = world.start_with("coordinator", &["--die", "before-commit"]);
    let unknown = world.call("alice", "transfer --timeout 2s p1/alice p2/bob 30");
    unknown.failed(4, &["outcome unknown", "two-phase-commit outcome"]);
    assert!(!dying.wait().success());

    let doubts = world.until("operator", "in-doubt --json", |ran| blocked(ran) == 2);
    let doubts: Value = serde_json::from_str(&doubts.stdout).unwrap();
    let p1 = &doubts["participants"]["p1"];
    assert_eq!(p1["transactions"][0]["transaction"], unknown.transaction());
    assert_eq!((&p1["in_doubt"], &p1["locked_accounts"]), (&1.into(), &1.into()));
    assert!(doubts["coordinator"]["away"].is_string());

    let _coordinator = world.start("coordinator");
    let asked = format!("outcome {}", unknown.transaction());
    world.call("alice", &asked).done("aborted\n");
    world.until("operator", "in-doubt --json", |ran| in_doubt(ran) == 0);
    world.call("alice", "balance p1/alice").done("p1/alice 100\n");
}

#[test]
fn a_coordinator_that_dies_after_it_decided_has_committed() {
    let (world, mut nodes) = World::opened();
    nodes.pop().unwrap().kill();
    let dying = world.start_with("coordinator", &["--die", "after-commit"]);
    let unknown = world.call("alice", "transfer --timeout 2s p1/alice p2/bob 30");
    unknown.failed(4, &["outcome unknown"]);
    assert!(!dying.wait().success());
    let _coordinator = world.start("coordinator");
    let asked = format!("outcome {}", unknown.transaction());
    world.call("alice", &asked).done("committed\n");
    world.until("alice", "balance p1/alice", |ran| ran.stdout == "p1/alice 70\n");
    world.until("bob", "balance p2/bob", |ran| ran.stdout == "p2/bob 80\n");
}

#[test]
fn a_participant_with_a_wiped_disk_is_an_alarm_and_acknowledges_nothing() {
    let (world, mut nodes) = World::opened();
    nodes.pop().unwrap().kill();
    let dying = world.start_with("coordinator", &["--die", "after-commit"]);
    world.call("alice", "transfer --timeout 2s p1/alice p2/bob 30").failed(4, &[]);
    assert!(!dying.wait().success());
    nodes.remove(1).kill();
    fs::remove_dir_all(world.path("p2.d")).unwrap();
    nodes.push(world.start("p2"));
    let _coordinator = world.start("coordinator");
    world.until("operator", "in-doubt", |ran| {
        ran.stdout.contains("1 committed") && ran.stdout.contains("awaits p2\n")
    });
    world.until("operator", "in-doubt", |_| {
        world.read("coordinator.log").contains("p2 has log")
            && world.read("coordinator.log").contains("its disk was wiped or exchanged")
    });
    let words = "coordinator  1 committed, not yet everywhere; 0 undecided; the oldest for ";
    world.call("operator", "in-doubt").done(words);
}

#[test]
fn one_process_has_a_directory() {
    let (world, _nodes) = World::opened();
    world.run(&world.node("p1")).failed(1, &["p1.d is served by another process (pid "]);
}

#[test]
fn a_port_that_another_has_is_refused() {
    let (world, _nodes) = World::opened();
    let nodes = world.read("nodes");
    let taken = nodes.split_whitespace().nth(1).unwrap();
    let mut arguments = world.node("p1");
    let data = arguments.iter().position(|it| it == "p1.d").unwrap();
    "other.d".clone_into(&mut arguments[data]);
    let audit = arguments.iter().position(|it| it == "p1.jsonl").unwrap();
    "other.jsonl".clone_into(&mut arguments[audit]);
    arguments.extend(["--listen".to_owned(), taken.to_owned()]);
    world.run(&arguments).failed(1, &[taken, "another process has this port"]);
}

#[test]
fn a_node_with_another_key_than_the_others_expect_does_not_start() {
    let world = World::new();
    let words = ["mallory.key", "the file of nodes says"];
    world.node_with("p1", "--identity", "mallory.key").failed(1, &words);
    world.node_with("p1", "--name", "p9").failed(1, &["there is no participant p9"]);
    world.node_with("p1", "--name", "zurich").failed(2, &["zurich"]);
    world.node_with("p1", "--open", "alice=-1").failed(2, &["not below zero"]);
    assert!(!world.path("p1.d").exists(), "nothing was made");
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let (world, nodes) = World::opened();
    drop(nodes);
    world
        .node_with("coordinator", "--data", "p1.d")
        .failed(1, &["p1.d", "another program or role"]);
    world.node_with("p1", "--data", "none/p1.d").failed(1, &["none/p1.d cannot be made"]);
    world.node_with("p1", "--data", "p1.key").failed(1, &["p1.key is not a directory"]);
    let mode = |mode| fs::set_permissions(world.path("p1.d"), fs::Permissions::from_mode(mode));
    mode(0o000).unwrap();
    // The superuser may do as he likes.
    if fs::read_dir(world.path("p1.d")).is_err() {
        world.run(&world.node("p1")).failed(1, &["no permission"]);
    }
    mode(0o700).unwrap();
}

#[test]
fn a_damaged_log_is_refused_and_salvaged_only_when_asked() {
    let (world, mut nodes) = World::opened();
    for _ in 0..3 {
        world.call("alice", "transfer p1/alice p2/bob 10").done("committed ");
    }
    nodes.remove(0).kill();
    let mut logs: Vec<_> =
        fs::read_dir(world.path("p1.d")).unwrap().map(|it| it.unwrap()).collect();
    logs.retain(|entry| entry.file_name().to_string_lossy().starts_with("log-"));
    let log = logs.iter().map(fs::DirEntry::path).max().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    fs::write(&log, bytes).unwrap();
    let refused = world.run(&world.node("p1"));
    refused.failed(1, &["p1.d cannot be used", "is damaged at offset", "--salvage"]);
    let _p1 = world.start_with("p1", &["--salvage"]);
    assert!(world.read("p1.log").contains("is lost"), "{}", world.read("p1.log"));
}

#[test]
fn a_full_disk_ends_the_node_and_loses_nothing_that_was_acknowledged() {
    let (world, mut nodes) = World::opened();
    nodes.remove(0).kill();
    // The system refuses to let a file grow beyond eight blocks; unlike a full disk that needs no
    // superuser.
    let by = ["sh", "-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"];
    let mut limited = world.start_by(&by, "p1");
    let (mut committed, mut unknown) = (0, Vec::new());
    while !limited.has_ended() {
        assert!(committed < 90, "the disk is not full");
        let ran = world.call("alice", "transfer p1/alice p2/bob 1");
        match ran.code {
            Some(0) => committed += 1,
            Some(4) => unknown.push(ran.transaction()),
            _ => ran.failed(1, &["no answer in time from p1"]),
        }
    }
    assert_eq!(limited.wait().code(), Some(1));
    let log = world.read("p1.log");
    assert!(log.contains("nothing was acknowledged that is not in the log"), "{log}");

    let _p1 = world.start("p1");
    for txid in unknown {
        let asked = format!("outcome {txid}");
        let settled = world.until("alice", &asked, |ran| !ran.stdout.starts_with("pending"));
        committed += i32::from(settled.stdout == "committed\n");
    }
    let (alice, bob) = (100 - committed, 50 + committed);
    let alice = format!("p1/alice {alice}\n");
    world.until("alice", "balance p1/alice", |ran| ran.stdout == alice);
    let bob = format!("p2/bob {bob}\n");
    world.until("bob", "balance p2/bob", |ran| ran.stdout == bob);
}

#[test]
fn sigterm_ends_a_node_in_good_order() {
    let (world, mut nodes) = World::opened();
    world.call("alice", "transfer p1/alice p2/bob 30").done("committed ");
    let coordinator = nodes.pop().unwrap();
    coordinator.signal(Signal::TERM);
    assert_eq!(coordinator.wait().code(), Some(0));
    // The lazy END was put on the disk: nothing is left to do.
    let _coordinator = world.start("coordinator");
    world.call("operator", "in-doubt").done("coordinator  0 committed");
}

#[test]
fn a_long_recovery_says_how_far_it_is_and_how_fast_it_was() {
    let world = World::new();
    let files = FileStorage::open(&world.path("coordinator.d")).unwrap();
    let opening = Opening::new(files, Options::default()).unwrap();
    let log = opening.id().into();
    let (mut store, _) = opening.recover(&mut Unread, &mut |_: Progress| ()).unwrap();
    for counter in 1..=60_000 {
        let txid = TxId { log, epoch: 1, counter };
        let participants = [(NodeId(1), LogId([1; 16]))].into();
        for record in
            [CoordinatorRecord::Commit { txid, participants }, CoordinatorRecord::End { txid }]
        {
            store.append(Coordinator::KIND, &postcard::to_allocvec(&record).unwrap()).unwrap();
        }
        if counter % 1000 == 0 {
            store.sync().unwrap();
        }
    }
    drop(store);
    let _coordinator = world.start("coordinator");
    let log = world.read("coordinator.log");
    let told = log.lines().find(|line| line.starts_with("recovering: ")).expect(&log);
    assert!(told.contains(" of ") && told.ends_with(" bytes, 100000 records"), "{told}");
    let ready = world.read("coordinator.ready");
    let words = "recovered 120000 records, ";
    assert!(ready.contains(words) && ready.contains(" MB/s), no torn tail"), "{ready}");
    assert!(!ready.contains("(0 MB/s)"), "{ready}");
    let doubts = world.call("operator", "in-doubt --json");
    let doubts: Value = serde_json::from_str(&doubts.stdout).unwrap();
    for (figure, expected) in [("undecided", 0), ("unfinished_total", 0), ("oldest_ms", 0)] {
        assert_eq!(doubts["coordinator"][figure], expected, "{figure}");
    }
}

fn figure(ran: &Ran, name: &str) -> u64 {
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let of = |id| json["participants"][id][name].as_u64().unwrap_or(u64::MAX / 4);
    ["p1", "p2", "p3"].map(of).iter().sum()
}

fn blocked(ran: &Ran) -> u64 {
    figure(ran, "blocked")
}

fn in_doubt(ran: &Ran) -> u64 {
    figure(ran, "in_doubt")
}
