//! The monitor: no grant without a decision, no denial without a record, nothing without a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bailiwick_acl::audit::{AuditId, AuditLog, Memory, verify_chain};
use bailiwick_acl::monitor::{Allows, MAX_DISTINCT, MAX_KINDS, Recorded, ReplaceError};
use bailiwick_acl::{Caller, Denial, Monitor, Reason, Request};
use serde_json::Value;

use super::{key, policy};

/// A monitor with a clock that the test sets, in milliseconds.
pub(super) struct World {
    pub(super) monitor: Monitor,
    pub(super) log: AuditLog,
    pub(super) now: Arc<AtomicU64>,
}

impl World {
    pub(super) fn with(rules: &str) -> Self {
        let text = format!("principal a = {}\nprincipal b = {}\n{rules}", key(1).1, key(2).1);
        let now = Arc::new(AtomicU64::new(1_000_000));
        let clock = Arc::clone(&now);
        let log = AuditLog::memory();
        let time = move || -> SystemTime {
            UNIX_EPOCH + Duration::from_millis(clock.load(Ordering::Relaxed))
        };
        let monitor = Monitor::new(policy(&text), log.clone(), time).unwrap();
        Self { monitor, log, now }
    }

    pub(super) fn caller(&self) -> Caller {
        self.monitor.admit(&key(1).0, "SHA256:a", [7; 8], "10.0.0.7:5123").unwrap()
    }

    /// The records after the load of the policy.
    pub(super) fn records(&self) -> Vec<Value> {
        let lines = self.log.lines();
        lines[1..].iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(super) fn verified(&self) -> u64 {
        let text: String = self.log.lines().iter().map(|line| format!("{line}\n")).collect();
        verify_chain(text.as_bytes()).unwrap().records
    }

    pub(super) fn pass(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    pub(super) fn turn_back(&self, millis: u64) {
        self.now.fetch_sub(millis, Ordering::Relaxed);
    }
}

pub(super) fn request<'a>(verb: &'a str, objects: &'a [&'a str]) -> Request<'a> {
    Request {
        service: "Table",
        method: "get",
        verb,
        objects,
        mutating: false,
        recorded: Recorded::AsTheServerSays,
        arguments: &[],
        call: 9,
    }
}

#[test]
fn an_allowed_call_gets_a_grant_that_names_its_row_and_leaves_no_record() {
    let world = World::with("a | x/* | read | allow");
    let grant = world.monitor.authorize(&mut world.caller(), &request("read", &["x/1"])).unwrap();
    assert_eq!(grant.row().map(|row| row.line), Some(3));
    assert_eq!(world.records().len(), 0);
}

#[test]
fn a_denied_call_is_on_record_with_all_that_is_known_before_the_answer() {
    let world = World::with("a | x/* | read | deny\nserial 42");
    let denial =
        world.monitor.authorize(&mut world.caller(), &request("read", &["x/1"])).unwrap_err();
    assert_eq!(denial, Denial::Recorded { audit: AuditId(2), reason: Reason::Row });
    let line = &world.log.lines()[1];
    let digest = world.monitor.policy().digest().map(|byte| format!("{byte:02x}")).concat();
    let wanted = format!(
        "{{\"v\":1,\"seq\":2,\"ts\":\"1970-01-01T00:16:40.000000Z\",\"node\":\"memory\",\
         \"stream\":\"{}\",\"event\":\"decision\",\"decision\":\"deny\",\"reason\":\"row\",\
         \"principal\":\"a\",\"key\":\"SHA256:a\",\"session\":\"0707070707070707\",\
         \"peer\":\"10.0.0.7:5123\",\"service\":\"Table\",\"method\":\"get\",\"verb\":\"read\",\
         \"object\":\"x/1\",\"row\":\"policy.acl:3\",\"policy\":\"sha256:{digest}\",\
         \"serial\":42,\"mode\":\"enforce\",\"call\":\"9\",\"prev\":\"",
        "0".repeat(32)
    );
    assert!(line.starts_with(&wanted), "{line}\n{wanted}");
}

#[test]
fn all_objects_of_a_call_must_be_allowed_and_none_at_all_is_denied() {
    let world = World::with("a | x/* | read | allow");
    let mut caller = world.caller();
    let mut judge = |objects: &[&str]| {
        world
            .monitor
            .authorize(&mut caller, &request("read", objects))
            .map_err(|denial| denial.reason())
    };
    assert!(judge(&["x/1", "x/2"]).is_ok());
    // Allowed by itself, and remembered.
    assert!(judge(&["x/1"]).is_ok());
    assert_eq!(judge(&["x/1", "y"]).unwrap_err(), Reason::Default);
    assert_eq!(judge(&["x/1", "x/../y"]).unwrap_err(), Reason::BadObject);
    assert_eq!(judge(&[]).unwrap_err(), Reason::BadObject);
    assert_eq!(world.records()[0]["object"], "y");
}

#[test]
fn wildcards_in_a_request_are_literal() {
    let world = World::with("a | x/1 | read | allow\na | home/{self} | read | allow");
    let mut caller = world.caller();
    for object in ["x/*", "**", "x/**", "home/{self}", "*"] {
        let denial = world.monitor.authorize(&mut caller, &request("read", &[object])).unwrap_err();
        assert_eq!(denial.reason(), Reason::Default, "{object}");
    }
}

#[test]
fn allowed_calls_go_on_record_where_that_is_asked_for() {
    let world = World::with("a | ** | * | allow");
    let monitor = Monitor::new(policy("a | x | w | allow"), world.log.clone(), || UNIX_EPOCH)
        .unwrap()
        .recording(Allows::Mutating);
    let mut caller = monitor.caller("a", [0; 8], "in process").unwrap();
    let mut write = request("w", &["x"]);
    let before = world.records().len();
    assert!(monitor.authorize(&mut caller, &write).is_ok());
    assert_eq!(world.records().len(), before);
    write.mutating = true;
    assert!(monitor.authorize(&mut caller, &write).is_ok());
    assert_eq!(world.records()[before]["decision"], "allow");
}

#[test]
fn nothing_runs_while_the_log_cannot_be_written_and_the_gap_is_confessed() {
    let world = World::with("a | x | read | allow");
    let mut caller = world.caller();
    let (allowed, denied) = (request("read", &["x"]), request("read", &["y"]));
    assert!(world.monitor.authorize(&mut caller, &allowed).is_ok());
    world.log.set_memory(Memory::Full);
    assert_eq!(world.monitor.authorize(&mut caller, &denied).unwrap_err(), Denial::Unrecorded);
    assert_eq!(world.monitor.authorize(&mut caller, &allowed).unwrap_err(), Denial::Unrecorded);
    assert_eq!(Denial::Unrecorded.reason(), Reason::AuditUnavailable);
    world.log.set_memory(Memory::Free);
    assert!(world.monitor.authorize(&mut caller, &allowed).is_ok());
    let records = world.records();
    assert_eq!((&records[0]["event"], &records[0]["count"]), (&"gap".into(), &2.into()));
    assert_eq!(records.len(), 1);
    assert_eq!(world.verified(), 2);
}

#[test]
fn a_flood_of_refused_calls_is_summed_up_and_each_caller_learns_of_a_record_like_its_own() {
    let world = World::with("");
    let mut caller = world.caller();
    let mut told = Vec::new();
    for number in 0..1_000 {
        let object = format!("x/{}", number % 40);
        let denial =
            world.monitor.authorize(&mut caller, &request("read", &[&object])).unwrap_err();
        told.push(denial.audit().unwrap().0);
    }
    // Another kind has its own ten.
    let other = world.monitor.authorize(&mut caller, &request("write", &["x"])).unwrap_err();
    assert_eq!(told[..10], (2..12).collect::<Vec<u64>>());
    assert!(told[10..].iter().all(|id| *id == 11));
    assert_eq!(other.audit(), Some(AuditId(12)));
    world.pass(1_000);
    world.monitor.tick();
    let records = world.records();
    assert_eq!(records.len(), 12);
    let summary = &records[11];
    for (name, value) in [
        ("event", Value::from("summary")),
        ("decision", "deny".into()),
        ("reason", "default".into()),
        ("principal", "a".into()),
        ("service", "Table".into()),
        ("method", "get".into()),
        ("verb", "read".into()),
        ("count", 990.into()),
        ("distinct", 40.into()),
        ("like", 11.into()),
    ] {
        assert_eq!(summary[name], value, "{name}");
    }
    assert_eq!(summary.get("detail"), None);
    // The next second begins anew.
    let denial = world.monitor.authorize(&mut caller, &request("read", &["x"])).unwrap_err();
    assert_eq!(denial.audit(), Some(AuditId(14)));
}

#[test]
fn the_memory_of_a_flood_is_bounded_and_its_count_exact() {
    let world = World::with("");
    let mut caller = world.caller();
    let kinds = MAX_KINDS + 500;
    for number in 0..kinds {
        let verb = format!("v{number}");
        for nth in 0..12 {
            let object = format!("{number}/{nth}");
            let request = Request { verb: &verb, ..request("", &[]) };
            let denial =
                world.monitor.authorize(&mut caller, &Request { objects: &[&object], ..request });
            assert!(denial.unwrap_err().audit().is_some());
        }
    }
    for number in 0..1_000 {
        let object = format!("many/{number}");
        let _denied = world.monitor.authorize(&mut caller, &request("v0", &[&object])).unwrap_err();
    }
    world.pass(1_000);
    world.monitor.tick();
    let records = world.records();
    let summaries: Vec<_> = records.iter().filter(|record| record["event"] == "summary").collect();
    let summed: u64 = summaries.iter().map(|summary| summary["count"].as_u64().unwrap()).sum();
    let full = records.iter().filter(|record| record["event"] == "decision").count() as u64;
    assert_eq!(full + summed, kinds as u64 * 12 + 1_000);
    let other = summaries.iter().find(|summary| summary["reason"] == "other").unwrap();
    assert_eq!(other["count"], 500 * 12 - 10);
    let many = summaries.iter().find(|summary| summary["verb"] == "v0").unwrap();
    assert_eq!(many["distinct"], MAX_DISTINCT);
    assert_eq!(many["detail"], "at least so many distinct objects");
}

#[test]
fn whoever_tries_many_unknown_methods_cannot_hide_the_refusals_of_others() {
    let world = World::with("");
    let mut caller = world.caller();
    let ids: Vec<_> = (0..MAX_KINDS + 1).map(|id| format!("{id:016x}")).collect();
    for method in &ids {
        let request = Request { service: "", method, verb: "", ..request("", &[]) };
        let _denied = world.monitor.refuse(&caller, &request, Reason::UnknownMethod);
    }
    for _ in 0..11 {
        let _denied = world.monitor.authorize(&mut caller, &request("read", &["x"])).unwrap_err();
    }
    world.pass(1_000);
    world.monitor.tick();
    let records = world.records();
    let full: Vec<_> = records.iter().filter(|record| record["event"] == "decision").collect();
    assert_eq!(full.len(), 20);
    // The record in full says what was tried.
    assert!(full.iter().zip(&ids).take(10).all(|(record, id)| record["method"] == **id));
    let summary = |reason: &str| {
        let is_it = |record: &&Value| record["event"] == "summary" && record["reason"] == reason;
        records.iter().find(is_it).unwrap_or_else(|| panic!("{reason}: {records:#?}"))
    };
    let unknown = summary("unknown_method");
    assert_eq!((&unknown["count"], unknown.get("method")), (&(MAX_KINDS - 9).into(), None));
    assert_eq!(
        (&summary("default")["count"], &summary("default")["verb"]),
        (&1.into(), &"read".into())
    );
}

#[test]
fn what_was_only_counted_is_on_record_when_the_monitor_goes() {
    let World { monitor, log, .. } = World::with("");
    let mut caller = monitor.admit(&key(1).0, "SHA256:a", [7; 8], "10.0.0.7:5123").unwrap();
    for _ in 0..15 {
        let _denied = monitor.authorize(&mut caller, &request("read", &["x"])).unwrap_err();
    }
    drop(monitor);
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["count"]), (&"summary".into(), &5.into()));
}

#[test]
fn a_monitor_does_not_start_on_a_log_that_cannot_be_written() {
    let log = AuditLog::memory();
    log.set_memory(Memory::Full);
    assert!(Monitor::new(policy("acl 1"), log, || UNIX_EPOCH).is_err());
}

#[test]
fn a_stranger_is_refused_on_record() {
    let world = World::with("* | ** | * | allow");
    let refused = world.monitor.admit(&key(9).0, "SHA256:x", [0; 8], "10.0.0.9:1").unwrap_err();
    assert_eq!(refused.audit, Some(AuditId(2)));
    let record = &world.records()[0];
    assert_eq!(record["event"], "handshake.refused");
    assert_eq!(record["reason"], "unknown_principal");
    assert_eq!((&record["key"], &record["peer"]), (&"SHA256:x".into(), &"10.0.0.9:1".into()));
}

#[test]
fn a_flood_of_refused_handshakes_is_summed_up_and_no_count_is_lost() {
    let world = World::with("");
    for _ in 0..1_000 {
        world.monitor.handshake_refused("10.0.0.9:1", "bad_mac", None);
    }
    assert_eq!(
        world.monitor.handshake_refused("10.0.0.9:1", "other_reason", None),
        Some(AuditId(12))
    );
    world.pass(1_000);
    world.monitor.tick();
    world.monitor.tick();
    let records = world.records();
    assert_eq!(records.len(), 12);
    assert_eq!((&records[11]["event"], &records[11]["count"]), (&"summary".into(), &990.into()));
    assert_eq!(records[11]["reason"], "bad_mac");
    for _ in 0..11 {
        world.monitor.handshake_refused("10.0.0.9:1", "bad_mac", None);
    }
    assert_eq!(world.records().len(), 22);
    assert_eq!(world.verified(), 23);
}

#[test]
fn a_session_that_broke_the_protocol_is_on_record_with_who_it_was() {
    let world = World::with("");
    let caller = world.caller();
    for _ in 0..12 {
        world.monitor.session_broken(&caller, "record_not_authentic");
    }
    world.pass(1_000);
    world.monitor.tick();
    let records = world.records();
    assert_eq!(records.len(), 11);
    assert_eq!(records[0]["event"], "session.broken");
    assert_eq!(records[0]["reason"], "record_not_authentic");
    assert_eq!(records[0]["principal"], caller.principal().as_str());
    assert_eq!(records[10]["detail"], "session.broken");
    assert_eq!(records[10]["count"], 2);
}

#[test]
fn a_summary_that_cannot_be_written_is_owed() {
    let world = World::with("");
    for _ in 0..15 {
        world.monitor.handshake_refused("p", "r", None);
    }
    world.pass(1_000);
    world.log.set_memory(Memory::Full);
    world.monitor.tick();
    world.log.set_memory(Memory::Free);
    world.monitor.tick();
    let records = world.records();
    assert_eq!(records.last().unwrap()["count"], 5);
}

#[test]
fn a_new_policy_takes_the_right_away_in_the_middle_of_a_session() {
    let world = World::with("serial 5\na | x | read | allow");
    let mut caller = world.caller();
    assert!(world.monitor.authorize(&mut caller, &request("read", &["x"])).is_ok());
    let text = format!("serial 6\nprincipal a = {}\na | y | read | allow", key(1).1);
    world.monitor.replace(policy(&text)).unwrap();
    let denial = world.monitor.authorize(&mut caller, &request("read", &["x"])).unwrap_err();
    assert_eq!(denial.reason(), Reason::Default);
    assert!(world.monitor.authorize(&mut caller, &request("read", &["y"])).is_ok());
}

#[test]
fn a_key_that_was_taken_away_or_given_to_another_carries_no_right() {
    for keys in [
        format!("principal a = {}", key(3).1),
        format!("principal a = {}\nprincipal b = {}", key(3).1, key(1).1),
    ] {
        let world = World::with("* | x | read | allow");
        let mut caller = world.caller();
        assert!(world.monitor.authorize(&mut caller, &request("read", &["x"])).is_ok());
        world.monitor.replace(policy(&format!("{keys}\n* | x | read | allow"))).unwrap();
        let denial = world.monitor.authorize(&mut caller, &request("read", &["x"])).unwrap_err();
        assert_eq!(denial.reason(), Reason::UnknownPrincipal);
        assert!(!world.monitor.may_ever(&caller, "read"));
    }
}

#[test]
fn an_older_policy_does_not_come_into_force() {
    let world = World::with("serial 5\na | x | read | allow");
    for (text, new) in [("serial 4", Some(4)), ("acl 1", None)] {
        let error = world.monitor.replace(policy(text)).unwrap_err();
        assert!(matches!(error, ReplaceError::Serial { new: found, in_force: 5 } if found == new));
    }
    assert_eq!(world.records()[0]["event"], "policy.reject");
    assert!(world.monitor.authorize(&mut world.caller(), &request("read", &["x"])).is_ok());
}

#[test]
fn the_gate_denies_a_verb_that_no_row_can_allow_and_records_it() {
    let world = World::with("a | x | read | allow\na | y | write | allow\na | ** | write | deny");
    let caller = world.caller();
    assert!(world.monitor.gate(&caller, &request("read", &[])).is_ok());
    let denial = world.monitor.gate(&caller, &request("write", &[])).unwrap_err();
    assert_eq!(denial.reason(), Reason::Row);
    let denial = world.monitor.gate(&caller, &request("admin", &[])).unwrap_err();
    assert_eq!(denial.reason(), Reason::Default);
    assert_eq!(world.records().len(), 2);
}

#[test]
fn refusals_of_the_runtime_go_on_record_too() {
    let world = World::with("");
    let denial = world.monitor.refuse(&world.caller(), &request("", &[]), Reason::UnknownMethod);
    assert_eq!(denial.audit(), Some(AuditId(2)));
    let record = &world.records()[0];
    assert_eq!(record["reason"], "unknown_method");
    assert_eq!(record.get("verb"), None);
}
