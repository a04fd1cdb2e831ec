//! Whether the log's checkpoints and totals are in order: all that `audit verify` finds.
//!
//! The whole log is read for it, from time to time and at once when the chain is found broken, since
//! this reader knows best what was done to it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bailiwick_acl::audit::{
    CheckpointKey, Expected, Report, Tampered, Truncation, What, verify_files,
};

use crate::follow::{self, Stop};
use crate::integrity::{AGAIN_AFTER, REST, Verdict, Verifier};
use crate::news::News;

/// How often it is looked whether a reading is due.
const POLL: Duration = Duration::from_millis(200);

/// A record that is being written may look torn; this much later it is not.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// What the last reading came to.
#[derive(Clone, Debug)]
pub(crate) enum Seals {
    /// There was none yet, or there is nothing to read.
    Unknown,
    /// All is in order.
    Whole(Report),
    /// It is not.
    Broken(Tampered),
}

impl Seals {
    /// Whether the end is missing, or else the server crashed: from the files one cannot tell.
    pub(crate) fn ends_early(&self) -> bool {
        let Self::Broken(tampered) = self else { return false };
        matches!(tampered.what, What::TornEnd | What::Truncated(Truncation::HeartbeatMissed { .. }))
    }
}

/// Reads in a thread of its own until [`Stop`].
#[derive(Debug)]
pub(crate) struct Sealed {
    now: Arc<Mutex<Seals>>,
}

impl Sealed {
    pub(crate) fn start(
        path: PathBuf,
        anchor: Option<CheckpointKey>,
        chain: Arc<Verifier>,
        stop: Stop,
        news: News,
    ) -> io::Result<Self> {
        let now = Arc::new(Mutex::new(Seals::Unknown));
        let ours = Arc::clone(&now);
        let read = move || {
            let mut due = Instant::now();
            let mut known_broken = false;
            while !stop.is_set() {
                let broken = matches!(chain.now().verdict, Verdict::Tampered { .. });
                if Instant::now() >= due || (broken && !known_broken) {
                    let began = Instant::now();
                    let seals = read(&path, anchor, &stop);
                    let changed = matches!(seals, Seals::Broken(_))
                        != matches!(*lock(&ours), Seals::Broken(_));
                    *lock(&ours) = seals;
                    if changed {
                        news.tell();
                    }
                    due = Instant::now() + AGAIN_AFTER.max(began.elapsed() * REST);
                }
                known_broken = broken;
                stop.wait(POLL);
            }
        };
        thread::Builder::new().name("seals".to_owned()).spawn(read)?;
        Ok(Self { now })
    }

    pub(crate) fn now(&self) -> Seals {
        lock(&self.now).clone()
    }
}

fn read(path: &std::path::Path, anchor: Option<CheckpointKey>, stop: &Stop) -> Seals {
    if follow::identity_at(path).is_none() {
        return Seals::Unknown;
    }
    let look = || {
        verify_files(path, &Expected { anchor, at: Some(SystemTime::now()), ..Expected::default() })
    };
    let seals = |looked| match looked {
        Ok(report) => Seals::Whole(report),
        Err(tampered) => Seals::Broken(tampered),
    };
    match look() {
        Err(_) if !stop.wait(SECOND_LOOK) => seals(look()),
        looked => seals(looked),
    }
}

fn lock(now: &Mutex<Seals>) -> MutexGuard<'_, Seals> {
    now.lock().unwrap_or_else(PoisonError::into_inner)
}
