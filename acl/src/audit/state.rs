//! The state of an open log, which its users and its writers share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::error::AuditError;
use super::lane::{Lane, Takes};
use super::record::Record;
use super::sealing::{Keyring, Sealing};
use super::sink::{Health, Space};
use super::{MAX_UNSEALED, MAX_UNSEALED_FOR};

/// An open log.
pub(super) struct Core {
    pub(super) healthy: AtomicBool,
    pub(super) node: String,
    pub(super) deadline: Duration,
    pub(super) rotate_at: u64,
    /// None in memory, where there are no checkpoints.
    pub(super) keyring: Option<Mutex<Keyring>>,
    key_path: PathBuf,
    pub(super) state: Mutex<State>,
    /// Wakes the writers.
    work: Condvar,
    /// Wakes who waits for them.
    done: Condvar,
}

pub(super) struct State {
    pub(super) lanes: Vec<Lane>,
    /// A log in memory has this in place of lanes.
    pub(super) memory: Option<Lines>,
    pub(super) stream: [u8; 16],
    pub(super) last: u64,
    pub(super) head: [u8; 32],
    pub(super) denied: u64,
    pub(super) gap: Gap,
    pub(super) sealing: Option<Sealing>,
    /// The last time that the log was told.
    pub(super) time: Option<SystemTime>,
    pub(super) closing: bool,
}

/// A log in memory.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<String>,
    pub(super) full: bool,
}

/// What the next record has to confess first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gap {
    /// Records that could not be written.
    pub(super) lost: u64,
    /// Records that were written after their caller had been told that they could not.
    pub(super) late: u64,
    /// Bytes of a torn record that a crash left at the end.
    pub(super) torn: u64,
    /// Whether the log was found without the checkpoint that closes it.
    pub(super) unclosed: bool,
}

/// How long somebody waits for the writers, and until when that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    wait: Duration,
    pub(super) until: Instant,
}

impl Deadline {
    pub(super) fn after(wait: Duration) -> Self {
        Self { wait, until: Instant::now() + wait }
    }
}

pub(super) type Held<'a> = MutexGuard<'a, State>;

impl Core {
    pub(super) fn new(
        state: State,
        keyring: Option<Keyring>,
        node: &str,
        deadline: Duration,
        rotate_at: u64,
    ) -> Self {
        let key_path = keyring.as_ref().map(|keyring| keyring.file.path().to_owned());
        Self {
            healthy: AtomicBool::new(true),
            key_path: key_path.unwrap_or_default(),
            node: node.to_owned(),
            deadline,
            rotate_at,
            keyring: keyring.map(Mutex::new),
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> Held<'_> {
        // No code that holds the lock leaves the state half changed, so a panic elsewhere in a
        // holder's thread is no reason to stop auditing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait_for_work<'a>(&self, state: Held<'a>) -> Held<'a> {
        self.work.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a writer say how it went.
    pub(super) fn report(&self, nth: usize, change: impl FnOnce(&mut Lane)) {
        let mut state = self.lock();
        let lane = &mut state.lanes[nth];
        change(lane);
        lane.asked = false;
        self.refresh(&state);
        let closing = state.closing;
        drop(state);
        self.done.notify_all();
        if closing {
            self.work.notify_all();
        }
    }

    pub(super) fn refresh(&self, state: &State) {
        let healthy = match &state.memory {
            Some(_) => return,
            None => state.lanes.iter().any(Lane::is_good),
        };
        self.healthy.store(healthy, Ordering::Release);
    }

    pub(super) fn wake_writers(&self) {
        self.work.notify_all();
    }

    /// Wakes who waits for writers, and for keys.
    pub(super) fn wake_waiting(&self) {
        self.done.notify_all();
    }

    /// Waits until `over`, or `until`; says whether it is.
    pub(super) fn wait<'a>(
        &self,
        state: Held<'a>,
        until: Instant,
        mut over: impl FnMut(&mut State) -> bool,
    ) -> (Held<'a>, bool) {
        let left = until.saturating_duration_since(Instant::now());
        let waited = self.done.wait_timeout_while(state, left, |state| !over(state));
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (state, !timeout.timed_out())
    }

    /// Writes one record, with all that has to stand before it, and waits until a sink has it.
    pub(super) fn append<'a>(
        &self,
        state: Held<'a>,
        record: &Record<'_>,
        time: SystemTime,
        deadline: Deadline,
    ) -> (Held<'a>, Result<u64, AuditError>) {
        let (mut state, ready) = self.make_ready(state, record, time, deadline);
        let pushed = ready.and_then(|()| state.push(self, record, time));
        let seq = match pushed {
            Ok(seq) => seq,
            Err(error) => {
                state.gap.lost = state.gap.lost.saturating_add(1);
                return (state, Err(error));
            }
        };
        state.seal_if_due(self, time);
        self.wake_writers();
        self.wait_written(state, seq, deadline)
    }

    /// Writes the `gap` that is owed, and waits until a sink has it.
    pub(super) fn recover<'a>(
        &self,
        state: Held<'a>,
        time: SystemTime,
    ) -> (Held<'a>, Result<(), AuditError>) {
        let deadline = Deadline::after(self.deadline);
        let (mut state, awake) = self.awake(state, deadline);
        let confessed = awake.and_then(|()| state.confess(self, time));
        if let Err(error) = confessed {
            return (state, Err(error));
        }
        // What came before has waited long enough; and a gap alone is no sign of life.
        state.seal_if_due(self, time);
        let last = state.last;
        self.wake_writers();
        let (state, written) = self.wait_written(state, last, deadline);
        (state, written.map(|_| ()))
    }

    /// Sees to it that there is a sink to write to, room, and a key to seal with.
    fn make_ready<'a>(
        &self,
        state: Held<'a>,
        record: &Record<'_>,
        time: SystemTime,
        deadline: Deadline,
    ) -> (Held<'a>, Result<(), AuditError>) {
        let (mut state, awake) = self.awake(state, deadline);
        if awake.is_err() {
            return (state, awake);
        }
        if record.may_run() && state.is_tight() {
            state.ask();
            self.wake_writers();
            (state, _) = self
                .wait(state, deadline.until, |state| !state.lanes.iter().any(|lane| lane.asked));
            if state.is_tight() {
                return (state, Err(AuditError::Reserved));
            }
        }
        // The first record of a file comes before its first checkpoint.
        if let Err(error) = state.confess(self, time) {
            return (state, Err(error));
        }
        state.seal_if_due(self, time);
        let too_many = |state: &mut State| {
            state.sealing.as_ref().is_some_and(|sealing| {
                let waited = sealing.since.and_then(|since| time.duration_since(since).ok());
                sealing.unsealed + 2 >= MAX_UNSEALED
                    || waited.is_some_and(|waited| waited >= MAX_UNSEALED_FOR)
            })
        };
        if too_many(&mut state) {
            (state, _) = self.wait(state, deadline.until, |state| {
                state.sealing.as_ref().is_none_or(|sealing| sealing.next.is_some())
            });
            state.seal_if_due(self, time);
            if too_many(&mut state) {
                let path = self.key_path.clone();
                return (state, Err(AuditError::Unsealed { path }));
            }
        }
        (state, Ok(()))
    }

    /// At least one sink is good, or becomes so when it is asked to try again.
    fn awake<'a>(
        &self,
        mut state: Held<'a>,
        deadline: Deadline,
    ) -> (Held<'a>, Result<(), AuditError>) {
        let good = |state: &State| state.memory.is_some() || state.lanes.iter().any(Lane::is_good);
        if good(&state) {
            return (state, Ok(()));
        }
        state.ask();
        self.wake_writers();
        (state, _) = self.wait(state, deadline.until, |state| {
            good(state) || !state.lanes.iter().any(|lane| lane.asked)
        });
        self.refresh(&state);
        let awake = if good(&state) { Ok(()) } else { Err(state.failure(deadline.wait)) };
        (state, awake)
    }

    pub(super) fn wait_written<'a>(
        &self,
        state: Held<'a>,
        seq: u64,
        deadline: Deadline,
    ) -> (Held<'a>, Result<u64, AuditError>) {
        let written = |state: &State| {
            state.memory.is_some() || state.records_lanes().any(|lane| lane.written >= seq)
        };
        let (mut state, in_time) = self.wait(state, deadline.until, |state| {
            written(state) || !state.lanes.iter().any(Lane::is_good)
        });
        if written(&state) {
            return (state, Ok(seq));
        }
        if !in_time {
            for lane in &mut state.lanes {
                if lane.is_good() && lane.written < seq {
                    lane.health = Health::Late;
                }
            }
        }
        state.gap.late = state.gap.late.saturating_add(1);
        self.refresh(&state);
        let error = state.failure(deadline.wait);
        (state, Err(error))
    }
}

impl State {
    /// Those who take all records.
    pub(super) fn records_lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().filter(|lane| lane.takes == Takes::Everything)
    }

    /// Whether a writer may go when it has nothing to do. Witnesses get their last checkpoint from
    /// the others.
    pub(super) fn may_end(&self, nth: usize) -> bool {
        let others = || self.records_lanes().all(|lane| lane.ended);
        self.closing && (self.lanes[nth].takes == Takes::Everything || others())
    }

    /// Whether all that can be written to is the reserve.
    pub(super) fn is_tight(&self) -> bool {
        let mut good = self.records_lanes().filter(|lane| lane.is_good()).peekable();
        good.peek().is_some()
            && good.all(|lane| matches!(lane.health, Health::Good(Space::Reserve)))
    }

    /// Asks the sinks that failed to try again, and the others how much room they have.
    pub(super) fn ask(&mut self) {
        for lane in &mut self.lanes {
            lane.asked = !matches!(lane.health, Health::Late | Health::Lost);
        }
    }

    pub(super) fn failure(&self, waited: Duration) -> AuditError {
        let failed = self.records_lanes().find_map(|lane| match &lane.health {
            Health::Failed(error) => Some(error.of(lane.name())),
            _ => None,
        });
        failed.unwrap_or(AuditError::Late { waited })
    }
}

impl Lines {
    pub(super) fn take(&mut self, line: &str) -> Result<(), AuditError> {
        if self.full {
            return Err(AuditError::Io {
                doing: "write",
                path: "memory".into(),
                advice: "free some",
                source: std::io::ErrorKind::StorageFull.into(),
            });
        }
        self.lines.push(line.trim_end().to_owned());
        Ok(())
    }
}
