//! The audit log: how fast refusals are judged and recorded in a flood, and a log is verified.

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use bailiwick_acl::{
    Monitor, Policy, Reason, Request,
    audit::{AuditLog, Event, Expected, Record, verify_files},
    monitor::Recorded,
    policy::{Effect, LoadOptions, Source},
};
use rand::Rng as _;
use serde::Serialize;

type AnyError = Box<dyn Error + Send + Sync>;

/// Denials a second that the flood must reach, and MB a second for `verify`.
const GOALS: (f64, f64) = (100_000.0, 300.0);

/// How long the flood lasts.
const FLOOD: Duration = Duration::from_secs(5);

/// Threads that write the log to verify: records that wait together are written together.
const WRITERS: u64 = 8;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    denials: u64,
    denials_a_second: f64,
    /// Resident memory at the end of the flood beyond that after its first second, in KiB.
    growth_kib: u64,
    flood_records: u64,
    log_bytes: u64,
    log_records: u64,
    verify_mb_a_second: f64,
}

/// Runs both in a folder of its own.
pub(crate) fn run(repetitions: u32, quick: bool) -> Result<Measured, AnyError> {
    let folder = tempfile::tempdir()?;
    let flood = flood(&folder.path().join("flood.jsonl"))?;
    let path = folder.path().join("audit.jsonl");
    let records = if quick { 100_000 } else { 600_000 };
    write_log(&path, records)?;
    let log_bytes = fs::metadata(&path)?.len();
    let mut best = Duration::MAX;
    for _ in 0..repetitions {
        let begun = Instant::now();
        let report = verify_files(&path, &Expected::default())?;
        best = best.min(begun.elapsed());
        if report.denials != records {
            return Err(format!("{} of {records} records", report.denials).into());
        }
    }
    let verify_mb_a_second = log_bytes as f64 / 1e6 / best.as_secs_f64();
    Ok(Measured { log_bytes, log_records: records, verify_mb_a_second, ..flood })
}

/// Lets a principal without any right call four methods as fast as it can.
fn flood(path: &Path) -> Result<Measured, AnyError> {
    let keys = format!("principal mallory = ed25519:{}\n", "11".repeat(32));
    let source = Source { name: "policy.acl", text: keys.as_bytes() };
    let policy =
        Policy::load(source, &LoadOptions::default()).map_err(|e| format!("{e:?}"))?.policy;
    let log = open(path)?;
    let monitor = Monitor::new(policy, log, SystemTime::now)?;
    let mut caller = monitor.caller("mallory", [7; 8], "192.0.2.1:1").ok_or("no such principal")?;
    let objects: Vec<String> = (0..1_000).map(|number| format!("table/{number}")).collect();
    let (begun, mut denials, mut ticked, mut after_first) = (Instant::now(), 0_u64, 0, 0);
    while begun.elapsed() < FLOOD {
        for (nth, object) in (0..).zip(&objects) {
            let request = Request {
                service: "Table",
                method: ["get", "put", "remove", "list"][nth % 4],
                verb: "read",
                objects: &[object],
                mutating: false,
                recorded: Recorded::AsTheServerSays,
                arguments: &[],
                call: denials,
            };
            if monitor.authorize(&mut caller, &request).is_ok() {
                return Err("a call was allowed".into());
            }
            denials += 1;
        }
        if begun.elapsed().as_secs() > ticked {
            ticked += 1;
            monitor.tick();
            if ticked == 1 {
                after_first = resident_kib()?;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let growth_kib = resident_kib()?.saturating_sub(after_first);
    drop(monitor);
    let report = verify_files(path, &Expected::default())?;
    if report.denials != denials {
        return Err(format!("{denials} denials, and {} in the log", report.denials).into());
    }
    Ok(Measured {
        denials,
        denials_a_second: denials as f64 / seconds,
        growth_kib,
        flood_records: report.records,
        log_bytes: 0,
        log_records: 0,
        verify_mb_a_second: 0.0,
    })
}

fn write_log(path: &Path, records: u64) -> Result<(), AnyError> {
    let log = open(path)?;
    thread::scope(|scope| {
        let write = |_| {
            scope.spawn(|| {
                for number in 0..records / WRITERS {
                    let object = format!("course/exam/{number}");
                    log.append(&refusal(&object), SystemTime::now())?;
                }
                Ok::<(), AnyError>(())
            })
        };
        let writers: Vec<_> = (0..WRITERS).map(write).collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| "a writer panicked")?)
    })
}

fn refusal(object: &str) -> Record<'_> {
    Record {
        principal: Some("alice"),
        key: Some("SHA256:2n0yGgbSkzfTPrqr6zkVFoc2n0yGgbSkzfTPrqr6zkV"),
        session: Some([7; 8]),
        peer: Some("10.0.0.7:5123"),
        service: Some("Course"),
        method: Some("put_notes"),
        verb: Some("write"),
        object: Some(object),
        row: Some(("policy.acl", 7)),
        policy: Some([9; 32]),
        serial: Some(42),
        mode: Some("enforce"),
        call: Some("90817"),
        ..Record::of(Event::Decision).judged(Effect::Deny, Reason::Row)
    }
}

fn open(path: &Path) -> Result<AuditLog, AnyError> {
    let random = |bytes: &mut [u8]| rand::rng().fill_bytes(bytes);
    Ok(AuditLog::builder("bench", random).file(path).rotate_at(u64::MAX).open()?)
}

fn resident_kib() -> Result<u64, AnyError> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The result as a text, with the goals.
pub(crate) fn text(measured: &Measured) -> String {
    let judge = |reached: bool| if reached { "reached" } else { "MISSED" };
    let mut out = String::new();
    let Measured { denials, denials_a_second, growth_kib, flood_records, .. } = measured;
    let _ = writeln!(
        out,
        "denials    {denials_a_second:>10.0} a second (goal {:.0}: {}); {denials} in {flood_records} \
         records, counts exact, memory +{growth_kib} KiB after the first second",
        GOALS.0,
        judge(*denials_a_second >= GOALS.0),
    );
    let _ = write!(
        out,
        "verify     {:>10.0} MB a second (goal {:.0}: {}); {} records, {:.0} MB",
        measured.verify_mb_a_second,
        GOALS.1,
        judge(measured.verify_mb_a_second >= GOALS.1),
        measured.log_records,
        measured.log_bytes as f64 / 1e6,
    );
    out
}
