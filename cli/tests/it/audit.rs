//! Verifying and searching audit logs.

use std::fs;
use std::time::UNIX_EPOCH;

use bailiwick_acl::audit::{AuditLog, Event, Record};
use bailiwick_acl::policy::{Effect, Reason};
use serde_json::Value;

use super::Folder;

/// A log of one load, two denials and an allowed call.
fn log() -> Folder {
    let folder = Folder::new();
    let log = AuditLog::open(folder.path("audit.jsonl"), "n1", |bytes| bytes.fill(9)).unwrap();
    let denial = |principal, object, reason| Record {
        principal: Some(principal),
        peer: Some("10.0.0.7:5123"),
        verb: Some("write"),
        object: Some(object),
        row: Some(("policy.acl", 7)),
        ..Record::of(Event::Decision).judged(Effect::Deny, reason)
    };
    let allowed = Record {
        verb: Some("read"),
        ..denial("alice", "course/list", Reason::Row).judged(Effect::Allow, Reason::Row)
    };
    for record in [
        Record { detail: Some("policy.acl"), ..Record::of(Event::PolicyLoad) },
        denial("alice", "course/exam/notes", Reason::Row),
        allowed,
        denial("bob", "\u{1b}[31mred\u{202e}", Reason::BadObject),
    ] {
        log.append(&record, UNIX_EPOCH).unwrap();
    }
    folder
}

#[test]
fn a_whole_log_verifies_and_a_touched_one_does_not() {
    let folder = log();
    let ran = folder.run(&["audit", "verify", "audit.jsonl"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("audit.jsonl: whole"), "{}", ran.out);
    for line in
        ["records      6", "denials      2", "checkpoints  2", "closed at 1970-01-01T00:00:00Z"]
    {
        assert!(ran.out.contains(line), "{line}: {}", ran.out);
    }
    assert!(ran.out.contains("root on the server can cut off a tail"), "{}", ran.out);
    let text = fs::read_to_string(folder.path("audit.jsonl")).unwrap();
    folder.write("audit.jsonl", text.replacen("alice", "alicf", 1));
    let ran = folder.run(&["audit", "verify", "audit.jsonl"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("audit.jsonl:3: broken: the record was edited"), "{}", ran.out);
    let ran = folder.run(&["audit", "verify", "audit.jsonl", "--json"]);
    assert_eq!(ran.code, 1);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&found["whole"], &found["line"]), (&false.into(), &3.into()));
}

#[test]
fn what_is_kept_elsewhere_proves_more() {
    let folder = log();
    let text = fs::read_to_string(folder.path("audit.jsonl")).unwrap();
    let kept: Vec<_> = text.lines().filter(|line| line.contains("\"checkpoint\"")).collect();
    folder.write("kept", format!("{}\n", kept.join("\n")));
    let first: Value = serde_json::from_str(kept[0]).unwrap();
    let anchor = first["next"].as_str().unwrap();
    let verify = |arguments: &[&str]| {
        folder.run(&[&["audit", "verify", "audit.jsonl"][..], arguments].concat())
    };
    let ran = verify(&["--anchor", anchor, "--checkpoints", "kept", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&found["witnessed"], &found["anchor"]), (&6.into(), &anchor.into()));
    let other = format!("ed25519:{}", "00".repeat(32));
    let ran = verify(&["--anchor", &other]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("is not the anchor"), "{}", ran.out);
    // The tail is cut, and looks like a crash.
    let left: Vec<_> = text.lines().take(4).collect();
    folder.write("audit.jsonl", format!("{}\n", left.join("\n")));
    let ran = verify(&["--at", "1970-01-01T00:00:01Z"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("the last 3 records: no checkpoint seals them yet"), "{}", ran.out);
    assert_eq!(verify(&[]).code, 1, "long ago by now");
    let ran = verify(&["--at", "1970-01-01T00:00:01Z", "--checkpoints", "kept"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("checkpoint 6 was kept elsewhere"), "{}", ran.out);
    let ran = verify(&["--checkpoints", "audit.jsonl"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("audit.jsonl:2: not a checkpoint"), "{}", ran.err);
    assert_eq!(verify(&["--anchor", "nonsense"]).code, 2);
}

#[test]
fn a_query_lines_up_for_people() {
    let folder = log();
    let ran = folder.run(&["audit", "query", "audit.jsonl", "--denied", "--principal", "alice"]);
    assert_eq!(ran.code, 0);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.out);
    assert_eq!(lines[0].find("OBJECT"), lines[1].find("course/exam/notes"));
    assert!(lines[1].starts_with("3    1970-01-01 00:00:00.000  deny  row"), "{}", lines[1]);
    assert!(lines[1].contains("policy.acl:7"));
}

#[test]
fn a_query_speaks_json_to_machines() {
    let folder = log();
    let found = |arguments: &[&str]| -> Vec<u64> {
        let base = ["audit", "query", "audit.jsonl", "--json"];
        let ran = folder.run(&[&base[..], arguments].concat());
        assert_eq!(ran.code, 0);
        let parse = |line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
        ran.out.lines().map(parse).collect()
    };
    assert_eq!(found(&[]), [1, 2, 3, 4, 5, 6]);
    assert_eq!(found(&["--denied"]), [3, 5]);
    assert_eq!(found(&["--verb", "read"]), [4]);
    assert_eq!(found(&["--object", "course/**"]), [3, 4]);
    assert_eq!(found(&["--object", "course/*"]), [4]);
    assert_eq!(found(&["--principal", "nobody"]), [0; 0]);
}

#[test]
fn what_an_attacker_put_into_a_name_does_not_reach_the_terminal() {
    let folder = log();
    for form in
        [&["audit", "query", "audit.jsonl"][..], &["audit", "query", "audit.jsonl", "--json"]]
    {
        let ran = folder.run(form);
        assert!(ran.out.contains("\\u001b[31mred\\u202e"), "{}", ran.out);
        assert!(!ran.out.contains(['\u{1b}', '\u{202e}']));
    }
}

#[test]
fn a_query_over_nonsense_names_the_line_and_a_bad_pattern_its_mend() {
    let folder = log();
    let text = fs::read_to_string(folder.path("audit.jsonl")).unwrap();
    folder.write("audit.jsonl", format!("nonsense\n{text}"));
    let ran = folder.run(&["audit", "query", "audit.jsonl", "--json"]);
    assert_eq!((ran.code, ran.out.lines().count()), (1, 6));
    assert!(ran.err.contains("line 1 is not a record"), "{}", ran.err);
    let ran = folder.run(&["audit", "query", "audit.jsonl", "--object", "course*"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("course/*"), "{}", ran.err);
}
