//! `bailiwick console`: what it prints, and what it refuses. Its pages have tests of their own.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::Folder;

const FILES: [&str; 5] = ["console", "--audit", "audit.jsonl", "--policy", "policy.acl"];

/// Starts it, takes the line that it prints, and ends it.
fn first_line(folder: &Folder, more: &[&str]) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
        .args(FILES)
        .args(["--listen", "127.0.0.1:0"])
        .args(more)
        .current_dir(folder.0.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    line
}

#[test]
fn it_prints_the_url_with_a_token_that_is_new_each_time() {
    let folder = Folder::new();
    let lines = [first_line(&folder, &[]), first_line(&folder, &[])];
    for line in &lines {
        let (url, token) = line.trim().split_once("/?token=").unwrap();
        assert!(url.starts_with("console  http://127.0.0.1:"), "{line}");
        assert_eq!(token.len(), 64, "{line}");
    }
    assert_ne!(lines[0].split("token=").nth(1), lines[1].split("token=").nth(1));
}

#[test]
fn a_token_from_a_file_is_not_printed() {
    let folder = Folder::new();
    let token = "0123456789abcdef0123456789abcdef";
    folder.write("token", token);
    let others_may_read = folder.run(&[&FILES[..], &["--token-file", "token"]].concat());
    assert_eq!(others_may_read.code, 2);
    assert!(others_may_read.err.contains("chmod 600"), "{}", others_may_read.err);
    std::fs::set_permissions(folder.path("token"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let line = first_line(&folder, &["--token-file", "token"]);
    assert!(line.contains("(from token)") && !line.contains(token), "{line}");
}

#[test]
fn other_machines_are_refused_and_so_are_metrics_of_theirs() {
    let folder = Folder::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let ran = folder.run(&[&FILES[..], &["--listen", address]].concat());
        assert_eq!((ran.code, &*ran.out), (2, ""), "{}", ran.err);
        assert!(ran.err.contains("--allow-remote"), "{}", ran.err);
    }
    let ran = folder.run(&[&FILES[..], &["--metrics", "http://example.org/metrics"]].concat());
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("is not this machine"), "{}", ran.err);
}
