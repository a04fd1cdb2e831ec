//! `acl fmt` and `acl test`: files kept neat, and held to what is expected.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};

use super::Folder;

const MESSY: &str = "a|table/**|read , write|allow#mine\nbob | x | r|deny\n";
const NEAT: &str =
    "a   | table/** | read,write | allow  #mine\nbob | x        | r          | deny\n";

#[test]
fn a_file_is_formatted_in_its_place_under_its_own_permissions() {
    let folder = Folder::new();
    folder.write("p.acl", MESSY);
    fs::set_permissions(folder.path("p.acl"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink(folder.path("p.acl"), folder.path("link.acl")).unwrap();
    let ran = folder.run(&["acl", "fmt", "--check", "p.acl"]);
    assert_eq!((ran.code, &*ran.out), (1, "p.acl: not formatted\n"));
    assert_eq!(fs::read_to_string(folder.path("p.acl")).unwrap(), MESSY);
    let ran = folder.run(&["acl", "fmt", "link.acl"]);
    assert_eq!((ran.code, &*ran.out), (0, "link.acl: formatted\n"), "{}", ran.err);
    assert_eq!(fs::read_to_string(folder.path("p.acl")).unwrap(), NEAT);
    assert!(fs::symlink_metadata(folder.path("link.acl")).unwrap().is_symlink());
    let mode = fs::metadata(folder.path("p.acl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let ran = folder.run(&["acl", "fmt", "--check", "p.acl"]);
    assert_eq!((ran.code, &*ran.out), (0, ""));
    assert_eq!(fs::read_dir(folder.path(".")).unwrap().count(), 2, "nothing is left behind");
    let ran = folder.run_with(&["acl", "fmt", "-"], MESSY);
    assert_eq!((ran.code, &*ran.out), (0, NEAT));
}

#[test]
fn a_file_with_errors_is_never_touched() {
    let folder = Folder::new();
    let text = "a|x|r|allow\na|x|r|alow\na|..|r|allow\n";
    folder.write("p.acl", text);
    let ran = folder.run(&["acl", "fmt", "p.acl"]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("p.acl:2:7: error") && ran.err.contains("p.acl:3:3: error"));
    assert_eq!(fs::read_to_string(folder.path("p.acl")).unwrap(), text);
}

#[test]
fn tests_are_run_one_by_one_and_a_failure_says_why() {
    let folder = Folder::new();
    let policy =
        "a | x/* | r | allow\nexpect allow a r x/y\nnever b | x/** | r\nb | z | r | allow\n";
    folder.write("p.acl", policy);
    let ran = folder.run(&["acl", "test", "--policy", "p.acl"]);
    let own = "\
ok      p.acl:2: expect allow a r x/y
ok      p.acl:3: never b | x/** | r
";
    assert_eq!((ran.code, ran.out), (0, format!("{own}2 held, 0 failed\n")));
    folder.write("p.tests", "# ours\nexpect deny b r x/y\nexpect allow a w x/y\n");
    let ran = folder.run(&["acl", "test", "p.tests", "--policy", "p.acl"]);
    let ours = "\
ok      p.tests:2: expect deny b r x/y
FAILED  p.tests:3: expect allow a w x/y
        deny: default
        near: line 1 would allow the verb `r`
";
    assert_eq!((ran.code, ran.out), (1, format!("{ours}{own}3 held, 1 failed\n")));
    let ran = folder.run(&["acl", "test", "--json", "p.tests", "--policy", "p.acl"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &report["ok"]), (1, &json!(false)));
    let failed = json!({"file": "p.tests", "line": 3, "ok": false, "text": "expect allow a w x/y",
                        "decision": "deny", "reason": "default", "row": null});
    assert_eq!(report["results"][1], failed);
}

#[test]
fn a_policy_that_fails_its_own_tests_or_a_file_of_other_lines_is_told_of() {
    let folder = Folder::new();
    folder.write("p.acl", "a | x | r | allow\nexpect deny a r x\n");
    let ran = folder.run(&["acl", "test", "--policy", "p.acl"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("p.acl:2:1: error: expected deny, but line 1 says allow"));
    folder.write("p.acl", "a | x | r | allow\n");
    folder.write("p.tests", "a | x | r | allow\nexpect deny a r y\n");
    let ran = folder.run(&["acl", "test", "p.tests", "--policy", "p.acl"]);
    assert_eq!((ran.code, &*ran.out), (2, ""));
    assert!(ran.err.contains("p.tests:1:1: error: a file of expectations"), "{}", ran.err);
}
