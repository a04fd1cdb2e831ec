//! The command as its users run it: what it prints, where, and how it exits.

// A test that cannot go on should stop right there; clippy excepts only the test functions.
#![allow(clippy::unwrap_used)]

mod acl;
mod audit;
mod audit_reading;
mod describe;
mod formatting;
mod keys;
mod manual;
#[path = "../../../acl/tests/it/oracle.rs"]
mod oracle;
mod questions;
mod suggestions;
#[path = "../../../acl/tests/it/world.rs"]
#[allow(dead_code)] // the library's own tests use more of it
mod world;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder of its own, in which the command runs.
struct Folder(TempDir);

/// What a run came to.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// Runs with this on standard input.
    fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // On its own thread: the command may answer before it has read all.
        let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[test]
fn help_comes_with_examples_and_wrong_usage_exits_with_2() {
    let folder = Folder::new();
    for command in [
        &["--help"][..],
        &["keygen", "--help"],
        &["acl", "check", "--help"],
        &["acl", "explain", "--help"],
        &["acl", "can-i", "--help"],
        &["acl", "who-can", "--help"],
        &["acl", "what-can", "--help"],
        &["acl", "diff", "--help"],
        &["acl", "suggest", "--help"],
        &["acl", "test", "--help"],
        &["acl", "fmt", "--help"],
        &["audit", "query", "--help"],
        &["audit", "top", "--help"],
        &["audit", "why", "--help"],
        &["audit", "export", "--help"],
        &["describe", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
    ] {
        let ran = folder.run(command);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("Example"), "{command:?}");
    }
    for command in [
        &[][..],
        &["acl"],
        &["nonsense"],
        &["keygen"],
        &["acl", "explain", "a", "b", "c"],
        &["completions", "tcl"],
    ] {
        assert_eq!(folder.run(command).code, 2, "{command:?}");
    }
}

#[test]
fn no_colour_leaves_for_a_pipe() {
    let folder = Folder::new();
    folder.write("p.acl", "a | x | r | alow\n");
    let ran = folder.run(&["acl", "check", "p.acl"]);
    assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'));
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_advice() {
    let folder = Folder::new();
    fs::create_dir(folder.path("folder")).unwrap();
    for command in [
        &["acl", "check"][..],
        &["acl", "explain", "--requests", "x", "--policy"],
        &["acl", "can-i", "a", "r", "x", "--policy"],
        &["acl", "who-can", "r", "x", "--policy"],
        &["acl", "what-can", "a", "--policy"],
        &["acl", "suggest", "audit.jsonl", "--policy"],
        &["acl", "test", "--policy"],
        &["acl", "fmt"],
        &["audit", "verify"],
        &["audit", "query"],
        &["audit", "top"],
        &["audit", "export", "--ocsf"],
        &["audit", "why", "--policy", "x", "1"],
        &["describe"],
    ] {
        let missing = folder.run(&[command, &["missing"]].concat());
        assert_eq!(missing.code, 2, "{command:?}");
        assert!(missing.err.contains("missing: no such file"), "{}", missing.err);
        let directory = folder.run(&[command, &["folder"]].concat());
        assert_eq!(directory.code, 2, "{command:?}");
        assert!(directory.err.contains("folder: a directory"), "{}", directory.err);
    }
}
