//! Key files: what is written is read, nothing is overwritten or shown to others, and each refusal
//! says what to do.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use bailiwick_crypto::key_file::{self, Cost, Lock};
use bailiwick_crypto::{Identity, KeyFileError, Passphrase};
use rand::SeedableRng as _;
use tempfile::TempDir;

use crate::support::{alice, mallory};

const CHEAP: Cost = Cost { memory: 8, passes: 1, lanes: 1 };

#[test]
fn an_identity_comes_back_from_its_file() {
    let (_folder, path) = plain();
    let read = Identity::read(&path).unwrap();
    assert_eq!(read.public_key(), alice().public_key());
    // A passphrase that is not needed is not used.
    let read = key_file::read(&path, Some(&Passphrase::new("unused"))).unwrap();
    assert_eq!(read.public_key(), alice().public_key());
}

#[test]
fn the_file_has_mode_0600_and_the_documented_lines() {
    let (_folder, path) = plain();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["bailiwick secret key 1", "comment: alice", "protection: none"]);
    assert_eq!(lines[3], format!("seed: {}", "a1".repeat(32)));
    assert!(lines[4].starts_with("checksum: ") && lines.len() == 5 && text.ends_with('\n'));
}

#[test]
fn nothing_is_overwritten_not_even_through_a_dangling_link() {
    let (folder, path) = plain();
    let before = fs::read(&path).unwrap();
    let error = key_file::create(&path, &mallory(), "", None).unwrap_err();
    assert!(matches!(&error, KeyFileError::Exists { path: found } if *found == path));
    assert!(error.to_string().ends_with("already exists; choose another name"));
    assert_eq!(fs::read(&path).unwrap(), before);

    let link = folder.path().join("link");
    symlink(folder.path().join("nowhere"), &link).unwrap();
    let error = key_file::create(&link, &mallory(), "", None).unwrap_err();
    assert!(matches!(error, KeyFileError::Exists { .. }));
    assert!(!folder.path().join("nowhere").exists());
}

#[test]
fn a_file_that_others_may_use_is_refused_with_the_command_that_mends_it() {
    let (_folder, path) = plain();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = Identity::read(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Permissions { mode: found, .. } if found == mode));
        let mend = format!("chmod 600 {}", path.display());
        assert!(error.to_string().contains(&mend), "{error}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(Identity::read(&path).is_ok());
    }
}

#[test]
fn folders_pipes_and_absent_files_are_refused_without_waiting() {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let error = Identity::read(folder.path()).unwrap_err();
    assert!(matches!(error, KeyFileError::NotAFile { .. }), "{error:?}");

    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg("-m600").arg(&pipe).status().unwrap();
    assert!(made.success());
    assert!(matches!(Identity::read(&pipe).unwrap_err(), KeyFileError::NotAFile { .. }));

    let error = Identity::read(folder.path().join("absent")).unwrap_err();
    assert!(matches!(error, KeyFileError::Read { .. }));
    assert!(error.to_string().contains("bailiwick keygen -o FILE"));
}

#[test]
fn a_locked_key_needs_its_passphrase() {
    let (_folder, path) = locked();
    assert!(!fs::read_to_string(&path).unwrap().contains(&"a1".repeat(8)));
    assert!(matches!(Identity::read(&path).unwrap_err(), KeyFileError::NeedsPassphrase { .. }));
    let read = |text: &str| key_file::read(&path, Some(&Passphrase::new(text)));
    assert_eq!(read("open sesame").unwrap().public_key(), alice().public_key());
    for wrong in ["", "open", "Open sesame", "open sesame "] {
        assert!(matches!(read(wrong).unwrap_err(), KeyFileError::WrongPassphrase { .. }));
    }
}

#[test]
fn a_lock_of_the_default_cost_opens() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("key");
    let passphrase = Passphrase::new("open sesame");
    let lock = Lock::new(&passphrase, &mut rand::rngs::StdRng::seed_from_u64(7));
    assert_eq!(lock.cost, Cost { memory: 65_536, passes: 3, lanes: 4 });
    key_file::create(&path, &alice(), "", Some(&lock)).unwrap();
    let read = key_file::read(&path, Some(&passphrase)).unwrap();
    assert_eq!(read.public_key(), alice().public_key());
}

#[test]
fn every_line_before_the_box_is_bound_to_it() {
    let (_folder, path) = locked();
    let text = fs::read_to_string(&path).unwrap();
    // With a checksum that holds: whoever can write the file can make one.
    let renamed = rechecked(&text.replace("comment: alice", "comment: mallory"));
    fs::write(&path, renamed).unwrap();
    let error = key_file::read(&path, Some(&Passphrase::new("open sesame"))).unwrap_err();
    assert!(matches!(error, KeyFileError::WrongPassphrase { .. }));
}

#[test]
fn what_a_file_may_ask_of_argon2_is_bounded() {
    let (_folder, path) = locked();
    let text = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("memory: 8\n", "memory: 262145\n"),
        ("memory: 8\n", "memory: 7\n"),
        ("memory: 8\n", "memory: 4294967295\n"),
        ("passes: 1\n", "passes: 0\n"),
        ("passes: 1\n", "passes: 17\n"),
        ("lanes: 1\n", "lanes: 0\n"),
        ("lanes: 1\n", "lanes: 2\n"),
        ("lanes: 1\n", "lanes: 5\n"),
    ] {
        let greedy = rechecked(&text.replace(from, to));
        fs::write(&path, greedy).unwrap();
        let error = key_file::read(&path, Some(&Passphrase::new("open sesame"))).unwrap_err();
        assert!(matches!(error, KeyFileError::Syntax { line: 6, .. }), "{to}: {error:?}");
    }
}

#[test]
fn what_cannot_be_written_back_is_not_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("key");
    for comment in ["two\nlines", "\u{1b}[31m", &"x".repeat(201)] {
        let error = key_file::create(&path, &alice(), comment, None).unwrap_err();
        assert!(matches!(error, KeyFileError::Comment { .. }));
    }
    let empty = Passphrase::new("");
    let lock = Lock::new(&empty, &mut rand::rngs::StdRng::seed_from_u64(7)).with_cost(CHEAP);
    let error = key_file::create(&path, &alice(), "", Some(&lock)).unwrap_err();
    assert!(matches!(error, KeyFileError::EmptyPassphrase { .. }));
    let passphrase = Passphrase::new("open sesame");
    let greedy = Cost { memory: 262_145, ..CHEAP };
    let lock = Lock::new(&passphrase, &mut rand::rngs::StdRng::seed_from_u64(7)).with_cost(greedy);
    let error = key_file::create(&path, &alice(), "", Some(&lock)).unwrap_err();
    assert!(matches!(error, KeyFileError::Cost { .. }));
    assert!(!path.exists());
    let error = key_file::create(folder.path().join("no/key"), &alice(), "", None).unwrap_err();
    assert!(matches!(error, KeyFileError::Write { .. }));
}

#[test]
fn a_file_that_is_not_a_key_file_is_refused_with_its_line() {
    let (_folder, path) = plain();
    let text = fs::read_to_string(&path).unwrap();
    let seed = format!("seed: {}", "a1".repeat(32));
    for (changed, line) in [
        (String::new(), 1),
        ("\n".to_owned(), 1),
        (text.replace("key 1", "key 2"), 1),
        (text.replace('\n', "\r\n"), 1),
        (text.replace("comment: ", "remark: "), 2),
        (text.replace("none", "rot13"), 3),
        (text.replace(&seed, &seed[..seed.len() - 1]), 4),
        (text.replace(&seed, &format!("{seed}0")), 4),
        (text.replace("seed: a", "seed: g"), 4),
        (text.replace("checksum", "sum"), 5),
        (text.trim_end().to_owned(), 5),
        (format!("{text}\n"), 6),
        (format!("{text}{text}"), 6),
    ] {
        fs::write(&path, &changed).unwrap();
        let error = Identity::read(&path).unwrap_err();
        let found = matches!(error, KeyFileError::Syntax { line: found, .. } if found == line);
        assert!(found, "{changed:?}: {error:?}");
        let place = format!("{}:{line}: ", path.display());
        assert!(error.to_string().starts_with(&place), "{error}");
    }
    fs::write(&path, b"\xff\xfe").unwrap();
    assert!(matches!(Identity::read(&path).unwrap_err(), KeyFileError::Syntax { line: 1, .. }));
}

#[test]
fn every_flipped_bit_is_found() {
    for (_folder, path) in [plain(), locked()] {
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                // Hexadecimal digits may be of either case: the key is the same.
                if bad.eq_ignore_ascii_case(&good) && bad[at].is_ascii_hexdigit() {
                    continue;
                }
                fs::write(&path, &bad).unwrap();
                let read = key_file::read(&path, Some(&Passphrase::new("open sesame")));
                assert!(read.is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn damage_to_the_seed_is_told_as_damage() {
    let (_folder, path) = plain();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("seed: a1", "seed: a2")).unwrap();
    let error = Identity::read(&path).unwrap_err();
    assert!(matches!(error, KeyFileError::Checksum { line: 5, .. }));
}

#[test]
fn a_file_of_any_size_is_read_to_4096_bytes_only() {
    let (_folder, path) = plain();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.clone() + &"x".repeat(4_096 - text.len())).unwrap();
    assert!(matches!(Identity::read(&path).unwrap_err(), KeyFileError::Syntax { line: 6, .. }));
    fs::write(&path, text.clone() + &"x".repeat(4_097 - text.len())).unwrap();
    assert!(matches!(Identity::read(&path).unwrap_err(), KeyFileError::TooLong { .. }));
}

#[test]
fn passphrases_are_not_printed() {
    assert_eq!(format!("{:?}", Passphrase::new("open sesame")), "Passphrase(..)");
}

fn plain() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("alice.key");
    key_file::create(&path, &alice(), "alice", None).unwrap();
    (folder, path)
}

fn locked() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("alice.key");
    lock(&path);
    (folder, path)
}

fn lock(path: &Path) {
    let passphrase = Passphrase::new("open sesame");
    let mut rng = rand::rngs::StdRng::seed_from_u64(7);
    let lock = Lock::new(&passphrase, &mut rng).with_cost(CHEAP);
    key_file::create(path, &alice(), "alice", Some(&lock)).unwrap();
}

/// The same text with a checksum that holds.
fn rechecked(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let at = text.find("checksum: ").unwrap();
    let digest = Sha256::digest(&text[..at]);
    format!("{}checksum: {}\n", &text[..at], crate::support::hex(&digest[..8]))
}
