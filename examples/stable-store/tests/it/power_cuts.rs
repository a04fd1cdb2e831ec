//! The power is cut in the middle of every single operation.

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use stable_store::disk::{ForgetfulDisk, Operation, Stop, Survivors};

use crate::support::{History, KIND, life, luck, open, recover, round, stopped_at, whole};

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
fn a_power_cut_in_a_checkpoint_that_is_synced_in_steps_loses_nothing() {
    // Longer than two of the steps.
    let payload = |number: u8| vec![number; 1 << 20];
    let count = 20;
    let run = |stop: Option<u64>| {
        let disk = ForgetfulDisk::new(1);
        let mut history = History::default();
        let mut store = life(disk.clone(), &mut history, 0, 0).expect("nothing is in its way");
        for number in 0..count {
            store.append(KIND, &payload(number)).expect("appends");
            history.issued.push(payload(number));
        }
        store.sync().expect("syncs");
        history.acknowledged = history.issued.len();
        let begun = disk.operations();
        if let Some(operation) = stop {
            disk.stop_at(operation, Stop::PowerCut);
        }
        let checkpoint = store.begin_checkpoint().and_then(|mut writer| {
            (0..count).try_for_each(|number| writer.item(&payload(number)))?;
            let written = writer.finish()?;
            store.finish_checkpoint(written)
        });
        assert_eq!(checkpoint.is_err(), stop.is_some());
        (disk, history, begun)
    };
    let (disk, _, begun) = run(None);
    let trace = disk.trace();
    let steps = trace
        .iter()
        .filter(|step| step.operation == Operation::Sync && step.file == "checkpoint.tmp");
    assert!(steps.count() >= 3, "it is not synced in steps");
    for (operation, step) in (1..).zip(&trace) {
        // One append is like another here, and they are many.
        let is_like_another = step.operation == Operation::Append && operation % 16 != 0;
        if operation <= begun || is_like_another {
            continue;
        }
        let (disk, history, _) = run(Some(operation));
        for (seed, survivors) in luck().take(4) {
            let (disk, mut history) = (disk.fork(seed), history.clone());
            disk.power_cut_to(survivors);
            recover(&disk, &mut history);
        }
    }
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
