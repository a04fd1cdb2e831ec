//! A table over the store, and the same one in redb, are told the same things, and are closed,
//! killed and robbed of power in between: they never differ.

use std::collections::BTreeMap;
use std::path::Path;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use stable_store::disk::{ForgetfulDisk, Survivors};
use stable_store::{FileStorage, Opening, Record, Rejected, Replay, Storage, Store};

use crate::support::{KIND, options};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("table");
const ROUNDS: u32 = 120;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// One change of a transaction; without a value the key goes.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// The table; a record is a transaction, an item of the checkpoint is one entry.
#[derive(Default)]
struct Table(Map);

impl Table {
    fn change(&mut self, (key, value): Change) {
        match value {
            Some(value) => self.0.insert(key, value),
            None => self.0.remove(&key),
        };
    }
}

impl Replay for Table {
    fn restore(&mut self, item: &[u8]) -> Result<(), Rejected> {
        decode(item)?.into_iter().for_each(|change| self.change(change));
        Ok(())
    }

    fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
        decode(record.payload)?.into_iter().for_each(|change| self.change(change));
        Ok(())
    }
}

/// Key length, key, 0; or key length, key, 1, value length, value.
fn encode(changes: &[Change]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in changes {
        bytes.push(u8::try_from(key.len()).unwrap());
        bytes.extend_from_slice(key);
        bytes.push(u8::from(value.is_some()));
        if let Some(value) = value {
            bytes.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(value);
        }
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Result<Vec<Change>, Rejected> {
    let mut changes = Vec::new();
    let mut take = |count: usize| {
        let (taken, rest) =
            bytes.split_at_checked(count).ok_or_else(|| Rejected("too short".to_owned()))?;
        bytes = rest;
        Ok((taken.to_vec(), rest.is_empty()))
    };
    loop {
        let length = take(1)?.0[0];
        let key = take(length.into())?.0;
        let (has_value, mut is_last) = take(1)?;
        let value = if has_value[0] == 1 {
            let length = take(2)?.0;
            let value = take(u16::from_le_bytes([length[0], length[1]]).into())?;
            is_last = value.1;
            Some(value.0)
        } else {
            None
        };
        changes.push((key, value));
        if is_last {
            return Ok(changes);
        }
    }
}

/// A transaction over few keys, so that they are overwritten and deleted.
fn draw(rng: &mut Xoshiro256PlusPlus) -> Vec<Change> {
    let change = |rng: &mut Xoshiro256PlusPlus| {
        let key = format!("key {}", rng.random_range(0..40)).into_bytes();
        let value = rng.random_ratio(2, 3).then(|| {
            let mut value = vec![0; rng.random_range(0..600)];
            rng.fill(&mut value[..]);
            value
        });
        (key, value)
    };
    (0..rng.random_range(1..5)).map(|_| change(rng)).collect()
}

fn tell_redb(database: &Database, changes: &[Change]) {
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(TABLE).unwrap();
        for (key, value) in changes {
            match value {
                Some(value) => table.insert(&key[..], &value[..]).unwrap(),
                None => table.remove(&key[..]).unwrap(),
            };
        }
    }
    transaction.commit().unwrap();
}

fn all_of_redb(database: &Database) -> Map {
    let transaction = database.begin_read().unwrap();
    let Ok(table) = transaction.open_table(TABLE) else { return Map::new() };
    let entries = table.iter().unwrap().map(|entry| {
        let (key, value) = entry.unwrap();
        (key.value().to_vec(), value.value().to_vec())
    });
    entries.collect()
}

fn open<S: Storage>(storage: S) -> (Store<S>, Table) {
    let mut table = Table::default();
    let opening = Opening::new(storage, options()).expect("opens");
    let (store, _) = opening.recover(&mut table, &mut |_| ()).expect("recovers");
    (store, table)
}

fn checkpoint<S: Storage>(store: &mut Store<S>, table: &Table) {
    let mut writer = store.begin_checkpoint().expect("begins");
    for (key, value) in &table.0 {
        writer.item(&encode(&[(key.clone(), Some(value.clone()))])).expect("writes");
    }
    let written = writer.finish().expect("finishes");
    store.finish_checkpoint(written).expect("finishes");
}

/// `reopen` gives the storage anew, after whatever happened to it.
fn compare<S: Storage>(seed: u64, dir: &Path, mut reopen: impl FnMut() -> S) {
    println!("seed {seed}");
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let file = dir.join(format!("{seed}.redb"));
    let mut database = Database::create(&file).unwrap();
    let (mut store, mut table) = open(reopen());
    for _ in 0..ROUNDS {
        let changes = draw(&mut rng);
        store.append(KIND, &encode(&changes)).expect("appends");
        store.sync().expect("syncs");
        tell_redb(&database, &changes);
        changes.into_iter().for_each(|change| table.change(change));
        assert_eq!(table.0, all_of_redb(&database), "before");
        if rng.random_ratio(1, 10) {
            checkpoint(&mut store, &table);
        }
        if rng.random_ratio(1, 8) {
            drop((store, database));
            database = Database::open(&file).unwrap();
            (store, table) = open(reopen());
            assert_eq!(table.0, all_of_redb(&database), "after it was opened again");
        }
    }
}

#[test]
fn the_store_keeps_what_redb_keeps_across_power_cuts() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..4 {
        let disk = ForgetfulDisk::new(seed);
        compare(seed, dir.path(), || {
            disk.power_cut_to(Survivors::Synced);
            disk.clone()
        });
    }
}

#[test]
fn the_store_keeps_what_redb_keeps_in_real_files() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 10..12 {
        let store = dir.path().join(format!("store-{seed}"));
        compare(seed, dir.path(), || FileStorage::open(&store).expect("nobody else has it"));
    }
}
