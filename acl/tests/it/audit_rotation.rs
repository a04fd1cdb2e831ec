//! Rotation: at a checkpoint, by size or on request, and safe against a crash.

use std::fs;

use bailiwick_acl::audit::{AuditError, AuditLog, files};

use super::audit_world::{Place, denial, field, lines, random, time, wait_until};

#[test]
fn a_file_ends_with_a_checkpoint_and_the_next_one_carries_its_hash() {
    let place = Place::new();
    let log = place.open();
    log.append(&denial("a"), time(1)).unwrap();
    log.rotate(time(2)).unwrap();
    let audit = log.append(&denial("b"), time(3)).unwrap();
    assert_eq!(audit.0, 5, "the numbers go on");
    drop(log);
    let (old, new) = (lines(&place.file("audit.jsonl.000001")), lines(&place.path));
    assert_eq!(field(old.last().unwrap(), "event"), "checkpoint");
    assert_eq!(field(&new[0], "event"), "rotate");
    assert_eq!(field(&new[0], "detail"), "audit.jsonl.000001");
    assert_eq!(field(&new[0], "prev"), field(old.last().unwrap(), "h"));
    assert_eq!(field(&new[0], "denied"), 1);
    let report = place.verify().unwrap();
    assert_eq!((report.files, report.denials, report.closed), (2, 2, true));
    assert_eq!(files(&place.path).unwrap().len(), 2);
}

#[test]
fn a_file_gives_way_to_the_next_by_its_size() {
    let place = Place::new();
    let log = place.builder().rotate_at(20_000).open().unwrap();
    let (mut denied, fill) = (0, |log: &AuditLog, until, denied: &mut u64| {
        // How soon a full file gives way depends on when the key of the next checkpoint is there.
        while files(&place.path).unwrap().len() < until {
            log.append(&denial(&format!("o{denied}")), time(1)).unwrap();
            *denied += 1;
            if denied.is_multiple_of(50) {
                log.sync().unwrap();
            }
            assert!(*denied < 10_000);
        }
    });
    fill(&log, 4, &mut denied);
    drop(log);
    assert!(denied > 100, "{denied}");
    let report = place.verify().unwrap();
    assert_eq!((report.denials, report.files), (denied, 4));
    // And a log of several files is carried on.
    let log = place.builder().rotate_at(20_000).open().unwrap();
    fill(&log, 6, &mut denied);
    drop(log);
    let report = place.verify().unwrap();
    assert_eq!((report.denials, report.files), (denied, 6));
}

#[test]
fn a_crash_in_the_middle_of_a_rotation_is_mended() {
    for made in [false, true] {
        let place = Place::new();
        let log = place.open();
        log.append(&denial("a"), time(1)).unwrap();
        drop(log);
        // The name was changed, and the next file is not there, or is empty.
        fs::rename(&place.path, place.file("audit.jsonl.000001")).unwrap();
        if made {
            fs::write(&place.path, "").unwrap();
            set_private(&place.path);
        }
        let log = place.builder_with(random(100)).open().unwrap();
        assert_eq!(log.append(&denial("b"), time(2)).unwrap().0, 5);
        drop(log);
        assert_eq!(field(&lines(&place.path)[0], "event"), "rotate");
        let report = place.verify().unwrap();
        assert_eq!((report.files, report.denials), (2, 2));
    }
}

#[test]
fn a_crash_right_after_a_rotation_of_a_log_at_work_is_mended() {
    let place = Place::new();
    let key = place.file("audit.jsonl.key");
    let log = place.open();
    log.append(&denial("a"), time(1)).unwrap();
    let before = fs::read(&key).unwrap();
    log.rotate(time(2)).unwrap();
    wait_until(|| fs::read(&key).unwrap() != before);
    let crashed = fs::read(&key).unwrap();
    drop(log);
    fs::remove_file(&place.path).unwrap();
    fs::write(&key, crashed).unwrap();
    let log = place.builder_with(random(100)).open().unwrap();
    log.append(&denial("b"), time(3)).unwrap();
    drop(log);
    let new = lines(&place.path);
    let events: Vec<_> = new.iter().map(|line| field(line, "event")).collect();
    assert_eq!(events, ["rotate", "gap", "checkpoint", "decision", "checkpoint"]);
    assert!(new[1].contains("not closed in order"), "{}", new[1]);
    assert_eq!(place.verify().unwrap().denials, 2);
}

fn set_private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_rotated_file_that_was_cut_is_not_carried_on() {
    let place = Place::new();
    let log = place.open();
    log.append(&denial("a"), time(1)).unwrap();
    drop(log);
    let mut cut = lines(&place.path);
    cut.pop();
    super::audit_world::write_lines(&place.file("audit.jsonl.000001"), &cut);
    fs::remove_file(&place.path).unwrap();
    let error = place.builder().open().unwrap_err();
    assert!(matches!(error, AuditError::Broken { .. }), "{error}");
}

#[test]
fn after_the_last_number_of_a_file_there_is_no_rotation() {
    let place = Place::new();
    let log = place.open();
    log.append(&denial("a"), time(1)).unwrap();
    drop(log);
    fs::rename(&place.path, place.file("audit.jsonl.4294967295")).unwrap();
    let log = place.builder().rotate_at(1).open().unwrap();
    assert!(matches!(log.rotate(time(2)), Err(AuditError::Full)));
    // The log itself goes on, and is sealed.
    log.append(&denial("b"), time(2)).unwrap();
    log.sync().unwrap();
    drop(log);
    let report = place.verify().unwrap();
    assert_eq!((report.files, report.denials, report.closed), (2, 2, true));
}

#[test]
fn a_second_file_that_has_had_its_last_number_is_not_completed() {
    let place = Place::new();
    let other = place.file("other.jsonl");
    let open = || place.builder().file(&other).open();
    let log = open().unwrap();
    log.append(&denial("a"), time(1)).unwrap();
    drop(log);
    fs::rename(&other, place.file("other.jsonl.4294967295")).unwrap();
    let log = place.open();
    log.append(&denial("b"), time(2)).unwrap();
    log.rotate(time(2)).unwrap();
    drop(log);
    assert!(matches!(open(), Err(AuditError::Full)));
}
