//! A torn tail is cut off; damage to what was synced is refused. The bytes are made by hand.

use super::*;
use crate::{
    Lsn, Torn,
    format::{self, put_record},
};

/// The store's first boot, whose records are in segment 2, and where each of them begins. Its
/// directory is left as it is at the end.
fn disk_with(records: impl FnOnce(&mut Store<ForgetfulDisk>)) -> ForgetfulDisk {
    let disk = ForgetfulDisk::new(9);
    records(&mut open(&disk));
    disk.kill();
    disk
}

const LOG: &str = "log-0000000000000002";

#[track_caller]
fn assert_torn(disk: &ForgetfulDisk, last: u64) {
    let (store, recovery, fed) = recover(disk).unwrap();
    assert_eq!(fed.lsns(), (1..=last).collect::<Vec<_>>());
    assert!(recovery.torn.is_some());
    assert_eq!(store.last(), Lsn(last));
    drop(store);
    disk.power_cut();
    let (_, again, fed) = recover(disk).unwrap();
    assert_eq!(
        (fed.lsns().len() as u64, again.torn),
        (last, None),
        "a second recovery says the same"
    );
}

#[track_caller]
fn assert_damaged(disk: &ForgetfulDisk, lsn: u64, synced: u64) {
    let files: Vec<_> = segments(disk).iter().map(|name| disk.bytes(name)).collect();
    let error = recover(disk).unwrap_err();
    let at = offsets(1, 10)[usize::try_from(lsn).unwrap() - 1] as u64;
    assert!(
        matches!(
            &error,
            OpenError::DamagedRecord { name, offset, lsn: bad, synced: up_to }
                if name == LOG && *offset == at && *bad == Lsn(lsn) && *up_to == Lsn(synced)
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("--salvage"));
    let after: Vec<_> = segments(disk).iter().map(|name| disk.bytes(name)).collect();
    assert_eq!(files, after, "nothing is changed");
}

#[test]
fn a_flip_in_the_batch_that_was_being_synced_is_torn() {
    let disk = disk_with(|store| {
        append_synced(store, 3);
        append(store, 3);
        store.sync().unwrap();
    });
    let at = offsets(1, 6);
    for lsn in 4..=6 {
        let disk = disk.fork(lsn);
        damage(&disk, LOG, |bytes| bytes[at[usize::try_from(lsn).unwrap() - 1] + 7] ^= 1);
        assert_torn(&disk, lsn - 1);
    }
}

#[test]
fn a_flip_before_a_later_sync_is_damage() {
    let disk = disk_with(|store| {
        append_synced(store, 3);
        append(store, 3);
        store.sync().unwrap();
    });
    let at = offsets(1, 6);
    for lsn in 1..=3 {
        let disk = disk.fork(lsn);
        damage(&disk, LOG, |bytes| bytes[at[usize::try_from(lsn).unwrap() - 1] + 27] ^= 0x80);
        assert_damaged(&disk, lsn, 3);
    }
}

#[test]
fn a_hole_in_the_last_batch_is_torn_though_records_behind_it_are_whole() {
    let disk = disk_with(|store| {
        append_synced(store, 2);
        append(store, 5);
        store.sync().unwrap();
    });
    let at = offsets(1, 7);
    damage(&disk, LOG, |bytes| bytes[at[3]..at[5]].fill(0));
    let (_, recovery, fed) = recover(&disk.fork(1)).unwrap();
    assert_eq!(fed.lsns(), [1, 2, 3]);
    let bytes = (at[7] - at[3]) as u64;
    assert_eq!(recovery.torn, Some(Torn { segment: 2, offset: at[3] as u64, bytes }));
    assert_torn(&disk, 3);
    assert_eq!(disk.bytes(LOG).unwrap().len(), at[3], "what is torn is cut off");
}

#[test]
fn zeros_behind_the_end_are_torn() {
    let disk = disk_with(|store| append_synced(store, 2));
    damage(&disk, LOG, |bytes| bytes.extend([0; 5000]));
    assert_torn(&disk, 2);
}

#[test]
fn a_witness_far_behind_the_hole_is_found() {
    let disk = disk_with(|store| {
        append_synced(store, 2);
        store.append(1, &vec![0xaa; 3 << 20]).unwrap();
        store.sync().unwrap();
        append_synced(store, 1);
    });
    damage(&disk, LOG, |bytes| bytes[offsets(1, 2)[1] + 4] = 0xff);
    assert_damaged(&disk, 2, 3);
}

#[test]
fn the_tail_of_an_earlier_boot_was_synced_by_the_next() {
    let disk = disk_with(|store| append_synced(store, 3));
    drop(open(&disk));
    damage(&disk, LOG, |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert_damaged(&disk, 3, 3);
    damage(&disk, LOG, |bytes| bytes.truncate(offsets(1, 3)[2]));
    assert_damaged(&disk, 3, 3);
}

#[test]
fn a_record_that_was_cut_out_is_damage_though_all_others_are_whole() {
    let disk = disk_with(|store| append_synced(store, 4));
    let at = offsets(1, 4);
    damage(&disk, LOG, |bytes| drop(bytes.drain(at[1]..at[2])));
    assert_damaged(&disk, 2, 3);
}

#[test]
fn a_record_that_was_cut_out_is_damage_though_nobody_says_that_it_was_synced() {
    let disk = disk_with(|store| {
        append(store, 4);
        store.sync().unwrap();
    });
    let at = offsets(1, 4);
    damage(&disk, LOG, |bytes| drop(bytes.drain(at[1]..at[2])));
    assert_damaged(&disk, 2, 3);
}

#[test]
fn bytes_of_another_store_or_segment_prove_nothing() {
    for (seed, is_ours) in [
        (format::seed(ID, 2), true),
        (format::seed(ID, 1), false),
        (format::seed(StoreId([7; 16]), 2), false),
    ] {
        let disk = disk_with(|store| append_synced(store, 1));
        damage(&disk, LOG, |bytes| {
            bytes.extend([0xee; 40]);
            put_record(bytes, seed, Lsn(9), Lsn(8), 1, b"stale");
        });
        match is_ours {
            true => assert_damaged(&disk, 2, 8),
            false => assert_torn(&disk, 1),
        }
    }
}

#[test]
fn a_length_beyond_the_file_is_not_believed() {
    let disk = disk_with(|store| append_synced(store, 1));
    damage(&disk, LOG, |bytes| {
        bytes.extend([1; 4]);
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend([1; 17]);
    });
    assert_torn(&disk, 1);
}
