//! Replay windows of several sizes against sequences of (number, verdict).

use bailiwick_crypto::packet::window::ReplayWindow;
use serde::Deserialize;

use super::{load, ran};

#[derive(Deserialize)]
struct File {
    limit: u64,
    windows: Vec<Window>,
}

#[derive(Deserialize)]
struct Window {
    slots: u32,
    sequences: Vec<Vec<(u64, u8)>>,
}

#[test]
fn every_sequence_of_numbers_gets_its_verdicts() {
    let file: File = load("replay_window.json");
    let mut count = 0;
    for Window { slots, sequences } in file.windows {
        for (at, sequence) in sequences.iter().enumerate() {
            let mut window = ReplayWindow::new(slots, file.limit);
            for (step, (number, accepted)) in sequence.iter().enumerate() {
                let verdict = window.check(*number).is_ok();
                let place = format!("{slots} slots, sequence {at}, step {step}: {number}");
                assert_eq!(verdict, *accepted == 1, "{place}");
                // A number that is refused is to change nothing, even if somebody accepts it.
                window.accept(*number);
                count += 1;
            }
        }
    }
    ran("replay_window.json", count);
}
