//! What a witness takes, and what it refuses.

use std::fs;
use std::io::BufReader;

use bailiwick_acl::audit::{
    AttestError, Expected, Truncation, What, WitnessFolder, Witnessed, stream_of_checkpoint,
    verify_files,
};
use tempfile::TempDir;

use super::audit_world::{Place, denial, lines, random, time, write_lines};

/// A log that was closed three times, and its four checkpoints.
fn log() -> (Place, Vec<String>) {
    let place = Place::new();
    for object in ["a", "b", "c"] {
        let log = place.open();
        log.append(&denial(object), time(1)).unwrap();
    }
    let is_checkpoint = |line: &String| stream_of_checkpoint(line.as_bytes()).is_some();
    let checkpoints: Vec<_> = lines(&place.path).into_iter().filter(is_checkpoint).collect();
    assert_eq!(checkpoints.len(), 4, "{checkpoints:#?}");
    (place, checkpoints)
}

fn witness() -> (TempDir, WitnessFolder) {
    let folder = tempfile::tempdir().unwrap();
    let witness = WitnessFolder::new(folder.path());
    (folder, witness)
}

fn stream(line: &str) -> String {
    stream_of_checkpoint(line.as_bytes()).unwrap()
}

/// Has `witness` attest the line under the stream that it names.
fn attest(witness: &mut WitnessFolder, line: &str) -> Result<(), AttestError> {
    witness.attest(&stream(line), line.as_bytes())
}

#[test]
fn a_tail_that_was_cut_off_is_found_by_what_the_witness_has() {
    let (place, checkpoints) = log();
    let (folder, mut witness) = witness();
    for line in &checkpoints {
        attest(&mut witness, line).unwrap();
    }
    let kept = folder.path().join(format!("{}.jsonl", stream(&checkpoints[0])));
    assert_eq!(lines(&kept), checkpoints);
    let checkpoints = Witnessed::read(BufReader::new(fs::File::open(kept).unwrap())).unwrap();
    let expected = Expected { checkpoints, ..Expected::default() };
    verify_files(&place.path, &expected).unwrap();
    let mut cut = lines(&place.path);
    let seq = cut.len() as u64;
    // Back to the end of the second life, which was closed in order: nothing else shows it.
    while !cut.last().unwrap().contains("\"closed\"") || cut.len() as u64 == seq {
        cut.pop();
    }
    write_lines(&place.path, &cut);
    assert!(verify_files(&place.path, &Expected::default()).is_ok());
    let tampered = verify_files(&place.path, &expected).unwrap_err();
    let later = Truncation::WitnessedLater { last: cut.len() as u64, seq };
    assert_eq!(tampered.what, What::Truncated(later));
}

#[test]
fn the_last_checkpoint_may_come_again_and_an_older_one_may_not() {
    let (_place, checkpoints) = log();
    let (folder, mut witness) = witness();
    for line in &checkpoints[..3] {
        attest(&mut witness, line).unwrap();
        attest(&mut witness, line).unwrap();
    }
    // The same for the next process.
    drop(witness);
    let mut witness = WitnessFolder::new(folder.path());
    for line in &checkpoints[..2] {
        let refused = attest(&mut witness, line);
        assert!(matches!(refused, Err(AttestError::NotNewer { .. })), "{refused:?}");
    }
    attest(&mut witness, &checkpoints[3]).unwrap();
    let kept = folder.path().join(format!("{}.jsonl", stream(&checkpoints[0])));
    assert_eq!(lines(&kept), checkpoints);
}

#[test]
fn one_that_is_edited_or_signed_by_another_key_is_refused() {
    let (_place, checkpoints) = log();
    let (_folder, mut witness) = witness();
    attest(&mut witness, &checkpoints[0]).unwrap();
    let edited = checkpoints[1].replace("\"denied\":1", "\"denied\":0");
    assert_ne!(edited, checkpoints[1]);
    assert!(matches!(attest(&mut witness, &edited), Err(AttestError::Edited)));
    // Its key was announced by the one between.
    assert!(matches!(attest(&mut witness, &checkpoints[2]), Err(AttestError::Resigned)));
    attest(&mut witness, &checkpoints[1]).unwrap();
}

#[test]
fn another_log_under_the_name_of_a_stream_is_refused() {
    let (_place, checkpoints) = log();
    let other = {
        let place = Place::new();
        let log = place.builder_with(random(77)).open().unwrap();
        log.append(&denial("a"), time(1)).unwrap();
        drop(log);
        lines(&place.path).remove(0)
    };
    let (_folder, mut witness) = witness();
    let name = stream(&checkpoints[0]);
    for line in [&checkpoints[0], &checkpoints[1]] {
        let refused = witness.attest(&name, other.as_bytes());
        assert!(matches!(refused, Err(AttestError::OtherStream { .. })), "{refused:?}");
        attest(&mut witness, line).unwrap();
    }
}

#[test]
fn what_is_no_checkpoint_and_a_name_that_is_no_stream_make_no_file() {
    let (place, checkpoints) = log();
    let (folder, mut witness) = witness();
    let name = stream(&checkpoints[0]);
    let record = lines(&place.path).into_iter().find(|line| line.contains("\"decision\"")).unwrap();
    let two = format!("{}\n{}", checkpoints[0], checkpoints[1]);
    for line in ["", "{}", &record, &two, &"x".repeat(1 << 20)] {
        let refused = witness.attest(&name, line.as_bytes());
        assert!(matches!(refused, Err(AttestError::NotACheckpoint)), "{refused:?}");
    }
    for name in ["", "../../etc", &"0A".repeat(16), &format!("{name}0")] {
        let refused = witness.attest(name, checkpoints[0].as_bytes());
        assert!(matches!(refused, Err(AttestError::NotAStream(_))), "{refused:?}");
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_torn_line_is_cut_off_and_a_damaged_file_is_told_of() {
    let (_place, checkpoints) = log();
    let (folder, mut witness) = witness();
    attest(&mut witness, &checkpoints[0]).unwrap();
    drop(witness);
    let kept = folder.path().join(format!("{}.jsonl", stream(&checkpoints[0])));
    fs::write(&kept, format!("{}\n{}", checkpoints[0], &checkpoints[1][..40])).unwrap();
    let mut witness = WitnessFolder::new(folder.path());
    attest(&mut witness, &checkpoints[1]).unwrap();
    assert_eq!(lines(&kept), checkpoints[..2]);
    drop(witness);
    write_lines(&kept, &[checkpoints[1].clone(), checkpoints[0].clone()]);
    let damaged = attest(&mut WitnessFolder::new(folder.path()), &checkpoints[2]);
    assert!(matches!(damaged, Err(AttestError::Damaged { line: 2, .. })), "{damaged:?}");
}
