//! Signing a policy, and checking that one is signed.

use super::{Folder, Ran};

const POLICY: &str = "serial 7\ndthain | exam.txt | write | allow\n";

/// A folder with a policy and two keys, and the public one of the first.
fn folder() -> (Folder, String) {
    let folder = Folder::new();
    folder.write("p.acl", POLICY);
    for key in ["signer.key", "other.key"] {
        assert_eq!(folder.run(&["keygen", "-o", key]).code, 0);
    }
    let signer = folder.run(&["pubkey", "signer.key"]).out.trim().to_owned();
    (folder, signer)
}

fn verify(folder: &Folder, signer: &str, more: &[&str]) -> Ran {
    folder.run(&[&["acl", "verify", "--signer", signer, "p.acl"], more].concat())
}

#[test]
fn what_is_signed_verifies_until_a_byte_changes() {
    let (folder, signer) = folder();
    let signed = folder.run(&["acl", "sign", "--key", "signer.key", "p.acl"]);
    assert_eq!(signed.code, 0, "{}", signed.err);
    assert_eq!(signed.out, format!("p.acl.sig: serial 7, signed by {signer}\n"));
    let good = verify(&folder, &signer, &[]);
    assert_eq!((good.code, &*good.out), (0, "p.acl.sig: ok (serial 7)\n"), "{}", good.err);

    folder.write("p.acl", POLICY.replace("exam", "exan"));
    let bad = verify(&folder, &signer, &[]);
    assert_eq!(bad.code, 1);
    assert!(bad.out.contains("refused: the signature does not fit"), "{}", bad.out);
    // A newer one takes the place of the old.
    let signed = folder.run(&["acl", "sign", "--key", "signer.key", "p.acl"]);
    assert_eq!((signed.code, verify(&folder, &signer, &[]).code), (0, 0));
}

#[test]
fn the_principals_are_signed_with_the_policy() {
    let (folder, signer) = folder();
    folder.write("keys", format!("principal dthain = {signer}\n"));
    let with = ["--principals", "keys"];
    let signed =
        folder.run(&[&["acl", "sign", "--key", "signer.key", "p.acl"], &with[..]].concat());
    assert_eq!(signed.code, 0, "{}", signed.err);
    assert_eq!(verify(&folder, &signer, &with).code, 0);
    assert_eq!(verify(&folder, &signer, &[]).code, 1);
    let other = folder.run(&["pubkey", "other.key"]).out;
    folder.write("keys", format!("principal dthain = {other}"));
    assert_eq!(verify(&folder, &signer, &with).code, 1);
}

#[test]
fn another_signer_and_no_signature_are_refused() {
    let (folder, signer) = folder();
    let none = verify(&folder, &signer, &[]);
    assert_eq!(none.code, 1);
    assert!(none.out.contains("bailiwick acl sign"), "{}", none.out);
    assert_eq!(folder.run(&["acl", "sign", "--key", "other.key", "p.acl"]).code, 0);
    let other = verify(&folder, &signer, &[]);
    assert_eq!(other.code, 1);
    assert!(other.out.contains("not by the signer that is required"), "{}", other.out);
    assert_eq!(verify(&folder, "ed25519:00", &[]).code, 2, "no key");
    folder.write("p.acl.sig", "hello\n");
    let broken = verify(&folder, &signer, &[]);
    assert_eq!(broken.code, 1);
    assert!(broken.out.contains("line 1 of the signature"), "{}", broken.out);
}

#[test]
fn a_policy_with_errors_or_without_a_serial_is_not_signed() {
    let (folder, _) = folder();
    folder.write("p.acl", "serial 7\ndthain | exam.txt | write | alow\n");
    let wrong = folder.run(&["acl", "sign", "--key", "signer.key", "p.acl"]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("p.acl:2:29"), "{}", wrong.err);
    folder.write("p.acl", "dthain | exam.txt | write | allow\n");
    let wrong = folder.run(&["acl", "sign", "--key", "signer.key", "p.acl"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("add a line `serial 1`"), "{}", wrong.err);
    assert!(!folder.path("p.acl.sig").exists());
    let missing = folder.run(&["acl", "sign", "--key", "none.key", "p.acl"]);
    assert_eq!(missing.code, 2);
}
