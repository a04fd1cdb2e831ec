//! What a store refuses and survives, and what it does not survive: an error of its storage.

use super::*;
use crate::{
    StoreError,
    disk::Operation,
    faults::{Fault, Faulty},
    format::CHECKPOINT_TMP,
};

fn store_with(options: Options) -> Store<ForgetfulDisk> {
    let opening = Opening::new(ForgetfulDisk::new(31), options).unwrap();
    opening.recover(&mut Fed::default(), &mut |_| ()).unwrap().0
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut store = store_with(Options { max_record: 10, max_batch: 60, ..options() });
    let error = store.append(0, &[0; 11]).unwrap_err();
    assert!(matches!(error, StoreError::TooLong { len: 11, max: 10 }), "{error:?}");
    assert!(matches!(store.append(128, b""), Err(StoreError::ReservedKind(128))));
    store.append(127, &[0; 10]).unwrap();
    assert!(matches!(store.append(0, &[0; 10]), Err(StoreError::BatchFull { max: 60 })));
    assert_eq!((store.last(), store.sync().unwrap()), (Lsn(1), Lsn(1)));
    assert_eq!(store.append(0, &[0; 10]).unwrap(), Lsn(2));
    let mut writer = store.begin_checkpoint().unwrap();
    assert!(matches!(writer.item(&[0; 11]), Err(StoreError::TooLong { .. })));
    assert!(matches!(store.begin_checkpoint(), Err(StoreError::CheckpointUnderWay)));
    drop(writer);
    assert!(store.begin_checkpoint().is_ok());
}

#[test]
fn a_smaller_bound_later_loses_nothing_that_was_longer() {
    let disk = ForgetfulDisk::new(32);
    let mut store = open(&disk);
    store.append(0, &[7; 5000]).unwrap();
    store.sync().unwrap();
    disk.kill();
    let mut fed = Fed::default();
    let small = Options { max_record: 10, ..options() };
    Opening::new(disk, small).unwrap().recover(&mut fed, &mut |_| ()).unwrap();
    assert_eq!(fed.records, [(1, 0, vec![7; 5000])]);
}

#[test]
fn a_lone_writer_forces_once_and_nothing_is_forced_for_nothing() {
    let mut store = store_with(options());
    store.sync().unwrap();
    assert_eq!(store.forced(), 0);
    store.append(0, b"one").unwrap();
    store.sync().unwrap();
    store.sync().unwrap();
    assert_eq!(store.forced(), 1);
}

#[test]
fn a_checkpoint_is_due_by_the_bytes_of_the_log_or_its_files() {
    let mut store = store_with(Options { checkpoint_bytes: 1000, max_segments: 4, ..options() });
    assert!(!store.wants_checkpoint(0));
    store.append(0, &[0; 1000]).unwrap();
    store.sync().unwrap();
    assert!(store.wants_checkpoint(0));
    assert!(!store.wants_checkpoint(1000), "the log is not twice the state");
    let writer = store.begin_checkpoint().unwrap();
    assert!(!store.wants_checkpoint(0), "one is under way");
    let written = writer.finish().unwrap();
    store.finish_checkpoint(written).unwrap();
    assert!(!store.wants_checkpoint(0));
    let disk = ForgetfulDisk::new(33);
    let few = || Options { max_segments: 4, ..options() };
    let boot = || {
        let opening = Opening::new(disk.clone(), few()).unwrap();
        let (mut store, _) = opening.recover(&mut Fed::default(), &mut |_| ()).unwrap();
        append_synced(&mut store, 1);
        store.wants_checkpoint(0)
    };
    assert_eq!([boot(), boot(), boot(), boot()], [false, false, false, true]);
}

#[test]
fn a_long_checkpoint_never_has_much_to_sync() {
    let disk = ForgetfulDisk::new(35);
    let mut store = open(&disk);
    let mut writer = store.begin_checkpoint().unwrap();
    (0..20).for_each(|_| writer.item(&[3; 1 << 20]).unwrap());
    let _ = writer.finish().unwrap();
    let trace = disk.trace();
    let steps = trace.iter().filter(|step| step.file == CHECKPOINT_TMP);
    let unsynced = steps.scan(0, |unsynced, step| {
        *unsynced = if step.operation == Operation::Sync { 0 } else { *unsynced + step.bytes };
        Some(*unsynced)
    });
    assert!(unsynced.max().unwrap() < 10 << 20);
}

#[test]
fn any_error_of_the_storage_is_the_last_thing_that_happens() {
    let script = |store: &mut Store<Faulty<ForgetfulDisk>>| -> Result<(), StoreError> {
        store.append(0, b"one")?;
        store.sync()?;
        let mut writer = store.begin_checkpoint()?;
        writer.item(b"one")?;
        let written = writer.finish()?;
        store.finish_checkpoint(written)
    };
    let open = |disk: &ForgetfulDisk| {
        let faulty = Faulty::new(disk.clone());
        let opening = Opening::new(faulty.clone(), options()).unwrap();
        let (store, _) = opening.recover(&mut Fed::default(), &mut |_| ()).unwrap();
        (store, faulty)
    };
    let disk = ForgetfulDisk::new(34);
    let (mut store, _) = open(&disk);
    let begun = disk.trace().len();
    script(&mut store).unwrap();
    let steps: Vec<_> = disk.trace()[begun..].iter().map(|step| step.operation).collect();
    assert!(steps.len() > 10, "{steps:?}");
    for (at, step) in steps.iter().enumerate() {
        let nth = steps[..=at].iter().filter(|other| *other == step).count() as u64;
        for fault in [Fault::Io, Fault::Short] {
            let disk = ForgetfulDisk::new(34);
            let (mut store, faulty) = open(&disk);
            faulty.fail(*step, nth, fault);
            let error = script(&mut store).unwrap_err();
            assert!(matches!(error, StoreError::Io { .. }), "{step:?} {nth}: {error:?}");
            assert!(matches!(store.append(0, b"more"), Err(StoreError::Poisoned)));
            assert!(matches!(store.sync(), Err(StoreError::Poisoned)));
            assert!(matches!(store.begin_checkpoint(), Err(StoreError::Poisoned)));
            drop(store);
            assert_eq!(faulty.after_failure(), [], "nothing is written any more");
        }
    }
}
