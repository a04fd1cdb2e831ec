//! The log: what is in it stays, what is done to it shows, and it keeps its manners.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bailiwick_acl::audit::{
    AuditError, AuditLog, Event, Filter, Outcome, QueryError, Record, Report, Tampered, What,
    query, verify, verify_chain,
};
use bailiwick_acl::policy::{Effect, object_pattern};
use proptest::prelude::*;
use tempfile::TempDir;

use super::audit_world::{Place, denial, random, time};

/// A log in a file of its own with records for `objects`, between its first checkpoint and the one
/// that closes it.
fn written(objects: &[&str]) -> (TempDir, PathBuf, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = AuditLog::open(&path, "n1", random(9)).unwrap();
    for object in objects {
        log.append(&denial(object), time(1)).unwrap();
    }
    drop(log);
    let lines = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    (folder, path, lines)
}

fn check(lines: &[String]) -> Result<Report, Tampered> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    verify(text.as_bytes())
}

#[test]
fn a_whole_log_verifies_and_counts() {
    let (_folder, path, lines) = written(&["a", "b", "c"]);
    let report = check(&lines).unwrap();
    assert_eq!((report.records, report.denials, report.checkpoints), (5, 3, 2));
    assert_eq!(report.stream.as_deref(), Some("09".repeat(16).as_str()));
    assert!(report.closed);
    assert!(lines[4].ends_with(&format!("\"h\":\"{}\"}}", report.head)));
    assert!(lines[0].contains(&format!("\"prev\":\"{}\"", "0".repeat(64))));
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(check(&[]).unwrap().records, 0);
}

#[test]
fn the_hash_is_what_the_documentation_says() {
    use sha2::{Digest, Sha256};
    let (_folder, _, lines) = written(&["a"]);
    let (body, seal) = lines[0].split_once(",\"h\"").unwrap();
    let mut hash = Sha256::new();
    hash.update(b"bailiwick audit record v1\0");
    hash.update([0; 32]);
    hash.update(body);
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(seal, format!(":\"{hex}\"}}"));
}

#[test]
fn a_torn_end_and_an_endless_line_are_found() {
    let (_folder, _, lines) = written(&["a", "b"]);
    let torn = format!("{}\n{}", lines[0], &lines[1][..40]);
    assert_eq!(verify(torn.as_bytes()), Err(Tampered { file: None, line: 2, what: What::TornEnd }));
    let endless = format!("{}\n{}", lines[0], "x".repeat(100_000));
    assert_eq!(
        verify(endless.as_bytes()),
        Err(Tampered { file: None, line: 2, what: What::TooLong })
    );
}

proptest! {
    #[test]
    fn any_text_goes_through_a_record_and_comes_back(text: String) {
        let log = AuditLog::memory();
        log.append(&denial(&text), time(1)).unwrap();
        let line = &log.lines()[0];
        let hides = |c: char| c.is_control() || c == '\u{202e}';
        prop_assert!(!line.contains(hides), "a raw control character");
        let line = format!("{line}\n");
        prop_assert_eq!(verify_chain(line.as_bytes()).unwrap().records, 1);
        let found: Vec<_> =
            query(line.as_bytes(), Filter::default()).collect::<Result<_, _>>().unwrap();
        if text.len() <= 1_024 {
            prop_assert_eq!(found[0].object.as_deref(), Some(&*text));
        }
    }
}

#[test]
fn a_huge_name_from_the_network_does_not_make_a_huge_record() {
    let log = AuditLog::memory();
    log.append(&denial(&"\u{1}".repeat(10_000_000)), time(1)).unwrap();
    let line = &log.lines()[0];
    assert!(line.len() < 8_192);
    assert!(line.contains("…"));
}

#[test]
fn a_log_is_carried_on_after_a_restart() {
    let (_folder, path, _) = written(&["a", "b"]);
    let log = AuditLog::open(&path, "n1", random(1)).unwrap();
    assert_eq!(log.append(&denial("c"), time(2)).unwrap().0, 5);
    let report = verify(&*fs::read(&path).unwrap()).unwrap();
    assert_eq!(report.records, 5);
    assert_eq!(report.stream.as_deref(), Some("09".repeat(16).as_str()));
}

#[test]
fn a_record_torn_by_a_crash_is_cut_off_and_confessed() {
    let (_folder, path, lines) = written(&["a", "b"]);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"v\":1,\"seq\":3").unwrap();
    let log = AuditLog::open(&path, "n1", random(1)).unwrap();
    log.append(&denial("c"), time(2)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let now: Vec<_> = text.lines().collect();
    assert_eq!(now[..4], lines);
    assert!(now[4].contains("\"event\":\"gap\"") && now[4].contains("14 bytes of a torn record"));
    assert_eq!(verify(text.as_bytes()).unwrap().records, 6);
}

#[test]
fn a_broken_chain_is_not_carried_on() {
    let (_folder, path, lines) = written(&["a", "b"]);
    fs::write(&path, format!("{}\n", lines[1])).unwrap();
    let error = AuditLog::open(&path, "n1", random(1)).unwrap_err();
    assert!(matches!(&error, AuditError::Broken { tampered, .. } if tampered.line == 1));
    assert!(error.to_string().contains("audit.jsonl:1:"), "{error}");
    assert!(error.to_string().contains("move it away"), "{error}");
}

#[test]
fn a_second_writer_is_refused_by_name() {
    let (_folder, path, _) = written(&[]);
    let first = AuditLog::open(&path, "n1", random(1)).unwrap();
    let error = AuditLog::open(&path, "n1", random(1)).unwrap_err();
    assert!(matches!(error, AuditError::InUse { .. }));
    assert!(error.to_string().contains("audit.jsonl"), "{error}");
    drop(first);
    AuditLog::open(&path, "n1", random(1)).unwrap();
}

#[test]
fn a_place_that_cannot_hold_a_log_is_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let error = AuditLog::open(folder.path(), "n1", random(1)).unwrap_err();
    assert!(matches!(error, AuditError::NotAFile { .. }));
    let error = AuditLog::open("/dev/null", "n1", random(1)).unwrap_err();
    assert!(matches!(error, AuditError::NotAFile { .. }));
    let error = AuditLog::open(folder.path().join("no/such"), "n1", random(1)).unwrap_err();
    assert!(matches!(error, AuditError::Io { doing: "open", .. }));
    let open = folder.path().join("open");
    fs::write(&open, "").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).unwrap();
    let error = AuditLog::open(&open, "n1", random(1)).unwrap_err();
    assert!(error.to_string().contains("chmod go-w"), "{error}");
}

#[test]
fn a_record_that_only_half_fits_on_the_disk_is_cut_back() {
    const FILE: &str = "BAILIWICK_TEST_SMALL_DISK";
    if let Some(path) = std::env::var_os(FILE) {
        return fill(Path::new(&path));
    }
    // A limit on the file's size stands for a full disk: the write that reaches it is short. It
    // holds for a whole process, so the test runs itself again under one.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact \
                  audit_log::a_record_that_only_half_fits_on_the_disk_is_cut_back";
    let test = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(test)
        .env(FILE, &path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(verify(&*fs::read(&path).unwrap()).unwrap().records > 1);
}

fn fill(path: &Path) {
    let log = AuditLog::open(path, "n1", random(1)).unwrap();
    let object = "x".repeat(99);
    let (whole, error) = (0..1_000)
        .find_map(|done| log.append(&denial(&object), time(1)).err().map(|error| (done, error)))
        .unwrap();
    for again in [true, false] {
        assert!(matches!(error, AuditError::Io { doing: "write", .. }), "{error}");
        assert!(!log.is_healthy());
        // The first checkpoint is one more.
        assert_eq!(verify(&*fs::read(path).unwrap()).unwrap().records, whole + 1);
        assert!(!again || log.append(&denial(&object), time(1)).is_err());
    }
}

#[test]
fn a_query_finds_by_outcome_name_verb_and_pattern() {
    let log = AuditLog::memory();
    log.append(&Record::of(Event::PolicyLoad), time(1)).unwrap();
    log.append(&denial("course/exam/notes"), time(1)).unwrap();
    let allowed = Record { decision: Some(Effect::Allow), ..denial("course/list") };
    log.append(&allowed, time(1)).unwrap();
    log.append(
        &Record { principal: Some("bob"), verb: Some("write"), ..denial("home/bob") },
        time(1),
    )
    .unwrap();
    let text: String = log.lines().iter().map(|line| format!("{line}\n")).collect();
    let find = |filter: Filter| -> Vec<u64> {
        query(text.as_bytes(), filter).map(|entry| entry.unwrap().seq).collect()
    };
    let object = |text: &str| Some(object_pattern(text).unwrap());
    assert_eq!(find(Filter::default()), [1, 2, 3, 4]);
    assert_eq!(find(Filter { outcome: Outcome::Refused, ..Filter::default() }), [2, 4]);
    assert_eq!(find(Filter { principal: Some("bob".into()), ..Filter::default() }), [4]);
    assert_eq!(find(Filter { verb: Some("read".into()), ..Filter::default() }), [2, 3]);
    assert_eq!(find(Filter { object: object("course/**"), ..Filter::default() }), [2, 3]);
    assert_eq!(find(Filter { object: object("course/*"), ..Filter::default() }), [3]);
    assert_eq!(find(Filter { object: object("home/{self}"), ..Filter::default() }), [4]);
}

#[test]
fn a_query_never_passes_on_what_a_terminal_would_obey() {
    // A log that someone else wrote: raw marks inside the strings.
    let line =
        "{\"seq\":1,\"ts\":\"\u{9b}\",\"event\":\"\u{202e}x\",\"object\":\"a\\u001b[31m\"}\n";
    let entry = query(line.as_bytes(), Filter::default()).next().unwrap().unwrap();
    assert!(!entry.json.chars().any(|c| c.is_control() || c == '\u{202e}'));
    let again: serde_json::Value = serde_json::from_str(&entry.json).unwrap();
    assert_eq!(again["event"], "\u{202e}x");
}

#[test]
fn a_query_goes_on_after_a_line_that_is_no_record() {
    let text = "{\"seq\":1,\"ts\":\"\",\"event\":\"x\"}\nnonsense\n{\"seq\":2,\"ts\":\"\",\"event\":\"x\"}\n";
    let found: Vec<_> = query(text.as_bytes(), Filter::default()).collect();
    assert!(matches!(found[1], Err(QueryError::NotARecord { line: 2 })));
    assert_eq!(found[2].as_ref().unwrap().seq, 2);
}

#[test]
fn what_is_not_on_a_disk_yet_is_counted() {
    let place = Place::new();
    let log = place.open();
    log.append(&denial("a"), time(1)).unwrap();
    log.sync().unwrap();
    assert_eq!(log.backlog(), 0);
    log.append(&denial("b"), time(1)).unwrap();
    assert_eq!(log.backlog(), 1);
    drop(log);
    assert_eq!(place.open().backlog(), 0, "what was there is on the disk");
    assert_eq!(AuditLog::memory().backlog(), 0);
}

#[test]
fn a_reserve_that_no_disk_has_room_for_is_refused() {
    for bytes in [u64::MAX, i64::MAX as u64, 1 << 62] {
        let error = Place::new().builder().reserve(bytes).open().unwrap_err();
        let AuditError::Io { doing: "reserve room for", source, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    }
}
