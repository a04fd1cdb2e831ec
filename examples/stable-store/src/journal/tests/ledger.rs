//! A machine whose state names all that was ever applied to it, and in which order.

use std::collections::BTreeMap;

use crate::{
    Journal, JournalOptions, Lsn, Machine, Opening, Options, Record, Rejected, Replay, Storage,
    StoreError,
};

/// The kind of the one record there is: a key and its new value.
pub(super) const SET: u8 = 7;

/// The payload of an update.
pub(super) fn set(key: u8, value: u64) -> Vec<u8> {
    [&[key], &value.to_le_bytes()[..]].concat()
}

/// The machine.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) values: BTreeMap<u8, u64>,
    /// The last record in it.
    pub(super) applied: Lsn,
    /// A digest of all records up to it.
    pub(super) history: u64,
    /// What `history` was at each record since it was started.
    pub(super) histories: BTreeMap<Lsn, u64>,
    /// Whether it comes from a checkpoint.
    pub(super) restored: bool,
}

impl Ledger {
    fn set(&mut self, payload: &[u8]) -> Result<(), Rejected> {
        let (key, value) = payload.split_first().ok_or(Rejected("it is empty".to_owned()))?;
        let value = value.try_into().map_err(|_| Rejected("it is no number".to_owned()))?;
        self.values.insert(*key, u64::from_le_bytes(value));
        Ok(())
    }
}

impl Replay for Ledger {
    /// The first item has number and digest.
    fn restore(&mut self, item: &[u8]) -> Result<(), Rejected> {
        if self.restored {
            return self.set(item);
        }
        let (lsn, history) = item.split_at(8);
        self.applied = Lsn(u64::from_le_bytes(lsn.try_into().unwrap()));
        self.history = u64::from_le_bytes(history.try_into().unwrap());
        self.restored = true;
        Ok(())
    }

    fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
        assert_eq!(Some(record.lsn), self.applied.next(), "each record once, in order");
        self.set(record.payload)?;
        self.applied = record.lsn;
        // FNV-1a over number and payload.
        for byte in record.lsn.0.to_le_bytes().iter().chain(record.payload) {
            self.history = (self.history ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.histories.insert(record.lsn, self.history);
        Ok(())
    }
}

impl Machine for Ledger {
    type Snapshot = (Lsn, u64, BTreeMap<u8, u64>);

    fn snapshot(&mut self) -> Self::Snapshot {
        (self.applied, self.history, self.values.clone())
    }

    fn write(
        (applied, history, values): Self::Snapshot,
        item: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        item(&[applied.0.to_le_bytes(), history.to_le_bytes()].concat())?;
        values.iter().try_for_each(|(key, value)| item(&set(*key, *value)))
    }

    fn size(&self) -> u64 {
        self.values.len() as u64 * 9
    }
}

/// A journal over a new store.
pub(super) fn start(storage: impl Storage) -> Journal<Ledger> {
    start_as(storage, Options::default(), JournalOptions::default())
}

/// With a checkpoint whenever the log has so many bytes.
pub(super) fn start_with(storage: impl Storage, checkpoint_bytes: u64) -> Journal<Ledger> {
    let options = Options { checkpoint_bytes, ..Options::default() };
    start_as(storage, options, JournalOptions::default())
}

pub(super) fn start_as(
    storage: impl Storage,
    options: Options,
    journal: JournalOptions,
) -> Journal<Ledger> {
    let mut ledger = Ledger::default();
    let opening = Opening::new(storage, options).unwrap();
    let (store, _) = opening.recover(&mut ledger, &mut |_| {}).unwrap();
    Journal::start(store, ledger, journal)
}

/// What a restart finds.
pub(super) fn recovered(storage: impl Storage) -> Ledger {
    let mut ledger = Ledger::default();
    let opening = Opening::new(storage, Options::default()).unwrap();
    opening.recover(&mut ledger, &mut |_| {}).unwrap();
    ledger
}
