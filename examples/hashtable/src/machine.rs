//! The table as its calls see it: they are decided in one order, and done once they are durable.
//!
//! Between the two a change is pending. The next call on its key must be decided as if it were done,
//! as it will come behind it; a reader must not see it, as a power cut may still undo it.

use std::{collections::HashMap, ops::Bound};

use stable_store::Lsn;

use crate::{
    planted::{Bug, planted},
    service::{KEYS_PER_PAGE, MAX_KEY, MAX_VALUE, TableError},
    table::{Entries, Size, Value},
};

/// What a table holds at the most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Keys. Default: 2,000,000.
    pub keys: usize,
    /// Bytes of all keys and values together. Default: 256 MiB.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { keys: 2_000_000, bytes: 256 << 20 }
    }
}

/// The table, and what is decided and not yet durable.
#[derive(Debug, Default)]
pub struct Machine {
    bounds: Bounds,
    /// What readers see.
    entries: Entries,
    /// What keys will hold, by the last record about each.
    pending: HashMap<String, Pending>,
    /// The size once all that is pending is applied.
    planned: Size,
}

#[derive(Debug)]
struct Pending {
    lsn: Lsn,
    value: Option<Value>,
}

/// What a call decided to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it is about.
    pub key: String,
    /// What it will hold; `None` is nothing.
    pub value: Option<Value>,
}

impl Machine {
    /// An empty table that holds no more than `bounds`.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// What is durable.
    #[must_use]
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The keys that begin with `prefix` and come after `after`, at most [`KEYS_PER_PAGE`].
    #[must_use]
    pub fn page(&self, prefix: &str, after: Option<&str>) -> Vec<String> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let keys = self.entries.from(start).map(|(key, _)| key);
        let keys = keys.take_while(|key| key.starts_with(prefix));
        keys.take(KEYS_PER_PAGE).map(ToOwned::to_owned).collect()
    }

    /// Decides to put `value` under `key`.
    ///
    /// # Errors
    ///
    /// [`TableError`] if key or value is too long, or the table is full.
    pub fn put(&self, key: String, value: Value) -> Result<Decision, TableError> {
        if key.len() > MAX_KEY {
            return Err(TableError::KeyTooLong);
        }
        if value.len() > MAX_VALUE {
            return Err(TableError::ValueTooLong);
        }
        let size = self.size_with(&key, Some(&value));
        // What makes a full table smaller is always welcome.
        let more_keys = size.keys > self.bounds.keys && size.keys > self.planned.keys;
        let more_bytes = size.bytes > self.bounds.bytes && size.bytes > self.planned.bytes;
        if more_keys || more_bytes {
            return Err(TableError::Full);
        }
        Ok(Decision { key, value: Some(value) })
    }

    /// Decides to put `value` under `key` if it holds `expected`; `None` if it does not.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn compare_and_swap(
        &self,
        key: String,
        expected: Option<&[u8]>,
        value: Value,
    ) -> Result<Option<Decision>, TableError> {
        if self.value(&key) != expected {
            return Ok(None);
        }
        self.put(key, value).map(Some)
    }

    /// Decides to remove `key`; `None` if it is not there.
    #[must_use]
    pub fn delete(&self, key: String) -> Option<Decision> {
        self.value(&key)?;
        Some(Decision { key, value: None })
    }

    /// Decides to add `by` to the number under `key`; returns the sum too.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put), and if there is no number or the sum does not fit.
    pub fn increment(&self, key: String, by: i64) -> Result<(i64, Decision), TableError> {
        let number = match self.value(&key).map(str::from_utf8) {
            None => 0,
            Some(Ok(text)) => text.parse().map_err(|_| TableError::NotANumber)?,
            Some(Err(_)) => return Err(TableError::NotANumber),
        };
        let sum: i64 = i64::checked_add(number, by).ok_or(TableError::Overflow)?;
        let decision = self.put(key, sum.to_string().into_bytes().into())?;
        Ok((sum, decision))
    }

    /// Counts on `decision`, whose record is the one at `lsn`.
    pub fn expect(&mut self, decision: Decision, lsn: Lsn) {
        let Decision { key, value } = decision;
        self.planned = self.size_with(&key, value.as_deref());
        if planted(Bug::PendingIsRead) {
            self.change(&key, value.clone());
        }
        self.pending.insert(key, Pending { lsn, value });
    }

    /// Does what was decided at once: for a table that is not kept.
    pub fn apply_now(&mut self, decision: Decision) {
        self.change(&decision.key, decision.value);
        self.planned = self.entries.size();
    }

    /// Takes entries as they were.
    pub fn restore<'a>(&mut self, entries: impl Iterator<Item = (&'a str, Value)>) {
        entries.for_each(|(key, value)| self.change(key, Some(value)));
        self.planned = self.entries.size();
    }

    /// Does what the record at `lsn` says: `key` holds `value` from now on.
    pub fn apply(&mut self, key: &str, value: Option<Value>, lsn: Lsn) {
        self.change(key, value);
        if self.pending.get(key).is_some_and(|pending| pending.lsn <= lsn) {
            self.pending.remove(key);
        }
        // At recovery nothing is decided, and all the size there is is that of the entries.
        if self.pending.is_empty() {
            self.planned = self.entries.size();
        }
    }

    /// What `key` will hold once all that is decided is done.
    fn value(&self, key: &str) -> Option<&[u8]> {
        match self.pending.get(key).filter(|_| !planted(Bug::DecidedOnDurable)) {
            Some(pending) => pending.value.as_deref(),
            None => self.entries.get(key).map(|value| &**value),
        }
    }

    /// The size if `key` held `value` behind all that is decided.
    fn size_with(&self, key: &str, value: Option<&[u8]>) -> Size {
        self.planned.with(key, self.value(key).map(<[u8]>::len), value.map(<[u8]>::len))
    }

    fn change(&mut self, key: &str, value: Option<Value>) {
        match value {
            Some(value) => self.entries.insert(key, value),
            None => self.entries.remove(key),
        };
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
