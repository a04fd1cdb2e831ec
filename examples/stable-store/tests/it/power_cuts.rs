//! The power is cut in the middle of every single operation.

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use stable_store::disk::{Stop, Survivors};

use crate::support::{life, luck, open, recover, round, stopped_at, whole};

#[test]
fn a_power_cut_in_any_operation_loses_nothing_that_was_acknowledged() {
    let operations = whole();
    for operation in 1..=operations {
        let (disk, history) = stopped_at(operation, Stop::PowerCut);
        for (seed, survivors) in luck() {
            let (disk, mut history) = (disk.fork(seed), history.clone());
            disk.power_cut_to(survivors);
            recover(&disk, &mut history);
            // It goes on, and keeps what it says then.
            drop(life(disk.clone(), &mut history, seed, 4).expect("goes on"));
            disk.power_cut_to(Survivors::Synced);
            recover(&disk, &mut history);
        }
    }
    println!("{operations} operations, {} outcomes each", luck().count());
}

#[test]
fn what_recovery_has_answered_survives_a_power_cut_right_after_it() {
    // After kill -9 all can be read that was ever written, whether it is on disk or not.
    for operation in 1..=whole() {
        let (disk, mut history) = stopped_at(operation, Stop::Kill);
        disk.kill();
        recover(&disk, &mut history);
        for (seed, survivors) in luck() {
            let (disk, mut history) = (disk.fork(seed), history.clone());
            disk.power_cut_to(survivors);
            recover(&disk, &mut history);
        }
    }
}

#[test]
fn a_second_power_cut_in_any_operation_of_recovery_loses_nothing() {
    let mut cuts = 0;
    for operation in 1..=whole() {
        for seed in 0..4 {
            // After a kill nothing is synced yet of what recovery finds.
            let how = if seed == 0 { Stop::Kill } else { Stop::PowerCut };
            let (disk, history) = stopped_at(operation, how);
            let disk = disk.fork(seed);
            match how {
                Stop::Kill => disk.kill(),
                Stop::PowerCut => disk.power_cut(),
            }
            for second in 1.. {
                let (disk, mut history) = (disk.fork(second), history.clone());
                let how = if second % 2 == 0 { Stop::Kill } else { Stop::PowerCut };
                disk.stop_at(disk.operations() + second, how);
                let recovery = open(disk.clone());
                if disk.stopped().is_none() {
                    recovery.expect("nothing is in its way");
                    break;
                }
                recovery.map(drop).expect_err("stopped");
                disk.power_cut();
                recover(&disk, &mut history);
                cuts += 1;
            }
        }
    }
    assert!(cuts > 1000, "{cuts} cuts during recovery");
}

#[test]
fn a_kill_loses_what_was_not_synced_or_keeps_it_but_never_what_was() {
    for operation in 1..=whole() {
        let (disk, mut history) = stopped_at(operation, Stop::Kill);
        disk.kill();
        let mut store = life(disk.clone(), &mut history, operation, 0).expect("goes on");
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(operation);
        round(&mut store, &mut history, &mut rng).expect("appends");
        disk.kill();
        recover(&disk, &mut history);
    }
}
