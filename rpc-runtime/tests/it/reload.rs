//! A policy that changes under a server: seen however it is saved, and kept out when it is wrong.

use std::{
    fs,
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime},
};

use bailiwick::{CallError, PolicyFile, ReloadError, testing::test_identity};
use rustix::process::{Signal, getpid, kill_process};
use tokio::time;

use crate::{
    policies::{Folder, next, with_keys},
    probe::Probe as _,
    world::{World, cx},
};

/// How long something that must come about may take.
const PATIENCE: Duration = Duration::from_secs(10);

const NOBODY: &str = "serial 1\n";
const BOB: &str = "serial 2\nbob | table/bob | write | allow\n";

#[tokio::test]
async fn a_row_that_is_saved_in_any_way_counts_for_the_next_call_of_an_open_session() {
    let ways: [fn(&Folder); 3] = [
        |folder| folder.save(BOB),
        |folder| folder.rename_over(BOB),
        // As Kubernetes does: the file is a link through a link that is switched.
        |folder| folder.link("v2", "data"),
    ];
    for (way, save) in ways.into_iter().enumerate() {
        let folder = Folder::with(NOBODY);
        if way == 2 {
            for (version, rows) in [("v1", NOBODY), ("v2", BOB)] {
                fs::create_dir(folder.path(version)).unwrap();
                fs::write(folder.path(version).join("policy.acl"), with_keys(rows)).unwrap();
            }
            folder.link("v1", "data");
            folder.link("data/policy.acl", "policy.acl");
        }
        // Only the system's notice comes so soon.
        let world = folder.serve(folder.watched().polled_every(Duration::from_secs(3_600))).await;
        let bob = world.client("bob").await;
        let denied = bob.increment(&cx(), "bob".into()).await;
        assert!(matches!(denied, Err(CallError::Denied(_))), "{denied:?}");
        settled(&world, &folder).await;
        let mut outcomes = world.policy.outcomes();
        save(&folder);
        let reloaded = next(&mut outcomes).await.unwrap();
        assert_eq!(reloaded.revision.serial, Some(2), "way {way}");
        assert_eq!(world.policy.in_force(), reloaded.revision);
        assert_eq!(bob.increment(&cx(), "bob".into()).await, Ok(1), "way {way}");
        assert_eq!(world.records("event", "policy.load").len(), 2);
    }
}

/// The server has begun to follow the folder: it sees a file that is wrong and one that is mended.
async fn settled(world: &World, folder: &Folder) {
    let (before, mut outcomes) = (fs::read(folder.policy()).unwrap(), world.policy.outcomes());
    fs::write(folder.policy(), "wrong").unwrap();
    assert!(matches!(next(&mut outcomes).await, Err(ReloadError::Policy(_))));
    fs::write(folder.policy(), before).unwrap();
    assert!(world.policy.reload().await.is_ok());
}

#[tokio::test]
async fn a_change_that_the_system_does_not_tell_of_is_found_by_looking_and_by_sighup() {
    for poll in [Duration::ZERO, Duration::from_secs(3_600)] {
        let folder = Folder::with(NOBODY);
        for (version, rows) in [("v1", NOBODY), ("v2", BOB)] {
            fs::create_dir(folder.path(version)).unwrap();
            fs::write(folder.path(version).join("policy.acl"), with_keys(rows)).unwrap();
        }
        // A link in the middle of the path: its directory is not watched.
        folder.link("v1", "middle");
        let file = PolicyFile::watch(folder.path("middle/policy.acl")).unwrap();
        let world = folder.serve(file.polled_every(poll)).await;
        let mut outcomes = world.policy.outcomes();
        fs::write(folder.path("v1/policy.acl"), "wrong").unwrap();
        assert!(next(&mut outcomes).await.is_err(), "it is followed");
        folder.link("v2", "middle");
        if !poll.is_zero() {
            kill_process(getpid(), Signal::HUP).unwrap();
        }
        assert_eq!(next(&mut outcomes).await.unwrap().revision.serial, Some(2));
    }
}

#[test]
fn what_is_written_beside_the_policy_without_end_holds_up_neither_a_change_nor_the_end() {
    let folder = Folder::in_memory(NOBODY);
    // A link, so that there are two directories to follow.
    fs::create_dir(folder.path("data")).unwrap();
    fs::rename(folder.policy(), folder.path("data/policy.acl")).unwrap();
    folder.link("data/policy.acl", "policy.acl");
    let stop = AtomicBool::new(false);
    let (seen, ended) = thread::scope(|scope| {
        for nth in 0..8 {
            let files = ["a", "b"].map(|name| folder.path(&format!("{name}{nth}")));
            let stop = &stop;
            scope.spawn(move || write_in_turn(&files, stop));
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let seen = runtime.block_on(ten_changes(&folder));
        let (tell, ended) = mpsc::channel();
        thread::spawn(move || {
            drop(runtime);
            tell.send(())
        });
        let ended = ended.recv_timeout(PATIENCE);
        stop.store(true, Ordering::Relaxed);
        (seen, ended)
    });
    assert_eq!((seen, ended), (10, Ok(())), "changes seen, and whether the runtime ended");
}

/// Makes, writes and removes one after the other: the system tells of each.
fn write_in_turn(files: &[PathBuf], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        for file in files {
            fs::write(file, "x").unwrap();
            fs::remove_file(file).unwrap();
        }
    }
}

/// How many changes a server has seen until one was not.
async fn ten_changes(folder: &Folder) -> usize {
    let world = folder.serve(folder.watched().polled_every(Duration::from_secs(3_600))).await;
    let mut outcomes = world.policy.outcomes();
    for nth in 0..10 {
        fs::write(folder.policy(), with_keys(&format!("serial {}\n", nth + 2))).unwrap();
        if time::timeout(PATIENCE, outcomes.next()).await.is_err() {
            return nth;
        }
    }
    10
}

#[tokio::test]
async fn people_are_told_what_becomes_of_each_change() {
    let folder = Folder::with(BOB);
    let world = folder.serve(PolicyFile::read(folder.policy()).unwrap()).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(world.policy.outcomes().tell(move |words| tell.send(words.to_owned()).unwrap()));
    // A backslash is refused in every request.
    let doubtful = "serial 3\nbob | table/a\\\\b | write | allow\n";
    folder.save(doubtful);
    world.policy.reload().await.unwrap();
    let mut next = async || time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    let doubt = next().await;
    assert!(doubt.contains("backslash"), "{doubt}");
    assert!(next().await.starts_with("policy: now in force: serial 3, sha256:"));
    folder.save("serial 4\nbob | table/bob | write | alow\nbob | table/bob | wirte | allow\n");
    assert!(world.policy.reload().await.is_err());
    let errors = next().await;
    assert!(errors.contains("2 errors") && errors.contains("alow"), "{errors}");
    assert!(next().await.contains("the one before stays in force"));
}

type IsExpected = fn(&ReloadError) -> bool;

#[tokio::test]
async fn what_is_wrong_does_not_come_into_force_and_is_on_record_once() {
    let folder = Folder::with(BOB);
    let world = folder.serve(PolicyFile::read(folder.policy()).unwrap()).await;
    let bob = world.client("bob").await;
    let in_force = world.policy.in_force();
    let wrong: [(&str, &str, IsExpected); 5] = [
        (
            "errors",
            "serial 3\nbob | table/bob | write | alow\n",
            |error| matches!(error, ReloadError::Policy(errors) if errors.errors().len() == 1),
        ),
        ("errors", "serial 3\nbob | table/bob | wirte | allow\n", |error| {
            matches!(error, ReloadError::Policy(_))
        }),
        ("serial", NOBODY, |error| {
            matches!(error, ReloadError::Older { new: Some(1), in_force: 2, .. })
        }),
        ("serial", "bob | table/bob | write | allow\n", |error| {
            matches!(error, ReloadError::Older { new: None, .. })
        }),
        ("errors", "serial 3\n\u{1b}[2J | x | y | allow\n", |error| {
            matches!(error, ReloadError::Policy(_))
        }),
    ];
    for (seen, (reason, rows, is_expected)) in wrong.into_iter().enumerate() {
        folder.save(rows);
        for _ in 0..2 {
            let error = world.policy.reload().await.unwrap_err();
            assert!(is_expected(&error), "{rows}: {error:?}");
        }
        assert_eq!(world.policy.in_force(), in_force);
        let records = world.records("event", "policy.reject");
        assert_eq!(records.len(), seen + 1, "{rows}: {records:#?}");
        assert!(records[seen].contains(&format!("\"reason\":\"{reason}\"")), "{}", records[seen]);
        assert!(records[seen].contains("policy.acl"), "{}", records[seen]);
        assert!(!records[seen].contains('\u{1b}'));
    }
    fs::write(folder.policy(), "\n").unwrap();
    assert!(matches!(world.policy.reload().await, Err(ReloadError::Empty { .. })));
    fs::remove_file(folder.policy()).unwrap();
    assert!(matches!(world.policy.reload().await, Err(ReloadError::Unreadable(_))));
    fs::create_dir(folder.policy()).unwrap();
    assert!(matches!(world.policy.reload().await, Err(ReloadError::Unreadable(_))));
    fs::remove_dir(folder.policy()).unwrap();
    assert_eq!(world.records("event", "policy.reject").len(), 8);
    assert_eq!(world.policy.in_force(), in_force);
    assert_eq!(bob.increment(&cx(), "bob".into()).await, Ok(1), "the last good one judges");
    folder.save(BOB);
    assert_eq!(world.policy.reload().await.unwrap().revision, in_force);
    folder.save(NOBODY);
    assert!(world.policy.reload().await.is_err());
    let records = world.records("event", "policy.reject");
    assert_eq!(records.len(), 9, "after a good one it is news again");
}

#[tokio::test]
async fn a_file_that_is_in_force_is_not_loaded_again() {
    let folder = Folder::with(BOB);
    let world = folder.serve(folder.watched()).await;
    let in_force = world.policy.in_force();
    let file = fs::File::options().append(true).open(folder.policy()).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    folder.rename_over(BOB);
    assert_eq!(world.policy.reload().await.unwrap().revision, in_force);
    assert_eq!(world.records("event", "policy.load").len(), 1);
}

#[tokio::test]
async fn the_principals_in_a_file_of_their_own_are_followed_too() {
    let folder = Folder::with("");
    fs::write(folder.policy(), "bob | table/bob | write | allow\n").unwrap();
    let principals = folder.path("principals.acl");
    let key = |name| format!("principal bob = {}\n", test_identity(name).public_key());
    fs::write(&principals, key("somebody else")).unwrap();
    let world = folder.serve(folder.watched().with_principals(&principals).unwrap()).await;
    assert!(world.channel("bob", Default::default()).await.is_err());
    let mut outcomes = world.policy.outcomes();
    fs::write(&principals, key("bob")).unwrap();
    next(&mut outcomes).await.unwrap();
    let bob = world.client("bob").await;
    assert_eq!(bob.increment(&cx(), "bob".into()).await, Ok(1));
}

#[tokio::test]
async fn a_policy_that_was_given_as_text_cannot_be_read_again() {
    let world = World::start().await;
    assert!(matches!(world.policy.reload().await, Err(ReloadError::GivenAsText)));
}

#[tokio::test]
async fn calls_do_not_wait_for_a_load() {
    let folder = Folder::with(BOB);
    let world = folder.serve(PolicyFile::read(folder.policy()).unwrap()).await;
    let bob = world.client("bob").await;
    let rows: String = (0..50_000).map(|n| format!("bob | table/k{n} | write | allow\n")).collect();
    folder.save(&format!("{BOB}{rows}"));
    let policy = world.policy.clone();
    let mut load = tokio::spawn(async move { policy.reload().await });
    let mut calls = 0;
    let reloaded = loop {
        let cx = cx();
        tokio::select! {
            biased;
            loaded = &mut load => break loaded.unwrap().unwrap(),
            answer = bob.increment(&cx, "bob".into()) => {
                answer.unwrap();
                calls += 1;
            }
        }
    };
    assert_eq!(world.policy.in_force(), reloaded.revision);
    assert!(calls > 3, "{calls} calls were answered meanwhile");
    time::timeout(Duration::from_secs(5), bob.increment(&cx(), "k1".into()))
        .await
        .unwrap()
        .unwrap();
}
