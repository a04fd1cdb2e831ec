//! Every operation fails once: the store says so, stops for good, and another finds all that was
//! acknowledged.

use stable_store::disk::{ForgetfulDisk, Operation, Survivors};
use stable_store::faults::{Fault, Faulty};
use stable_store::storage::{File as _, Storage as _};
use stable_store::{OpenError, Store, StoreError};

use crate::support::{Ended, History, KIND, life, recover};

const SCRIPT: u64 = 4;
const ROUNDS: u32 = 14;

type Failing = Faulty<ForgetfulDisk>;

/// Lets the `nth` operation of a kind fail. `None` if there are not so many.
fn run(operation: Operation, nth: u64, fault: Fault) -> Option<(ForgetfulDisk, History)> {
    let disk = ForgetfulDisk::new(nth);
    let mut history = History::default();
    // Something to recover from, with a torn end, so that opening has everything to do.
    drop(life(disk.clone(), &mut history, SCRIPT, 3).expect("nothing is in its way"));
    tear(&disk);
    disk.kill();
    let storage = Faulty::new(disk.clone());
    storage.fail(operation, nth, fault);
    match life(storage.clone(), &mut history, SCRIPT, ROUNDS) {
        Ok(_) => {
            assert_eq!(storage.failed(), 0, "{operation:?} {nth} failed and nobody said so");
            return None;
        }
        Err(Ended::Opening(error)) => assert!(matches!(error, OpenError::Io { .. }), "{error:?}"),
        Err(Ended::Working(error, store)) => {
            assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
            poisoned(*store);
        }
    }
    assert_eq!(storage.failed(), 1);
    assert_eq!(storage.after_failure(), [], "after {operation:?} {nth} had failed");
    Some((disk, history))
}

/// Half a record at the end of the log, in the page cache alone.
fn tear(disk: &ForgetfulDisk) {
    let last = disk.names().into_iter().rfind(|name| name.starts_with("log-"));
    let mut file = disk.open(&last.expect("it has a log")).expect("opens");
    file.append(&[0x55; 700]).expect("appends");
}

/// Nothing more is promised.
fn poisoned(mut store: Store<Failing>) {
    let durable = store.durable();
    for _ in 0..2 {
        assert!(matches!(store.append(KIND, b"more"), Err(StoreError::Poisoned)));
        assert!(matches!(store.sync(), Err(StoreError::Poisoned)));
        assert!(matches!(store.begin_checkpoint(), Err(StoreError::Poisoned)));
    }
    assert_eq!(store.durable(), durable);
}

#[test]
fn a_failure_of_any_operation_poisons_and_loses_nothing_acknowledged() {
    for operation in Operation::ALL {
        for fault in [Fault::Io, Fault::Full, Fault::Short] {
            let mut failures = 0;
            for nth in 1.. {
                let Some((disk, history)) = run(operation, nth, fault) else { break };
                failures += 1;
                for (seed, survivors) in [
                    (0, Survivors::Synced),
                    (1, Survivors::All),
                    (2, Survivors::Any),
                    (3, Survivors::Any),
                ] {
                    let (disk, mut history) = (disk.fork(seed), history.clone());
                    disk.power_cut_to(survivors);
                    recover(&disk, &mut history);
                }
            }
            println!("{operation:?} {fault:?}: {failures} failures");
            assert!(failures > 0, "{operation:?} never failed");
        }
    }
}
