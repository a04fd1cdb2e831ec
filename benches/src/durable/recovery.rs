//! How fast a log is read back.

use std::{path::Path, time::Instant};

use serde::Serialize;
use stable_store::{
    FileStorage, Opening, Options, Record, Rejected, Replay, Store, format::RECORD_HEADER,
};

use super::{DurableError, kv::PUT};

/// Payloads of the two logs, in bytes.
pub(crate) const PAYLOADS: [usize; 2] = [64, 4096];

/// Bytes that are appended between two syncs.
const BATCH: usize = 4 << 20;

/// One recovery.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Recovered {
    /// Bytes of each payload.
    pub(crate) payload: usize,
    /// Records in the log.
    pub(crate) records: u64,
    /// Bytes of the log.
    pub(crate) bytes: u64,
    /// From opening the directory to the store that may be appended to.
    pub(crate) seconds: f64,
}

impl Recovered {
    /// 10^6 bytes a second.
    pub(crate) fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds
    }

    /// Records a second.
    pub(crate) fn records_per_second(&self) -> f64 {
        self.records as f64 / self.seconds
    }
}

/// Counts what it sees: the store's own speed, and no application's.
#[derive(Debug, Default)]
struct Count {
    records: u64,
    bytes: u64,
}

impl Replay for Count {
    fn restore(&mut self, _: &[u8]) -> Result<(), Rejected> {
        Err(Rejected("there is no checkpoint".to_owned()))
    }

    fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
        self.records += 1;
        self.bytes += record.payload.len() as u64;
        Ok(())
    }
}

/// Writes a log of about `bytes` into the empty directory `dir`.
///
/// # Errors
///
/// What the disk or the store said.
pub(crate) fn write(dir: &Path, payload: usize, bytes: usize) -> Result<(), DurableError> {
    let (mut store, _) = open(dir)?;
    let record = vec![7; payload];
    let mut gathered = 0;
    for _ in 0..bytes / payload {
        store.append(PUT, &record)?;
        gathered += payload;
        if gathered >= BATCH {
            store.sync()?;
            gathered = 0;
        }
    }
    store.sync()?;
    Ok(())
}

/// Recovers the log of `dir`, which was written before.
///
/// # Errors
///
/// What the disk or the store said.
pub(crate) fn measure(dir: &Path, payload: usize) -> Result<Recovered, DurableError> {
    let start = Instant::now();
    let (store, count) = open(dir)?;
    let seconds = start.elapsed().as_secs_f64();
    drop(store);
    let bytes = count.bytes + count.records * RECORD_HEADER as u64;
    Ok(Recovered { payload, records: count.records, bytes, seconds })
}

fn open(dir: &Path) -> Result<(Store<FileStorage>, Count), DurableError> {
    let mut count = Count::default();
    let opening = Opening::new(FileStorage::open(dir)?, Options::default())?;
    let (store, _) = opening.recover(&mut count, &mut |_| {})?;
    Ok((store, count))
}
