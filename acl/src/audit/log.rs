//! The log as its users hold it: it numbers the records, chains them, and fails closed.

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::builder::Builder;
use super::checkpoint::{CheckpointKey, End};
use super::error::AuditError;
use super::lane::Then;
use super::record::Record;
use super::sink::SinkStatus;
use super::state::{Core, Deadline, Gap, Lines, State};

/// How long closing a log waits for its sinks.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The number of a record within its stream: all that a refused peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditId(pub u64);

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "audit #{}", self.0)
    }
}

/// An audit log; clones write to the same one.
///
/// Each sink has a thread that writes what has gathered, in one `write(2)`, and one that syncs it at
/// each checkpoint. [`append`](Self::append) returns when one sink has written the record. Where none
/// does so in time the log is unhealthy until one has caught up; the first record after that is a
/// `gap` that counts what is missing. The last clone closes the log in order when it is dropped.
#[derive(Clone)]
pub struct AuditLog {
    handle: Arc<Handle>,
}

/// The users' end; the writers hold the core.
struct Handle {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl AuditLog {
    /// Opens the log at `path`, creating it with mode 0600, and locks it for this process. Its key
    /// file lies beside it, as `path` with `.key` behind.
    ///
    /// An existing log is verified from the first line of its active file and carried on: it keeps
    /// its stream, and a record torn by a crash is cut off and confessed. `node` names this machine
    /// in each record. `random` must fill with random bytes: the keys of the checkpoints are made
    /// of them.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; a server that meets one must not start.
    pub fn open(
        path: impl AsRef<Path>,
        node: &str,
        random: impl FnMut(&mut [u8]) + Send + 'static,
    ) -> Result<Self, AuditError> {
        Self::builder(node, random).file(path).open()
    }

    /// A log with several sinks, or with other bounds than the defaults.
    pub fn builder(node: &str, random: impl FnMut(&mut [u8]) + Send + 'static) -> Builder {
        Builder::new(node, Box::new(random))
    }

    /// A log in memory, for tests; it has no checkpoints. See [`lines`](Self::lines).
    #[must_use]
    pub fn memory() -> Self {
        let state = State {
            lanes: Vec::new(),
            memory: Some(Lines::default()),
            stream: [0; 16],
            last: 0,
            head: [0; 32],
            denied: 0,
            gap: Gap::default(),
            sealing: None,
            time: None,
            closing: false,
        };
        let core = Core::new(state, None, "memory", super::DEADLINE, u64::MAX);
        Self::with(Arc::new(core), Vec::new())
    }

    pub(super) fn with(core: Arc<Core>, threads: Vec<JoinHandle<()>>) -> Self {
        Self { handle: Arc::new(Handle { core, threads: Mutex::new(threads) }) }
    }

    fn core(&self) -> &Core {
        &self.handle.core
    }

    /// The records of a log in memory, without line ends; none for a file.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let state = self.core().lock();
        state.memory.as_ref().map_or_else(Vec::new, |memory| memory.lines.clone())
    }

    /// Lets a log in memory refuse writes, as a full disk does, or take them again.
    pub fn set_memory(&self, memory: Memory) {
        if let Some(lines) = &mut self.core().lock().memory {
            lines.full = memory == Memory::Full;
        }
    }

    /// Writes one record, and returns once a sink has written it, within [`DEADLINE`](super::DEADLINE).
    ///
    /// # Errors
    ///
    /// [`AuditError`] if the record is not in the log: whatever it is about must not happen.
    pub fn append(&self, record: &Record<'_>, time: SystemTime) -> Result<AuditId, AuditError> {
        self.append_within(self.core().deadline, record, time)
    }

    /// The same within [`START_DEADLINE`](super::START_DEADLINE), or the log's own if that is longer:
    /// no call has been taken yet, and a disk that is busy for a moment is no reason not to start.
    pub(crate) fn append_at_start(
        &self,
        record: &Record<'_>,
        time: SystemTime,
    ) -> Result<AuditId, AuditError> {
        self.append_within(self.core().deadline.max(super::START_DEADLINE), record, time)
    }

    fn append_within(
        &self,
        wait: Duration,
        record: &Record<'_>,
        time: SystemTime,
    ) -> Result<AuditId, AuditError> {
        let core = self.core();
        let (state, written) = core.append(core.lock(), record, time, Deadline::after(wait));
        self.note(&state, written.is_ok());
        written.map(AuditId)
    }

    /// Whether at least one sink takes records.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.core().healthy.load(Ordering::Acquire)
    }

    /// Tries to make an unhealthy log healthy again, by writing the `gap` that it owes.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if that cannot be written either.
    pub fn recover(&self, time: SystemTime) -> Result<(), AuditError> {
        let core = self.core();
        let (state, recovered) = core.recover(core.lock(), time);
        self.note(&state, recovered.is_ok());
        recovered
    }

    /// In memory there is no writer to report.
    fn note(&self, state: &State, healthy: bool) {
        if state.memory.is_some() {
            self.core().healthy.store(healthy, Ordering::Release);
        }
    }

    /// Counts something that had to be on record and is not; the next `gap` tells.
    pub fn missed(&self) {
        let mut state = self.core().lock();
        state.gap.lost = state.gap.lost.saturating_add(1);
    }

    /// Makes the checkpoint that is due, and lets failed sinks try again; call it about once a
    /// second. It does not wait.
    pub fn tick(&self, time: SystemTime) {
        let core = self.core();
        let mut state = core.lock();
        state.time = Some(time);
        if state.sealing.is_some() {
            state.ask();
            if state.last > 0 {
                // Where there is no room, the next record finds out.
                let _ = state.confess(core, time);
                state.seal_if_due(core, time);
            }
        }
        drop(state);
        core.wake_writers();
    }

    /// Ends the present file with a checkpoint and begins another, as when a file is full.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if that was not done within the deadline; it will be done with the next
    /// checkpoint then.
    pub fn rotate(&self, time: SystemTime) -> Result<(), AuditError> {
        let core = self.core();
        let deadline = Deadline::after(core.deadline);
        let mut state = core.lock();
        if state.last == 0 {
            return Ok(());
        }
        let Some(sealing) = &mut state.sealing else { return Ok(()) };
        if sealing.rotated == u32::MAX {
            return Err(AuditError::Full);
        }
        sealing.rotation_wanted = true;
        (state, _) = core.wait(state, deadline.until, |state| {
            state.sealing.as_ref().is_none_or(|sealing| sealing.next.is_some())
        });
        state.confess(core, time)?;
        state.seal(core, time, End::Open)?;
        let last = state.last;
        core.wake_writers();
        let (state, written) = core.wait_written(state, last, deadline);
        drop(state);
        written.map(|_| ())
    }

    /// The public key of the first checkpoint: who keeps it elsewhere can tell whether the log was
    /// written anew as a whole. None in memory.
    #[must_use]
    pub fn anchor(&self) -> Option<CheckpointKey> {
        self.core().lock().sealing.as_ref().map(|sealing| sealing.anchor)
    }

    /// How each sink is doing.
    #[must_use]
    pub fn sinks(&self) -> Vec<SinkStatus> {
        self.core().lock().lanes.iter().map(super::lane::Lane::status).collect()
    }

    /// Waits until all records are on the disk itself (`fdatasync`).
    ///
    /// # Errors
    ///
    /// [`AuditError`] if that takes longer than two seconds, or fails.
    pub fn sync(&self) -> Result<(), AuditError> {
        let core = self.core();
        let mut state = core.lock();
        let last = state.last;
        for lane in &mut state.lanes {
            lane.push("", last, Then::Sync);
        }
        core.wake_writers();
        let synced = |state: &mut State| {
            state.memory.is_some() || state.records_lanes().any(|lane| lane.synced >= last)
        };
        match core.wait(state, Instant::now() + CLOSE_WAIT, synced) {
            (_, true) => Ok(()),
            (state, false) => Err(state.failure(CLOSE_WAIT)),
        }
    }

    /// Records that are not on a disk yet, in any sink; a power cut may lose them. None in memory.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        let state = self.core().lock();
        let synced = state.records_lanes().map(|lane| lane.synced).max();
        synced.map_or(0, |synced| state.last.saturating_sub(synced))
    }

    /// The number of the last record, or `None` in an empty log.
    #[must_use]
    pub fn last(&self) -> Option<AuditId> {
        Some(self.core().lock().last).filter(|last| *last > 0).map(AuditId)
    }
}

/// Whether a log in memory takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It does.
    Free,
    /// It refuses them.
    Full,
}

impl Drop for Handle {
    /// Closes the log with a checkpoint that says so, at the last time that the log was told.
    fn drop(&mut self) {
        let core = &*self.core;
        let until = Instant::now() + CLOSE_WAIT;
        let mut state = core.lock();
        if let (Some(time), Some(_)) = (state.time, &state.sealing)
            && state.last > 0
        {
            (state, _) = core.wait(state, until, |state| {
                !state.lanes.iter().any(super::lane::Lane::is_good)
                    || state.sealing.as_ref().is_none_or(|sealing| sealing.next.is_some())
            });
            if !state.sealing.as_ref().is_some_and(|sealing| sealing.closed) {
                // A log that cannot be closed is found so, and confessed, when it is opened next.
                let _ = state.confess(core, time);
                let _ = state.seal(core, time, End::Closed);
            }
        }
        state.closing = true;
        core.wake_writers();
        // A thread that hangs in the kernel is left to it.
        let ended = |state: &mut State| state.lanes.iter().all(|lane| lane.ended);
        let (state, ended) = core.wait(state, until, ended);
        drop(state);
        if ended {
            let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
            for thread in threads.drain(..) {
                // It has ended; whether by a panic is of no use to anybody now.
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("node", &self.core().node).finish_non_exhaustive()
    }
}
