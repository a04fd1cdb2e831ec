//! The bank under fire, and its judge.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stable_store::{FileStorage, Opening, Options, Progress};
use two_phase_commit::{
    machine::Machine as _,
    message::{Action, Op},
    participant::Participant,
    record::ParticipantRecord,
    txid::{LogId, NodeId, TxId},
};

use crate::programs::support::{PATIENCE, Ran, Unread, World};

fn bank(world: &World, line: &str) -> Ran {
    let ran = world.run(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    assert!(ran.stdout.lines().count() <= 1, "{}", ran.stdout);
    ran
}

fn verdict(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// A bank without kills, its files in `books`.
fn kept() -> World {
    let world = World::new();
    let line = "bank --accounts 6 --clients 3 --seconds 2 --kill-every 0ms --seed 3 --keep books";
    let ran = bank(&world, line);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(verdict(&ran)["applied"].as_u64().unwrap() > 0);
    world
}

#[test]
fn a_bank_whose_nodes_are_killed_at_random_stays_consistent() {
    let world = World::new();
    let line = "bank --participants 3 --accounts 12 --clients 4 --seconds 5 --kill-every 250ms \
                --seed 7";
    let ran = bank(&world, line);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let verdict = verdict(&ran);
    assert_eq!(verdict["verdict"], "consistent");
    assert_eq!(verdict["violations"], Value::Array(Vec::new()));
    let run = &verdict["run"];
    assert_eq!((&run["seed"], &run["participants"]), (&7.into(), &3.into()));
    assert_eq!((&run["accounts"], &run["clients"]), (&12.into(), &4.into()));
    let count = |value: &Value| value.as_u64().unwrap();
    let kills = count(&run["coordinator_kills"]) + count(&run["participant_kills"]);
    assert!(kills >= 5, "{kills} kills are no fire");
    for what in ["committed", "aborted", "applied"] {
        assert!(count(&verdict[what]) > 0, "nothing {what}: {verdict}");
    }
    for what in ["unknown", "audits"] {
        assert!(verdict[what].is_u64(), "no {what}: {verdict}");
    }
    assert!(run["healed_ms"].is_u64());
}

/// A bank that works in a temporary folder below the world's.
fn opened(world: &World, line: &str) -> Child {
    let mut command = world.command(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Its folder, once its nodes are at work.
fn folder_of_bank(world: &World) -> PathBuf {
    let end = Instant::now() + PATIENCE;
    loop {
        let folders = fs::read_dir(world.path("")).unwrap().map(|it| it.unwrap().path());
        let mut folders = folders.filter(|it| it.to_string_lossy().contains("commit-bank-"));
        // The coordinator is opened last.
        if let Some(folder) = folders.find(|folder| folder.join("coordinator.d").exists()) {
            return folder;
        }
        assert!(Instant::now() < end, "not in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// It failed, said so in one line of JSON, and left all that can be looked into; what was violated.
#[track_caller]
fn failed(bank: Child, folder: &std::path::Path) -> (Value, String) {
    let ran = Ran::from(bank.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(1), 1), "{ran:?}");
    let verdict = verdict(&ran);
    assert_eq!(verdict["verdict"], "violated");
    assert!(ran.stderr.contains(&format!("claims are in {}", folder.display())), "{}", ran.stderr);
    for left in ["p1.d", "p2.d", "p3.d", "coordinator.d", "p1.log", "claims.jsonl"] {
        assert!(folder.join(left).exists(), "{left} is gone");
    }
    let violations = verdict["violations"].to_string();
    (verdict, violations)
}

#[test]
fn a_node_that_ends_by_itself_is_a_violation_and_all_is_kept() {
    let world = World::new();
    let line = "bank --accounts 6 --clients 3 --seconds 3 --kill-every 0ms --seed 5";
    let (bank, folder) = (opened(&world, line), folder_of_bank(&world));
    thread::sleep(Duration::from_secs(1)); // so that there is something to count
    let pid: i32 = fs::read_to_string(folder.join("p2.d/LOCK")).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    let (verdict, violations) = failed(bank, &folder);
    assert!(violations.contains("p2 ended by itself"), "{violations}");
    // The books can be judged all the same.
    for what in ["committed", "applied"] {
        assert!(verdict[what].as_u64().unwrap() > 0, "{what} is not counted: {verdict}");
    }
}

#[test]
fn a_node_that_does_not_recover_is_a_violation_and_all_is_kept() {
    let world = World::new();
    let line = "bank --accounts 6 --clients 3 --seconds 4 --kill-every 150ms --seed 6";
    let (bank, folder) = (opened(&world, line), folder_of_bank(&world));
    thread::sleep(Duration::from_secs(1));
    fs::write(folder.join("p1.d/checkpoint"), "no checkpoint").unwrap();
    let (verdict, violations) = failed(bank, &folder);
    let words = violations.contains("p1 ended by itself") || violations.contains("p1 did not get");
    assert!(words && violations.contains("the books cannot be judged"), "{violations}");
    assert!(verdict["run"]["participant_kills"].as_u64().unwrap() > 0, "{verdict}");
    assert!(verdict["aborted"].as_u64().unwrap() > 0, "{verdict}");
}

#[test]
fn a_bank_that_shows_nothing_is_not_consistent() {
    let world = World::new();
    let ran = bank(&world, "bank --accounts 6 --clients 3 --seconds 2 --kill-every 1m --seed 3");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let violations = verdict(&ran)["violations"].to_string();
    assert!(violations.contains("no node was killed"), "{violations}");
}

#[test]
fn the_judge_says_the_same_when_asked_again() {
    let world = kept();
    let (first, again) = (bank(&world, "judge books"), bank(&world, "judge books"));
    assert_eq!((first.code, &first.stdout), (Some(0), &again.stdout));
    assert!(verdict(&first)["audits"].as_u64().unwrap() > 0, "nothing was audited: {first:?}");
}

#[test]
fn a_book_that_was_tampered_with_is_found() {
    let world = kept();
    let txid = TxId { log: LogId([9; 16]), epoch: 1, counter: 1 };
    // Somebody gives himself money, in one book alone.
    forge(&world, txid, 1000);
    let found = bank(&world, "judge books");
    assert_eq!(found.code, Some(1), "{found:?}");
    let violations = verdict(&found)["violations"].to_string();
    assert!(violations.contains("money was made or lost"), "{violations}");
    assert!(
        violations.contains(&format!("{txid} stands in the books, and nobody")),
        "{violations}"
    );
    assert!(found.stderr.contains("the bank is not consistent"), "{}", found.stderr);
}

#[test]
fn a_client_that_was_lied_to_is_found() {
    for (told, instead, words) in [
        ("\"told\":\"committed\"", "\"told\":\"aborted\"", "was told to have aborted, and is in"),
        (
            "\"told\":\"aborted\"",
            "\"told\":\"committed\"",
            "was told to have committed, and is not",
        ),
    ] {
        let world = kept();
        let claims = world.read("books/claims.jsonl");
        let lie = |line: &str| line.contains("transfer") && line.contains(told);
        let line = claims.lines().find(|line| lie(line)).unwrap();
        world.write("books/claims.jsonl", &claims.replace(line, &line.replace(told, instead)));
        let found = bank(&world, "judge books");
        assert_eq!(found.code, Some(1), "{found:?}");
        assert!(verdict(&found)["violations"].to_string().contains(words), "{found:?}");
    }
}

#[test]
fn a_folder_that_is_there_is_left_alone() {
    let world = World::new();
    fs::create_dir(world.path("books")).unwrap();
    bank(&world, "bank --seconds 1 --keep books").failed(2, &["cannot make books"]);
    bank(&world, "bank --participants 0").failed(2, &["--participants"]);
    bank(&world, "bank --kill-every soon").failed(2, &["500ms, 2s or 1m"]);
    bank(&world, "judge books").failed(1, &["claims.jsonl"]);
}

/// Writes a committed transaction into the log of p1 that adds `amount` to its first account.
fn forge(world: &World, txid: TxId, amount: i64) {
    let files = FileStorage::open(&world.path("books/p1.d")).unwrap();
    let opening = Opening::new(files, Options::default()).unwrap();
    let (mut store, _) = opening.recover(&mut Unread, &mut |_: Progress| ()).unwrap();
    let redo = vec![Op { account: "a0".to_owned(), action: Action::Add(amount) }];
    let peers = vec![NodeId(1)];
    for record in
        [ParticipantRecord::Prepared { txid, peers, redo }, ParticipantRecord::Commit { txid }]
    {
        store.append(Participant::KIND, &postcard::to_allocvec(&record).unwrap()).unwrap();
    }
    store.sync().unwrap();
}
