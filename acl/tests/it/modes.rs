//! Modes beside enforcing: who is forgiven what, for how long, and what a shadow would have said.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bailiwick_acl::audit::{AuditLog, Filter, Memory, Outcome, query, verify_chain};
use bailiwick_acl::monitor::{MAX_PERMISSIVE, Mode, ModeError, Rejected};
use bailiwick_acl::{Denial, Monitor, Reason};

use super::monitor::{World, request};
use super::{key, policy};

/// What the world's clock shows first.
const BEGIN: Duration = Duration::from_secs(1_000);

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + BEGIN + Duration::from_secs(seconds)
}

/// A world in which `a` is permissive for ten seconds.
fn permissive(rules: &str) -> World {
    let World { monitor, log, now } = World::with(rules);
    let monitor = monitor.permissive("a", at(10)).unwrap();
    World { monitor, log, now }
}

/// A policy with the keys of the world's.
fn of_world(rules: &str) -> bailiwick_acl::Policy {
    policy(&format!("principal a = {}\nprincipal b = {}\n{rules}", key(1).1, key(2).1))
}

#[test]
fn a_permissive_principal_may_what_no_row_speaks_of_and_each_time_is_on_record() {
    let world = permissive("a | x | read | allow");
    let mut caller = world.caller();
    let grant = world.monitor.authorize(&mut caller, &request("read", &["y"])).unwrap();
    assert_eq!(grant.row(), None);
    assert!(world.monitor.gate(&caller, &request("never", &[])).is_ok());
    let records = world.records();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["event"], "mode.change");
    assert_eq!(
        (&records[0]["principal"], &records[0]["mode"]),
        (&"a".into(), &"permissive".into())
    );
    assert_eq!(records[0]["detail"], "until 1970-01-01T00:16:50Z");
    assert_eq!(
        (&records[1]["decision"], &records[1]["reason"]),
        (&"deny".into(), &"default".into())
    );
    assert_eq!((&records[1]["mode"], &records[1]["object"]), (&"permissive".into(), &"y".into()));
}

#[test]
fn what_was_forgiven_is_no_refusal_to_those_who_count_or_search() {
    let world = permissive("");
    assert!(world.monitor.authorize(&mut world.caller(), &request("read", &["y"])).is_ok());
    let text: String = world.log.lines().iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(verify_chain(text.as_bytes()).unwrap().denials, 0);
    let refused = Filter { outcome: Outcome::Refused, ..Filter::default() };
    assert_eq!(query(text.as_bytes(), refused).count(), 0);
}

#[test]
fn rows_that_deny_and_names_that_are_not_canonical_still_bite() {
    let world = permissive("a | secret/** | * | deny");
    let mut caller = world.caller();
    let mut refused = |objects: &[&str]| {
        world.monitor.authorize(&mut caller, &request("read", objects)).unwrap_err().reason()
    };
    assert_eq!(refused(&["secret/x"]), Reason::Row);
    assert_eq!(refused(&["a/../secret"]), Reason::BadObject);
    assert_eq!(refused(&[]), Reason::BadObject);
    assert_eq!(refused(&["y", "secret/x"]), Reason::Row, "hidden behind one that no row speaks of");
    assert_eq!(world.records().last().unwrap()["object"], "secret/x");
    assert_eq!(refused(&["y", "a//b"]), Reason::BadObject);
}

#[test]
fn only_the_principal_that_was_named_is_permissive_and_only_with_its_key() {
    let world = permissive("");
    let mut other = world.monitor.admit(&key(2).0, "SHA256:b", [8; 8], "10.0.0.8:1").unwrap();
    let denial = world.monitor.authorize(&mut other, &request("read", &["y"])).unwrap_err();
    assert_eq!(denial.reason(), Reason::Default);
    let mut caller = world.caller();
    world.monitor.replace(policy(&format!("principal a = {}", key(3).1))).unwrap();
    let denial = world.monitor.authorize(&mut caller, &request("read", &["y"])).unwrap_err();
    assert_eq!(denial.reason(), Reason::UnknownPrincipal);
}

#[test]
fn it_ends_by_itself_on_record_and_never_comes_back() {
    let world = permissive("");
    let mut caller = world.caller();
    world.pass(9_999);
    assert!(world.monitor.authorize(&mut caller, &request("read", &["y"])).is_ok());
    world.pass(1);
    let denial = world.monitor.authorize(&mut caller, &request("read", &["y"])).unwrap_err();
    assert_eq!(denial.reason(), Reason::Default);
    world.monitor.tick();
    world.monitor.tick();
    let changes: Vec<_> =
        world.records().into_iter().filter(|it| it["event"] == "mode.change").collect();
    assert_eq!(changes.len(), 2);
    assert_eq!((&changes[1]["principal"], &changes[1]["mode"]), (&"a".into(), &"enforce".into()));
    world.turn_back(5_000);
    assert!(world.monitor.authorize(&mut caller, &request("read", &["y"])).is_err());
}

#[test]
fn a_clock_that_is_set_back_does_not_prolong_it() {
    let world = permissive("");
    world.turn_back(1);
    assert!(world.monitor.authorize(&mut world.caller(), &request("read", &["y"])).is_err());
}

#[test]
fn nobody_is_forgiven_while_the_log_cannot_be_written() {
    let world = permissive("");
    let mut caller = world.caller();
    world.log.set_memory(Memory::Full);
    let denial = world.monitor.authorize(&mut caller, &request("read", &["y"])).unwrap_err();
    assert_eq!(denial, Denial::Unrecorded);
}

#[test]
fn it_lasts_seven_days_at_the_most_and_for_someone_who_is_known() {
    let monitor = || World::with("").monitor;
    assert!(monitor().permissive("a", at(0) + MAX_PERMISSIVE).is_ok());
    let longer = at(0) + MAX_PERMISSIVE + Duration::from_millis(1);
    let error = monitor().permissive("a", longer).unwrap_err();
    assert!(matches!(error, ModeError::TooLong { principal } if principal == "a"));
    let error = monitor().permissive("alcie", at(1)).unwrap_err();
    assert!(matches!(error, ModeError::UnknownPrincipal { principal } if principal == "alcie"));
}

#[test]
fn a_time_that_has_passed_changes_nothing() {
    let World { monitor, log, .. } = World::with("");
    let monitor = monitor.permissive("a", at(0)).unwrap();
    let mut caller = monitor.caller("a", [0; 8], "in process").unwrap();
    assert!(monitor.authorize(&mut caller, &request("read", &["y"])).is_err());
    assert_eq!(log.lines().iter().filter(|line| line.contains("mode.change")).count(), 0);
}

#[test]
fn a_shadow_records_what_it_would_answer_otherwise_and_changes_no_answer() {
    let world = World::with("serial 1\na | x | read | allow");
    let next = "serial 2\na | x | read | deny\na | y | read | allow\na | z | read | allow";
    world.monitor.shadow(of_world(next)).unwrap();
    let mut caller = world.caller();
    assert!(world.monitor.authorize(&mut caller, &request("read", &["x"])).is_ok());
    assert!(world.monitor.authorize(&mut caller, &request("read", &["y"])).is_err());
    assert!(world.monitor.authorize(&mut caller, &request("read", &["nowhere"])).is_err());
    let records = world.records();
    assert_eq!(
        (&records[0]["event"], &records[0]["mode"]),
        (&"mode.change".into(), &"shadow".into())
    );
    let shadows: Vec<_> =
        records.iter().filter(|it| it["event"] == "decision" && it["mode"] == "shadow").collect();
    assert_eq!(shadows.len(), 2, "where both agree nothing is said");
    for (record, decision, object, row) in
        [(shadows[0], "deny", "x", "policy.acl:4"), (shadows[1], "allow", "y", "policy.acl:5")]
    {
        assert_eq!(record["decision"], decision);
        assert_eq!((&record["object"], &record["row"]), (&object.into(), &row.into()));
        assert_eq!(record["serial"], 2, "the shadow's own");
    }
    let text: String = world.log.lines().iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(verify_chain(text.as_bytes()).unwrap().denials, 2, "what the live policy refused");
}

#[test]
fn a_shadow_that_knows_the_key_no_more_says_so() {
    let world = World::with("a | x | read | allow");
    world.monitor.shadow(policy(&format!("principal a = {}", key(3).1))).unwrap();
    assert!(world.monitor.authorize(&mut world.caller(), &request("read", &["x"])).is_ok());
    assert_eq!(world.records()[1]["reason"], "unknown_principal");
}

#[test]
fn a_flood_of_differences_is_summed_up_and_no_count_is_lost() {
    let world = World::with("a | x | read | allow");
    world.monitor.shadow(of_world("")).unwrap();
    let mut caller = world.caller();
    for _ in 0..1_000 {
        assert!(world.monitor.authorize(&mut caller, &request("read", &["x"])).is_ok());
    }
    assert_eq!(world.records().len(), 11);
    world.pass(1_000);
    world.monitor.tick();
    let summary = world.records().pop().unwrap();
    assert_eq!((&summary["event"], &summary["count"]), (&"summary".into(), &990.into()));
    assert_eq!((&summary["mode"], &summary["reason"]), (&"shadow".into(), &"deny default".into()));
}

#[test]
fn a_policy_that_was_refused_is_on_record_with_its_first_error_bounded_and_escaped() {
    let log = AuditLog::memory();
    let monitor = Monitor::new(policy("acl 1"), log.clone(), || UNIX_EPOCH).unwrap();
    let long = format!("1:1: \u{1b}[2J\n{}", "x".repeat(5_000));
    let rejected = Rejected {
        name: "policy.acl",
        digest: Some([7; 32]),
        reason: "errors",
        detail: &long,
        mode: Mode::Enforce,
    };
    monitor.rejected(&rejected).unwrap();
    let line = log.lines().pop().unwrap();
    assert!(line.len() < 2_500 && !line.contains('\u{1b}'), "{line}");
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&record["event"], &record["reason"]), (&"policy.reject".into(), &"errors".into()));
    assert!(record["detail"].as_str().unwrap().starts_with("policy.acl: 1:1: \u{1b}[2J\nx"));
    assert_eq!(record["policy"], format!("sha256:{}", "07".repeat(32)));
}

#[test]
fn whoever_lost_a_key_is_not_welcome_and_whoever_kept_it_is() {
    let world = World::with("a | x | read | allow");
    let caller = world.caller();
    let other = world.monitor.admit(&key(2).0, "SHA256:b", [8; 8], "10.0.0.8:1").unwrap();
    let before = world.monitor.revision();
    // The key of `a` now belongs to `b`.
    let keys = format!("principal a = {}\nprincipal b = {},{}", key(3).1, key(1).1, key(2).1);
    world.monitor.replace(policy(&keys)).unwrap();
    assert_ne!(world.monitor.revision(), before);
    assert!(!world.monitor.is_welcome(&caller) && world.monitor.is_welcome(&other));
    world.monitor.session_revoked(&caller);
    let record = world.records().pop().unwrap();
    assert_eq!(record["event"], "session.revoked");
    assert_eq!((&record["principal"], &record["key"]), (&"a".into(), &"SHA256:a".into()));
}
