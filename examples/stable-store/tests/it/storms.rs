//! Many short lives on one disk, each ended at random.
//!
//! `STABLE_STORE_SEEDS=10000 cargo test -p stable-store --test it storms` tries more of them.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use stable_store::disk::{ForgetfulDisk, Stop, Survivors};

use crate::support::{History, life, recover, seeds};

const LIVES: u32 = 8;

/// Lives and deaths drawn from one seed; the disk's fingerprint.
fn storm(seed: u64) -> (u32, History) {
    let disk = ForgetfulDisk::new(seed);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut history = History::default();
    for _ in 0..LIVES {
        let how = if rng.random() { Stop::PowerCut } else { Stop::Kill };
        disk.stop_at(disk.operations() + rng.random_range(1..80), how);
        // It may end by itself before that; then it is killed, or the power cut, while it is idle.
        let _ended = life(disk.clone(), &mut history, rng.random(), 12);
        match disk.stopped().unwrap_or(how) {
            Stop::Kill => disk.kill(),
            Stop::PowerCut => disk.power_cut(),
        }
        // What a recovery answers now must outlive another power cut.
        let (other, mut later) = (disk.fork(seed), history.clone());
        recover(&other, &mut later);
        other.power_cut_to(Survivors::Synced);
        recover(&other, &mut later);
    }
    recover(&disk, &mut history);
    (disk.fingerprint(), history)
}

#[test]
fn no_storm_loses_what_was_acknowledged() {
    let (mut records, mut checkpoints) = (0, 0);
    for seed in seeds() {
        println!("seed {seed}");
        let (_, history) = storm(seed);
        records += history.acknowledged;
        checkpoints += history.checkpoints;
    }
    println!(
        "{} storms of {LIVES} lives: {records} records, {checkpoints} checkpoints",
        seeds().end
    );
    assert!(records > 0 && checkpoints > 0);
}

#[test]
fn the_same_seed_gives_the_same_operations() {
    for seed in 0..20 {
        assert_eq!(storm(seed).0, storm(seed).0, "seed {seed}");
    }
    assert_ne!(storm(1).0, storm(2).0);
}
