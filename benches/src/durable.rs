//! What durability costs: updates a second, recovery, and checkpoints under writes.

mod checkpoint;
mod goals;
mod kv;
mod recovery;
mod report;
mod transactions;
mod updates;

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use stable_store::{OpenDirError, OpenError, RecordTooLong, Refused, StoreError};
use tempfile::TempDir;
use thiserror::Error;

use self::{
    checkpoint::Checkpointed,
    recovery::Recovered,
    transactions::Forced,
    updates::{System, WRITERS, Window},
};
pub(crate) use self::{
    checkpoint::{Site, play},
    goals::judge,
    report::text,
};
use crate::{compare::Extent, goals::Verdict, machine::Machine, process::ProcessError};

/// Where the files lie unless `--dir` says otherwise: `/tmp` is often in memory, where nothing has
/// to be forced.
pub(crate) const DEFAULT_DIR: &str = "target";

/// Transactions whose forced writes are counted; each forces as many as the next.
const TRANSACTIONS: u32 = 20;

/// How much to measure beside windows and repetitions.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Amount {
    /// Bytes of payloads in a log that is recovered.
    pub(crate) log_bytes: usize,
    /// Keys of the table that a checkpoint is written of.
    pub(crate) keys: u64,
    /// Repetitions of recoveries and checkpoints.
    pub(crate) repetitions: u32,
}

impl Amount {
    pub(crate) const QUICK: Self = Self { log_bytes: 128 << 20, keys: 1_000_000, repetitions: 3 };
    pub(crate) const FULL: Self = Self { log_bytes: 512 << 20, keys: 1_000_000, repetitions: 5 };
}

/// One window of updates.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Update {
    system: System,
    writers: u32,
    repetition: u32,
    #[serde(flatten)]
    window: Window,
}

/// Everything one run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    machine: Machine,
    dir: PathBuf,
    extent: Extent,
    amount: Amount,
    updates: Vec<Update>,
    recoveries: Vec<Recovered>,
    checkpoints: Vec<Checkpointed>,
    transactions: Vec<Forced>,
}

/// A whole run as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    /// What was measured.
    #[serde(flatten)]
    pub(crate) measured: &'a Measured,
    /// The goals.
    pub(crate) goals: &'a [Verdict],
}

/// Why the run stopped.
#[derive(Debug, Error)]
pub(crate) enum DurableError {
    /// A child failed; its own message is on stderr.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A child printed something else than its result.
    #[error("the result of a child cannot be read")]
    Result(#[from] serde_json::Error),
    /// The directory for the files cannot be used.
    #[error("no files in {dir}: choose another --dir")]
    Dir {
        /// Which one.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something else that the system said.
    #[error("the system failed")]
    Io(#[from] io::Error),
    /// A directory cannot be a store's.
    #[error(transparent)]
    OpenDir(#[from] OpenDirError),
    /// A store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A journal takes nothing.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A journal takes no record of this length.
    #[error(transparent)]
    RecordTooLong(#[from] RecordTooLong),
    /// redb failed.
    #[error("redb failed")]
    Redb(#[from] redb::Error),
    /// A writer or a reader panicked.
    #[error("a writer or a reader panicked")]
    Writer,
    /// The store is fast because it forgets.
    #[error("{acknowledged} updates were acknowledged, {recovered} were recovered")]
    Forgot {
        /// Before the store was closed.
        acknowledged: u64,
        /// When it was opened again.
        recovered: u64,
    },
    /// A transaction that nothing stands in the way of.
    #[error("a transaction did not commit")]
    NotCommitted,
    /// A key that was there is not there.
    #[error("{0} is lost")]
    Lost(String),
}

/// Measures all of it with files in `dir`; says on stderr how far it is.
///
/// # Errors
///
/// Whatever failed first.
pub(crate) fn run(extent: Extent, amount: Amount, dir: &Path) -> Result<Measured, DurableError> {
    let mut measured = Measured {
        machine: Machine::here(),
        dir: dir.to_owned(),
        extent,
        amount,
        updates: Vec::new(),
        recoveries: Vec::new(),
        checkpoints: Vec::new(),
        transactions: transactions::measure(folder(dir)?.path(), TRANSACTIONS)?,
    };
    for repetition in 0..extent.repetitions {
        eprintln!("updates, {} of {}", repetition + 1, extent.repetitions);
        measured.updates.extend(one_repetition(extent, repetition, dir)?);
    }
    for payload in recovery::PAYLOADS {
        eprintln!("recovery, {payload} bytes");
        let dir = folder(dir)?;
        recovery::write(dir.path(), payload, amount.log_bytes)?;
        for _ in 0..amount.repetitions {
            measured.recoveries.push(recovery::measure(dir.path(), payload)?);
        }
    }
    for repetition in 0..amount.repetitions {
        eprintln!("checkpoint, {} of {}", repetition + 1, amount.repetitions);
        let dir = folder(dir)?;
        checkpoint::write(dir.path(), amount.keys)?;
        measured.checkpoints.push(checkpoint::measure(dir.path(), amount.keys)?);
    }
    Ok(measured)
}

/// Each system with each number of writers; each repetition begins with another one.
fn one_repetition(
    extent: Extent,
    repetition: u32,
    dir: &Path,
) -> Result<Vec<Update>, DurableError> {
    let mut order = vec![(System::Fdatasync, 1)];
    for writers in WRITERS {
        order.extend([(System::StableStore, writers), (System::Redb, writers)]);
    }
    let begin = repetition as usize % order.len();
    order.rotate_left(begin);
    let mut updates = Vec::new();
    for (system, writers) in order {
        let dir = folder(dir)?;
        let window = system.run(dir.path(), writers, extent)?;
        updates.push(Update { system, writers, repetition, window });
    }
    Ok(updates)
}

/// An empty directory in `dir`, removed when it is dropped.
fn folder(dir: &Path) -> Result<TempDir, DurableError> {
    std::fs::create_dir_all(dir)
        .and_then(|()| tempfile::Builder::new().prefix("durable-").tempdir_in(dir))
        .map_err(|source| DurableError::Dir { dir: dir.to_owned(), source })
}

impl Measured {
    /// `measure` of each window of `system` with so many `writers`, in order of repetition.
    fn each(
        &self,
        system: System,
        writers: u32,
        measure: impl Fn(&Window) -> f64,
    ) -> impl Iterator<Item = f64> {
        let mut updates: Vec<_> = self
            .updates
            .iter()
            .filter(|update| update.system == system && update.writers == writers)
            .collect();
        updates.sort_by_key(|update| update.repetition);
        updates.into_iter().map(move |update| measure(&update.window))
    }

    /// Updates a second of ours as a multiple of `base`'s, repetition by repetition.
    fn ratio(&self, writers: u32, base: (System, u32)) -> impl Iterator<Item = f64> {
        let of = self.each(System::StableStore, writers, Window::rate);
        of.zip(self.each(base.0, base.1, Window::rate)).map(|(of, to)| of / to)
    }
}
