//! What a checkpoint costs those who go on meanwhile: memory, and how long they wait.
//!
//! It runs in a process of its own, since a process's memory is what is measured.

use std::{
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde::{Deserialize, Serialize};
use stable_store::{FileStorage, Journal, JournalOptions, Opening, Options};

use super::{
    DurableError,
    kv::{self, Kv},
};
use crate::process::{ProcessError, peak_resident_bytes, reset_peak, resident_bytes, this_binary};

/// Bytes of a value.
const VALUE: usize = 64;

/// Tasks that write all the time.
const WRITERS: u64 = 8;

/// How long the reader waits between two reads.
const BETWEEN_READS: Duration = Duration::from_micros(200);

/// The hidden command of the process that is measured.
#[derive(Debug, Args)]
pub(crate) struct Site {
    /// Where the store is.
    #[arg(long)]
    dir: PathBuf,
    /// Keys in it.
    #[arg(long)]
    keys: u64,
}

/// One checkpoint under writes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Checkpointed {
    /// Keys in the table.
    pub(crate) keys: u64,
    /// Memory in RAM before, in bytes.
    pub(crate) live_bytes: u64,
    /// The most memory in RAM until the checkpoint was finished, in bytes.
    pub(crate) peak_bytes: u64,
    /// The checkpoint, from the batch that began it until the log was cut.
    pub(crate) during: Pauses,
    /// As long again, without a checkpoint.
    pub(crate) after: Pauses,
}

/// A time, and how long the slowest had to wait in it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Pauses {
    /// How long it was looked.
    pub(crate) seconds: f64,
    /// Updates that were acknowledged.
    pub(crate) updates: u64,
    /// The longest read.
    pub(crate) read_seconds: f64,
    /// The longest update, from its submission until it was durable.
    pub(crate) write_seconds: f64,
}

/// Writes a log to the empty directory `dir` that is just too long for `keys` keys.
///
/// # Errors
///
/// What the disk or the store said.
pub(crate) fn write(dir: &Path, keys: u64) -> Result<(), DurableError> {
    /// Each key as often: then the log is longer than twice the state.
    const ROUNDS: u64 = 2;
    /// Records between two syncs.
    const BATCH: u64 = 10_000;
    let opening = Opening::new(FileStorage::open(dir)?, Options::default())?;
    let (mut store, _) = opening.recover(&mut Kv::default(), &mut |_| {})?;
    for number in 0..keys * ROUNDS {
        store.append(kv::PUT, &kv::put(&kv::key(number % keys), &[7; VALUE]))?;
        if number % BATCH == 0 {
            store.sync()?;
        }
    }
    store.sync()?;
    Ok(())
}

/// Measures a checkpoint of the store in `dir`, in a process of its own.
///
/// # Errors
///
/// What the process said.
pub(crate) fn measure(dir: &Path, keys: u64) -> Result<Checkpointed, DurableError> {
    let what = "the process that writes a checkpoint".to_owned();
    let output = Command::new(this_binary()?)
        .arg("durable-checkpoint")
        .arg("--dir")
        .arg(dir)
        .args(["--keys", &keys.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| ProcessError::Child { what: what.clone(), source })?;
    if !output.status.success() {
        return Err(ProcessError::Ended { what }.into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What that process does.
///
/// # Errors
///
/// What the disk or the store said.
pub(crate) fn play(site: &Site) -> Result<Checkpointed, DurableError> {
    let mut kv = Kv::default();
    let opening = Opening::new(FileStorage::open(&site.dir)?, Options::default())?;
    let (store, _) = opening.recover(&mut kv, &mut |_| {})?;
    let journal = Journal::start(store, kv, JournalOptions::default());
    let live_bytes = resident_bytes(process::id())?;
    reset_peak()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let during = watch(&runtime, &journal, site.keys, || journal.stats().checkpoints > 0)?;
    let peak_bytes = peak_resident_bytes()?;
    let start = Instant::now();
    let as_long = Duration::from_secs_f64(during.seconds);
    let after = watch(&runtime, &journal, site.keys, || start.elapsed() >= as_long)?;
    journal.stop();
    Ok(Checkpointed { keys: site.keys, live_bytes, peak_bytes, during, after })
}

/// Reads and writes until `is_over`.
fn watch(
    runtime: &tokio::runtime::Runtime,
    journal: &Journal<Kv>,
    keys: u64,
    is_over: impl Fn() -> bool,
) -> Result<Pauses, DurableError> {
    let start = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| runtime.spawn(write_until(journal.clone(), keys, writer, Arc::clone(&stop))))
        .collect();
    let reader = {
        let (journal, stop) = (journal.clone(), Arc::clone(&stop));
        thread::spawn(move || read_until(&journal, keys, &stop))
    };
    while !is_over() {
        thread::sleep(Duration::from_millis(1));
    }
    stop.store(true, Ordering::Relaxed);
    let mut pauses = Pauses {
        seconds: start.elapsed().as_secs_f64(),
        updates: 0,
        read_seconds: reader.join().map_err(|_| DurableError::Writer)??.as_secs_f64(),
        write_seconds: 0.0,
    };
    for writer in writers {
        let (updates, longest) = runtime.block_on(writer).map_err(|_| DurableError::Writer)??;
        pauses.updates += updates;
        pauses.write_seconds = pauses.write_seconds.max(longest.as_secs_f64());
    }
    Ok(pauses)
}

async fn write_until(
    journal: Journal<Kv>,
    keys: u64,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> Result<(u64, Duration), DurableError> {
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut updates, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let put = kv::put(&kv::key(random.random_range(0..keys)), &[8; VALUE]);
        let start = Instant::now();
        let (appended, committed) = journal.submit(|_, appender| appender.append(kv::PUT, &put))?;
        appended?;
        committed.await;
        longest = longest.max(start.elapsed());
        updates += 1;
    }
    Ok((updates, longest))
}

fn read_until(
    journal: &Journal<Kv>,
    keys: u64,
    stop: &AtomicBool,
) -> Result<Duration, DurableError> {
    let mut random = SmallRng::seed_from_u64(keys);
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let key = kv::key(random.random_range(0..keys));
        let start = Instant::now();
        let is_there = journal.read(|kv| kv.entries.get(&key).is_some());
        longest = longest.max(start.elapsed());
        if !is_there {
            return Err(DurableError::Lost(key));
        }
        thread::sleep(BETWEEN_READS);
    }
    Ok(longest)
}
