//! Keys on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::Folder;

#[test]
fn a_new_key_is_private_and_never_overwrites() {
    let folder = Folder::new();
    let made = folder.run(&["keygen", "-o", "alice.key", "--comment", "laptop"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let mode = fs::metadata(folder.path("alice.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(folder.path("alice.key")).unwrap();
    let again = folder.run(&["keygen", "-o", "alice.key"]);
    assert_eq!(again.code, 2);
    assert!(again.err.contains("alice.key"), "{}", again.err);
    assert_eq!(fs::read(folder.path("alice.key")).unwrap(), before);
}

#[test]
fn public_key_and_fingerprint_are_those_that_keygen_printed() {
    let folder = Folder::new();
    let made = folder.run(&["keygen", "-o", "alice.key"]);
    let public = folder.run(&["pubkey", "alice.key"]).out;
    let fingerprint = folder.run(&["fingerprint", "alice.key"]).out;
    assert!(public.starts_with("ed25519:") && public.trim().len() == 72, "{public}");
    assert!(fingerprint.starts_with("SHA256:"), "{fingerprint}");
    assert!(made.out.contains(public.trim()) && made.out.contains(fingerprint.trim()));
    assert_eq!(folder.run(&["fingerprint", public.trim()]).out, fingerprint);
    // The secret is in none of it.
    let file = fs::read_to_string(folder.path("alice.key")).unwrap();
    let seed = file.lines().find_map(|line| line.strip_prefix("seed: ")).unwrap();
    assert!(!made.out.contains(seed) && !public.contains(seed));
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_to_run() {
    let folder = Folder::new();
    folder.run(&["keygen", "-o", "alice.key"]);
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(folder.path("alice.key"), open).unwrap();
    let ran = folder.run(&["pubkey", "alice.key"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("chmod 600 alice.key"), "{}", ran.err);
}

#[test]
fn what_is_not_a_key_is_refused() {
    let folder = Folder::new();
    folder.write("alice.key", "hello\n");
    fs::set_permissions(folder.path("alice.key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(folder.run(&["pubkey", "alice.key"]).code, 2);
    assert_eq!(folder.run(&["pubkey", "missing.key"]).code, 2);
    let ran = folder.run(&["fingerprint", "ed25519:00"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("64 hex digits"), "{}", ran.err);
}
