//! `hashtable witness`: what is done to a log of which another server keeps the checkpoints.

use std::{fs, path::PathBuf};

use bailiwick_acl::audit::{Expected, Tampered, Truncation, What, Witnessed, verify_files};
use rustix::process::Signal;

use crate::support::{Running, World};

/// A witness that may be asked by the server, and by nobody else.
fn witness(world: &World) -> Running {
    let line = "witness --listen tcp://127.0.0.1:0 --identity witness.key --policy witness.acl \
                --audit witness.jsonl --folder witnessed";
    let arguments: Vec<_> = line.split_whitespace().collect();
    world.spawn(&arguments, 1, "witness")
}

/// A world whose server names that witness, which runs.
fn world() -> (World, Running) {
    let world = World::new();
    let (server, alice) = (world.key("server"), world.key("alice"));
    let principals = format!("principal server = {server}\nprincipal alice = {alice}\n");
    world.write("witness.acl", &format!("{principals}server | audit/* | witness | allow\n"));
    let witness = witness(&world);
    world.write(
        "bailiwick.toml",
        &format!(
            "identity = \"server.key\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
             [policy]\nfile = \"policy.acl\"\nprincipals = \"principals.acl\"\n\
             [audit]\nfile = \"audit.jsonl\"\n\
             [audit.witness]\nendpoint = \"{}\"\nserver = \"{}\"\n",
            witness.connect, witness.server
        ),
    );
    (world, witness)
}

/// A life of the server: a refusal, and the end in order.
fn live(world: &World) {
    let server = world.serve_from("bailiwick.toml");
    world.call(&server, "bob", &["put", "k", "v"]).failed(3, &["denied"]);
    server.signal(Signal::TERM);
    let (status, stderr) = server.wait();
    assert!(status.success(), "{stderr}");
}

/// The file of the one log that is witnessed.
fn kept(world: &World) -> PathBuf {
    let files = fs::read_dir(world.path("witnessed")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

/// How many checkpoints are kept, and whether the log is that of which they are.
fn judge(world: &World) -> (usize, Result<(), Tampered>) {
    let checkpoints = Witnessed::read(&fs::read(kept(world)).unwrap()[..]).unwrap();
    let count = checkpoints.len();
    let expected = Expected { checkpoints, ..Expected::default() };
    (count, verify_files(&world.path("audit.jsonl"), &expected).map(|_| ()))
}

/// Keeps what makes up a log, or puts it back.
fn copy(world: &World, from: &str, to: &str) {
    for end in ["", ".key"] {
        let [from, to] = [from, to].map(|name| world.path(&format!("{name}{end}")));
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn a_log_that_is_cut_off_is_found_by_what_the_witness_keeps() {
    let (world, _witness) = world();
    live(&world);
    let first = world.read("audit.jsonl");
    live(&world);
    let (checkpoints, whole) = judge(&world);
    assert!(checkpoints >= 3, "{checkpoints}");
    whole.unwrap();

    let last = world.read("audit.jsonl").lines().count() as u64;
    world.write("audit.jsonl", &first);
    let alone = verify_files(&world.path("audit.jsonl"), &Expected::default()).unwrap();
    assert!(alone.closed, "the log alone shows nothing");
    let cut = Truncation::WitnessedLater { last: first.lines().count() as u64, seq: last };
    assert_eq!(judge(&world).1.unwrap_err().what, What::Truncated(cut));
}

#[test]
fn a_log_that_is_put_back_and_goes_on_is_not_witnessed_any_more_and_the_first_one_stays() {
    let (world, witness) = world();
    live(&world);
    copy(&world, "audit.jsonl", "before.jsonl");
    live(&world);
    let both = fs::read(kept(&world)).unwrap();
    copy(&world, "before.jsonl", "audit.jsonl");
    // With the key of then the server finds nothing wrong, and the log is whole again.
    live(&world);
    let alone = verify_files(&world.path("audit.jsonl"), &Expected::default()).unwrap();
    assert!(alone.closed, "the log alone shows nothing");
    assert_eq!(fs::read(kept(&world)).unwrap(), both, "another past was witnessed");
    let found = judge(&world).1.unwrap_err().what;
    assert!(matches!(found, What::NotAsWitnessed { .. }), "{found:?}");

    // Its own operator is told, and what it has outlives it.
    witness.signal(Signal::TERM);
    let (status, stderr) = witness.wait();
    assert!(status.success(), "{stderr}");
    assert!(stderr.contains("a checkpoint is not kept"), "{stderr}");
    assert!(stderr.contains("the log was rewritten, or this is an old line"), "{stderr}");
    let _again = self::witness(&world);
    live(&world);
    assert_eq!(fs::read(kept(&world)).unwrap(), both);
}

#[test]
fn only_whom_the_policy_names_is_witnessed() {
    let (world, _witness) = world();
    world.write("bailiwick.toml", &world.read("bailiwick.toml").replace("server.key", "alice.key"));
    let server = world.spawn(&["serve", "--config", "bailiwick.toml"], 1, "alice");
    server.signal(Signal::TERM);
    assert!(server.wait().0.success());
    assert_eq!(fs::read_dir(world.path("witnessed")).unwrap().count(), 0);
    let refused = world.read("witness.jsonl");
    assert!(refused.contains("\"alice\"") && refused.contains("\"deny\""), "{refused}");
}

#[test]
fn a_witness_with_anything_wrong_refuses_to_start() {
    let (world, _witness) = world();
    let start = |folder: &str, policy: &str| {
        let line = format!(
            "witness --listen tcp://127.0.0.1:0 --identity witness.key --policy {policy} --audit \
             other.jsonl --folder {folder}"
        );
        world.run(&line.split_whitespace().collect::<Vec<_>>())
    };
    start("witnessed", "witness.acl").failed(1, &["cannot keep checkpoints in witnessed"]);
    start("witness.acl", "witness.acl").failed(1, &["in witness.acl", "not a directory"]);
    start("none/below", "witness.acl").failed(1, &["in none/below", "its parent must be there"]);
    // Rows for a table are no rows for a witness.
    start("other", "policy.acl").failed(1, &["policy.acl:1:"]);
    start("", "witness.acl").failed(2, &["--folder"]);
    world.run(&["witness"]).failed(2, &["--identity", "--policy", "--audit", "--folder"]);
}
