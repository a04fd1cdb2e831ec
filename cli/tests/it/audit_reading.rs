//! Reading a log of several files: searching, following, counting, asking why, exporting.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use bailiwick_acl::audit::{AuditLog, Event, Record};
use bailiwick_acl::policy::{Effect, KeysRequired, LoadOptions, Policy, Reason, Source};
use serde_json::Value;

use super::Folder;

const POLICY: &str = "alice | course/** | read | allow\nalice | course/exam | read | deny\n";

fn denial(object: &'static str) -> Record<'static> {
    Record {
        principal: Some("alice"),
        peer: Some("10.0.0.7:5123"),
        service: Some("Course"),
        method: Some("get"),
        verb: Some("read"),
        object: Some(object),
        row: Some(("policy.acl", 2)),
        mode: Some("enforce"),
        ..Record::of(Event::Decision).judged(Effect::Deny, Reason::Row)
    }
}

/// The lines of a log with these records, a minute apart from 1970 on.
fn lines(records: &[Record<'_>]) -> Vec<String> {
    let log = AuditLog::memory();
    for (minute, record) in (0..).zip(records) {
        log.append(record, UNIX_EPOCH + Duration::from_secs(60 * minute)).unwrap();
    }
    log.lines().iter().map(|line| format!("{line}\n")).collect()
}

/// A log of six records in three files.
fn rotated() -> Folder {
    let folder = Folder::new();
    let summary = Record { count: Some(90), object: None, decision: None, ..denial("") };
    let lines = lines(&[
        denial("course/exam"),
        Record { principal: Some("bob"), ..denial("course/exam") },
        denial("course/exam").judged(Effect::Allow, Reason::Row),
        Record { event: Event::Summary, ..summary },
        Record { count: Some(7), peer: Some("10.9.9.9:1"), ..Record::of(Event::HandshakeRefused) },
        denial("course/\u{1b}[31m"),
    ]);
    folder.write("audit.jsonl.000001", lines[..2].concat());
    folder.write("audit.jsonl.000002", lines[2..4].concat());
    folder.write("audit.jsonl", lines[4..].concat());
    folder
}

fn seqs(out: &str) -> Vec<u64> {
    let seq = |line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
    out.lines().map(seq).collect()
}

#[test]
fn a_query_reads_rotated_files_and_standard_input() {
    let folder = rotated();
    let found = |more: &[&str]| {
        let ran = folder.run(&[&["audit", "query", "audit.jsonl", "--json"], more].concat());
        assert_eq!((ran.code, &*ran.err), (0, ""));
        seqs(&ran.out)
    };
    assert_eq!(found(&[]), [1, 2, 3, 4, 5, 6]);
    assert_eq!(found(&["--denied"]), [1, 2, 4, 5, 6]);
    assert_eq!(found(&["--allowed"]), [3]);
    assert_eq!(found(&["--principal", "alice", "--object", "course/*"]), [1, 3, 6]);
    assert_eq!(found(&["--event", "summary"]), [4]);
    assert_eq!(found(&["--peer", "10.9.9.9"]), [5]);
    assert_eq!(
        found(&["--service", "Course", "--method", "get", "--reason", "row"]),
        [1, 2, 3, 4, 6]
    );
    assert_eq!(found(&["--seq", "3"]), [3]);
    assert_eq!(
        found(&["--since", "1970-01-01T00:02:00Z", "--until", "1970-01-01T00:03:00Z"]),
        [3, 4]
    );
    assert_eq!(found(&["--since", "1h"]), [0; 0]);
    assert_eq!(found(&["--limit", "2"]), [1, 2]);
    assert_eq!(found(&["--last", "2"]), [5, 6]);
    let active = fs::read_to_string(folder.path("audit.jsonl")).unwrap();
    let ran = folder.run_with(&["audit", "query", "-", "--json"], &active);
    assert_eq!((ran.code, seqs(&ran.out)), (0, vec![5, 6]));
    // While a file is rotated there is no active one.
    fs::remove_file(folder.path("audit.jsonl")).unwrap();
    assert_eq!(found(&[]), [1, 2, 3, 4]);
    let ran = folder.run(&["audit", "query", "audit.jsonl", "--since", "yesterday"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("`30m`, `1h` or `2d`"), "{}", ran.err);
}

#[test]
fn a_record_that_is_being_written_is_no_error_and_nonsense_is_named_with_its_file() {
    let folder = rotated();
    let mut file = fs::OpenOptions::new().append(true).open(folder.path("audit.jsonl")).unwrap();
    file.write_all(b"{\"v\":1,\"se").unwrap();
    let ran = folder.run(&["audit", "query", "audit.jsonl", "--json"]);
    assert_eq!((ran.code, seqs(&ran.out).len()), (0, 6));
    assert!(ran.err.contains("note: audit.jsonl: the last 10 bytes"), "{}", ran.err);
    let text = fs::read_to_string(folder.path("audit.jsonl.000002")).unwrap();
    folder.write("audit.jsonl.000002", "nonsense\n".repeat(200) + &text);
    let ran = folder.run(&["audit", "query", "audit.jsonl", "--json", "--verb", "read"]);
    assert_eq!((ran.code, seqs(&ran.out).len()), (1, 5));
    assert!(ran.err.contains("error: audit.jsonl.000002: line 1 is not a record"), "{}", ran.err);
    assert!(ran.err.contains("and more of the kind") && ran.err.lines().count() < 110);
}

/// A reader that runs on until it is interrupted.
struct Follower(Child);

impl Follower {
    fn start(folder: &Folder, more: &[&str]) -> (Self, BufReader<std::process::ChildStdout>) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
            .args(["audit", "query", "audit.jsonl", "--follow", "--json"])
            .args(more)
            .current_dir(folder.0.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        (Self(child), out)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[test]
fn a_follower_sees_each_record_once_across_rotations_until_interrupted() {
    let folder = Folder::new();
    let records = vec![denial("course/exam"); 60];
    let lines = lines(&records);
    let (mut follower, mut out) = Follower::start(&folder, &[]);
    let active = folder.path("audit.jsonl");
    let append = |text: &str| {
        let mut options = fs::OpenOptions::new();
        let mut file = options.create(true).append(true).open(&active).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let mut line = String::new();
    for (at, text) in lines.iter().enumerate() {
        let (front, back) = text.split_at(at * 7 % text.len());
        append(front);
        append(back);
        if at % 10 == 9 {
            fs::rename(&active, folder.path(&format!("audit.jsonl.{:06}", at / 10 + 1))).unwrap();
        }
        // Now and then the reader must have caught up before the writer goes on.
        if at % 20 == 14 {
            while line.lines().count() <= at {
                assert_ne!(out.read_line(&mut line).unwrap(), 0);
            }
        }
    }
    while line.lines().count() < lines.len() {
        assert_ne!(out.read_line(&mut line).unwrap(), 0);
    }
    assert_eq!(seqs(&line), (1..=60).collect::<Vec<_>>());
    let pid = follower.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(follower.0.wait().unwrap().signal(), Some(2));
}

#[test]
fn a_follower_ends_when_nobody_reads_it_and_begins_where_it_is_told() {
    let folder = rotated();
    let (mut follower, mut out) = Follower::start(&folder, &["--last", "2", "--denied"]);
    let mut text = String::new();
    while text.lines().count() < 2 {
        assert_ne!(out.read_line(&mut text).unwrap(), 0);
    }
    assert_eq!(seqs(&text), [5, 6]);
    drop(out);
    let line = lines(&[denial("course/exam")]).concat();
    let mut file = fs::OpenOptions::new().append(true).open(folder.path("audit.jsonl")).unwrap();
    file.write_all(line.as_bytes()).unwrap();
    assert_eq!(follower.0.wait().unwrap().code(), Some(0));
}

#[test]
fn top_counts_what_summaries_stand_for() {
    let folder = rotated();
    let top = |more: &[&str]| {
        let ran = folder.run(&[&["audit", "top", "audit.jsonl", "--denied"], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out
    };
    let wanted = "COUNT  PRINCIPAL\n92     alice\n1      bob\n7      (no principal on record)\n100    (in all)\n";
    assert_eq!(top(&[]), wanted);
    let wanted = "COUNT  PRINCIPAL\n92     alice\n1      (1 more)\n7      (no principal on record)\n100    (in all)\n";
    assert_eq!(top(&["--limit", "1"]), wanted);
    assert!(top(&["--by", "method"]).contains("93     Course.get\n"));
    assert!(top(&["--by", "peer"]).contains("93     10.0.0.7\n7      10.9.9.9\n"));
    let objects = top(&["--by", "object"]);
    assert!(objects.contains("2      course/exam\n") && objects.contains("97     (no object"));
    assert!(objects.contains("1      course/\\u001b[31m\n"), "{objects}");
}

/// The digest of a policy as records have it.
fn digest(policy: &str, principals: Option<&str>) -> [u8; 32] {
    let source = |text| Source { name: "", text: str::as_bytes(text) };
    let principals = principals.map(source);
    let options = LoadOptions { principals, keys: KeysRequired::Tool, ..LoadOptions::default() };
    Policy::load(source(policy), &options).unwrap().policy.digest()
}

#[test]
fn why_finds_the_revision_that_judged_and_shows_its_row() {
    let folder = Folder::new();
    let people = format!("principal alice = ed25519:{}\n", "01".repeat(32));
    let judged = |digest| Record { policy: Some(digest), serial: Some(4), ..denial("course/exam") };
    let lines = lines(&[
        judged(digest(POLICY, None)),
        judged(digest(POLICY, Some(&people))),
        judged([9; 32]),
        Record { object: None, ..judged(digest(POLICY, None)) }
            .judged(Effect::Deny, Reason::Default),
        judged(digest(POLICY, None)).judged(Effect::Deny, Reason::FalseRetry),
        judged(digest(POLICY, None)).judged(Effect::Allow, Reason::Row),
        Record::of(Event::PolicyLoad),
    ]);
    folder.write("audit.jsonl", lines.concat());
    folder.write("policy.acl", "alice | course/** | read | allow\n");
    fs::create_dir(folder.path("old")).unwrap();
    folder.write("old/42.acl", POLICY);
    folder.write("old/people.acl", &people);
    folder.write("old/README", "no policy at all");
    let why = |seq: &str, more: &[&str]| {
        let base = ["audit", "why", seq, "audit.jsonl", "--policy", "policy.acl"];
        folder.run(&[&base, more].concat())
    };
    let row = "deny  old/42.acl:2: alice | course/exam | read | deny\n";
    for seq in ["1", "2"] {
        let ran = why(seq, &["--policy-dir", "old"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.contains("by the revision that judged, old/42.acl:\n"), "{}", ran.out);
        assert!(ran.out.contains(row) && ran.out.contains("as on record"), "{}", ran.out);
        assert!(ran.out.contains("  object     course/exam\n"), "{}", ran.out);
        assert!(ran.out.contains("  near: line 1 "), "{}", ran.out);
    }
    // Not among the files, so that the answer is another revision's.
    for (seq, more) in [("3", &["--policy-dir", "old"][..]), ("1", &[])] {
        let ran = why(seq, more);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("by ANOTHER revision than the one that judged, policy.acl:\n"));
        assert!(ran.out.contains("allow  policy.acl:1:"), "{}", ran.out);
        assert!(ran.out.contains("on record it was otherwise"), "{}", ran.out);
    }
    let no_object = why("4", &["--policy-dir", "old"]).out;
    assert!(
        no_object.contains("alice may read some objects; the record names none"),
        "{no_object}"
    );
    let false_retry = why("5", &["--policy-dir", "old"]).out;
    assert!(false_retry.contains("the call's number belonged to another call"), "{false_retry}");
    let forged = why("6", &["--policy-dir", "old"]);
    assert_eq!(forged.code, 1);
    assert!(forged.out.contains("ON RECORD IT WAS OTHERWISE"), "{}", forged.out);
    let load = why("7", &[]);
    assert!(load.out.contains("not the judgement of one request"), "{}", load.out);
    let missing = why("8", &[]);
    assert_eq!(missing.code, 2);
    assert!(missing.err.contains("audit.jsonl: no record 8"), "{}", missing.err);
}

#[test]
fn an_export_is_one_event_a_line() {
    let folder = rotated();
    let ran = folder.run(&["audit", "export", "--ocsf", "audit.jsonl", "--denied"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    let events: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let classes: Vec<_> = events.iter().map(|event| event["class_uid"].as_u64().unwrap()).collect();
    assert_eq!(classes, [6003, 6003, 6003, 3002, 6003]);
    assert!(!ran.out.contains('\u{1b}') && ran.out.contains("course/\\u001b[31m"));
    assert_eq!(folder.run(&["audit", "export", "audit.jsonl"]).code, 2);
}
