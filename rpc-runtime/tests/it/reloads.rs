//! Many calls against many reloads: each answer, and its record, fit exactly one revision of the
//! policy that was in force during the call.
//!
//! A million calls against a thousand reloads:
//!
//! ```sh
//! BAILIWICK_RELOADS=1000 cargo test --release -p bailiwick --test it many_reloads -- --nocapture
//! ```

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bailiwick::{
    Allows, AuditId, AuditLog, CallError, Channel, Endpoint, Server, testing::test_identity,
};
use bailiwick_acl::{
    Policy, audit,
    policy::{LoadOptions, Source},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use tokio::sync::Notify;

use crate::{
    policies::{Folder, with_keys_of},
    probe::{Probe as _, ProbeClient},
    world::{World, cx},
};

const CALLERS: [&str; 16] = [
    "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9", "c10", "c11", "c12", "c13", "c14",
    "c15",
];

const KEYS: [&str; 2] = ["even", "odd"];

/// What revision `serial` says: one of two objects, in turn.
fn rows(serial: u64) -> String {
    let key = KEYS[usize::from(serial % 2 == 1)];
    with_keys_of(&CALLERS, &format!("serial {serial}\n* | table/{key} | write | allow\n"))
}

/// What a caller knows of one of its calls.
struct Made {
    key: &'static str,
    /// The first and the last revision that can have been in force meanwhile.
    between: (u64, u64),
    /// The number of the record, if it was denied.
    denied: Option<AuditId>,
}

/// How far the reloads are: an answer given while these stand at `begun` and `done` is of no later
/// revision than the one and no earlier than the other.
#[derive(Default)]
struct Clock {
    begun: AtomicU64,
    done: AtomicU64,
    calls: AtomicU64,
    step: Notify,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reloads_and_each_answer_fits_one_revision_and_its_record_says_which() {
    let (reloads, calls) = match std::env::var("BAILIWICK_RELOADS") {
        Ok(reloads) => {
            let reloads: u64 = reloads.parse().expect("BAILIWICK_RELOADS is a number");
            (reloads, reloads * 1_000)
        }
        Err(_) => (50, 20_000),
    };
    let seed: u64 = rand::random();
    println!("seed {seed}: {calls} calls against {reloads} reloads");
    let folder = Folder::with("");
    std::fs::write(folder.policy(), rows(0)).unwrap();
    let log = folder.path("audit.jsonl");
    let builder = Server::builder(test_identity("server")).audit_allowed(Allows::All);
    let audit = AuditLog::open(&log).unwrap();
    let tcp = [Endpoint::tcp("127.0.0.1:0")];
    let mut world = World::audited(folder.watched(), audit, &tcp, builder).await;

    let (begun, clock) = (Instant::now(), Arc::new(Clock::default()));
    let each = calls / CALLERS.len() as u64;
    let step = (calls / (reloads + 1)).max(1);
    let mut callers = Vec::new();
    for (number, name) in CALLERS.into_iter().enumerate() {
        let identity = test_identity(name);
        let channel = Channel::connect(world.endpoint(), world.server, identity).await.unwrap();
        let rng = StdRng::seed_from_u64(seed ^ number as u64);
        let call = call(ProbeClient::new(channel), each, step, rng, Arc::clone(&clock));
        callers.push(tokio::spawn(call));
    }
    for serial in 1..=reloads {
        while clock.calls.load(Ordering::Acquire) < serial * step {
            clock.step.notified().await;
        }
        clock.begun.store(serial, Ordering::SeqCst);
        std::fs::write(folder.path("aside"), rows(serial)).unwrap();
        std::fs::rename(folder.path("aside"), folder.policy()).unwrap();
        let reloaded = world.policy.reload().await.unwrap();
        assert_eq!(reloaded.revision.serial, Some(serial));
        clock.done.store(serial, Ordering::SeqCst);
    }
    let mut made = Vec::new();
    for caller in callers {
        made.push(caller.await.unwrap());
    }
    let took = begun.elapsed();
    world.stop();
    world.drained().await;

    let revisions: Vec<_> = (0..=reloads).map(revision).collect();
    let fitted = fit(&log, &made, &revisions);
    assert_eq!(fitted, each * CALLERS.len() as u64);
    println!("{fitted} answers and records fit; {took:?}");
}

/// Makes calls one after the other, so that the place of each is its number.
async fn call(
    client: ProbeClient,
    calls: u64,
    step: u64,
    mut rng: StdRng,
    clock: Arc<Clock>,
) -> Vec<Made> {
    let mut made = Vec::new();
    for _ in 0..calls {
        let key = KEYS[rng.random_range(0..2)];
        let first = clock.done.load(Ordering::SeqCst);
        let denied = match client.touch(&cx(), key.into()).await {
            Ok(()) => None,
            Err(CallError::Denied(id)) => Some(id),
            Err(error) => panic!("{error:?}"),
        };
        let between = (first, clock.begun.load(Ordering::SeqCst));
        made.push(Made { key, between, denied });
        if (clock.calls.fetch_add(1, Ordering::AcqRel) + 1).is_multiple_of(step) {
            clock.step.notify_one();
        }
    }
    made
}

/// A revision by itself, and its digest as records have it.
fn revision(serial: u64) -> (Policy, String) {
    let text = rows(serial);
    let source = Source { name: "policy.acl", text: text.as_bytes() };
    let policy = Policy::load(source, &LoadOptions::default()).unwrap().policy;
    let digest = policy.digest().map(|byte| format!("{byte:02x}")).concat();
    (policy, format!("sha256:{digest}"))
}

/// Holds each record of a decision against the call it is of, and against the policy that it names.
/// Refusals beyond ten a second of a caller are in the summaries, which add up to them; each of those
/// fits a revision that was in force. How many calls that are.
fn fit(log: &std::path::Path, made: &[Vec<Made>], revisions: &[(Policy, String)]) -> u64 {
    audit::verify_files(log, &audit::Expected::default()).unwrap();
    let mut seen: Vec<_> = made.iter().map(|calls| vec![0_u8; calls.len()]).collect();
    let (mut fitted, mut loads, mut summed) = (0, 0, 0);
    // A million records fill more than one file.
    let files = audit::files(log).unwrap();
    let lines = files.iter().flat_map(|file| BufReader::new(File::open(file).unwrap()).lines());
    for line in lines {
        let line = line.unwrap();
        let record: Value = serde_json::from_str(&line).unwrap();
        match record["event"].as_str() {
            Some("policy.load") => {
                assert_eq!(record["serial"].as_u64(), Some(loads), "in order: {line}");
                loads += 1;
            }
            Some("decision") => {
                let caller: usize = record["principal"].as_str().unwrap()[1..].parse().unwrap();
                let number: usize = record["call"].as_str().unwrap().parse().unwrap();
                let call = &made[caller][number];
                seen[caller][number] += 1;
                fits(&record, call, CALLERS[caller], revisions).unwrap_or_else(|why| {
                    panic!("{why}; between {:?}: {line}", call.between);
                });
                fitted += 1;
            }
            Some("summary") if record["decision"] == "deny" => {
                summed += record["count"].as_u64().unwrap();
            }
            _ => {}
        }
    }
    assert_eq!(loads, revisions.len() as u64, "each revision was in force");
    let mut counted = 0;
    for (caller, (calls, seen)) in CALLERS.iter().zip(made.iter().zip(&seen)) {
        for (call, times) in calls.iter().zip(seen) {
            assert!(*times <= 1, "a call is on record once");
            if *times == 0 {
                counted += 1;
                assert!(call.denied.is_some(), "an allowed call is on record in full");
                assert!(may_deny(call, caller, revisions), "no revision in force denies it");
            }
        }
    }
    assert_eq!(summed, counted, "what is not on record in full is summed up");
    fitted + counted
}

fn may_deny(call: &Made, caller: &str, revisions: &[(Policy, String)]) -> bool {
    let object = format!("table/{}", call.key);
    let (first, last) = call.between;
    revisions.iter().zip(0..).any(|((policy, _), serial)| {
        (first..=last).contains(&serial) && !policy.explain(caller, "write", &object).is_allowed()
    })
}

fn fits(
    record: &Value,
    call: &Made,
    caller: &str,
    revisions: &[(Policy, String)],
) -> Result<(), &'static str> {
    let serial = record["serial"].as_u64().ok_or("no serial")?;
    let (policy, digest) = usize::try_from(serial)
        .ok()
        .and_then(|serial| revisions.get(serial))
        .ok_or("no such revision")?;
    let object = format!("table/{}", call.key);
    let decision = if call.denied.is_some() { "deny" } else { "allow" };
    let said = policy.explain(caller, "write", &object);
    let claims = [
        (record["policy"] == **digest, "the digest is another revision's"),
        (record["object"] == *object, "the object is another call's"),
        (record["decision"] == decision, "the answer was another"),
        (said.effect.to_string() == decision, "that revision says otherwise"),
        ((call.between.0..=call.between.1).contains(&serial), "it was not in force"),
        (call.denied.is_none_or(|id| record["seq"] == id.0), "the answer named another record"),
    ];
    claims.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err(why))
}
