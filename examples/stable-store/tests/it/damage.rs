//! Every byte of a log and of a checkpoint is altered, and each is cut off at every byte: what
//! comes back is the longest prefix, or nothing but a refusal that says where.

use stable_store::disk::ForgetfulDisk;
use stable_store::format::{HEADER, RECORD_HEADER};
use stable_store::{Lsn, OpenError, Opening, Recovery, Torn};

use crate::support::{KIND, Payloads, open, options};

const RECORDS: usize = 50;
/// The segment with the records; the first one was made with the store.
const LOG: &str = "log-0000000000000002";

/// How the records were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// Each synced before the next: all but the last are known to have been.
    OneByOne,
    /// At once: of none is it known.
    AtOnce,
}

/// Records of different lengths, with and without bytes.
fn payload(number: usize) -> Vec<u8> {
    (0..number * 7 % 30).map(|byte| u8::try_from(number + byte).unwrap()).collect()
}

fn payloads(count: usize) -> Vec<Vec<u8>> {
    (1..=count).map(payload).collect()
}

fn written(how: Written) -> ForgetfulDisk {
    let disk = ForgetfulDisk::new(1);
    let (mut store, ..) = open(disk.clone()).expect("opens");
    for number in 1..=RECORDS {
        store.append(KIND, &payload(number)).expect("appends");
        if how == Written::OneByOne {
            store.sync().expect("syncs");
        }
    }
    store.sync().expect("syncs");
    disk.kill();
    disk
}

/// The place of each record in the file, and the end of the last one.
fn offsets() -> Vec<usize> {
    let sizes = (1..=RECORDS).map(|number| RECORD_HEADER + payload(number).len());
    let ends = sizes.scan(HEADER, |at, size| {
        *at += size;
        Some(*at)
    });
    [HEADER].into_iter().chain(ends).collect()
}

/// The record that has this byte, from 1, if it is not the header's.
fn record_at(offset: usize) -> Option<usize> {
    offsets().iter().rposition(|start| *start <= offset).map(|index| index + 1)
}

type Opened = Result<(Vec<Vec<u8>>, Recovery), OpenError>;

/// Opens a copy in which one file has other bytes.
fn open_with(disk: &ForgetfulDisk, file: &str, bytes: &[u8]) -> (ForgetfulDisk, Opened) {
    let disk = disk.fork(bytes.len() as u64);
    disk.put(file, bytes);
    let opened = open(disk.clone()).map(|(_, payloads, recovery)| (payloads.all, recovery));
    (disk, opened)
}

/// The file with each byte altered in turn: one bit of it, and all of them.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    (0..bytes.len()).flat_map(move |offset| {
        [1 << (offset % 8), 0xff].map(|flip: u8| {
            let mut bytes = bytes.to_vec();
            bytes[offset] ^= flip;
            (offset, bytes)
        })
    })
}

#[test]
fn a_flipped_byte_before_a_later_sync_is_damage_and_the_place_is_named() {
    let disk = written(Written::OneByOne);
    let (bytes, offsets) = (disk.bytes(LOG).unwrap(), offsets());
    for (offset, bytes) in flips(&bytes) {
        let (after, opened) = open_with(&disk, LOG, &bytes);
        let Some(record) = record_at(offset) else {
            let Err(OpenError::DamagedHeader { name }) = opened else {
                panic!("{offset}: {opened:?}");
            };
            assert_eq!(name, LOG);
            continue;
        };
        if record == RECORDS {
            // Nobody can tell this from a record that was never acknowledged.
            let (all, recovery) = opened.expect("a torn tail");
            assert_eq!(all, payloads(RECORDS - 1), "{offset}");
            let torn = Torn {
                segment: 2,
                offset: offsets[RECORDS - 1] as u64,
                bytes: (offsets[RECORDS] - offsets[RECORDS - 1]) as u64,
            };
            assert_eq!(recovery.torn, Some(torn));
            continue;
        }
        let Err(OpenError::DamagedRecord { name, offset: at, lsn, synced }) = opened else {
            panic!("{offset}: {opened:?}");
        };
        let expected = (LOG, offsets[record - 1] as u64, Lsn(record as u64), Lsn(49));
        assert_eq!((name.as_str(), at, lsn, synced), expected, "{offset}");
        assert_eq!(after.bytes(LOG), Some(bytes), "a refusal has changed something");
    }
}

#[test]
fn a_flipped_byte_in_what_was_never_known_to_be_synced_ends_the_log_there() {
    let disk = written(Written::AtOnce);
    let (bytes, offsets) = (disk.bytes(LOG).unwrap(), offsets());
    for (offset, bytes) in flips(&bytes) {
        let (after, opened) = open_with(&disk, LOG, &bytes);
        let Some(record) = record_at(offset) else {
            assert!(matches!(opened, Err(OpenError::DamagedHeader { .. })), "{offset}: {opened:?}");
            continue;
        };
        let (all, recovery) = opened.expect("a torn tail");
        assert_eq!(all, payloads(record - 1), "{offset}");
        let start = offsets[record - 1];
        let bytes = (offsets[RECORDS] - start) as u64;
        assert_eq!(recovery.torn, Some(Torn { segment: 2, offset: start as u64, bytes }));
        // What lies behind the hole does not come back, whatever is written into it.
        let (_, payloads_again, recovery) = open(after.clone()).expect("opens again");
        assert_eq!((payloads_again.all, recovery.torn), (all, None), "{offset}");
    }
}

#[test]
fn a_log_cut_off_anywhere_gives_its_longest_prefix() {
    for how in [Written::OneByOne, Written::AtOnce] {
        let disk = written(how);
        let (bytes, offsets) = (disk.bytes(LOG).unwrap(), offsets());
        for length in 0..bytes.len() {
            let (_, opened) = open_with(&disk, LOG, &bytes[..length]);
            if length < HEADER {
                let refused = matches!(opened, Err(OpenError::DamagedHeader { .. }));
                assert!(refused, "{length}: {opened:?}");
                continue;
            }
            let (all, recovery) = opened.expect("a torn tail");
            let whole = offsets.iter().filter(|offset| **offset <= length).count() - 1;
            assert_eq!(all, payloads(whole), "{how:?} {length}");
            assert_eq!(recovery.torn.is_some(), length > offsets[whole], "{length}");
        }
    }
}

#[test]
fn a_file_of_the_log_that_others_follow_has_no_torn_tail() {
    // The next boot's segment says how far this one went, and that it was synced.
    let disk = written(Written::AtOnce);
    drop(open(disk.clone()).expect("the next boot"));
    let (bytes, offsets) = (disk.bytes(LOG).unwrap(), offsets());
    let cut = (0..bytes.len()).map(|length| (length, bytes[..length].to_vec()));
    for (offset, bytes) in flips(&bytes).chain(cut) {
        let (_, opened) = open_with(&disk, LOG, &bytes);
        match (record_at(offset), opened) {
            (None, Err(OpenError::DamagedHeader { name })) => assert_eq!(name, LOG),
            (Some(record), Err(OpenError::DamagedRecord { name, offset: at, lsn, synced })) => {
                let expected = (LOG, offsets[record - 1] as u64, Lsn(record as u64), Lsn(50));
                assert_eq!((name.as_str(), at, lsn, synced), expected, "{offset}");
            }
            (_, opened) => panic!("{offset}: {opened:?}"),
        }
    }
    let (_, opened) = open_with(&disk, LOG, &[&bytes[..], b"more"].concat());
    assert_eq!(opened.expect("what is behind the end does not count").0, payloads(RECORDS));
    let without = disk.fork(0);
    stable_store::Storage::remove(&without, LOG).expect("removes");
    let opened = open(without).map(drop);
    assert!(matches!(opened, Err(OpenError::Missing { from: Lsn(1), to: Lsn(50) })), "{opened:?}");
}

#[test]
fn a_record_that_was_cut_out_is_missed() {
    for how in [Written::OneByOne, Written::AtOnce] {
        let disk = written(how);
        let (bytes, offsets) = (disk.bytes(LOG).unwrap(), offsets());
        for record in 1..RECORDS {
            let (start, end) = (offsets[record - 1], offsets[record]);
            let (_, opened) = open_with(&disk, LOG, &[&bytes[..start], &bytes[end..]].concat());
            let Err(OpenError::DamagedRecord { offset, lsn, .. }) = opened else {
                panic!("{record}: {opened:?}");
            };
            assert_eq!((offset, lsn), (start as u64, Lsn(record as u64)));
        }
    }
}

#[test]
fn an_altered_or_cut_off_checkpoint_is_refused() {
    let disk = written(Written::AtOnce);
    let (mut store, payloads_so_far, _) = open(disk.clone()).expect("opens");
    let mut writer = store.begin_checkpoint().expect("begins");
    payloads_so_far.all.iter().try_for_each(|item| writer.item(item)).expect("writes");
    let written = writer.finish().expect("finishes");
    store.finish_checkpoint(written).expect("finishes");
    store.append(KIND, b"behind it").expect("appends");
    store.sync().expect("syncs");
    disk.kill();

    let bytes = disk.bytes("checkpoint").unwrap();
    let cut = (0..bytes.len()).map(|length| (length, bytes[..length].to_vec()));
    let longer = (bytes.len(), [&bytes[..], b"m"].concat());
    for (offset, bytes) in flips(&bytes).chain(cut).chain([longer]) {
        let disk = disk.fork(offset as u64);
        disk.put("checkpoint", &bytes);
        let mut fed = Payloads::default();
        let opened = Opening::new(disk.clone(), options())
            .and_then(|opening| opening.recover(&mut fed, &mut |_| ()));
        let Err(OpenError::DamagedCheckpoint { name, offset: at, .. }) = opened.map(drop) else {
            panic!("{offset}: taken");
        };
        assert_eq!(name, "checkpoint");
        assert!(at <= offset as u64, "{at} is behind {offset}");
        assert_eq!(fed.all, payloads_so_far.all[..fed.all.len()], "{offset}: a wrong value");
        assert_eq!(disk.bytes("checkpoint"), Some(bytes), "a refusal has changed something");
    }
    let (_, opened) = open_with(&disk, "checkpoint", &bytes);
    let mut expected = payloads(RECORDS);
    expected.push(b"behind it".to_vec());
    assert_eq!(opened.expect("unaltered").0, expected);
}

#[test]
fn salvage_keeps_what_was_before_the_damage_and_sets_the_rest_aside() {
    let disk = written(Written::OneByOne);
    let bytes = disk.bytes(LOG).unwrap();
    for offset in HEADER..offsets()[RECORDS - 1] {
        let mut damaged = bytes.clone();
        damaged[offset] ^= 0x10;
        let disk = disk.fork(offset as u64);
        disk.put(LOG, &damaged);
        let lost = record_at(offset).unwrap();
        let opening = Opening::new(disk.clone(), options()).expect("its headers are whole");
        let (opening, salvaged) = opening.salvage().expect("salvages");
        assert_eq!(salvaged.lost_from, Some(Lsn(lost as u64)));
        assert_eq!(salvaged.kept.len(), 1);
        assert_eq!(disk.bytes(&salvaged.kept[0]), Some(damaged));
        let mut fed = Payloads::default();
        let (mut store, _) = opening.recover(&mut fed, &mut |_| ()).expect("recovers");
        assert_eq!(fed.all, payloads(lost - 1));
        store.append(KIND, b"instead").expect("appends");
        store.sync().expect("syncs");
        disk.power_cut();
        let (_, again, _) = open(disk).expect("opens");
        assert_eq!(again.all, [payloads(lost - 1), vec![b"instead".to_vec()]].concat());
    }
}

#[test]
fn a_file_of_another_store_is_named_and_refused() {
    let disk = written(Written::OneByOne);
    let other = ForgetfulDisk::new(2);
    let theirs =
        stable_store::Options { new_id: Some(stable_store::StoreId([8; 16])), ..options() };
    let opening = Opening::new(other.clone(), theirs).expect("opens");
    drop(opening.recover(&mut Payloads::default(), &mut |_| ()).expect("recovers"));
    let (_, opened) = open_with(&disk, LOG, &other.bytes(LOG).unwrap());
    let Err(OpenError::Foreign { name, found, expected }) = opened else { panic!("{opened:?}") };
    assert_eq!((name.as_str(), found.0, expected.0), (LOG, [8; 16], [7; 16]));
}

#[test]
fn bytes_that_an_older_file_left_are_no_records() {
    // The sectors of a removed segment come back where the next one's were not written: the same
    // records, in the same places, with other numbers. The first record of each ends its sector.
    let mut seen = 0;
    for seed in 0..200 {
        let disk = ForgetfulDisk::new(seed);
        let first = vec![1; 512 - HEADER - RECORD_HEADER];
        let (mut store, mut expected, _) = open(disk.clone()).expect("opens");
        for _ in 0..2 {
            for payload in [&first, &vec![2; 100]] {
                store.append(KIND, payload).expect("appends");
                expected.all.push(payload.clone());
                store.sync().expect("syncs");
            }
            let mut writer = store.begin_checkpoint().expect("begins");
            expected.all.iter().try_for_each(|item| writer.item(item)).expect("writes");
            let written = writer.finish().expect("finishes");
            store.finish_checkpoint(written).expect("finishes");
        }
        store.append(KIND, &first).expect("appends");
        expected.all.push(first);
        store.sync().expect("syncs");
        store.append(KIND, &[3; 100]).expect("appends");
        disk.stop_at(disk.operations() + 2, stable_store::disk::Stop::PowerCut);
        store.sync().expect_err("the power fails");
        disk.power_cut();
        let log = disk.names().into_iter().rfind(|name| name.starts_with("log-")).unwrap();
        let bytes = disk.bytes(&log).unwrap();
        let stale =
            bytes.len() > 600 && bytes[512 + RECORD_HEADER..600].iter().all(|byte| *byte == 2);
        seen += u32::from(stale);
        let (_, payloads, recovery) = open(disk).expect("a crash is no damage");
        if stale {
            assert_eq!(payloads.all, expected.all, "seed {seed}");
            assert!(recovery.torn.is_some());
        }
    }
    assert!(seen > 3, "stale bytes came back {seen} times");
}
