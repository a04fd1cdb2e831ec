//! The system refuses to sync: strace fails the Kth `fsync` or `fdatasync` of each thread of the real
//! server, for each K in turn. Run it by itself with `cargo test -p hashtable --test it failing_fsync`.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use crate::{
    support::World,
    tools::{Failed, each_sync_in_turn, failing_sync, passes_without_tools},
};

#[test]
fn a_sync_that_fails_is_the_last_and_nothing_that_was_answered_is_lost() {
    each_in_turn(&[]);
}

#[test]
fn a_sync_of_a_checkpoint_that_fails_is_the_last_too() {
    each_in_turn(&["--checkpoint-after", "1"]);
}

#[test]
fn without_strace_this_is_skipped_unless_tools_are_required() {
    let test = "failing_fsync::a_sync_that_fails_is_the_last_and_nothing_that_was_answered_is_lost";
    assert!(passes_without_tools(test, "0"));
    assert!(!passes_without_tools(test, "1"));
}

fn each_in_turn(more: &[&str]) {
    let Some((at_the_start, in_service)) = each_sync_in_turn(|nth| fail(nth, more)) else { return };
    assert!(at_the_start >= 2 && in_service >= 6, "{at_the_start} {in_service}");
}

/// Fails the `nth` sync of each thread of a server, and looks at what is left.
fn fail(nth: u32, more: &[&str]) -> Failed {
    let world = World::new();
    let mut server = serve_traced(&world, nth, more);
    let mut stdout = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let connect = stdout.next().and_then(|it| it.split(' ').nth(2).map(ToOwned::to_owned));
    let recovered = stdout.next();
    let (mut answered, mut place) = (0, Failed::AtTheStart);
    if let (Some(connect), Some(_)) = (connect, recovered) {
        place = Failed::InService;
        let key = world.key("server").to_string();
        let increment = ["--timeout", "5s", "increment", "n", "1"];
        let refused = loop {
            let ran = world.call_at(&connect, &key, "alice", &increment);
            if ran.code != Some(0) {
                break ran;
            }
            answered += 1;
            assert_eq!(ran.stdout, format!("{answered}\n"));
        };
        assert!(matches!(refused.code, Some(4 | 5)), "{}", refused.stderr);
    }
    let status = server.wait().unwrap();
    let mut stderr = String::new();
    server.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{nth}: {stderr}");
    assert!(stderr.contains("Input/output error"), "{nth}: {stderr}");
    let kept_no_longer = stderr.contains("the table can be kept no longer");
    assert_eq!(kept_no_longer, place == Failed::InService, "{nth}: {stderr}");
    let trace = fs::read_to_string(world.path("trace")).unwrap();
    // The audit log's thread may come to its own Kth sync.
    let mut failed = HashSet::new();
    for line in trace.lines() {
        let thread = line.split(' ').next().unwrap();
        assert!(!failed.contains(thread), "nothing is tried again:\n{trace}");
        if line.contains("INJECTED") {
            failed.insert(thread);
        }
    }
    assert!(!failed.is_empty());

    let server = world.serve_kept(&["tcp://127.0.0.1:0"], more);
    let kept = world.call(&server, "alice", &["increment", "n", "0"]).stdout;
    let kept: u32 = kept.trim().parse().unwrap();
    // The one that was not answered may have reached the disk all the same.
    assert!((answered..=answered + 1).contains(&kept), "{nth}: {answered} answered, {kept} kept");
    place
}

fn serve_traced(world: &World, nth: u32, more: &[&str]) -> Child {
    let tracer = failing_sync(nth);
    let serve = world.command(&[]);
    Command::new(&tracer[0])
        .args(&tracer[1..])
        .arg(serve.get_program())
        .args(["serve", "--listen", "tcp://127.0.0.1:0", "--identity", "server.key"])
        .args(["--policy", "policy.acl", "--principals", "principals.acl"])
        .args(["--audit", "audit.jsonl", "--data", "data"])
        .args(more)
        .current_dir(world.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}
