//! Each way of forgetting comes about, and what was synced is never forgotten.

use std::collections::BTreeSet;

use super::*;

const SEEDS: std::ops::Range<u64> = 0..300;

/// The sets of what was left over many seeds.
fn outcomes<T: Ord>(mut run: impl FnMut(ForgetfulDisk) -> T) -> BTreeSet<T> {
    SEEDS.map(|seed| run(ForgetfulDisk::new(seed))).collect()
}

/// A file whose name is safe.
fn log(disk: &ForgetfulDisk) -> ForgetfulFile {
    let file = disk.create("log").expect("creates");
    disk.sync_dir().expect("syncs");
    file
}

#[test]
fn what_was_synced_stays() {
    for seed in SEEDS {
        let disk = ForgetfulDisk::new(seed);
        let mut file = log(&disk);
        file.append(&[1; 700]).expect("appends");
        file.sync().expect("syncs");
        file.append(&[2; 700]).expect("appends");
        disk.power_cut();
        let left = disk.bytes("log").expect("its name was synced");
        assert_eq!(left[..700], [1; 700], "seed {seed}");
        disk.power_cut();
        assert_eq!(disk.bytes("log"), Some(left), "seed {seed}: a second cut loses no more");
    }
}

#[test]
fn what_was_not_synced_is_lost_or_kept_or_torn_at_any_sector() {
    let left = outcomes(|disk| {
        let mut file = log(&disk);
        file.append(&[1; 3 * SECTOR]).expect("appends");
        disk.power_cut();
        disk.bytes("log").expect("its name was synced")
    });
    assert!(left.contains(&vec![]));
    assert!(left.contains(&vec![1; 3 * SECTOR]));
    let hole = [[1; SECTOR], [0; SECTOR], [1; SECTOR]].concat();
    assert!(left.contains(&hole), "the middle is missing and the end is not");
    for image in left {
        for sector in image.chunks(SECTOR) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector was torn");
        }
    }
}

#[test]
fn after_a_failed_sync_all_is_seen_until_it_is_reread_and_none_is_written_again() {
    let left = outcomes(|disk| {
        let mut file = log(&disk);
        file.append(&[1; SECTOR]).expect("appends");
        file.sync().expect("syncs");
        file.append(&[2; 2 * SECTOR]).expect("appends");
        disk.fail_sync(1);
        let error = file.sync().expect_err("fails");
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
        disk.kill();
        let mut file = disk.open("log").expect("opens");
        file.sync().expect("says so");
        assert_eq!(disk.bytes("log"), Some([vec![1; SECTOR], vec![2; 2 * SECTOR]].concat()));
        let (reread, survivors) = (disk.fork(0), disk.fork(1));
        reread.open("log").expect("opens").reread().expect("rereads");
        let reread = reread.bytes("log").expect("is there");
        survivors.power_cut_to(Survivors::All);
        let mut survivors = survivors.bytes("log").expect("is there");
        assert!(survivors.len() <= 3 * SECTOR);
        survivors.resize(3 * SECTOR, 0);
        assert_eq!(reread, survivors, "what a power cut leaves");
        // What is written behind it stays where it is.
        file.append(b"more").expect("appends");
        file.sync().expect("syncs");
        disk.power_cut_to(Survivors::Synced);
        assert_eq!(disk.bytes("log"), Some([&reread[..], b"more"].concat()));
        reread
    });
    let sectors = |bytes: [u8; 3]| bytes.map(|byte| [byte; SECTOR]).concat();
    let expected = [[1, 0, 0], [1, 0, 2], [1, 2, 0], [1, 2, 2]].map(sectors);
    assert_eq!(left, expected.into());
}

#[test]
fn a_reread_is_a_sync_and_fails_as_one() {
    let disk = ForgetfulDisk::new(0);
    let mut file = log(&disk);
    file.append(b"kept").expect("appends");
    disk.fail_sync(2);
    file.reread().expect("the first");
    disk.fork(1).power_cut_to(Survivors::Synced);
    file.reread().expect_err("the second");
    disk.power_cut_to(Survivors::Synced);
    assert_eq!(disk.bytes("log"), Some(b"kept".to_vec()));
}

#[test]
fn a_later_write_may_survive_an_earlier_one_is_lost() {
    let left = outcomes(|disk| {
        let mut file = log(&disk);
        file.append(&[1; SECTOR]).expect("appends");
        file.append(&[2; SECTOR]).expect("appends");
        disk.power_cut();
        disk.bytes("log").expect("its name was synced")
    });
    assert!(left.contains(&[[0; SECTOR], [2; SECTOR]].concat()));
    // In one sector, however, what came later lies over what came before.
    let left = outcomes(|disk| {
        let mut file = log(&disk);
        file.append(b"one").expect("appends");
        file.append(b"two").expect("appends");
        disk.power_cut();
        disk.bytes("log").expect("its name was synced")
    });
    assert!(left.contains(&b"onetwo"[..]) && left.contains(&b"one"[..]));
    assert!(!left.contains(&b"\0\0\0two"[..]), "{left:?}");
}

#[test]
fn a_renamed_file_that_was_not_synced_may_be_empty_or_zeros() {
    let left = outcomes(|disk| {
        disk.put("checkpoint", b"old");
        let mut file = disk.create("checkpoint.tmp").expect("creates");
        file.append(b"new").expect("appends");
        disk.rename("checkpoint.tmp", "checkpoint").expect("renames");
        disk.sync_dir().expect("syncs");
        disk.power_cut();
        disk.bytes("checkpoint").expect("one of them")
    });
    assert_eq!(left, [vec![], vec![0; 3], b"new".to_vec()].into_iter().collect());
}

#[test]
fn a_name_that_was_not_synced_is_the_old_or_the_new_one() {
    let left = outcomes(|disk| {
        disk.put("checkpoint", b"old");
        let mut file = disk.create("checkpoint.tmp").expect("creates");
        file.append(b"new").expect("appends");
        file.sync().expect("syncs");
        disk.rename("checkpoint.tmp", "checkpoint").expect("renames");
        disk.power_cut();
        (disk.bytes("checkpoint"), disk.bytes("checkpoint.tmp"))
    });
    let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    let each = [&old, &new].map(|name| [(name.clone(), None), (name.clone(), new.clone())]);
    assert_eq!(left, each.concat().into_iter().collect());
}

#[test]
fn a_new_file_and_a_removed_one_may_each_be_there_or_not() {
    let left = outcomes(|disk| {
        disk.put("removed", b"1");
        disk.remove("removed").expect("removes");
        disk.create("created").expect("creates").sync().expect("syncs");
        disk.power_cut();
        (disk.bytes("removed").is_some(), disk.bytes("created").is_some())
    });
    assert_eq!(left.len(), 4);
}

#[test]
fn a_cut_off_end_may_come_back() {
    let left = outcomes(|disk| {
        disk.put("log", b"all of it");
        disk.open("log").expect("opens").truncate(3).expect("cuts");
        disk.power_cut();
        disk.bytes("log").expect("still there")
    });
    assert!(left.contains(&b"all of it"[..]) && left.contains(&b"all"[..]), "{left:?}");
}

#[test]
fn an_unwritten_sector_may_hold_what_a_removed_file_left_there() {
    let left = outcomes(|disk| {
        disk.put("before", &[[7; SECTOR], [8; SECTOR]].concat());
        disk.remove("before").expect("removes");
        let mut file = log(&disk);
        file.append(&[[1; SECTOR], [2; SECTOR]].concat()).expect("appends");
        disk.power_cut();
        disk.bytes("log").expect("its name was synced")
    });
    assert!(left.contains(&[[1; SECTOR], [8; SECTOR]].concat()));
}

#[test]
fn a_kill_loses_nothing_and_syncs_nothing() {
    let disk = ForgetfulDisk::new(1);
    let mut file = log(&disk);
    file.append(b"unsynced").expect("appends");
    disk.kill();
    assert_eq!(disk.bytes("log"), Some(b"unsynced".to_vec()));
    disk.power_cut_to(Survivors::Synced);
    assert_eq!(disk.bytes("log"), Some(vec![]));
}

#[test]
fn an_ended_process_can_do_nothing_more() {
    for end in [ForgetfulDisk::kill, ForgetfulDisk::power_cut] {
        let disk = ForgetfulDisk::new(1);
        let mut file = log(&disk);
        let clone = disk.clone();
        end(&disk);
        file.append(b"late").expect_err("ended");
        file.sync().expect_err("ended");
        file.read_at(0, &mut [0]).expect_err("ended");
        clone.create("late").map(|_| ()).expect_err("ended");
        clone.clone().sync_dir().expect_err("ended");
        assert_eq!(disk.bytes("log"), Some(vec![]));
        disk.create("next").expect("the next process goes on");
    }
}

#[test]
fn the_machine_stops_at_the_operation_it_was_told_to() {
    for how in [Stop::PowerCut, Stop::Kill] {
        let disk = ForgetfulDisk::new(1);
        let mut file = log(&disk);
        disk.stop_at(disk.operations() + 2, how);
        file.append(b"before").expect("one to go");
        file.sync().expect_err("stops");
        assert_eq!(disk.stopped(), Some(how));
        file.append(b"after").expect_err("off");
        disk.list().expect_err("off");
        assert_eq!(disk.trace().last().map(|step| step.operation), Some(Operation::Sync));
        disk.power_cut_to(Survivors::Synced);
        assert_eq!(disk.bytes("log"), Some(vec![]), "that sync did not happen");
        disk.list().expect("on again");
    }
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run = |seed| {
        let disk = ForgetfulDisk::new(seed);
        let mut file = log(&disk);
        for number in 0..50 {
            file.append(&[number; 100]).expect("appends");
        }
        disk.power_cut();
        (disk.bytes("log"), disk.fingerprint(), disk.list().expect("lists"))
    };
    for seed in SEEDS {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1).0, run(3).0);
}

#[test]
fn a_fork_has_what_is_not_synced_and_goes_its_own_way() {
    let disk = ForgetfulDisk::new(1);
    let mut file = log(&disk);
    file.append(b"unsynced").expect("appends");
    let (lost, kept) = (disk.fork(2), disk.fork(3));
    lost.power_cut_to(Survivors::Synced);
    kept.power_cut_to(Survivors::All);
    assert_eq!(lost.bytes("log"), Some(vec![]));
    assert_eq!(kept.bytes("log"), Some(b"unsynced".to_vec()));
    file.append(b"!").expect("the first one has not noticed");
}

#[test]
fn reads_are_short_at_times_and_empty_at_the_end_alone() {
    let disk = ForgetfulDisk::new(1);
    disk.put("log", &[1; 100]);
    let file = disk.open("log").expect("opens");
    let counts: BTreeSet<usize> =
        (0..100).map(|_| file.read_at(40, &mut [0; 80]).expect("reads")).collect();
    assert!(counts.contains(&60) && counts.len() > 5 && !counts.contains(&0), "{counts:?}");
    assert_eq!(file.read_at(100, &mut [0; 80]).expect("reads"), 0);
    assert_eq!(file.read_at(u64::MAX, &mut [0; 80]).expect("reads"), 0);
}
