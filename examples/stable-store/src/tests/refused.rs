//! Files that a store does not take: each is named, with what to do, and left as it is.

use super::*;
use crate::{
    Epoch, Rejected, Storage,
    format::{CHECKPOINT, Header, Kind},
};

/// A store with a checkpoint of three items at record 2, and records 3 and 4 in segment 3.
fn disk() -> ForgetfulDisk {
    let disk = ForgetfulDisk::new(11);
    let mut store = open(&disk);
    append_synced(&mut store, 2);
    let mut writer = store.begin_checkpoint().unwrap();
    for item in [&b"one"[..], b"two", b"three"] {
        writer.item(item).unwrap();
    }
    let written = writer.finish().unwrap();
    store.finish_checkpoint(written).unwrap();
    append_synced(&mut store, 2);
    drop(store);
    disk.kill();
    assert_eq!(segments(&disk), [LOG]);
    disk
}

const LOG: &str = "log-0000000000000003";

#[test]
fn a_checkpoint_cut_off_or_flipped_at_any_byte_is_refused() {
    let disk = disk();
    let whole = disk.bytes(CHECKPOINT).unwrap();
    let is_refused = |bytes: &[u8]| {
        disk.put(CHECKPOINT, bytes);
        let error = recover(&disk).unwrap_err();
        matches!(error, OpenError::DamagedCheckpoint { .. })
    };
    for at in 0..whole.len() {
        assert!(is_refused(&whole[..at]), "cut off at {at}");
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(is_refused(&flipped), "flipped at {at}");
    }
    assert!(is_refused(&[&whole[..], b"!"].concat()), "longer by a byte");
    disk.put(CHECKPOINT, &whole);
    assert_eq!(recover(&disk).unwrap().2.items.len(), 3);
}

#[test]
fn items_of_a_checkpoint_cannot_be_left_out_or_change_places() {
    let disk = disk();
    let whole = disk.bytes(CHECKPOINT).unwrap();
    let (first, second) = (HEADER..HEADER + 11, HEADER + 11..HEADER + 22);
    let (before, behind) = (&whole[..HEADER], &whole[second.end..]);
    let (first, second) = (&whole[first], &whole[second]);
    for items in [vec![second, first], vec![second], vec![first], vec![first, first, second]] {
        disk.put(CHECKPOINT, &[before, &items.concat(), behind].concat());
        let error = recover(&disk).unwrap_err();
        assert!(matches!(error, OpenError::DamagedCheckpoint { .. }), "{error:?}");
    }
}

#[test]
fn a_newer_version_asks_for_an_upgrade_and_a_flipped_version_is_damage() {
    for (name, kind) in [(LOG, Kind::Segment), (CHECKPOINT, Kind::Checkpoint)] {
        let disk = disk();
        let whole = disk.bytes(name).unwrap();
        damage(&disk, name, |bytes| {
            bytes[8] = 2;
            let crc = crc32c::crc32c(&bytes[..50]);
            bytes[50..54].copy_from_slice(&crc.to_le_bytes());
        });
        let error = recover(&disk).unwrap_err();
        let names_it = |n: &str| n == name;
        assert!(
            matches!(&error, OpenError::NewerVersion { name, found: 2, known: 1 } if names_it(name))
        );
        assert!(error.to_string().contains("upgrade"));
        disk.put(name, &whole);
        damage(&disk, name, |bytes| bytes[8] = 2);
        match (kind, recover(&disk).unwrap_err()) {
            (Kind::Segment, OpenError::DamagedHeader { name }) => assert_eq!(name, LOG),
            (Kind::Checkpoint, OpenError::DamagedCheckpoint { offset: 0, .. }) => {}
            (_, error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn a_segment_of_another_store_is_named() {
    let disk = disk();
    let header = Header { store: StoreId([9; 16]), segment: 4, lsn: Lsn(5), epoch: Epoch(1) };
    let name = "log-0000000000000004";
    disk.put(name, &header.encode(Kind::Segment));
    let error = recover(&disk).unwrap_err();
    assert!(
        matches!(
            &error,
            OpenError::Foreign { name: named, found, expected }
                if named == name && *found == StoreId([9; 16]) && *expected == ID
        ),
        "{error:?}"
    );
}

#[test]
fn a_header_that_is_cut_off_flipped_or_of_another_number_is_damage() {
    let disk = disk();
    let whole = disk.bytes(LOG).unwrap();
    for at in 0..HEADER {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        for bytes in [&whole[..at], &flipped] {
            disk.put(LOG, bytes);
            let error = recover(&disk).unwrap_err();
            assert!(
                matches!(&error, OpenError::DamagedHeader { name } if name == LOG),
                "{error:?}"
            );
        }
    }
    disk.put(LOG, &whole);
    let other = "log-0000000000000009";
    disk.rename(LOG, other).unwrap();
    let error = recover(&disk).unwrap_err();
    assert!(matches!(&error, OpenError::DamagedHeader { name } if name == other), "{error:?}");
}

#[test]
fn files_that_are_gone_are_missed() {
    let disk = disk();
    drop(open(&disk)); // Segment 4, without records.
    let mut store = open(&disk);
    append_synced(&mut store, 1);
    drop(store);
    let missing = |name: &str, from: u64, to: u64| {
        let disk = disk.fork(1);
        disk.remove(name).unwrap();
        let error = recover(&disk).unwrap_err();
        let (from, to) = (Lsn(from), Lsn(to));
        assert!(
            matches!(error, OpenError::Missing { from: f, to: t } if (f, t) == (from, to)),
            "{error:?}"
        );
    };
    missing(LOG, 3, 4);
    missing(CHECKPOINT, 1, 2);
    for name in segments(&disk) {
        disk.remove(&name).unwrap();
    }
    assert!(matches!(recover(&disk).unwrap_err(), OpenError::Missing { .. }));
}

#[test]
fn a_log_that_ends_in_front_of_its_checkpoint_is_not_gone_on_with() {
    let disk = disk();
    damage(&disk, CHECKPOINT, |bytes| {
        let header = Header { store: ID, segment: 3, lsn: Lsn(8), epoch: Epoch(1) };
        bytes.truncate(0);
        bytes.extend(header.encode(Kind::Checkpoint));
        let seed = format::u32_at(bytes, 50);
        bytes.extend([0; 4]);
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend([0; 8]);
        format::put_crc(bytes, HEADER, seed);
    });
    let error = recover(&disk).unwrap_err();
    assert!(matches!(error, OpenError::Missing { from: Lsn(5), to: Lsn(8) }), "{error:?}");
}

#[test]
fn without_a_header_nobody_knows_which_store_it_is() {
    let disk = ForgetfulDisk::new(12);
    disk.put("log-0000000000000001", b"not a log");
    let error = Opening::new(disk, options()).unwrap_err();
    assert!(matches!(error, OpenError::Unrecognizable { .. }), "{error:?}");
}

#[test]
fn numbers_at_their_end_are_refused_and_do_not_wrap() {
    let max = u64::MAX;
    for (segment, lsn, epoch) in [(max, 1, 0), (1, 1, max)] {
        let disk = ForgetfulDisk::new(13);
        let header = Header { store: ID, segment, lsn: Lsn(lsn), epoch: Epoch(epoch) };
        disk.put(&format::segment_name(segment), &header.encode(Kind::Segment));
        let error = recover(&disk).unwrap_err();
        assert!(matches!(error, OpenError::Exhausted { .. }), "{error:?}");
    }
    let disk = ForgetfulDisk::new(14);
    let header = Header { store: ID, segment: 1, lsn: Lsn(max), epoch: Epoch(1) };
    let mut bytes = header.encode(Kind::Checkpoint).to_vec();
    let start = bytes.len();
    bytes.extend([0; 4]);
    bytes.extend(u32::MAX.to_le_bytes());
    bytes.extend([0; 8]);
    let seed = format::u32_at(&bytes, 50);
    format::put_crc(&mut bytes, start, seed);
    disk.put(CHECKPOINT, &bytes);
    disk.put("log-0000000000000001", &header.encode(Kind::Segment));
    let error = recover(&disk).unwrap_err();
    assert!(matches!(error, OpenError::Exhausted { .. }), "{error:?}");
}

#[test]
fn what_the_application_refuses_is_named_by_file_and_offset() {
    struct Picky(u64);
    impl Replay for Picky {
        fn restore(&mut self, item: &[u8]) -> Result<(), Rejected> {
            if self.0 == 0 && item == b"two" { Err(Rejected("two".to_owned())) } else { Ok(()) }
        }
        fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
            if record.lsn.0 == self.0 { Err(Rejected("not that".to_owned())) } else { Ok(()) }
        }
    }
    let disk = disk();
    let at = |refused| {
        let opening = Opening::new(disk.clone(), options()).unwrap();
        match opening.recover(&mut Picky(refused), &mut |_| ()).unwrap_err() {
            OpenError::Rejected { name, offset, .. } => (name, offset),
            error => panic!("{error:?}"),
        }
    };
    assert_eq!(at(0), (CHECKPOINT.to_owned(), HEADER as u64 + 11));
    assert_eq!(at(4), (LOG.to_owned(), offsets(3, 4)[1] as u64));
}
