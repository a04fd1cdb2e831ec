//! Durable updates a second: ours, redb's, and what the disk syncs one after the other.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use redb::{Database, Durability, TableDefinition};
use serde::Serialize;
use stable_store::{FileStorage, Journal, JournalOptions, Opening, Options, format::RECORD_HEADER};

use super::{
    DurableError,
    kv::{self, Kv},
};
use crate::compare::Extent;

/// Bytes of a value.
const VALUE: usize = 64;

/// Keys that are updated, each as likely as the other.
const KEYS: u64 = 100_000;

/// A record of ours on disk: what [`System::Fdatasync`] writes.
const RECORD: usize = RECORD_HEADER + 1 + 14 + VALUE;

/// Writers at once.
pub(crate) const WRITERS: [u32; 3] = [1, 8, 64];

/// What makes an update durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// A journal; each writer is a task that waits for its update to be durable.
    StableStore,
    /// A transaction an update with `Durability::Immediate`; each writer is a thread.
    Redb,
    /// As many bytes behind a file and `fdatasync`, again and again: the disk without anything.
    Fdatasync,
}

impl System {
    /// As it is printed.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::StableStore => "stable-store",
            Self::Redb => "redb",
            Self::Fdatasync => "fdatasync",
        }
    }

    /// Runs `writers` of it in the empty directory `dir`.
    ///
    /// # Errors
    ///
    /// What the disk or the store said.
    pub(crate) fn run(
        self,
        dir: &Path,
        writers: u32,
        extent: Extent,
    ) -> Result<Window, DurableError> {
        let progress = Arc::new(Progress::default());
        match self {
            Self::StableStore => stable_store(dir, writers, &progress, extent),
            Self::Redb => redb(dir, writers, &progress, extent),
            Self::Fdatasync => fdatasync(dir, &progress, extent),
        }
    }
}

/// What one window showed.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Window {
    /// Updates that were acknowledged.
    pub(crate) updates: u64,
    /// Its length.
    pub(crate) seconds: f64,
    /// Updates that shared a sync, on average over the whole run; what is not ours says 1.
    pub(crate) updates_per_sync: f64,
}

impl Window {
    /// Acknowledged updates a second.
    pub(crate) fn rate(&self) -> f64 {
        self.updates as f64 / self.seconds
    }
}

/// What writers and whoever measures them share.
#[derive(Debug, Default)]
struct Progress {
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets the writers run through a warm-up and a window, and stops them.
    fn window(&self, extent: Extent) -> Window {
        thread::sleep(Duration::from_secs_f64(extent.warm_up_seconds));
        let (before, start) = (self.acknowledged.load(Ordering::Relaxed), Instant::now());
        thread::sleep(Duration::from_secs_f64(extent.window_seconds));
        let (after, seconds) =
            (self.acknowledged.load(Ordering::Relaxed), start.elapsed().as_secs_f64());
        self.stop.store(true, Ordering::Relaxed);
        Window { updates: after - before, seconds, updates_per_sync: 1.0 }
    }
}

fn stable_store(
    dir: &Path,
    writers: u32,
    progress: &Arc<Progress>,
    extent: Extent,
) -> Result<Window, DurableError> {
    let journal = open(dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (journal, progress) = (journal.clone(), Arc::clone(progress));
            runtime.spawn(async move {
                let mut random = SmallRng::seed_from_u64(writer.into());
                while progress.goes_on() {
                    let put = kv::put(&kv::key(random.random_range(0..KEYS)), &[7; VALUE]);
                    let (appended, committed) =
                        journal.submit(|_, appender| appender.append(kv::PUT, &put))?;
                    appended?;
                    committed.await;
                    progress.acknowledge();
                }
                Ok::<_, DurableError>(())
            })
        })
        .collect();
    let window = progress.window(extent);
    for task in tasks {
        runtime.block_on(task).map_err(|_| DurableError::Writer)??;
    }
    let acknowledged = progress.acknowledged.load(Ordering::Relaxed);
    let batches = journal.stats().batches;
    journal.stop();
    // A fast store that forgets is no store.
    let recovered = open(dir)?.read(|kv| kv.applied);
    if recovered != acknowledged {
        return Err(DurableError::Forgot { acknowledged, recovered });
    }
    Ok(Window { updates_per_sync: acknowledged as f64 / batches.max(1) as f64, ..window })
}

fn open(dir: &Path) -> Result<Journal<Kv>, DurableError> {
    let mut kv = Kv::default();
    // The log is read back as a whole: no checkpoint in between.
    let options = Options { checkpoint_bytes: u64::MAX, ..Options::default() };
    let opening = Opening::new(FileStorage::open(dir)?, options)?;
    let (store, _) = opening.recover(&mut kv, &mut |_| {})?;
    Ok(Journal::start(store, kv, JournalOptions::default()))
}

fn redb(
    dir: &Path,
    writers: u32,
    progress: &Arc<Progress>,
    extent: Extent,
) -> Result<Window, DurableError> {
    const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("kv");
    fn update(database: &Database, key: &str) -> Result<(), redb::Error> {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.open_table(TABLE)?.insert(key, &[7; VALUE][..])?;
        Ok(transaction.commit()?)
    }

    let database = Database::create(dir.join("redb")).map_err(redb::Error::from)?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let database = &database;
                scope.spawn(move || {
                    let mut random = SmallRng::seed_from_u64(writer.into());
                    while progress.goes_on() {
                        update(database, &kv::key(random.random_range(0..KEYS)))?;
                        progress.acknowledge();
                    }
                    Ok::<_, DurableError>(())
                })
            })
            .collect();
        let window = progress.window(extent);
        for thread in threads {
            thread.join().map_err(|_| DurableError::Writer)??;
        }
        Ok(window)
    })
}

fn fdatasync(dir: &Path, progress: &Arc<Progress>, extent: Extent) -> Result<Window, DurableError> {
    let mut file = File::create_new(dir.join("file"))?;
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            while progress.goes_on() {
                file.write_all(&[7; RECORD])?;
                file.sync_data()?;
                progress.acknowledge();
            }
            Ok::<_, DurableError>(())
        });
        let window = progress.window(extent);
        writer.join().map_err(|_| DurableError::Writer)??;
        Ok(window)
    })
}
