//! The store's promises, one file for each kind, on a disk that forgets.

mod bounds;
mod crash_table;
mod refused;
mod salvage;
mod torn_or_damaged;

use crate::{
    Lsn, OpenError, Opening, Options, Record, Recovery, Rejected, Replay, Store, StoreId,
    disk::{ForgetfulDisk, Stop, Survivors},
    format::{self, HEADER, RECORD_HEADER},
};

const ID: StoreId = StoreId(*b"store under test");

fn options() -> Options {
    Options { new_id: Some(ID), ..Options::default() }
}

/// Remembers all that it is fed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fed {
    items: Vec<Vec<u8>>,
    records: Vec<(u64, u8, Vec<u8>)>,
}

impl Fed {
    fn lsns(&self) -> Vec<u64> {
        self.records.iter().map(|(lsn, ..)| *lsn).collect()
    }
}

impl Replay for Fed {
    fn restore(&mut self, item: &[u8]) -> Result<(), Rejected> {
        self.items.push(item.to_vec());
        Ok(())
    }

    fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
        self.records.push((record.lsn.0, record.kind, record.payload.to_vec()));
        Ok(())
    }
}

fn recover(disk: &ForgetfulDisk) -> Result<(Store<ForgetfulDisk>, Recovery, Fed), OpenError> {
    let mut fed = Fed::default();
    let opening = Opening::new(disk.clone(), options())?;
    let (store, recovery) = opening.recover(&mut fed, &mut |_| ())?;
    Ok((store, recovery, fed))
}

fn open(disk: &ForgetfulDisk) -> Store<ForgetfulDisk> {
    recover(disk).unwrap().0
}

/// The payload of a record in these tests.
fn payload(lsn: u64) -> Vec<u8> {
    format!("record {lsn}").into_bytes()
}

/// Appends so many records and syncs after each.
fn append_synced(store: &mut Store<ForgetfulDisk>, records: u64) {
    for _ in 0..records {
        append(store, 1);
        store.sync().unwrap();
    }
}

fn append(store: &mut Store<ForgetfulDisk>, records: u64) {
    for _ in 0..records {
        let lsn = store.last().0 + 1;
        assert_eq!(store.append(1, &payload(lsn)).unwrap(), Lsn(lsn));
    }
}

/// The last file of the log: the last that has records, or the empty one of this boot.
fn segments(disk: &ForgetfulDisk) -> Vec<String> {
    use crate::Storage;
    let mut names = disk.list().unwrap();
    names.retain(|name| format::segment_number(name).is_some());
    names.sort();
    names
}

/// Where in a file the records of this test begin, in bytes, and the end of the last.
fn offsets(first: u64, last: u64) -> Vec<usize> {
    let mut at = HEADER;
    let mut offsets = vec![at];
    for lsn in first..=last {
        at += RECORD_HEADER + payload(lsn).len();
        offsets.push(at);
    }
    offsets
}

/// Changes the bytes of a file, as damage does: without a trace.
fn damage(disk: &ForgetfulDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.bytes(name).unwrap();
    change(&mut bytes);
    disk.put(name, &bytes);
}

#[test]
fn what_was_synced_is_found_again_in_order_and_once() {
    let disk = ForgetfulDisk::new(1);
    let mut store = open(&disk);
    append_synced(&mut store, 3);
    append(&mut store, 2);
    assert_eq!((store.durable(), store.last(), store.forced()), (Lsn(3), Lsn(5), 3));
    assert_eq!(store.sync().unwrap(), Lsn(5));
    disk.power_cut();
    for boot in 2..=3 {
        let (store, recovery, fed) = recover(&disk).unwrap();
        assert_eq!(fed.lsns(), [1, 2, 3, 4, 5]);
        assert_eq!(fed.records[4], (5, 1, payload(5)));
        assert_eq!((store.id(), store.epoch().0, store.last()), (ID, boot, Lsn(5)));
        assert_eq!((recovery.records, recovery.torn), (5, None));
    }
}

#[test]
fn a_checkpoint_stands_for_what_was_before_it_while_the_log_goes_on() {
    let disk = ForgetfulDisk::new(2);
    let mut store = open(&disk);
    append_synced(&mut store, 3);
    let mut writer = store.begin_checkpoint().unwrap();
    append_synced(&mut store, 1);
    writer.item(b"the first").unwrap();
    writer.item(b"").unwrap();
    let written = writer.finish().unwrap();
    append_synced(&mut store, 1);
    assert_eq!(written.lsn(), Lsn(3));
    store.finish_checkpoint(written).unwrap();
    disk.power_cut();
    let (_, recovery, fed) = recover(&disk).unwrap();
    assert_eq!(fed.items, [b"the first".to_vec(), vec![]]);
    assert_eq!(fed.lsns(), [4, 5]);
    assert_eq!(recovery.checkpoint, Lsn(3));
}

#[test]
fn a_boot_has_its_epoch_for_itself_though_the_power_fails_at_once() {
    let disk = ForgetfulDisk::new(3);
    let mut last = 0;
    for _ in 0..10 {
        let store = open(&disk);
        assert!(store.epoch().0 > last);
        last = store.epoch().0;
        disk.power_cut();
    }
}

#[test]
fn boots_that_write_nothing_leave_no_files_behind() {
    let disk = ForgetfulDisk::new(6);
    for boot in 1..=10 {
        let store = open(&disk);
        assert_eq!(store.epoch().0, boot);
        assert_eq!(segments(&disk).len(), 2, "the first, and its own");
        match boot % 3 {
            0 => disk.kill(),
            1 => disk.power_cut_to(Survivors::Synced),
            _ => disk.power_cut_to(Survivors::All),
        }
    }
    append_synced(&mut open(&disk), 2);
    for _ in 0..10 {
        let (mut store, _, fed) = recover(&disk).unwrap();
        assert_eq!((fed.lsns(), segments(&disk).len()), (vec![1, 2], 3));
        // What was torn was nothing either.
        append(&mut store, 1);
        disk.stop_at(disk.operations(), Stop::Kill);
        store.sync().unwrap_err();
        disk.kill();
    }
}

#[test]
fn a_store_that_was_not_finished_being_made_is_made_anew() {
    let rehearsal = ForgetfulDisk::new(5);
    drop(open(&rehearsal));
    for stopped in 0..rehearsal.operations() {
        for seed in 0..10 {
            let disk = ForgetfulDisk::new(seed);
            disk.stop_at(stopped, Stop::PowerCut);
            recover(&disk).unwrap_err();
            disk.power_cut();
            append_synced(&mut open(&disk), 1);
            disk.power_cut();
            assert_eq!(recover(&disk).unwrap().2.lsns(), [1], "stopped at {stopped}, seed {seed}");
        }
    }
}

#[test]
fn recovery_tells_how_far_it_is() {
    let disk = ForgetfulDisk::new(4);
    let mut store = open(&disk);
    for _ in 0..250_000 {
        store.append(0, b"").unwrap();
    }
    store.sync().unwrap();
    let mut told = Vec::new();
    let opening = Opening::new(disk.clone(), options()).unwrap();
    opening.recover(&mut Fed::default(), &mut |progress| told.push(progress)).unwrap();
    assert_eq!(told.iter().map(|p| p.records).collect::<Vec<_>>(), [100_000, 200_000]);
    assert!(told.iter().all(|p| p.read < p.total && p.total > 25 * 250_000), "{told:?}");
}
