//! A sync fails, and the operating system goes on showing what it did not write: nothing that a
//! later process reads and answers for is taken back by a power cut.

use stable_store::OpenError;
use stable_store::disk::{ForgetfulDisk, Stop};

use crate::support::{Ended, History, SCRIPT, life, luck, open, recover, stopped_at, whole};

/// Recovers in a new process, and after a power cut again.
fn check(disk: &ForgetfulDisk, history: &History, at: &str) {
    println!("{at}");
    disk.kill();
    let mut history = history.clone();
    recover(disk, &mut history);
    for (seed, survivors) in luck() {
        let (disk, mut history) = (disk.fork(seed), history.clone());
        disk.power_cut_to(survivors);
        recover(&disk, &mut history);
        drop(life(disk.clone(), &mut history, seed, 4).expect("goes on"));
        disk.power_cut();
        recover(&disk, &mut history);
    }
}

#[test]
fn what_is_answered_after_a_failed_sync_and_a_restart_survives_a_power_cut() {
    let mut failures = 0;
    for nth in 1.. {
        let disk = ForgetfulDisk::new(nth);
        let mut history = History::default();
        disk.fail_sync(nth);
        match life(disk.clone(), &mut history, SCRIPT, 14) {
            Ok(_) => break,
            Err(Ended::Opening(error)) => {
                assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
            }
            Err(Ended::Working(..)) => failures += 1,
        }
        check(&disk, &history, &format!("sync {nth} failed"));
    }
    assert!(failures > 10, "{failures} failures");
}

#[test]
fn a_sync_that_fails_in_recovery_refuses_and_the_next_recovery_is_right() {
    for operation in 1..=whole() {
        let (disk, history) = stopped_at(operation, Stop::Kill);
        for nth in 1.. {
            let disk = disk.fork(nth);
            disk.fail_sync(nth);
            match open(disk.clone()) {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, OpenError::Io { .. }), "{error:?}"),
            }
            check(
                &disk,
                &history,
                &format!("killed in {operation}, sync {nth} of recovery failed"),
            );
        }
    }
}
