//! `hashtable serve --data`: what was answered is there after the end of the server, however it came.

use hashtable::{kept, machine::Decision, record::CHANGE};
use rustix::process::Signal;
use stable_store::{FileStorage, Opening, Options, Record, Rejected, Replay};

use crate::support::World;

const TCP: &[&str] = &["tcp://127.0.0.1:0"];

#[test]
fn what_was_answered_is_there_after_kill_9() {
    let world = World::new();
    let server = world.serve_kept(TCP, &[]);
    let alice = |operation: &[&str]| world.call(&server, "alice", operation);
    alice(&["put", "greeting", "good morning"]).done("");
    alice(&["increment", "visitors", "42"]).done("42\n");
    alice(&["put", "gone", "soon"]).done("");
    alice(&["delete", "gone"]).done("yes\n");
    alice(&["cas", "greeting", "--if", "good morning", "good night"]).done("yes\n");
    server.kill();

    let server = world.serve_kept(TCP, &[]);
    assert!(server.recovered.starts_with("recovered: 5 records, "), "{}", server.recovered);
    assert!(server.recovered.ends_with(", no torn tail, epoch 2\n"), "{}", server.recovered);
    let alice = |operation: &[&str]| world.call(&server, "alice", operation);
    alice(&["get", "greeting"]).done("good night\n");
    alice(&["increment", "visitors", "1"]).done("43\n");
    alice(&["keys"]).done("greeting\nvisitors\n");
    let stats = "keys         2\nbytes        28\nepoch        2\nrecords      1\n\
                 forced       1\ncheckpoints  0\n";
    alice(&["stats"]).done(stats);
}

#[test]
fn a_drained_server_leaves_its_table_and_lets_go_of_it() {
    let world = World::new();
    for round in 1..=3 {
        let server = world.serve_kept(TCP, &[]);
        world.call(&server, "alice", &["increment", "n", "1"]).done(&format!("{round}\n"));
        server.signal(Signal::TERM);
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("stopped: every call"), "{stderr}");
    }
}

#[test]
fn a_table_in_checkpoints_is_the_same_table() {
    let world = World::new();
    let often = ["--checkpoint-after", "1"];
    let server = world.serve_kept(TCP, &often);
    for number in 0..20 {
        world.call(&server, "alice", &["put", &format!("k{number}"), "v"]).done("");
        world.call(&server, "alice", &["delete", &format!("k{}", number / 2)]).code.unwrap();
    }
    let keys = world.call(&server, "alice", &["keys"]).stdout;
    assert!(!world.call(&server, "alice", &["stats"]).stdout.contains("checkpoints  0\n"));
    server.kill();

    let server = world.serve_kept(TCP, &often);
    world.call(&server, "alice", &["keys"]).done(&keys);
}

#[test]
fn the_bounds_of_a_table_are_the_operators() {
    let world = World::new();
    let server = world.serve_kept(TCP, &["--max-keys", "1", "--max-bytes", "10"]);
    let alice = |operation: &[&str]| world.call(&server, "alice", operation);
    alice(&["put", "a", "123456789"]).done("");
    alice(&["put", "b", ""]).failed(1, &["full"]);
    alice(&["put", "a", "1234567890"]).failed(1, &["full"]);
}

/// Writes a log of so many records into the directory of `world`.
fn write_log(world: &World, records: u32) {
    struct Empty;
    impl Replay for Empty {
        fn restore(&mut self, _: &[u8]) -> Result<(), Rejected> {
            Ok(())
        }
        fn apply(&mut self, _: Record<'_>) -> Result<(), Rejected> {
            Ok(())
        }
    }
    let storage = FileStorage::open(&world.path("data")).unwrap();
    let opening = Opening::new(storage, Options::default()).unwrap();
    let (mut log, _) = opening.recover(&mut Empty, &mut |_| ()).unwrap();
    for number in 0..records {
        let key = format!("k{:03}", number % 1000);
        let value = Some(number.to_string().into_bytes().into());
        log.append(CHANGE, &kept::record(&Decision { key, value }, None)).unwrap();
    }
    log.sync().unwrap();
}

#[test]
fn while_the_log_is_read_calls_are_refused_and_can_be_repeated() {
    let world = World::new();
    // Read in a second or some; a call takes some hundredths of one.
    write_log(&world, 300_000);
    let mut server = world.serve_recovering(TCP, &[]);
    let refused = world.call(&server, "alice", &["get", "k999"]);
    refused.failed(5, &["recovering", "it did not run: repeat it"]);
    let refused = world.call(&server, "alice", &["increment", "k999", "1"]);
    refused.failed(5, &["recovering", "it did not run: repeat it"]);
    server.wait_for_recovery();
    assert!(server.recovered.starts_with("recovered: 300000 records, "), "{}", server.recovered);
    world.call(&server, "alice", &["increment", "k999", "1"]).done("300000\n");
}

#[test]
fn a_long_recovery_says_how_far_it_is() {
    let world = World::new();
    write_log(&world, 250_000);
    let mut server = world.serve_recovering(TCP, &["--progress-every", "0ms"]);
    assert!(server.next_line().starts_with("audit: the log's anchor is "));
    for records in [100_000, 200_000] {
        let line = server.next_line();
        let told = line.starts_with("recovering: ") && line.contains(" of ");
        assert!(told && line.ends_with(&format!(" MB, {records} records\n")), "{line:?}");
    }
    server.wait_for_recovery();
    assert!(server.recovered.starts_with("recovered: 250000 records, "), "{}", server.recovered);
}
