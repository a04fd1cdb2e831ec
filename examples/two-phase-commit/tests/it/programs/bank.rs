//! The bank under fire, and its judge.

use std::fs;

use serde_json::Value;
use stable_store::{FileStorage, Opening, Options, Progress, Record, Rejected, Replay};
use two_phase_commit::{
    machine::Machine as _,
    message::{Action, Op},
    participant::Participant,
    record::ParticipantRecord,
    txid::{LogId, NodeId, TxId},
};

use crate::programs::support::{Ran, World};

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
    let line = "bank --accounts 6 --clients 3 --seconds 1 --kill-every 0ms --seed 3 --keep books";
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
    let (mut store, _) = opening.recover(&mut Blind, &mut |_: Progress| ()).unwrap();
    let redo = vec![Op { account: "a0".to_owned(), action: Action::Add(amount) }];
    let peers = vec![NodeId(1)];
    for record in
        [ParticipantRecord::Prepared { txid, peers, redo }, ParticipantRecord::Commit { txid }]
    {
        store.append(Participant::KIND, &postcard::to_allocvec(&record).unwrap()).unwrap();
    }
    store.sync().unwrap();
}

/// Does not look at what it is fed.
struct Blind;

impl Replay for Blind {
    fn restore(&mut self, _: &[u8]) -> Result<(), Rejected> {
        Ok(())
    }

    fn apply(&mut self, _: Record<'_>) -> Result<(), Rejected> {
        Ok(())
    }
}
