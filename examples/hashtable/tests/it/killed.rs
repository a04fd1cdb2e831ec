//! Increments while the server is killed again and again: each counts once, and each is answered.

use std::{env, process::Stdio, thread, time::Duration};

use serde_json::Value;

use crate::support::{Ran, World};

/// How often the server is killed, unless `HASHTABLE_KILLS` says otherwise.
const KILLS: u32 = 20;

#[test]
fn over_tcp_every_increment_is_answered_and_counts_once() {
    killed_again_and_again("tcp", &[]);
}

#[test]
fn over_udp_every_increment_is_answered_and_counts_once() {
    killed_again_and_again("udp", &[]);
}

#[test]
fn with_checkpoints_all_the_time_every_increment_is_answered_and_counts_once() {
    killed_again_and_again("tcp", &["--checkpoint-after", "1"]);
}

fn killed_again_and_again(scheme: &str, more: &[&str]) {
    let kills = env::var("HASHTABLE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let world = World::new();
    let mut server = world.serve_kept(&[&format!("{scheme}://127.0.0.1:0")], more);
    let endpoint = server.connect.clone();
    let seconds = (kills / 2 + 2).to_string();
    let mut hammer = world.command(&["hammer", "--connect", &endpoint, "--server", &server.server]);
    hammer.args(["--identity", "alice.key", "--seconds", &seconds, "--clients", "4"]);
    hammer.args(["--outstanding", "4", "--deadline", "60s", "--json", "increment", "n"]);
    let hammer = hammer.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..kills {
        // Into the middle of the work, wherever that is: the seconds are the hammer's.
        thread::sleep(Duration::from_millis(400));
        server.kill();
        server = world.serve_kept(&[&endpoint], more);
    }

    let ran = Ran::from(hammer.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    let count = |field: &str| summary[field].as_i64().unwrap();
    assert_eq!(summary["verdict"], "exact", "{summary}");
    assert_eq!((count("unknown"), count("still_unknown")), (0, 0), "{summary}");
    assert_eq!(count("final_value"), count("acknowledged"), "{summary}");
    assert_eq!(count("restarts"), 0, "the table never began anew: {summary}");
    assert!(count("acknowledged") > i64::from(kills), "{summary}");
    world.call(&server, "bob", &["get", "n"]).done(&format!("{}\n", count("acknowledged")));
    assert!(server.recovered.contains(&format!("epoch {}\n", kills + 1)), "{}", server.recovered);
}
