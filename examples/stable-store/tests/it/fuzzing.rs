//! What the fuzz targets of `fuzz/` run on a store's files: each function takes any bytes whatever,
//! and fails where a promise is broken. The seeds that are committed are run as a test.
//!
//! Checksums would stop a fuzzer at once. So an input is a list of operations that build files, most
//! of them with checksums that are right around contents that need not be.

mod checkpoint;
mod log;

pub(crate) use checkpoint::checkpoint;
pub(crate) use log::log;

use stable_store::disk::{ForgetfulDisk, Survivors};
use stable_store::format::HEADER;
use stable_store::storage::Storage as _;
use stable_store::{Lsn, OpenError, Opening, Record, Recovery, Rejected, Replay, Store};

use crate::support::options;

/// The identity of the store, as [`options`] names it.
const STORE: [u8; 16] = [7; 16];

/// An input, read from the front. What is missing at its end reads as zeros.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number near `base`, or far from all others.
    fn number(&mut self, base: u64) -> u64 {
        match self.byte() {
            near @ 0..=250 => {
                base.wrapping_add(u64::from(near % 8)).wrapping_sub(u64::from(near / 64))
            }
            251 => u64::MAX,
            252 => u64::MAX - 1,
            253 => 0,
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    /// As many bytes as the next two say, or as are left.
    fn bytes(&mut self) -> &'a [u8] {
        let count = usize::from(self.short()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes a byte, or cuts off.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        let at = usize::from(self.short());
        match (self.byte(), bytes.get_mut(at)) {
            (0, _) => bytes.truncate(at),
            (change, Some(byte)) => *byte ^= change,
            (_, None) => {}
        }
    }
}

/// The header of a file, with the right checksum.
fn header(magic: &[u8; 8], version: u16, store: [u8; 16], numbers: [u64; 3]) -> Vec<u8> {
    let mut bytes = [&magic[..], &version.to_le_bytes(), &store].concat();
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    assert_eq!(bytes.len(), HEADER);
    bytes
}

/// Puts the checksum of all behind `start` there, and returns it.
fn seal(bytes: &mut [u8], start: usize, seed: u32) -> u32 {
    let crc = crc32c::crc32c_append(seed, &bytes[start + 4..]);
    bytes[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// What a recovery fed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Fed {
    items: Vec<Vec<u8>>,
    records: Vec<(Lsn, u8, Vec<u8>)>,
}

impl Replay for Fed {
    fn restore(&mut self, item: &[u8]) -> Result<(), Rejected> {
        assert!(self.records.is_empty(), "an item behind a record");
        self.items.push(item.to_vec());
        Ok(())
    }

    fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
        if let Some((last, ..)) = self.records.last() {
            assert_eq!(last.next(), Some(record.lsn), "a gap or a repetition");
        }
        self.records.push((record.lsn, record.kind, record.payload.to_vec()));
        Ok(())
    }
}

fn open(disk: &ForgetfulDisk) -> Result<(Store<ForgetfulDisk>, Fed, Recovery), OpenError> {
    let mut fed = Fed::default();
    let opening = Opening::new(disk.clone(), options())?;
    let (store, recovery) = opening.recover(&mut fed, &mut |_| ())?;
    Ok((store, fed, recovery))
}

/// Opens what is on the disk. Either nothing is changed, or a state comes of it that stays and can
/// be added to.
fn check(disk: &ForgetfulDisk) -> Result<(Fed, Recovery), OpenError> {
    let all = |disk: &ForgetfulDisk| -> Vec<_> {
        disk.names().into_iter().map(|name| (disk.bytes(&name), name)).collect()
    };
    let before = all(disk);
    let (mut store, fed, recovery) = match open(disk) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!matches!(error, OpenError::Io { .. }), "the disk is whole: {error}");
            assert!(all(disk) == before, "a refusal has changed something: {error}");
            salvage(disk, &error);
            return Err(error);
        }
    };
    let first = recovery.checkpoint.next();
    assert!(fed.records.first().is_none_or(|(lsn, ..)| Some(*lsn) == first), "a gap in front");
    assert_eq!(fed.records.len() as u64, recovery.records);
    assert_eq!(fed.records.last().map_or(recovery.checkpoint, |(lsn, ..)| *lsn), recovery.last);
    let mut expected = fed.clone();
    if let Ok(lsn) = store.append(1, b"more") {
        store.sync().expect("the disk is whole");
        expected.records.push((lsn, 1, b"more".to_vec()));
    }
    disk.power_cut_to(Survivors::Synced);
    match open(disk) {
        Ok((_, again, next)) => {
            assert_eq!((again, next.torn), (expected, None));
            assert!(next.epoch > recovery.epoch);
        }
        Err(OpenError::Exhausted { .. }) => {}
        Err(error) => panic!("what was just written is refused: {error}"),
    }
    Ok((fed, recovery))
}

/// What is salvaged opens, and the records before the damage come back.
fn salvage(disk: &ForgetfulDisk, error: &OpenError) {
    let Ok(opening) = Opening::new(disk.clone(), options()) else { return };
    let Ok((opening, salvaged)) = opening.salvage() else { return };
    // It looks at the log alone; a checkpoint's items are refused again.
    let in_checkpoint = matches!(error, OpenError::DamagedCheckpoint { .. });
    assert!(salvaged.lost_from.is_some() || in_checkpoint, "refused without damage: {error}");
    let mut fed = Fed::default();
    match opening.recover(&mut fed, &mut |_| ()) {
        Ok((_, recovery)) => assert_eq!(recovery.last.next(), salvaged.lost_from),
        Err(OpenError::Exhausted { .. } | OpenError::DamagedCheckpoint { .. }) => {}
        // A log that is the checkpoint's and yet ends before it was made by hand.
        Err(OpenError::Missing { to, .. }) if to <= checkpoint_lsn(disk) => {}
        Err(other) => panic!("salvaged after {error}, and refused: {other}"),
    }
    disk.list().expect("the disk is whole");
}

fn checkpoint_lsn(disk: &ForgetfulDisk) -> Lsn {
    let bytes = disk.bytes("checkpoint").unwrap_or_default();
    let lsn = bytes.get(34..42).and_then(|lsn| lsn.try_into().ok());
    lsn.map_or(Lsn::ZERO, |lsn| Lsn(u64::from_le_bytes(lsn)))
}

#[cfg(test)]
mod seeds {
    use std::{fs, path::Path};

    fn run(target: &str, function: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
        let listed = fs::read_dir(&folder).expect("the seeds are in the repository");
        let mut seeds: Vec<_> = listed.map(|seed| seed.unwrap().path()).collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{} has seeds", folder.display());
        for seed in seeds {
            println!("{}", seed.display());
            function(&fs::read(seed).unwrap());
        }
    }

    #[test]
    fn logs_keep_their_promises_for_all_seeds() {
        run("log", super::log);
    }

    #[test]
    fn checkpoints_keep_their_promises_for_all_seeds() {
        run("checkpoint", super::checkpoint);
    }
}
