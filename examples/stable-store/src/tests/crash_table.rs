//! The crash table of a checkpoint, row by row: the state is a sum, and a record counted twice or
//! not at all gives another.

use std::collections::BTreeMap;

use super::{ID, options};
use crate::{
    Opening, Record, Rejected, Replay, StoreError,
    disk::{ForgetfulDisk, Operation, Step, Stop, Survivors},
    format::{CHECKPOINT, CHECKPOINT_TMP, SEGMENT_TMP},
};

/// Where the machine stopped, by what it had done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    BeforeTheSync,
    BetweenSyncAndRename,
    BetweenRenameAndDirSync,
    BetweenDirSyncAndRemoval,
    BetweenRemovalAndDirSync,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Sum(u64);

impl Replay for Sum {
    fn restore(&mut self, item: &[u8]) -> Result<(), Rejected> {
        let sum = item.try_into().map_err(|_| Rejected("not a sum".to_owned()))?;
        self.0 += u64::from_le_bytes(sum);
        Ok(())
    }

    fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
        self.0 += u64::from(record.payload[0]);
        Ok(())
    }
}

fn recovered(disk: &ForgetfulDisk) -> Sum {
    let mut sum = Sum::default();
    let opening = Opening::new(disk.clone(), options()).unwrap();
    assert_eq!(opening.id(), ID);
    opening.recover(&mut sum, &mut |_| ()).unwrap();
    sum
}

/// 1, 2, 4 and 8 are added, with a checkpoint that begins behind 1 and 2 and is written while 4
/// is added, and one before it, so that there is an old one to come back to.
fn run(disk: &ForgetfulDisk, acknowledged: &mut u64) -> Result<(), StoreError> {
    let opening = Opening::new(disk.clone(), options()).expect("not stopped yet");
    let (mut store, _) = opening.recover(&mut Sum::default(), &mut |_| ()).expect("nor here");
    store.append(0, &[1])?;
    store.sync()?;
    *acknowledged = 1;
    let mut old = store.begin_checkpoint()?;
    old.item(&1_u64.to_le_bytes())?;
    let old = old.finish()?;
    store.finish_checkpoint(old)?;
    store.append(0, &[2])?;
    store.sync()?;
    *acknowledged = 3;
    let mut writer = store.begin_checkpoint()?;
    store.append(0, &[4])?;
    store.sync()?;
    *acknowledged = 7;
    writer.item(&3_u64.to_le_bytes())?;
    let written = writer.finish()?;
    store.append(0, &[8])?;
    store.sync()?;
    *acknowledged = 15;
    store.finish_checkpoint(written)
}

/// Where, in the operations of a run, the second checkpoint has its steps.
struct Steps {
    begun: usize,
    synced: usize,
    renamed: usize,
    dir_synced: usize,
    removed: usize,
}

impl Steps {
    fn of(trace: &[Step]) -> Self {
        let last = |operation, file: &str| {
            let is_it = |step: &Step| step.operation == operation && step.file == file;
            trace.iter().rposition(is_it).unwrap()
        };
        let after = |at: usize, operation| {
            at + trace[at..].iter().position(|step| step.operation == operation).unwrap()
        };
        let renamed = last(Operation::Rename, CHECKPOINT);
        Self {
            begun: last(Operation::Create, SEGMENT_TMP),
            synced: last(Operation::Sync, CHECKPOINT_TMP),
            renamed,
            dir_synced: after(renamed, Operation::SyncDir),
            removed: after(renamed, Operation::Remove),
        }
    }

    /// The row for a stop in the middle of an operation.
    fn row(&self, stopped: usize) -> Row {
        match stopped {
            at if at <= self.synced => Row::BeforeTheSync,
            at if at <= self.renamed => Row::BetweenSyncAndRename,
            at if at <= self.dir_synced => Row::BetweenRenameAndDirSync,
            at if at <= self.removed => Row::BetweenDirSyncAndRemoval,
            _ => Row::BetweenRemovalAndDirSync,
        }
    }
}

#[test]
fn each_row_gives_the_sum_of_what_was_acknowledged() {
    let rehearsal = ForgetfulDisk::new(0);
    run(&rehearsal, &mut 0).unwrap();
    let trace = rehearsal.trace();
    let steps = Steps::of(&trace);
    let mut reached: BTreeMap<Row, u32> = BTreeMap::new();
    for (stopped, step) in trace.iter().enumerate().skip(steps.begun) {
        *reached.entry(steps.row(stopped)).or_default() += 1;
        for seed in 0..20 {
            let survivors = match seed {
                0 => Survivors::Synced,
                1 => Survivors::All,
                _ => Survivors::Any,
            };
            let disk = ForgetfulDisk::new(seed);
            disk.stop_at(stopped as u64, Stop::PowerCut);
            let mut acknowledged = 0;
            run(&disk, &mut acknowledged).expect_err("the power failed");
            disk.power_cut_to(survivors);
            let at = format!("stopped at {stopped} {step:?}, seed {seed}");
            // One more may have been under way.
            let right = [acknowledged, acknowledged << 1 | 1];
            let sum = recovered(&disk);
            assert!(right.contains(&sum.0), "{} is none of {right:?}: {at}", sum.0);
            disk.power_cut();
            assert_eq!(recovered(&disk), sum, "a second recovery says the same: {at}");
        }
    }
    assert_eq!(reached.len(), 5, "{reached:?}");
}

#[test]
fn a_whole_checkpoint_without_its_name_is_none() {
    let disk = ForgetfulDisk::new(5);
    run(&disk, &mut 0).unwrap();
    let whole = disk.bytes(CHECKPOINT).unwrap();
    let other = ForgetfulDisk::new(6);
    drop(Opening::new(other.clone(), options()).unwrap());
    other.put(CHECKPOINT_TMP, &whole);
    other.put(SEGMENT_TMP, b"half a hea");
    assert_eq!(recovered(&other), Sum(0));
    assert_eq!((other.bytes(CHECKPOINT_TMP), other.bytes(SEGMENT_TMP)), (None, None));
}
