//! The keys of the checkpoints: always one that fits the log, never one that is past.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc;
use std::time::Duration;

use bailiwick_acl::audit::AuditError;

use super::audit_world::{Place, denial, field, lines, random, time, wait_until};

fn key_text(place: &Place) -> String {
    fs::read_to_string(place.file("audit.jsonl.key")).unwrap()
}

/// The seeds in the key file, by the byte that each is made of.
fn seeds(place: &Place) -> Vec<u8> {
    let text = key_text(place);
    let seed = |line: &str| {
        let digits = line.strip_prefix("seed ").or_else(|| line.strip_prefix("next "))?;
        u8::from_str_radix(&digits[..2], 16).ok()
    };
    text.lines().filter_map(seed).collect()
}

#[test]
fn each_checkpoint_is_signed_by_another_key_and_the_old_one_is_erased() {
    let place = Place::new();
    let log = place.open();
    // The stream is 9, the first key 10, its successor 11.
    assert_eq!(seeds(&place), [10, 11]);
    let mut announced = vec![log.anchor().unwrap().to_string()];
    for round in 0..3_u8 {
        log.append(&denial("a"), time(u64::from(round) * 20)).unwrap();
        wait_until(|| {
            log.tick(time(u64::from(round) * 20 + 10));
            seeds(&place) == [11 + round, 12 + round]
        });
    }
    drop(log);
    assert_eq!(seeds(&place), [14, 15]);
    assert_eq!(
        fs::metadata(place.file("audit.jsonl.key")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for line in lines(&place.path) {
        if field(&line, "event") == "checkpoint" && field(&line, "size") != 0 {
            announced.push(field(&line, "next").as_str().unwrap().to_owned());
        }
    }
    announced.dedup();
    assert_eq!(announced.len(), 5);
    assert_eq!(place.verify().unwrap().checkpoints, 5);
}

#[test]
fn after_a_crash_at_any_step_the_seed_that_fits_is_chosen() {
    let place = Place::new();
    let log = place.open();
    let before = fs::read(place.file("audit.jsonl.key")).unwrap();
    log.append(&denial("a"), time(1)).unwrap();
    drop(log);
    let after = fs::read(place.file("audit.jsonl.key")).unwrap();
    let log = fs::read(&place.path).unwrap();
    let records = lines(&place.path);
    let unsealed: Vec<u8> =
        records[..2].iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
    // The slots lie one behind the other; both may hold keys.
    let halves = |first: &[u8], second: &[u8]| [&first[..512], &second[512..]].concat();
    for (step, key, log) in [
        ("the checkpoint was lost", &before, &unsealed),
        ("the checkpoint is there and the key is not written", &before, &log),
        ("the new key is written and the old one not erased", &halves(&before, &after), &log),
        ("the new key is torn", &torn(&before, &after), &log),
        ("all is done", &after, &log),
    ] {
        fs::write(place.file("audit.jsonl.key"), key).unwrap();
        fs::write(&place.path, log).unwrap();
        let open = place
            .builder_with(random(100))
            .open()
            .unwrap_or_else(|error| panic!("{step}: {error}"));
        open.append(&denial("b"), time(2)).unwrap();
        drop(open);
        assert!(place.verify().unwrap().closed, "{step}");
        assert_eq!(seeds(&place).len(), 2, "{step}");
    }
}

#[test]
fn a_log_whose_first_start_wrote_no_record_has_the_stream_of_its_key() {
    let place = Place::new();
    drop(place.open());
    let log = place.builder_with(random(50)).open().unwrap();
    log.append(&denial("a"), time(1)).unwrap();
    let crashed =
        ["audit.jsonl", "audit.jsonl.key"].map(|name| fs::read(place.file(name)).unwrap());
    drop(log);
    fs::write(&place.path, &crashed[0]).unwrap();
    fs::write(place.file("audit.jsonl.key"), &crashed[1]).unwrap();
    let log = place.builder_with(random(100)).open().unwrap();
    log.append(&denial("b"), time(2)).unwrap();
    drop(log);
    assert_eq!(place.verify().unwrap().denials, 2);
}

#[test]
fn a_key_that_is_slow_to_change_holds_up_no_record() {
    let place = Place::new();
    // At its first change the key waits for its random bytes as it would for its disk.
    let (at_work, seen) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let (mut fill, mut filled) = (random(9), 0);
    let slow = move |bytes: &mut [u8]| {
        filled += 1;
        if filled == 4 {
            at_work.send(()).unwrap();
            released.recv().unwrap();
        }
        fill(bytes);
    };
    let log = place.builder_with(slow).deadline(Duration::from_secs(2)).open().unwrap();
    log.append(&denial("a"), time(1)).unwrap();
    log.tick(time(11));
    seen.recv().unwrap();
    for second in 12..15 {
        log.tick(time(second));
        log.append(&denial("b"), time(second)).unwrap();
    }
    release.send(()).unwrap();
    drop(log);
    assert_eq!(place.verify().unwrap().denials, 4);
}

#[test]
fn a_key_file_that_the_first_start_left_unfinished_is_made_anew() {
    let place = Place::new();
    drop(place.open());
    fs::remove_file(&place.path).unwrap();
    let key = place.file("audit.jsonl.key");
    let whole = fs::read(&key).unwrap();
    let blank = [b' '; 512];
    for left in [&[0; 512][..], &[0; 1_024], &blank, &whole[..1], &whole[..20]] {
        fs::write(&key, left).unwrap();
        drop(place.builder_with(random(50)).open().unwrap());
        assert_eq!(seeds(&place), [51, 52]);
        fs::remove_file(&place.path).unwrap();
    }
    // With its title it is the key of a log, which is missing; and another file is none of ours.
    let longer = [&[0; 1_024][..], b"x"].concat();
    for left in [&whole[..22], &whole[..200], b"rubbish", b"bailiwick audi\n\nrubbish", &longer[..]]
    {
        fs::write(&key, left).unwrap();
        let error = place.builder().open().unwrap_err();
        assert!(matches!(&error, AuditError::KeyMalformed { .. }), "{error}");
        assert_eq!(fs::read(&key).unwrap(), left);
        fs::remove_file(&place.path).unwrap();
    }
    // Nor is one forgiven that a log depends on.
    fs::write(&key, &whole).unwrap();
    let log = place.open();
    log.append(&denial("a"), time(1)).unwrap();
    drop(log);
    fs::write(&key, [0; 512]).unwrap();
    let error = place.builder().open().unwrap_err();
    assert!(matches!(&error, AuditError::KeyMalformed { .. }), "{error}");
}

/// Half of the new slot was written.
fn torn(before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut both = before.to_vec();
    both[512..700].copy_from_slice(&after[512..700]);
    both
}

#[test]
fn a_log_without_its_key_is_not_carried_on() {
    let place = Place::new();
    let log = place.open();
    log.append(&denial("a"), time(1)).unwrap();
    drop(log);
    let key = fs::read(place.file("audit.jsonl.key")).unwrap();
    fs::remove_file(place.file("audit.jsonl.key")).unwrap();
    for _ in 0..2 {
        let error = place.builder().open().unwrap_err();
        assert!(matches!(&error, AuditError::KeyMissing { .. }), "{error}");
        assert!(error.to_string().contains("keep the log as evidence"), "{error}");
    }
    fs::write(place.file("audit.jsonl.key"), "rubbish").unwrap();
    let error = place.builder().open().unwrap_err();
    assert!(matches!(&error, AuditError::KeyMalformed { .. }), "{error}");
    fs::write(place.file("audit.jsonl.key"), key).unwrap();
    place.open();
}

#[test]
fn a_key_of_another_log_or_of_a_log_that_was_cut_back_does_not_fit() {
    let place = Place::new();
    let log = place.open();
    log.append(&denial("a"), time(1)).unwrap();
    drop(log);
    let before = fs::read(&place.path).unwrap();
    let log = place.open();
    log.append(&denial("b"), time(2)).unwrap();
    drop(log);
    // Two checkpoints back, and everything.
    for cut in [&before[..], b""] {
        fs::write(&place.path, cut).unwrap();
        let error = place.builder().open().unwrap_err();
        assert!(matches!(&error, AuditError::KeyForeign { .. }), "{error}");
        assert!(error.to_string().contains("keep both as evidence"), "{error}");
    }
    let other = Place::new();
    drop(other.builder_with(random(50)).open().unwrap());
    fs::write(&place.path, before).unwrap();
    fs::copy(other.file("audit.jsonl.key"), place.file("audit.jsonl.key")).unwrap();
    let error = place.builder().open().unwrap_err();
    assert!(matches!(&error, AuditError::KeyForeign { .. }), "{error}");
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let place = Place::new();
    drop(place.open());
    let key = place.file("audit.jsonl.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = place.builder().open().unwrap_err();
    assert!(matches!(&error, AuditError::KeyExposed { .. }), "{error}");
    assert!(error.to_string().contains("chmod 600"), "{error}");
}
