//! What a table promises across power cuts and failing disks, in one process.

use std::{sync::Mutex, time::Duration};

use bailiwick::{CallError, Context, Unavailable};
use stable_store::{
    Journal, JournalOptions, Machine as _, Opening, Options, Storage, StoreId,
    disk::{ForgetfulDisk, Operation},
    faults::{Fault, Faulty},
};

use super::*;
use crate::{
    service::{Table as _, TableClient},
    store::Store,
};

/// Two may everything.
const POLICY: &str = "alice | table/** | * | allow\nbob | table/** | * | allow";

fn cx() -> Context {
    Context::within(Duration::from_secs(20))
}

/// Opens the table on `disk`, as a server does.
fn open(disk: impl Storage, options: Options) -> (Store, Journal<KeptTable>) {
    let opening = Opening::new(disk, options).unwrap();
    let store = Store::recovering(opening.id());
    let mut kept = store.unread(Bounds::default());
    let (log, recovery) = opening.recover(&mut kept, &mut |_| ()).unwrap();
    let journal = Journal::start(log, kept, JournalOptions::default());
    store.open(journal.clone(), recovery.epoch);
    (store, journal)
}

/// All that a table holds, its completions included, as a checkpoint has it.
fn contents(journal: &Journal<KeptTable>) -> Vec<Vec<u8>> {
    let table =
        journal.read(|table| (table.machine().entries().clone(), table.completions.clone()));
    let mut items = Vec::new();
    let written = KeptTable::write((table.0, table.1.snapshot()), &mut |item| {
        items.push(item.to_vec());
        Ok(())
    });
    written.unwrap();
    items
}

/// Calls of every kind over a session, so that each has a completion.
async fn change_a_lot(table: &TableClient, rounds: u64) {
    for round in 0..rounds {
        let key = |name: &str| format!("{name}{}", round % 50);
        table.put(&cx(), key("put"), format!("value {round}").into()).await.unwrap();
        table.increment(&cx(), "count".into(), 1).await.unwrap();
        let swapped = table.compare_and_swap(&cx(), key("cas"), None, "once".into()).await;
        assert_eq!(swapped, Ok(round < 50));
        let deleted = table.delete(&cx(), format!("put{}", (round + 25) % 50)).await;
        assert_eq!(deleted, Ok(round >= 25));
    }
}

#[tokio::test]
async fn after_a_power_cut_table_and_completions_are_what_they_were() {
    for (checkpoint_bytes, checkpoints) in [(u64::MAX, false), (1, true)] {
        let disk = ForgetfulDisk::new(7);
        let options = Options { checkpoint_bytes, ..Options::default() };
        let (store, journal) = open(disk.clone(), options.clone());
        let world = TableClient::in_memory(store).policy(POLICY);
        let alice = world.as_principal("alice").await;
        change_a_lot(&alice, 100).await;
        // Alice makes no further call, so her last completion must be in each checkpoint from now on.
        let bob = world.as_principal("bob").await;
        let so_far = journal.stats().checkpoints;
        assert_eq!(so_far > 0, checkpoints);
        while checkpoints && journal.stats().checkpoints < so_far + 2 {
            bob.increment(&cx(), "count".into(), 1).await.unwrap();
        }
        let before = contents(&journal);
        disk.power_cut();

        let (_, journal) = open(disk.clone(), options);
        let after = contents(&journal);
        assert!(after.len() > 1, "entries and completions");
        // A client of before has acknowledged some answers that the log still has.
        let completions = |items: &[Vec<u8>]| match read(items.last().unwrap()).unwrap() {
            Item::Completions(all) => all,
            Item::Entries(_) => Vec::new(),
        };
        assert_eq!(before[0], after[0]);
        let (before, after) = (completions(&before), completions(&after));
        assert!(!before.is_empty());
        let kept =
            |it: &Completion| after.iter().any(|other| format!("{it:?}") == format!("{other:?}"));
        assert!(before.iter().all(kept), "{before:?}\n{after:?}");
    }
}

/// Increments until the disk has failed; returns the greatest sum that was answered.
async fn count(store: &Store, journal: &Journal<KeptTable>) -> i64 {
    let answered = Mutex::new(0);
    let calls = async {
        loop {
            let sum = store.increment(&cx(), "n".into(), 1).await.unwrap();
            *answered.lock().unwrap() = sum;
        }
    };
    tokio::select! {
        _ = journal.poisoned() => {}
        () = calls => {}
    }
    answered.into_inner().unwrap()
}

#[tokio::test]
async fn a_disk_that_fails_loses_nothing_that_was_answered() {
    let faults = [
        (Operation::Sync, Fault::Io),
        (Operation::Append, Fault::Full),
        (Operation::Append, Fault::Short),
    ];
    for (seed, (operation, fault)) in (1..).zip(faults) {
        for nth in 1..8 {
            let disk = ForgetfulDisk::new(seed * 100 + nth);
            let faulty = Faulty::new(disk.clone());
            let (store, journal) = open(faulty.clone(), Options::default());
            faulty.fail(operation, nth, fault);
            let answered = count(&store, &journal).await;
            assert_eq!(answered, i64::try_from(nth).unwrap() - 1, "one sync, one answer");

            // What is asked of it now is not answered either.
            let cx = cx();
            tokio::select! {
                biased;
                _ = store.put(&cx, "late".into(), "v".into()) => panic!("it was answered"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(faulty.after_failure(), [], "nothing is tried again");
            disk.power_cut();

            let (store, _journal) = open(disk.clone(), Options::default());
            let sum = store.increment(&cx, "n".into(), 0).await.unwrap();
            let in_doubt = answered..=answered + 1;
            assert!(in_doubt.contains(&sum), "{operation:?} {nth} {fault:?}: {sum}");
            assert_eq!(store.get(&cx, "late".into()).await, Ok(None));
        }
    }
}

#[tokio::test]
async fn until_its_log_is_read_a_table_answers_nobody() {
    let disk = ForgetfulDisk::new(1);
    let opening = Opening::new(disk, Options::default()).unwrap();
    let store = Store::recovering(opening.id());
    let refused = CallError::Unavailable(Unavailable::Recovering);
    assert_eq!(store.get(&cx(), "k".into()).await, Err(refused.clone()));
    let world = TableClient::in_memory(store).policy(POLICY);
    let alice = world.as_principal("alice").await;
    assert_eq!(alice.get(&cx(), "k".into()).await, Err(refused.clone()));
    assert_eq!(alice.increment(&cx(), "k".into(), 1).await, Err(refused));
}

#[test]
fn what_no_table_wrote_is_refused() {
    let new = || Store::recovering(StoreId([1; 16])).unread(Bounds::default());
    let decision = Decision { key: "k".into(), value: Some(b"v"[..].into()) };
    let whole = record(&decision, None);
    let apply = |kind, payload: &[u8]| new().apply(Record { lsn: Lsn(1), kind, payload });
    assert_eq!(apply(CHANGE, &whole), Ok(()));
    assert_eq!(apply(2, &whole), Err(Rejected("a record of kind 2, which no table writes".into())));
    let longer = [&whole[..], &[0]].concat();
    assert_eq!(apply(CHANGE, &longer), Err(Rejected("1 bytes more than a table writes".into())));
    for length in 0..whole.len() {
        assert!(apply(CHANGE, &whole[..length]).is_err());
        assert!(new().restore(&whole[..length]).is_err());
    }
    assert!(new().restore(&[0xff; 40]).is_err(), "a length beyond the item");
}

#[test]
fn a_checkpoint_comes_in_items_that_a_log_takes() {
    let mut entries = Entries::default();
    for number in 0..300 {
        entries.insert(&format!("{number}"), vec![7; 64 * 1024].into());
    }
    let (mut sizes, mut restored) =
        (Vec::new(), Store::recovering(StoreId([1; 16])).unread(Bounds::default()));
    let written = KeptTable::write((entries.clone(), Vec::new()), &mut |item| {
        sizes.push(item.len());
        restored.restore(item).map_err(|Rejected(why)| panic!("{why}"))
    });
    written.unwrap();
    assert_eq!(sizes.len(), 300);
    assert!(sizes.iter().all(|size| *size < 2 * ITEM + 1024));
    assert!(restored.machine().entries().iter().eq(entries.iter()));
}
