//! The five rows of the checkpoint's crash table, each reached and each as it says.

use std::collections::BTreeMap;

use stable_store::Lsn;
use stable_store::disk::{ForgetfulDisk, Operation, Step, Stop, Survivors};

use crate::support::{History, life, recover};

const SCRIPT: u64 = 4;
const ROUNDS: u32 = 14;

/// Between which steps of a checkpoint the power was cut: 3 syncs it, 4 renames it, 5 syncs the
/// directory, 6 removes the segments before it, 7 syncs the directory again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Before3,
    Between3And4,
    Between4And5,
    Between5And6,
    Between6And7,
}

/// Which checkpoint a recovery used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Used {
    Old,
    New,
}

/// Where the last of these operations stopped, if that was in a checkpoint.
fn row(trace: &[Step], renamed: bool) -> Option<Row> {
    let (_, done) = trace.split_last()?;
    let is = |step: &Step, operation, file: &str| {
        step.operation == operation && step.file.starts_with(file)
    };
    let begun = done.iter().rposition(|step| is(step, Operation::Create, "checkpoint.tmp"))?;
    let mut row = Row::Before3;
    for step in &done[begun..] {
        row = match row {
            Row::Before3 if is(step, Operation::Sync, "checkpoint.tmp") => Row::Between3And4,
            Row::Between3And4 if is(step, Operation::Rename, "checkpoint") => Row::Between4And5,
            Row::Between4And5 if is(step, Operation::SyncDir, "") => Row::Between5And6,
            Row::Between5And6 if is(step, Operation::Remove, "log-") => Row::Between6And7,
            Row::Between6And7 if is(step, Operation::SyncDir, "") => return None,
            row => row,
        };
    }
    // The rename in which it stopped may have happened.
    Some(if row == Row::Between3And4 && renamed { Row::Between4And5 } else { row })
}

/// The last record in the checkpoint that the disk has, from its header.
fn checkpoint_lsn(disk: &ForgetfulDisk) -> Lsn {
    let header = disk.bytes("checkpoint").unwrap_or_default();
    header.get(34..42).map_or(Lsn::ZERO, |lsn| Lsn(u64::from_le_bytes(lsn.try_into().unwrap())))
}

/// The first records of the segments that the disk has.
fn bases(disk: &ForgetfulDisk) -> Vec<u64> {
    let names = disk.names();
    let segments = names.iter().filter(|name| name.starts_with("log-"));
    let header = |name: &String| disk.bytes(name).unwrap()[34..42].try_into().unwrap();
    segments.map(|name| u64::from_le_bytes(header(name))).collect()
}

#[test]
fn each_row_of_the_crash_table_is_reached_and_recovers_as_it_says() {
    let mut reached: BTreeMap<(Row, Used), u32> = BTreeMap::new();
    for operation in 1.. {
        let disk = ForgetfulDisk::new(operation);
        let mut history = History::default();
        disk.stop_at(operation, Stop::PowerCut);
        let ended = life(disk.clone(), &mut history, SCRIPT, ROUNDS);
        if disk.stopped().is_none() {
            assert!(ended.is_ok());
            break;
        }
        let renamed = disk.bytes("checkpoint.tmp").is_none();
        let Some(row) = row(&disk.trace(), renamed) else { continue };
        for seed in 0..12 {
            let (disk, mut history) = (disk.fork(seed), history.clone());
            let under_way = new_checkpoint(&disk, row);
            disk.power_cut_to(match seed {
                0 => Survivors::Synced,
                1 => Survivors::All,
                _ => Survivors::Any,
            });
            let before = checkpoint_lsn(&disk);
            let used = if under_way == Some(before) { Used::New } else { Used::Old };
            match (row, used) {
                // The log has to have all that the old checkpoint has not.
                (Row::Before3 | Row::Between3And4, Used::New) => panic!("{row:?} used {used:?}"),
                (Row::Between5And6 | Row::Between6And7, Used::Old) => panic!("{row:?}, {used:?}"),
                // No segment has gone yet, whichever of them it is.
                (Row::Between4And5, _) | (_, Used::Old) => {
                    assert!(bases(&disk).into_iter().any(|base| base <= before.0 + 1));
                }
                _ => {}
            }
            let strays = bases(&disk).into_iter().filter(|base| *base <= before.0).count();

            // The history knows each record: one that was replayed twice, or left out, shows.
            let recovery = recover(&disk, &mut history);

            assert_eq!(recovery.checkpoint, before);
            assert_eq!(disk.bytes("checkpoint.tmp"), None, "the temporary file stayed");
            assert!(
                bases(&disk).into_iter().all(|base| base > before.0),
                "{strays} segments from before the checkpoint stayed"
            );
            *reached.entry((row, used)).or_default() += 1;
        }
    }
    println!("{reached:?}");
    let rows = [
        (Row::Before3, Used::Old),
        (Row::Between3And4, Used::Old),
        (Row::Between4And5, Used::Old),
        (Row::Between4And5, Used::New),
        (Row::Between5And6, Used::New),
        (Row::Between6And7, Used::New),
    ];
    assert_eq!(reached.into_keys().collect::<Vec<_>>(), rows);
}

/// The last record in the checkpoint that was being written, where it is readable.
fn new_checkpoint(disk: &ForgetfulDisk, row: Row) -> Option<Lsn> {
    let name = match row {
        Row::Before3 => return None,
        Row::Between3And4 => "checkpoint.tmp",
        _ => "checkpoint",
    };
    let header = disk.bytes(name)?;
    Some(Lsn(u64::from_le_bytes(header.get(34..42)?.try_into().ok()?)))
}
