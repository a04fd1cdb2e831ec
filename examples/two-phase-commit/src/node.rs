//! A machine joined to its log: nothing leaves that stands behind a forced record which is not on the disk.

use stable_store::{
    OpenError, Opening, Progress, Record, Recovery, Replay, Storage, Store, StoreError,
};

use crate::machine::{Effect, Input, Machine, Output, Outputs, Rejected, Time};
use crate::record::Durability;
use crate::txid::LogId;

/// A coordinator or a participant that has recovered. Blocking: it belongs on a thread of its own.
///
/// After a [`StoreError`] nothing it does counts. Let nothing out, end the process, open it again.
pub struct Node<M: Machine, S: Storage> {
    machine: M,
    store: Store<S>,
    out: Outputs<M>,
    /// The machine has gone on from what may not be on the disk.
    has_failed: bool,
}

/// A node that was opened, and what it wants at once.
pub struct Opened<M: Machine, S: Storage> {
    /// The node.
    pub node: Node<M, S>,
    /// To be let out.
    pub effects: Vec<Effect<M::Answer>>,
    /// How recovery went.
    pub recovery: Recovery,
}

/// The most inputs that should share one sync.
pub const MAX_BATCH: usize = 256;

impl<M: Machine, S: Storage> Node<M, S> {
    /// Recovers a machine that was made for this log ([`Opening::id`]).
    ///
    /// # Errors
    ///
    /// Those of [`Opening::recover`]; [`OpenError::Rejected`] if the log is another machine's.
    pub fn open(
        opening: Opening<S>,
        machine: M,
        now: Time,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Opened<M, S>, OpenError> {
        let mut replaying = Replaying(machine);
        let (store, recovery) = opening.recover(&mut replaying, progress)?;
        let Replaying(machine) = replaying;
        let mut node = Self { machine, store, out: Vec::new(), has_failed: false };
        node.machine.recovered(node.store.epoch().0, now, &mut node.out);
        let effects = node.out.drain(..).filter_map(effect).collect();
        Ok(Opened { node, effects, recovery })
    }

    /// Takes inputs and what is due, keeps what is to be kept with at most one sync, and returns what may be
    /// let out now, in order. More inputs at once share the sync; [`MAX_BATCH`] are enough.
    ///
    /// # Errors
    ///
    /// That of the store; [`StoreError::Poisoned`] ever after.
    pub fn step(
        &mut self,
        inputs: impl IntoIterator<Item = Input<M::Request>>,
        now: Time,
    ) -> Result<Vec<Effect<M::Answer>>, StoreError> {
        if self.has_failed {
            return Err(StoreError::Poisoned);
        }
        self.machine.handle_timeout(now, &mut self.out);
        for input in inputs {
            self.machine.handle(input, now, &mut self.out);
        }
        let effects = self.keep();
        self.has_failed = effects.is_err();
        effects
    }

    /// Writes a checkpoint if the log has become long enough for one. To be called between two steps, once
    /// the effects are out.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub fn checkpoint_if_due(&mut self) -> Result<(), StoreError> {
        if self.store.wants_checkpoint(0) && self.store.wants_checkpoint(self.machine.size()) {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Writes a checkpoint.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        let written = self.write_checkpoint();
        self.has_failed |= written.is_err();
        written
    }

    /// Puts lazy records on the disk, too: before a process ends in good order.
    ///
    /// # Errors
    ///
    /// That of the store.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        let synced = self.store.sync();
        self.has_failed |= synced.is_err();
        synced.map(|_| ())
    }

    /// When something will be due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.machine.next_timeout()
    }

    /// To look at.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// How often the log has been forced to the disk since this was opened.
    #[must_use]
    pub fn forced(&self) -> u64 {
        self.store.forced()
    }

    fn write_checkpoint(&mut self) -> Result<(), StoreError> {
        let mut writer = self.store.begin_checkpoint()?;
        for item in self.machine.snapshot() {
            writer.item(&encode(&item))?;
        }
        let written = writer.finish()?;
        self.store.finish_checkpoint(written)
    }

    /// Writes what is to be kept; returns the rest.
    fn keep(&mut self) -> Result<Vec<Effect<M::Answer>>, StoreError> {
        let mut effects = Vec::new();
        let mut is_forced = false;
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Effect(effect) => effects.push(effect),
                Output::Persist { record, durability } => {
                    self.append(&record)?;
                    is_forced |= durability == Durability::Force;
                }
            }
        }
        // All wait for it, those before the record as well: they are on their way a moment later.
        if is_forced {
            self.store.sync()?;
        }
        Ok(effects)
    }

    fn append(&mut self, record: &M::Record) -> Result<(), StoreError> {
        let payload = encode(record);
        match self.store.append(M::KIND, &payload) {
            Err(StoreError::BatchFull { .. }) => {
                self.store.sync()?;
                self.store.append(M::KIND, &payload)?;
            }
            other => {
                other?;
            }
        }
        Ok(())
    }
}

impl From<stable_store::StoreId> for LogId {
    fn from(id: stable_store::StoreId) -> Self {
        Self(id.0)
    }
}

/// A machine that is fed from the disk.
struct Replaying<M>(M);

impl<M: Machine> Replay for Replaying<M> {
    fn restore(&mut self, item: &[u8]) -> Result<(), stable_store::Rejected> {
        let item = decode(item).ok_or_else(|| unread("an item of the checkpoint"))?;
        self.0.restore(item).map_err(|Rejected(why)| stable_store::Rejected(why))
    }

    fn apply(&mut self, record: Record<'_>) -> Result<(), stable_store::Rejected> {
        if record.kind != M::KIND {
            return Err(unread("a record of another program or role"));
        }
        let record = decode(record.payload).ok_or_else(|| unread("a record"))?;
        self.0.replay(&record).map_err(|Rejected(why)| stable_store::Rejected(why))
    }
}

fn unread(what: &str) -> stable_store::Rejected {
    stable_store::Rejected(format!("{what} is not one of this node's"))
}

fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("our own types can be written to memory")
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

fn effect<R, A>(output: Output<R, A>) -> Option<Effect<A>> {
    match output {
        Output::Effect(effect) => Some(effect),
        Output::Persist { .. } => None,
    }
}
