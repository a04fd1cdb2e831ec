//! An application that keeps everything it was ever told, so that any prefix can be told from any
//! other, and its life on a disk: what it said it would keep, and what it was given back.

use std::fmt;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use stable_store::disk::{ForgetfulDisk, Stop, Survivors};
use stable_store::{
    Epoch, Lsn, OpenError, Opening, Options, Record, Recovery, Rejected, Replay, Storage, Store,
    StoreError, StoreId,
};

/// The kind of all records here.
pub(crate) const KIND: u8 = 7;

/// The payloads of all records so far, in order: appending one twice, or none, shows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Payloads {
    pub(crate) all: Vec<Vec<u8>>,
    last: Lsn,
}

impl Replay for Payloads {
    fn restore(&mut self, item: &[u8]) -> Result<(), Rejected> {
        self.all.push(item.to_vec());
        Ok(())
    }

    fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
        assert_eq!(record.kind, KIND);
        assert!(record.lsn > self.last, "{} behind {}", record.lsn, self.last);
        self.last = record.lsn;
        self.all.push(record.payload.to_vec());
        Ok(())
    }
}

/// A store that is the same one each time.
pub(crate) fn options() -> Options {
    Options { new_id: Some(StoreId([7; 16])), ..Options::default() }
}

/// Opens a store and gives what it held.
pub(crate) fn open<S: Storage>(storage: S) -> Result<(Store<S>, Payloads, Recovery), OpenError> {
    let mut payloads = Payloads::default();
    let opening = Opening::new(storage, options())?;
    let (store, recovery) = opening.recover(&mut payloads, &mut |_| ())?;
    Ok((store, payloads, recovery))
}

/// What an application outside of the machine knows.
#[derive(Debug, Default, Clone)]
pub(crate) struct History {
    /// All that was appended, in order.
    pub(crate) issued: Vec<Vec<u8>>,
    /// How many of them it was told are durable.
    pub(crate) acknowledged: usize,
    epoch: Epoch,
    /// Checkpoints that were finished.
    pub(crate) checkpoints: u64,
}

impl History {
    /// What came back is what was acknowledged, then maybe some of what was in flight; and from now
    /// on all of it has been answered.
    pub(crate) fn check(&mut self, payloads: &Payloads, recovery: &Recovery) {
        let count = payloads.all.len();
        assert!(
            count >= self.acknowledged,
            "{count} of {} acknowledged records came back",
            self.acknowledged
        );
        assert!(count <= self.issued.len(), "{count} records of {}", self.issued.len());
        assert!(payloads.all[..] == self.issued[..count], "other records came back");
        assert!(recovery.epoch > self.epoch, "{} behind {}", recovery.epoch, self.epoch);
        self.epoch = recovery.epoch;
        self.issued.truncate(count);
        self.acknowledged = count;
    }
}

/// How a life ended early.
pub(crate) enum Ended<S: Storage> {
    /// It did not begin.
    Opening(OpenError),
    /// The store failed.
    Working(StoreError, Box<Store<S>>),
}

impl<S: Storage> fmt::Debug for Ended<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening(error) => error.fmt(f),
            Self::Working(error, _) => error.fmt(f),
        }
    }
}

/// Opens, checks what was kept, appends for some rounds, a checkpoint in every fifth or so.
pub(crate) fn life<S: Storage>(
    storage: S,
    history: &mut History,
    seed: u64,
    rounds: u32,
) -> Result<Store<S>, Ended<S>> {
    let (mut store, payloads, recovery) = open(storage).map_err(Ended::Opening)?;
    history.check(&payloads, &recovery);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    for _ in 0..rounds {
        let result = match rng.random_range(0..5) {
            0 => checkpoint(&mut store, history, &mut rng),
            _ => round(&mut store, history, &mut rng),
        };
        if let Err(error) = result {
            return Err(Ended::Working(error, Box::new(store)));
        }
    }
    Ok(store)
}

/// A batch: some records, one sync.
pub(crate) fn round<S: Storage>(
    store: &mut Store<S>,
    history: &mut History,
    rng: &mut Xoshiro256PlusPlus,
) -> Result<(), StoreError> {
    for _ in 0..rng.random_range(1..4) {
        append(store, history, rng)?;
    }
    let durable = store.sync()?;
    assert_eq!(durable, store.durable());
    assert_eq!(durable, store.last());
    history.acknowledged = history.issued.len();
    Ok(())
}

/// Writes a checkpoint while records go on coming.
pub(crate) fn checkpoint<S: Storage>(
    store: &mut Store<S>,
    history: &mut History,
    rng: &mut Xoshiro256PlusPlus,
) -> Result<(), StoreError> {
    append(store, history, rng)?;
    let mut writer = store.begin_checkpoint()?;
    history.acknowledged = history.issued.len();
    let snapshot = history.issued.clone();
    for (number, payload) in snapshot.iter().enumerate() {
        if number == snapshot.len() / 2 {
            round(store, history, rng)?;
        }
        writer.item(payload)?;
    }
    let written = writer.finish()?;
    // These are in memory when the checkpoint is put in its place.
    append(store, history, rng)?;
    store.finish_checkpoint(written)?;
    history.checkpoints += 1;
    Ok(())
}

/// A record of a few bytes, or of a few sectors.
pub(crate) fn append<S: Storage>(
    store: &mut Store<S>,
    history: &mut History,
    rng: &mut Xoshiro256PlusPlus,
) -> Result<(), StoreError> {
    let longest = if rng.random_range(0..3) == 0 { 1500 } else { 40 };
    let mut payload = vec![0; rng.random_range(0..longest)];
    rng.fill(&mut payload[..]);
    // Issued before it is appended: an append that fails may have been written all the same.
    history.issued.push(payload.clone());
    store.append(KIND, &payload).map(drop)
}

/// Opens after a crash; whatever survives of it, this must work.
pub(crate) fn recover(disk: &ForgetfulDisk, history: &mut History) -> Recovery {
    let (_, payloads, recovery) = open(disk.clone()).expect("a crash is no damage");
    history.check(&payloads, &recovery);
    recovery
}

/// Long enough for several checkpoints.
pub(crate) const ROUNDS: u32 = 14;
pub(crate) const SCRIPT: u64 = 4;

/// The script without an accident, and how many operations it has.
pub(crate) fn whole() -> u64 {
    let disk = ForgetfulDisk::new(SCRIPT);
    let mut history = History::default();
    life(disk.clone(), &mut history, SCRIPT, ROUNDS).expect("nothing is in its way");
    assert!(history.checkpoints >= 3, "{} checkpoints", history.checkpoints);
    disk.operations()
}

/// The script up to the middle of an operation.
pub(crate) fn stopped_at(operation: u64, how: Stop) -> (ForgetfulDisk, History) {
    let disk = ForgetfulDisk::new(operation);
    let mut history = History::default();
    disk.stop_at(operation, how);
    life(disk.clone(), &mut history, SCRIPT, ROUNDS).map(drop).expect_err("stopped");
    assert_eq!(disk.stopped(), Some(how));
    (disk, history)
}

/// What may be left: nothing of what was not synced, all of it, and some drawings.
pub(crate) fn luck() -> impl Iterator<Item = (u64, Survivors)> {
    let any = (2..10).map(|seed| (seed, Survivors::Any));
    [(0, Survivors::Synced), (1, Survivors::All)].into_iter().chain(any)
}

/// How many seeds to try: `STABLE_STORE_SEEDS`, 200 by default.
pub(crate) fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("STABLE_STORE_SEEDS").map_or(200, |count| count.parse().unwrap());
    0..count
}
