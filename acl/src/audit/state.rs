//! The state of an open log, which its users and its writers share.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ed25519_dalek::SigningKey;

use super::checkpoint::{self, CheckpointKey, End, Totals};
use super::error::AuditError;
use super::files::numbered;
use super::key_file::{KeyFile, Keys, Random};
use super::lane::{Lane, Takes, Then};
use super::record::{Event, Position, Record};
use super::sink::{Health, Space};
use super::{CHECKPOINT_EVERY, HEARTBEAT, IDLE_HEARTBEAT, MAX_UNSEALED, MAX_UNSEALED_FOR};

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

/// What makes the keys of checkpoints.
pub(super) struct Keyring {
    pub(super) file: KeyFile,
    pub(super) random: Random,
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

/// What the checkpoints need.
pub(super) struct Sealing {
    pub(super) anchor: CheckpointKey,
    pub(super) current: SigningKey,
    /// None while the last checkpoint is on its way to the disk: until then there is no other.
    pub(super) next: Option<SigningKey>,
    /// Records since the last checkpoint, and when the first of them came.
    pub(super) unsealed: u64,
    pub(super) since: Option<SystemTime>,
    /// When the last checkpoint was made.
    pub(super) sealed: Option<SystemTime>,
    pub(super) closed: bool,
    /// Bytes in the active file.
    pub(super) bytes: u64,
    pub(super) rotation_wanted: bool,
    /// The number of the last rotated file.
    pub(super) rotated: u32,
    /// Whether a file was begun whose first record is still to come.
    pub(super) owes_rotate: bool,
    /// The last checkpoint, and the last one that is on a disk and was given to witnesses.
    sealed_seq: u64,
    witnessed: u64,
    /// Set for good, as after a failed sync of the log: there is no other checkpoint.
    key_failed: bool,
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
    ) -> (Held<'a>, Result<u64, AuditError>) {
        let until = Instant::now() + self.deadline;
        let (mut state, ready) = self.make_ready(state, record, time, until);
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
        self.wait_written(state, seq, until)
    }

    /// Writes the `gap` that is owed, and waits until a sink has it.
    pub(super) fn recover<'a>(
        &self,
        state: Held<'a>,
        time: SystemTime,
    ) -> (Held<'a>, Result<(), AuditError>) {
        let until = Instant::now() + self.deadline;
        let (mut state, awake) = self.awake(state, until);
        let confessed = awake.and_then(|()| state.confess(self, time));
        if let Err(error) = confessed {
            return (state, Err(error));
        }
        // What came before has waited long enough; and a gap alone is no sign of life.
        state.seal_if_due(self, time);
        let last = state.last;
        self.wake_writers();
        let (state, written) = self.wait_written(state, last, until);
        (state, written.map(|_| ()))
    }

    /// Sees to it that there is a sink to write to, room, and a key to seal with.
    fn make_ready<'a>(
        &self,
        state: Held<'a>,
        record: &Record<'_>,
        time: SystemTime,
        until: Instant,
    ) -> (Held<'a>, Result<(), AuditError>) {
        let (mut state, awake) = self.awake(state, until);
        if awake.is_err() {
            return (state, awake);
        }
        if record.may_run() && state.is_tight() {
            state.ask();
            self.wake_writers();
            (state, _) =
                self.wait(state, until, |state| !state.lanes.iter().any(|lane| lane.asked));
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
            (state, _) = self.wait(state, until, |state| {
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
    fn awake<'a>(&self, mut state: Held<'a>, until: Instant) -> (Held<'a>, Result<(), AuditError>) {
        let good = |state: &State| state.memory.is_some() || state.lanes.iter().any(Lane::is_good);
        if good(&state) {
            return (state, Ok(()));
        }
        state.ask();
        self.wake_writers();
        (state, _) = self
            .wait(state, until, |state| good(state) || !state.lanes.iter().any(|lane| lane.asked));
        self.refresh(&state);
        let awake = if good(&state) { Ok(()) } else { Err(state.failure(self.deadline)) };
        (state, awake)
    }

    pub(super) fn wait_written<'a>(
        &self,
        state: Held<'a>,
        seq: u64,
        until: Instant,
    ) -> (Held<'a>, Result<u64, AuditError>) {
        let written = |state: &State| {
            state.memory.is_some() || state.records_lanes().any(|lane| lane.written >= seq)
        };
        let (mut state, in_time) = self
            .wait(state, until, |state| written(state) || !state.lanes.iter().any(Lane::is_good));
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
        let error = state.failure(self.deadline);
        (state, Err(error))
    }

    /// A writer has synced the checkpoint `line`: witnesses may have it, and its key is erased.
    pub(super) fn sealed(&self, line: &Arc<str>, seq: u64) {
        let mut state = self.lock();
        if let Some(sealing) = &mut state.sealing
            && sealing.witnessed < seq
        {
            sealing.witnessed = seq;
            for lane in state.lanes.iter_mut().filter(|lane| lane.takes == Takes::Checkpoints) {
                lane.push(line, seq, Then::Sync);
            }
        }
        drop(state);
        self.wake_writers();
        self.evolve();
    }

    /// Makes the successor of the present key, and erases the key before.
    pub(super) fn evolve(&self) {
        let Some(keyring) = &self.keyring else { return };
        let mut keyring = keyring.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.lock();
        let Some(sealing) = &state.sealing else { return };
        let Sealing { anchor, current, next: None, sealed_seq, witnessed, .. } = sealing else {
            return;
        };
        // Before the checkpoint is on the disk its key may still be needed.
        if witnessed < sealed_seq || sealing.key_failed {
            return;
        }
        let (stream, anchor, current) = (state.stream, *anchor, current.clone());
        // Nobody makes a checkpoint before there is a successor, so the present key stays it.
        drop(state);
        let Keyring { file, random } = &mut *keyring;
        let keys = Keys::with(stream, anchor, current, random);
        let written = file.write(&keys);
        if let Some(sealing) = &mut self.lock().sealing {
            match written {
                Ok(()) => sealing.next = Some(keys.next),
                Err(_) => sealing.key_failed = true,
            }
        }
        self.done.notify_all();
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

    /// Writes the records that must stand before any other, and the `gap` that is owed.
    pub(super) fn confess(&mut self, core: &Core, time: SystemTime) -> Result<(), AuditError> {
        self.begin(core, time)?;
        let gap = self.gap;
        // The reserve is for refusals; the gap is told when space returns.
        if gap == Gap::default() || self.is_tight() {
            return Ok(());
        }
        let mut detail = Vec::new();
        if gap.unclosed {
            detail.push("the log was not closed in order: what came after may be missing".into());
        }
        if gap.lost > 0 {
            detail.push(format!("{} records could not be written", gap.lost));
        }
        if gap.late > 0 {
            let late = gap.late;
            detail.push(format!("{late} records came too late: their calls were refused"));
        }
        if gap.torn > 0 {
            detail.push(format!("{} bytes of a torn record were cut off", gap.torn));
        }
        let detail = detail.join("; ");
        let record =
            Record { count: Some(gap.lost), detail: Some(&detail), ..Record::of(Event::Gap) };
        self.push(core, &record, time)?;
        self.gap = Gap::default();
        Ok(())
    }

    /// The first checkpoint of a new log, or the first record of a new file.
    fn begin(&mut self, core: &Core, time: SystemTime) -> Result<(), AuditError> {
        let Some(sealing) = &self.sealing else { return Ok(()) };
        if self.last == 0 {
            let next = sealing.anchor;
            let totals = Totals { denied: 0, next, end: End::Open };
            let sealed = checkpoint::seal(&sealing.current, &totals, &self.position(core)?, time);
            let line: Arc<str> = sealed.0.as_str().into();
            self.commit(&sealed, &Then::Sealed { line, rotate: None }, time)?;
            if let Some(sealing) = &mut self.sealing {
                sealing.sealed = Some(time);
            }
        } else if sealing.owes_rotate {
            self.push_rotate(core, time)?;
        }
        Ok(())
    }

    fn push_rotate(&mut self, core: &Core, time: SystemTime) -> Result<(), AuditError> {
        let Some(sealing) = &self.sealing else { return Ok(()) };
        let before = self.lanes.first().map(|lane| numbered(lane.name(), sealing.rotated));
        let before = before.as_deref().and_then(Path::file_name);
        let detail = before.unwrap_or_default().to_string_lossy();
        let next = CheckpointKey::of(&sealing.current);
        let line = checkpoint::carry(&detail, self.denied, next, &self.position(core)?, time);
        self.commit(&line, &Then::Nothing, time)?;
        self.count_unsealed(time);
        if let Some(sealing) = &mut self.sealing {
            sealing.owes_rotate = false;
        }
        Ok(())
    }

    pub(super) fn push(
        &mut self,
        core: &Core,
        record: &Record<'_>,
        time: SystemTime,
    ) -> Result<u64, AuditError> {
        let line = record.seal(&self.position(core)?, time);
        self.commit(&line, &Then::Nothing, time)?;
        self.denied = self.denied.saturating_add(record.denials());
        self.count_unsealed(time);
        Ok(self.last)
    }

    fn count_unsealed(&mut self, time: SystemTime) {
        if let Some(sealing) = &mut self.sealing {
            sealing.unsealed += 1;
            sealing.since.get_or_insert(time);
            sealing.closed = false;
        }
    }

    /// Gives a line to the sinks. From then on it is part of the log.
    fn commit(
        &mut self,
        (line, head): &(String, [u8; 32]),
        then: &Then,
        time: SystemTime,
    ) -> Result<(), AuditError> {
        let seq = self.last.checked_add(1).ok_or(AuditError::Full)?;
        if let Some(memory) = &mut self.memory {
            memory.take(line)?;
        } else {
            let has_room = |lane: &Lane| lane.is_good() && lane.has_room(line.len());
            if !self.records_lanes().any(has_room) {
                return Err(self.failure(Duration::ZERO));
            }
            for lane in self.lanes.iter_mut().filter(|lane| lane.takes == Takes::Everything) {
                lane.push(line, seq, then.clone());
            }
        }
        (self.last, self.head) = (seq, *head);
        if let Some(sealing) = &mut self.sealing {
            sealing.bytes += line.len() as u64;
        }
        self.time = Some(time);
        Ok(())
    }

    fn position<'a>(&self, core: &'a Core) -> Result<Position<'a>, AuditError> {
        let seq = self.last.checked_add(1).ok_or(AuditError::Full)?;
        Ok(Position { seq, node: &core.node, stream: self.stream, prev: self.head })
    }

    /// Makes a checkpoint if it is time for one and a key is ready. If it is not, that is done at
    /// the next record or tick.
    pub(super) fn seal_if_due(&mut self, core: &Core, time: SystemTime) {
        let Some(sealing) = &self.sealing else { return };
        // A clock that was set back must not stop the heartbeat.
        let apart =
            |then: SystemTime| time.duration_since(then).unwrap_or_else(|before| before.duration());
        let since = |then: Option<SystemTime>, wait| then.is_some_and(|then| apart(then) >= wait);
        let due = sealing.unsealed >= CHECKPOINT_EVERY
            || since(sealing.since, HEARTBEAT)
            || (!sealing.closed && since(sealing.sealed, IDLE_HEARTBEAT))
            || sealing.rotation_wanted
            || sealing.bytes >= core.rotate_at;
        if due && self.last > 0 {
            // Where there is no room, what follows finds out.
            let _ = self.seal(core, time, End::Open);
        }
    }

    /// Makes a checkpoint, if a key is ready; says whether it did.
    pub(super) fn seal(
        &mut self,
        core: &Core,
        time: SystemTime,
        end: End,
    ) -> Result<bool, AuditError> {
        let position = self.position(core)?;
        let denied = self.denied;
        let Some(sealing) = &self.sealing else { return Ok(false) };
        let Some(next) = &sealing.next else { return Ok(false) };
        let full = sealing.rotation_wanted || sealing.bytes >= core.rotate_at;
        // After the last number that a file can have, the last file grows.
        let rotate = sealing.rotated.checked_add(1).filter(|_| full && end == End::Open);
        let totals = Totals { denied, next: CheckpointKey::of(next), end };
        let sealed = checkpoint::seal(&sealing.current, &totals, &position, time);
        let line: Arc<str> = sealed.0.as_str().into();
        self.commit(&sealed, &Then::Sealed { line, rotate }, time)?;
        let seq = self.last;
        let Some(sealing) = &mut self.sealing else { return Ok(true) };
        if let Some(next) = sealing.next.take() {
            sealing.current = next;
        }
        (sealing.unsealed, sealing.since, sealing.sealed) = (0, None, Some(time));
        sealing.closed = end == End::Closed;
        sealing.sealed_seq = seq;
        if let Some(number) = rotate {
            sealing.rotated = number;
            sealing.rotation_wanted = false;
            sealing.bytes = 0;
            sealing.owes_rotate = true;
            self.push_rotate(core, time)?;
        }
        Ok(true)
    }
}

impl Lines {
    fn take(&mut self, line: &str) -> Result<(), AuditError> {
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

impl Sealing {
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            anchor: keys.anchor,
            current: keys.current,
            next: Some(keys.next),
            unsealed: 0,
            since: None,
            sealed: None,
            closed: false,
            bytes: 0,
            rotation_wanted: false,
            rotated: 0,
            owes_rotate: false,
            sealed_seq: 0,
            key_failed: false,
            witnessed: 0,
        }
    }
}
