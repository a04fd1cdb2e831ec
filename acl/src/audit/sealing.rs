//! Checkpoints of an open log: when one is due, its keys, and the file that it ends.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use ed25519_dalek::SigningKey;

use super::checkpoint::{self, CheckpointKey, End, Totals};
use super::error::AuditError;
use super::files::numbered;
use super::key_file::{KeyFile, Keys, Random};
use super::lane::{Takes, Then};
use super::state::{Core, State};
use super::{CHECKPOINT_EVERY, HEARTBEAT, IDLE_HEARTBEAT};

/// What makes the keys of checkpoints.
pub(super) struct Keyring {
    pub(super) file: KeyFile,
    pub(super) random: Random,
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

impl State {
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

    pub(super) fn push_rotate(&mut self, core: &Core, time: SystemTime) -> Result<(), AuditError> {
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

    pub(super) fn count_unsealed(&mut self, time: SystemTime) {
        if let Some(sealing) = &mut self.sealing {
            sealing.unsealed += 1;
            sealing.since.get_or_insert(time);
            sealing.closed = false;
        }
    }
}

impl Core {
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
        self.wake_waiting();
    }
}
