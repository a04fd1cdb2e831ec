//! Salvage gives the state before the damage, and keeps the rest beside it.

use super::*;
use crate::{
    Salvaged, Storage,
    disk::{Operation, Stop},
    format::CHECKPOINT,
};

/// Records 1 to 3 in segment 2, 4 to 6 in 3, 7 to 9 in 4, all synced.
fn three_boots() -> ForgetfulDisk {
    let disk = ForgetfulDisk::new(21);
    for _ in 0..3 {
        append_synced(&mut open(&disk), 3);
    }
    disk.kill();
    disk
}

const SECOND: &str = "log-0000000000000003";
const THIRD: &str = "log-0000000000000004";

fn salvage(disk: &ForgetfulDisk) -> Result<Salvaged, OpenError> {
    Opening::new(disk.clone(), options())?.salvage().map(|(_, salvaged)| salvaged)
}

#[test]
fn what_is_before_the_damage_stays_and_the_rest_is_kept_aside() {
    let disk = three_boots();
    let damaged_at = offsets(4, 6)[1];
    damage(&disk, SECOND, |bytes| bytes[damaged_at + 26] ^= 1);
    let (second, third) = (disk.bytes(SECOND), disk.bytes(THIRD));
    let before = recover(&disk).unwrap_err();
    let salvaged = salvage(&disk).unwrap();
    assert_eq!(salvaged.lost_from, Some(Lsn(5)));
    assert_eq!(salvaged.reason, Some(before.to_string()));
    assert_eq!(salvaged.kept, [format!("salvaged-{SECOND}"), format!("salvaged-{THIRD}")]);
    disk.power_cut();
    assert_eq!(disk.bytes(&salvaged.kept[0]), second);
    assert_eq!(disk.bytes(&salvaged.kept[1]), third);
    let (mut store, _, fed) = recover(&disk).unwrap();
    assert_eq!(fed.lsns(), [1, 2, 3, 4]);
    // The third boot had epoch 3, and what it named must not be named again.
    assert!(store.epoch().0 > 3);
    append_synced(&mut store, 1);
    disk.power_cut();
    assert_eq!(recover(&disk).unwrap().2.lsns(), [1, 2, 3, 4, 5]);
}

#[test]
fn without_damage_nothing_is_changed() {
    let disk = three_boots();
    damage(&disk, THIRD, |bytes| bytes.extend(b"torn"));
    let before = disk.trace().len();
    assert_eq!(salvage(&disk).unwrap(), Salvaged::default());
    assert!(disk.trace()[before..].iter().all(|step| step.operation == Operation::Sync));
    assert_eq!(recover(&disk).unwrap().2.lsns().len(), 9);
}

#[test]
fn a_header_that_is_none_and_a_file_that_is_gone_end_the_log_too() {
    for is_gone in [false, true] {
        let disk = three_boots();
        match is_gone {
            true => disk.remove(SECOND).unwrap(),
            false => damage(&disk, SECOND, |bytes| bytes[3] ^= 1),
        }
        match (is_gone, recover(&disk).unwrap_err()) {
            (true, OpenError::Missing { from: Lsn(4), to: Lsn(6) }) => {}
            (false, OpenError::DamagedHeader { name }) => assert_eq!(name, SECOND),
            (_, error) => panic!("{error:?}"),
        }
        let salvaged = salvage(&disk).unwrap();
        assert_eq!(salvaged.lost_from, Some(Lsn(4)));
        let (store, _, fed) = recover(&disk).unwrap();
        assert_eq!(fed.lsns(), [1, 2, 3]);
        assert!(store.epoch().0 > 3);
    }
}

#[test]
fn boots_whose_headers_are_lost_keep_their_epochs() {
    let disk = three_boots();
    for name in [SECOND, THIRD] {
        damage(&disk, name, |bytes| bytes[44] ^= 1);
    }
    assert_eq!(salvage(&disk).unwrap().lost_from, Some(Lsn(4)));
    assert!(open(&disk).epoch().0 > 3);
}

#[test]
fn boots_that_wrote_nothing_and_left_no_file_count_too() {
    let disk = three_boots();
    (0..20).for_each(|_| drop(open(&disk)));
    let mut store = open(&disk);
    append_synced(&mut store, 1);
    damage(&disk, segments(&disk).last().unwrap(), |bytes| bytes[44] ^= 1);
    assert_eq!(salvage(&disk).unwrap().lost_from, Some(Lsn(10)));
    assert!(open(&disk).epoch() > store.epoch());
}

#[test]
fn a_checkpoint_is_not_salvaged_and_the_state_it_has_is_kept_without_a_log() {
    let disk = three_boots();
    let mut store = open(&disk);
    let mut writer = store.begin_checkpoint().unwrap();
    writer.item(b"all of it").unwrap();
    let written = writer.finish().unwrap();
    store.finish_checkpoint(written).unwrap();
    append_synced(&mut store, 2);
    drop(store);
    let log = segments(&disk).pop().unwrap();
    let whole = disk.fork(1);
    damage(&whole, CHECKPOINT, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let (opening, salvaged) = Opening::new(whole.clone(), options()).unwrap().salvage().unwrap();
    assert_eq!(salvaged, Salvaged::default());
    let error = opening.recover(&mut Fed::default(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, OpenError::DamagedCheckpoint { .. }), "{error:?}");
    disk.remove(&log).unwrap();
    assert_eq!(salvage(&disk).unwrap().lost_from, Some(Lsn(10)));
    let (store, _, fed) = recover(&disk).unwrap();
    assert_eq!((fed.items, fed.records), (vec![b"all of it".to_vec()], vec![]));
    assert_eq!(store.last(), Lsn(9));
}

#[test]
fn a_power_cut_at_any_step_leaves_what_can_be_salvaged_again() {
    let damaged = three_boots();
    damage(&damaged, SECOND, |bytes| bytes[offsets(4, 6)[1] + 26] ^= 1);
    let third = damaged.bytes(THIRD).unwrap();
    let whole = damaged.fork(0);
    let before = whole.operations();
    let _ = salvage(&whole).unwrap();
    for step in before..whole.operations() {
        for seed in 0..10 {
            let disk = damaged.fork(seed);
            disk.stop_at(step, Stop::PowerCut);
            salvage(&disk).unwrap_err();
            disk.power_cut();
            let _ = salvage(&disk).unwrap();
            disk.power_cut();
            let (store, _, fed) = recover(&disk).unwrap();
            assert_eq!(fed.lsns(), [1, 2, 3, 4], "stopped at {step}, seed {seed}");
            assert!(store.epoch().0 > 3);
            let kept = disk.bytes(&format!("salvaged-{THIRD}"));
            assert_eq!(kept.as_ref(), Some(&third), "stopped at {step}, seed {seed}");
        }
    }
}
