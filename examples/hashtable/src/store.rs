//! The implementation: a table in memory, bounded in keys and in bytes.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{PoisonError, RwLock},
};

use bailiwick::{Bytes, CallError, Context};

use crate::service::{KEYS_PER_PAGE, MAX_KEY, MAX_VALUE, Table, TableError};

/// What a store holds at the most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Keys. Default: 100,000.
    pub(crate) keys: usize,
    /// Bytes of all keys and values together. Default: 64 MiB.
    pub(crate) bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { keys: 100_000, bytes: 64 << 20 }
    }
}

/// A table in memory; it is empty at each start.
#[derive(Debug, Default)]
pub(crate) struct Store {
    bounds: Bounds,
    entries: RwLock<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// In order, so that listing a prefix reads what it answers and no more.
    values: BTreeMap<String, Bytes>,
    /// Bytes of all keys and values.
    size: usize,
}

impl Store {
    #[cfg(test)]
    fn bounded(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    // A panic cannot leave the entries half changed: nothing between two changes can panic.
    fn read<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        look(&self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        change(&mut self.entries.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Table for Store {
    async fn get(&self, _: &Context, key: String) -> Result<Option<Bytes>, CallError<TableError>> {
        Ok(self.read(|entries| entries.values.get(&key).cloned()))
    }

    async fn put(
        &self,
        _: &Context,
        key: String,
        value: Bytes,
    ) -> Result<(), CallError<TableError>> {
        // The value borrows the receive buffer; keeping it would keep the whole buffer alive.
        let value = Bytes::copy_from_slice(&value);
        self.write(|entries| entries.put(key, value, self.bounds))?;
        Ok(())
    }

    async fn delete(&self, _: &Context, key: String) -> Result<(), CallError<TableError>> {
        self.write(|entries| entries.delete(&key));
        Ok(())
    }

    async fn increment(
        &self,
        _: &Context,
        key: String,
        by: i64,
    ) -> Result<i64, CallError<TableError>> {
        // One lock over reading and writing, so that no increment is lost between the two.
        let sum = self.write(|entries| {
            let sum = entries.number(&key)?.checked_add(by).ok_or(TableError::Overflow)?;
            entries.put(key, Bytes::from(sum.to_string()), self.bounds)?;
            Ok::<_, TableError>(sum)
        })?;
        Ok(sum)
    }

    async fn keys(
        &self,
        _: &Context,
        prefix: String,
        after: Option<String>,
    ) -> Result<Vec<String>, CallError<TableError>> {
        Ok(self.read(|entries| entries.page(&prefix, after.as_deref())))
    }
}

impl Entries {
    fn put(&mut self, key: String, value: Bytes, bounds: Bounds) -> Result<(), TableError> {
        if key.len() > MAX_KEY {
            return Err(TableError::KeyTooLong);
        }
        if value.len() > MAX_VALUE {
            return Err(TableError::ValueTooLong);
        }
        let old = self.values.get(&key);
        let keys = self.values.len() + usize::from(old.is_none());
        let freed = old.map_or(0, |old| key.len() + old.len());
        let size = self.size - freed + key.len() + value.len();
        // What makes a full table smaller is always welcome.
        if keys > bounds.keys || (size > bounds.bytes && size > self.size) {
            return Err(TableError::Full);
        }
        self.values.insert(key, value);
        self.size = size;
        Ok(())
    }

    fn delete(&mut self, key: &str) {
        if let Some(value) = self.values.remove(key) {
            self.size -= key.len() + value.len();
        }
    }

    /// The number under `key`; 0 if there is nothing.
    fn number(&self, key: &str) -> Result<i64, TableError> {
        let Some(value) = self.values.get(key) else { return Ok(0) };
        let text = str::from_utf8(value).map_err(|_| TableError::NotANumber)?;
        text.parse().map_err(|_| TableError::NotANumber)
    }

    fn page(&self, prefix: &str, after: Option<&str>) -> Vec<String> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let from_there = self.values.range::<str, _>((start, Bound::Unbounded));
        let keys = from_there.map(|(key, _)| key).take_while(|key| key.starts_with(prefix));
        keys.take(KEYS_PER_PAGE).cloned().collect()
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
