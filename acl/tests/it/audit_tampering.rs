//! Each of the eight kinds of tampering is found, and called by its name.

use std::fs;
use std::path::Path;

use bailiwick_acl::audit::{
    CheckpointKey, Expected, Tampered, Truncation, What, Witnessed, verify, verify_files,
};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

use super::audit_world::{Place, denial, field, lines, random, time, write_lines};
use super::world::Dice;

/// A log of `records` denials between its first checkpoint and the one that closes it.
fn closed(records: usize) -> (Place, Vec<String>) {
    let place = Place::new();
    let log = place.open();
    for number in 0..records {
        log.append(&denial(&format!("o{number}")), time(1)).unwrap();
    }
    drop(log);
    let found = lines(&place.path);
    (place, found)
}

fn wrong(lines: &[String]) -> (u64, What) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let Tampered { line, what, .. } = verify(text.as_bytes()).unwrap_err();
    (line, what)
}

fn known(place: &Place, expected: &Expected) -> What {
    verify_files(&place.path, expected).unwrap_err().what
}

/// Chains a line anew after `before`, as someone who can write the file would.
fn rechain(line: &str, before: &str, key: Option<&SigningKey>) -> String {
    let prev = field(before, "h").as_str().unwrap().to_owned();
    let old = field(line, "prev").as_str().unwrap().to_owned();
    let line = line.replace(&format!("\"prev\":\"{old}\""), &format!("\"prev\":\"{prev}\""));
    let mut body = line[..line.rfind(",\"h\":\"").unwrap()].to_owned();
    if let Some(key) = key {
        body.truncate(body.rfind(",\"sig\":\"").unwrap());
        let signed = [b"bailiwick audit checkpoint v1\0", body.as_bytes()].concat();
        body += &format!(",\"sig\":\"{}\"", hex(&key.sign(&signed).to_bytes()));
    }
    let mut hash = Sha256::new();
    hash.update(b"bailiwick audit record v1\0");
    hash.update(unhex(&prev));
    hash.update(&body);
    format!("{body},\"h\":\"{}\"}}", hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn an_edit_is_found() {
    let (_place, lines) = closed(4);
    for (from, to) in [("\"deny\"", "\"allow\""), ("alice", "alicf"), ("\"read\"", "\"ream\"")] {
        let mut edited = lines.clone();
        edited[2] = edited[2].replacen(from, to, 1);
        assert_eq!(wrong(&edited), (3, What::Edited));
    }
}

#[test]
fn a_deletion_is_found() {
    let (_place, lines) = closed(4);
    let without = |gone: std::ops::Range<usize>| {
        let mut left = lines.clone();
        left.drain(gone);
        left
    };
    assert_eq!(wrong(&without(1..2)), (2, What::Deleted { from: 2, to: 2 }));
    assert_eq!(wrong(&without(2..5)), (3, What::Deleted { from: 3, to: 5 }));
    assert_eq!(wrong(&without(0..1)), (1, What::Deleted { from: 1, to: 1 }));
}

#[test]
fn an_insertion_is_found() {
    let (_place, lines) = closed(4);
    let mut doubled = lines.clone();
    doubled.insert(3, lines[1].clone());
    assert_eq!(wrong(&doubled), (4, What::Inserted { seq: 2 }));
    // A forged record with the right number and the right hashes.
    let mut forged = lines.clone();
    let record = rechain(&lines[2].replace("alice", "mallory"), &lines[1], None);
    forged.insert(2, record);
    assert_eq!(wrong(&forged), (4, What::Inserted { seq: 3 }));
    let mut foreign = lines.clone();
    foreign.insert(1, "{\"v\":1}".to_owned());
    assert_eq!(wrong(&foreign), (2, What::NotARecord));
}

#[test]
fn a_change_of_order_is_found() {
    let (_place, lines) = closed(4);
    let mut swapped = lines.clone();
    swapped.swap(1, 3);
    assert_eq!(wrong(&swapped), (2, What::Reordered { expected: 2, found: 4 }));
    let mut moved = lines.clone();
    let record = moved.remove(1);
    moved.insert(4, record);
    assert_eq!(wrong(&moved), (2, What::Reordered { expected: 2, found: 3 }));
}

#[test]
fn a_splice_of_another_log_is_found() {
    let (_place, ours) = closed(3);
    let other = Place::new();
    let log = bailiwick_acl::AuditLog::open(&other.path, "n1", random(77)).unwrap();
    for number in 0..3 {
        log.append(&denial(&format!("o{number}")), time(1)).unwrap();
    }
    drop(log);
    let theirs = lines(&other.path);
    let spliced = [&ours[..2], &theirs[2..]].concat();
    assert_eq!(wrong(&spliced), (3, What::OtherStream));
    // The same stream and the same place, in another history.
    let mut rewritten = ours.clone();
    rewritten[1] = rechain(&ours[1].replace("alice", "mallory"), &ours[0], None);
    assert_eq!(wrong(&rewritten), (3, What::Unchained));
}

#[test]
fn a_splice_of_files_is_found() {
    let place = Place::new();
    let log = place.open();
    for number in 0..6 {
        log.append(&denial(&format!("o{number}")), time(1)).unwrap();
        if number % 2 == 1 {
            log.rotate(time(2)).unwrap();
        }
    }
    drop(log);
    assert_eq!(place.verify().unwrap().files, 4);
    let (first, second) = (place.file("audit.jsonl.000001"), place.file("audit.jsonl.000002"));
    let saved = fs::read(&second).unwrap();
    // A file is gone.
    fs::remove_file(&second).unwrap();
    let found = place.verify().unwrap_err();
    assert_eq!(found.file, Some(place.file("audit.jsonl.000003")));
    assert_eq!((found.line, found.what), (1, What::Deleted { from: 5, to: 8 }));
    // Two stand in each other's place.
    fs::rename(place.file("audit.jsonl.000003"), &second).unwrap();
    fs::write(place.file("audit.jsonl.000003"), &saved).unwrap();
    let what = place.verify().unwrap_err().what;
    assert_eq!(what, What::Reordered { expected: 5, found: 9 });
    fs::rename(&second, place.file("audit.jsonl.000003")).unwrap();
    fs::write(&second, &saved).unwrap();
    place.verify().unwrap();
    // Two are joined.
    let both = [fs::read(&first).unwrap(), saved.clone()].concat();
    fs::write(&second, both).unwrap();
    fs::remove_file(&first).unwrap();
    assert_eq!(place.verify().unwrap_err().what, What::Misplaced);
}

#[test]
fn a_tail_that_was_cut_off_is_found_by_its_missed_heartbeat() {
    let place = Place::new();
    let log = place.open();
    log.append(&denial("a"), time(100)).unwrap();
    log.tick(time(110));
    log.sync().unwrap();
    let at = |second| Expected { at: Some(time(second)), ..Expected::default() };
    verify_files(&place.path, &at(170)).unwrap();
    let What::Truncated(Truncation::HeartbeatMissed { last, at }) = known(&place, &at(200)) else {
        panic!("another finding");
    };
    assert_eq!((last.as_second(), at.as_second()), (110, 200));
    // Without a time nothing can be said; and a log that was closed may be as old as it likes.
    place.verify().unwrap();
    drop(log);
    let old = Expected { at: Some(time(1_000_000)), ..Expected::default() };
    verify_files(&place.path, &old).unwrap();
}

#[test]
fn a_tail_that_was_cut_off_is_found_behind_a_forged_sign_of_life() {
    let place = Place::new();
    let log = place.open();
    log.append(&denial("a"), time(100)).unwrap();
    log.tick(time(110));
    log.sync().unwrap();
    // Cut back to the checkpoint of 110, then a record or a gap that needs no key.
    let whole = lines(&place.path);
    let at = Expected { at: Some(time(3_000)), ..Expected::default() };
    for event in ["decision", "gap"] {
        let forged = whole[1]
            .replace("\"seq\":2", "\"seq\":4")
            .replace("T00:01:40.", "T00:50:00.")
            .replace("\"event\":\"decision\"", &format!("\"event\":\"{event}\""));
        let mut cut = whole.clone();
        cut.push(rechain(&forged, &whole[2], None));
        write_lines(&place.path, &cut);
        let what = known(&place, &at);
        let What::Truncated(Truncation::HeartbeatMissed { last, at }) = what else {
            panic!("{what}");
        };
        assert_eq!((last.as_second(), at.as_second()), (110, 3_000));
    }
}

#[test]
fn a_tail_that_was_cut_off_is_found_by_a_checkpoint_kept_elsewhere() {
    let (place, found) = closed(4);
    let kept = format!("{}\n{}\n", found[0], found[5]);
    let expected =
        Expected { checkpoints: Witnessed::read(kept.as_bytes()).unwrap(), ..Expected::default() };
    assert_eq!(verify_files(&place.path, &expected).unwrap().witnessed, Some(6));
    for left in 1..6 {
        write_lines(&place.path, &found[..left]);
        let later = Truncation::WitnessedLater { last: left as u64, seq: 6 };
        assert_eq!(known(&place, &expected), What::Truncated(later));
    }
    write_lines(&place.path, &[]);
    let anchor = Some(CheckpointKey([1; 32]));
    let expected = Expected { anchor, ..Expected::default() };
    assert_eq!(known(&place, &expected), What::Truncated(Truncation::Empty));
}

#[test]
fn of_all_checkpoints_kept_elsewhere_under_one_number_each_must_fit() {
    let (place, found) = closed(4);
    let (_, forged) = closed(3);
    // The same number in another history, kept after the true one, or before it.
    let forged = rechain(&forged[4].replace("\"seq\":5", "\"seq\":6"), &found[4], None);
    let expected = |kept: &[&str]| {
        let checkpoints = Witnessed::read((kept.join("\n") + "\n").as_bytes()).unwrap();
        Expected { checkpoints, ..Expected::default() }
    };
    let (first, true_one) = (&*found[0], &*found[5]);
    for kept in [[first, true_one, &forged], [first, &forged, true_one]] {
        let what = known(&place, &expected(&kept));
        assert_eq!(what, What::NotAsWitnessed { seq: 6 });
    }
    // A witness may have kept one twice.
    let again = expected(&[first, true_one, first, true_one]);
    assert_eq!(verify_files(&place.path, &again).unwrap().witnessed, Some(6));
}

#[test]
fn signing_anew_with_a_later_key_is_found() {
    let (_place, lines) = closed(4);
    // The random bytes of the test: the stream, and the first three keys.
    let keys = [10, 11, 12].map(|byte| SigningKey::from_bytes(&[byte; 32]));
    let again = |key| {
        let mut forged = lines.clone();
        forged[2] = lines[2].replace("alice", "mallory");
        for at in 2..forged.len() {
            let key = (at == 5).then_some(key);
            forged[at] = rechain(&forged[at], &forged[at - 1], key);
        }
        forged
    };
    assert_eq!(wrong(&again(&keys[1])), (6, What::Resigned));
    assert_eq!(wrong(&again(&keys[2])), (6, What::Resigned));
    // The key that has been erased would have done it.
    let forged: String = again(&keys[0]).iter().map(|line| format!("{line}\n")).collect();
    verify(forged.as_bytes()).unwrap();
}

#[test]
fn a_log_that_was_written_anew_as_a_whole_is_found_by_its_anchor() {
    let place = Place::new();
    let log = place.open();
    let anchor = log.anchor();
    log.append(&denial("a"), time(1)).unwrap();
    drop(log);
    let expected = Expected { anchor, ..Expected::default() };
    verify_files(&place.path, &expected).unwrap();
    let kept = witnessed(&place.path);
    for name in ["audit.jsonl", "audit.jsonl.key"] {
        fs::remove_file(place.file(name)).unwrap();
    }
    let log = place.builder_with(random(50)).open().unwrap();
    let found = log.anchor().unwrap();
    log.append(&denial("b"), time(1)).unwrap();
    drop(log);
    assert_eq!(known(&place, &expected), What::OtherAnchor { found });
    let witnessed = Expected { checkpoints: kept, ..Expected::default() };
    assert_eq!(known(&place, &witnessed), What::NotAsWitnessed { seq: 1 });
    // Without either it looks like any other.
    place.verify().unwrap();
}

#[test]
fn an_unsealed_file_is_found() {
    let (place, found) = closed(4);
    // A log without any checkpoint.
    let mut bare = vec![rechain_first(&found[1])];
    for line in &found[2..5] {
        let line = renumbered(line);
        bare.push(rechain(&line, bare.last().unwrap(), None));
    }
    assert_eq!(wrong(&bare), (1, What::Unsealed { last_checkpoint: 0, records: 1 }));
    // Records that have waited too long for theirs.
    let log = place.open();
    log.append(&denial("late"), time(100)).unwrap();
    log.sync().unwrap();
    let at = |second| Expected { at: Some(time(second)), ..Expected::default() };
    // A minute is what a slow disk may take, and 20 seconds are granted.
    verify_files(&place.path, &at(180)).unwrap();
    let unsealed = What::Unsealed { last_checkpoint: 6, records: 1 };
    assert_eq!(known(&place, &at(181)), unsealed);
    // A rotated file that does not end with one.
    log.rotate(time(101)).unwrap();
    drop(log);
    let rotated = place.file("audit.jsonl.000001");
    let mut left = lines(&rotated);
    left.pop();
    write_lines(&rotated, &left);
    let found = place.verify().unwrap_err();
    assert_eq!((found.file, found.what), (Some(rotated), unsealed));
}

/// The line as if it were the first of a log.
fn rechain_first(line: &str) -> String {
    let zero = format!("{{\"h\":\"{}\"}}", "0".repeat(64));
    rechain(&renumbered(line), &zero, None)
}

/// One number less.
fn renumbered(line: &str) -> String {
    let seq = field(line, "seq").as_u64().unwrap();
    line.replacen(&format!("\"seq\":{seq}"), &format!("\"seq\":{}", seq - 1), 1)
}

#[test]
fn totals_that_do_not_add_up_are_found() {
    let (_place, lines) = closed(3);
    // Only who has the key can make it so; the reckoning is checked all the same.
    let key = SigningKey::from_bytes(&[10; 32]);
    let mut forged = lines.clone();
    forged[4] = rechain(&lines[4].replace("\"denied\":3", "\"denied\":2"), &lines[3], Some(&key));
    assert_eq!(wrong(&forged), (5, What::Totals { said: 2, counted: 3 }));
}

#[test]
fn no_byte_of_a_log_can_be_changed_and_no_line_removed_or_moved() {
    let (_place, lines) = closed(4);
    let whole: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
    verify(&*whole).unwrap();
    for at in 0..whole.len() {
        for by in [1, 0x20, 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= by;
            assert!(verify(&*changed).is_err(), "byte {at} by {by}");
        }
    }
    for at in 0..lines.len() - 1 {
        let mut shorter = lines.clone();
        shorter.remove(at);
        wrong(&shorter);
        for other in 0..at {
            let mut swapped = lines.clone();
            swapped.swap(at, other);
            wrong(&swapped);
        }
    }
}

#[test]
fn a_storm_of_tampering_is_found_to_the_last() {
    let (place, _) = closed(30);
    let whole = fs::read(&place.path).unwrap();
    let expected = Expected { checkpoints: witnessed(&place.path), ..Expected::default() };
    let seed = 20_261_130;
    let mut dice = Dice(seed);
    for round in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..=dice.below(3) {
            tamper(&mut dice, &mut bytes);
        }
        if bytes == whole {
            continue;
        }
        fs::write(&place.path, &bytes).unwrap();
        assert!(verify_files(&place.path, &expected).is_err(), "seed {seed}, round {round}");
    }
}

fn witnessed(path: &Path) -> Vec<Witnessed> {
    let kept: Vec<_> =
        lines(path).into_iter().filter(|line| field(line, "event") == "checkpoint").collect();
    Witnessed::read((kept.join("\n") + "\n").as_bytes()).unwrap()
}

/// One random change of bytes or of lines.
fn tamper(dice: &mut Dice, bytes: &mut Vec<u8>) {
    if bytes.len() < 2 {
        return;
    }
    let (a, b) = (dice.below(bytes.len()), dice.below(bytes.len()));
    let (from, to) = (a.min(b), a.max(b));
    match dice.below(6) {
        0 => bytes[a] = u8::try_from(dice.below(256)).unwrap(),
        1 => drop(bytes.drain(from..to.min(from + 9))),
        2 => bytes.insert(a, b"0a}\n\"\\"[dice.below(6)]),
        3 => bytes.truncate(a),
        4 => {
            let part = bytes[from..to].to_vec();
            bytes.splice(a..a, part);
        }
        _ => {
            let mut lines: Vec<Vec<u8>> =
                bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let (a, b) = (dice.below(lines.len()), dice.below(lines.len()));
            lines.swap(a, b);
            *bytes = lines.concat();
        }
    }
}
