//! The mapping to the Open Cybersecurity Schema Framework, pinned class by class.

use std::time::{Duration, UNIX_EPOCH};

use bailiwick_acl::audit::{AuditLog, Event, Filter, Record, ocsf, query};
use bailiwick_acl::policy::{Effect, Reason};
use serde_json::{Value, json};

/// What a line of a log becomes.
fn mapped(line: &str) -> Value {
    let text = format!("{line}\n");
    let entry = query(text.as_bytes(), Filter::default()).next().unwrap().unwrap();
    serde_json::from_str(&ocsf(&entry)).unwrap()
}

fn event(record: &Record<'_>) -> Value {
    let log = AuditLog::memory();
    log.append(record, UNIX_EPOCH + Duration::from_micros(1_763_813_767_123_456)).unwrap();
    mapped(&log.lines()[0])
}

/// Class, activity, type, severity and status.
fn numbers(event: &Value) -> [u64; 5] {
    ["class_uid", "activity_id", "type_uid", "severity_id", "status_id"]
        .map(|key| event[key].as_u64().unwrap())
}

fn denial() -> Record<'static> {
    Record {
        principal: Some("alice"),
        key: Some("sha256:ab"),
        session: Some([1; 8]),
        peer: Some("10.0.0.7:5123"),
        service: Some("Course"),
        method: Some("put_notes"),
        verb: Some("write"),
        object: Some("course/exam/notes"),
        row: Some(("policy.acl", 7)),
        policy: Some([2; 32]),
        serial: Some(42),
        mode: Some("enforce"),
        call: Some("9"),
        ..Record::of(Event::Decision).judged(Effect::Deny, Reason::Row)
    }
}

#[test]
fn a_refused_request_is_api_activity_in_full() {
    let mut event = event(&denial());
    let unmapped = event["unmapped"].take();
    let digest = format!("sha256:{}", "02".repeat(32));
    let wanted = json!({
        "class_uid": 6003, "class_name": "API Activity",
        "category_uid": 6, "category_name": "Application Activity",
        "activity_id": 3, "activity_name": "Update", "type_uid": 600_303,
        "severity_id": 2, "severity": "Low",
        "status_id": 2, "status": "Failure", "status_code": "row",
        "action_id": 2, "action": "Denied", "disposition_id": 2, "disposition": "Blocked",
        "time": 1_763_813_767_123_u64,
        "metadata": {
            "version": "1.6.0",
            "product": {
                "name": "Bailiwick", "vendor_name": "Bailiwick",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "profiles": ["security_control"],
            "log_name": "audit",
            "event_code": "decision",
            "original_time": "2025-11-22T12:16:07.123456Z",
            "uid": format!("{}:1", "00".repeat(16)),
            "sequence": 1,
        },
        "actor": {
            "user": { "name": "alice", "credential_uid": "sha256:ab" },
            "session": { "uid": "0101010101010101" },
        },
        "api": {
            "operation": "put_notes",
            "service": { "name": "Course" },
            "request": { "uid": "9" },
        },
        "src_endpoint": { "ip": "10.0.0.7", "port": 5123 },
        "dst_endpoint": { "hostname": "memory", "svc_name": "Course" },
        "authorizations": [{
            "decision": "deny",
            "policy": { "name": "policy.acl", "desc": "policy.acl:7", "uid": digest, "version": "42" },
        }],
        "resources": [{ "name": "course/exam/notes", "type": "object" }],
        "unmapped": null,
    });
    assert_eq!(event, wanted);
    let keys: Vec<_> = unmapped.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["h", "mode", "prev", "v", "verb"]);
}

#[test]
fn each_event_has_its_class() {
    let of = |event| Record::of(event);
    let load = Record { detail: Some("policy.acl"), ..of(Event::PolicyLoad) };
    let allowed = denial().judged(Effect::Allow, Reason::Row);
    let verb = |verb| Record { verb: Some(verb), ..denial() };
    let mode = |mode, record| Record { mode: Some(mode), ..record };
    for (record, wanted) in [
        (denial(), [6003, 3, 600_303, 2, 2]),
        (allowed, [6003, 3, 600_303, 1, 1]),
        (verb("create"), [6003, 1, 600_301, 2, 2]),
        (verb("read"), [6003, 2, 600_302, 2, 2]),
        (verb("update"), [6003, 3, 600_303, 2, 2]),
        (verb("delete"), [6003, 4, 600_304, 2, 2]),
        (verb("grade"), [6003, 99, 600_399, 2, 2]),
        (mode("permissive", denial()), [6003, 3, 600_303, 1, 1]),
        (mode("shadow", denial()), [6003, 3, 600_303, 1, 0]),
        (denial().judged(Effect::Deny, Reason::AuditUnavailable), [6003, 3, 600_303, 4, 2]),
        (Record { count: Some(97), ..of(Event::Summary) }, [6003, 99, 600_399, 2, 2]),
        (of(Event::HandshakeRefused), [3002, 1, 300_201, 2, 2]),
        (of(Event::SessionBroken), [4001, 3, 400_103, 3, 2]),
        (of(Event::PacketsRefused), [4001, 6, 400_106, 2, 2]),
        (load, [3004, 3, 300_403, 1, 1]),
        (of(Event::PolicyReject), [3004, 3, 300_403, 3, 2]),
        (of(Event::Gap), [1008, 99, 100_899, 4, 2]),
    ] {
        let event = event(&record);
        assert_eq!(numbers(&event), wanted, "{record:?}");
        assert_eq!(event["category_uid"], wanted[0] / 1_000);
    }
    // Of other versions and writers.
    let line = |event: &str, more: &str| {
        mapped(&format!(
            "{{\"seq\":1,\"ts\":\"2026-01-01T00:00:00Z\",\"event\":\"{event}\"{more}}}"
        ))
    };
    assert_eq!(numbers(&line("rotate", "")), [1008, 5, 100_805, 1, 1]);
    assert_eq!(numbers(&line("checkpoint", "")), [1008, 99, 100_899, 1, 1]);
    assert_eq!(numbers(&line("session.revoked", "")), [3002, 2, 300_202, 2, 1]);
    let permissive = line("mode.change", ",\"mode\":\"permissive\"");
    assert_eq!(numbers(&permissive), [3004, 3, 300_403, 3, 1]);
    assert_eq!(numbers(&line("mode.change", ",\"mode\":\"enforce\"")), [3004, 3, 300_403, 1, 1]);
    let unknown = line("weather", ",\"wind\":7");
    assert_eq!(numbers(&unknown), [0, 99, 99, 0, 0]);
    assert_eq!(
        (&unknown["activity_name"], &unknown["unmapped"]["wind"]),
        (&json!("weather"), &json!(7))
    );
}

#[test]
fn what_was_done_is_told_apart_from_what_was_judged() {
    let action = |record: &Record<'_>| {
        let event = event(record);
        [event["action_id"].as_u64().unwrap(), event["disposition_id"].as_u64().unwrap()]
    };
    assert_eq!(action(&denial()), [2, 2]);
    assert_eq!(action(&denial().judged(Effect::Allow, Reason::Row)), [1, 1]);
    assert_eq!(action(&Record { mode: Some("permissive"), ..denial() }), [1, 17]);
    assert_eq!(action(&Record { mode: Some("shadow"), ..denial() }), [3, 17]);
    assert_eq!(action(&Record::of(Event::PacketsRefused)), [2, 6]);
}

#[test]
fn classes_have_what_the_schema_requires() {
    let refused = event(&Record {
        peer: Some("[::1]:7"),
        key: Some("sha256:cd"),
        reason: Some("unknown_principal"),
        count: Some(3),
        ..Record::of(Event::HandshakeRefused)
    });
    assert_eq!(refused["user"], json!({ "name": "Unknown", "credential_uid": "sha256:cd" }));
    assert_eq!(refused["src_endpoint"], json!({ "ip": "::1", "port": 7 }));
    assert_eq!(refused["dst_endpoint"], json!({ "hostname": "memory" }));
    assert_eq!(
        (&refused["count"], &refused["status_code"]),
        (&json!(3), &json!("unknown_principal"))
    );
    let summary =
        Record { detail: Some("handshake.refused"), count: Some(97), ..Record::of(Event::Summary) };
    assert_eq!(event(&summary)["class_uid"], 3002);
    let bare = event(&Record::of(Event::Decision));
    assert_eq!(bare["actor"], json!({ "user": { "name": "Unknown" } }));
    assert_eq!(bare["api"], json!({ "operation": "unknown" }));
    assert_eq!(bare["src_endpoint"], json!({ "name": "Unknown" }));
    let load =
        Record { policy: Some([2; 32]), detail: Some("p.acl"), ..Record::of(Event::PolicyLoad) };
    let entity = json!({
        "type": "policy", "name": "p.acl", "uid": format!("sha256:{}", "02".repeat(32)),
    });
    assert_eq!(event(&load)["entity"], entity);
    let broken = event(&Record { principal: Some("bob"), ..Record::of(Event::SessionBroken) });
    assert_eq!(broken["src_endpoint"], json!({ "name": "Unknown", "owner": { "name": "bob" } }));
    assert_eq!(event(&Record::of(Event::Gap))["log_name"], "audit");
}

#[test]
fn no_text_of_a_record_is_lost_or_steers_a_terminal() {
    let record =
        Record { object: Some("\u{1b}[31m\u{202e}\u{9b}"), detail: Some("more"), ..denial() };
    let log = AuditLog::memory();
    log.append(&record, UNIX_EPOCH).unwrap();
    let text = log.lines()[0].clone() + "\n";
    let entry = query(text.as_bytes(), Filter::default()).next().unwrap().unwrap();
    let line = ocsf(&entry);
    assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line}");
    let Value::Object(fields) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
    let flat = serde_json::from_str::<Value>(&line).unwrap().to_string();
    for (key, value) in fields {
        if key == "peer" {
            // It is there in two halves.
            continue;
        }
        assert!(flat.contains(value.to_string().trim_matches('"')), "{key}: {value} in {flat}");
    }
}
