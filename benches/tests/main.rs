//! The command as its users run it, with windows too short for figures but long enough for calls.

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bailiwick-bench"))
        .args(arguments)
        .output()
        .expect("the command starts")
}

#[test]
fn the_comparison_prints_its_table_and_writes_its_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("figures.json");
    let json = file.to_str().unwrap();
    let run =
        bench(&["compare", "--quick", "--repetitions", "1", "--window", "0.05", "--json", json]);
    let table = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let rows = document["summary"].as_array().unwrap();
    for row in rows {
        let system = row["system"].as_str().unwrap();
        assert!(table.contains(&format!("| {system} ")), "{system} is not in\n{table}");
        let lone = row["workload"].as_str().unwrap().starts_with("lone");
        for (figure, is_there) in [("calls_per_second", true), ("p50_us", lone), ("p99_us", lone)] {
            let median = row[figure]["median"].as_f64();
            assert_eq!(median.is_some_and(|value| value > 0.0), is_there, "{figure} of {row}");
        }
    }
    // Nobody sends a floor's lost datagrams again.
    let lossy = rows.iter().filter(|row| row["workload"] == "lossy64");
    let lossy: Vec<_> = lossy.map(|row| row["system"].as_str().unwrap()).collect();
    assert_eq!(lossy, ["quinn", "bailiwick-udp"]);
}

#[test]
fn a_window_that_is_no_duration_is_a_usage_error() {
    for window in ["-1", "NaN", "soon"] {
        let run = bench(&["compare", "--window", window]);
        assert_eq!(run.status.code(), Some(2), "{window}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let dir = file.path().join("below-a-file");
    let run = bench(&["durable", "--dir", dir.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(1));
    let message = String::from_utf8(run.stderr).unwrap();
    assert!(message.contains(dir.to_str().unwrap()), "{message}");
    assert!(message.contains("choose another --dir"), "{message}");
}

#[test]
fn without_strace_the_command_says_how_to_get_it() {
    let run = Command::new(env!("CARGO_BIN_EXE_bailiwick-bench"))
        .arg("syscalls")
        .env("PATH", "")
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(1));
    let message = String::from_utf8(run.stderr).unwrap();
    assert!(message.contains("apt-get install strace"), "{message}");
}
