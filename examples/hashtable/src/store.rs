//! The implementation: a table, in memory or kept by a log.

use std::sync::{PoisonError, RwLock};

use bailiwick::{Bytes, CallError, Context};
use serde::Serialize;

use crate::{
    machine::{Bounds, Decision, Machine},
    service::{Stats, Table, TableError},
    table::Value,
};

/// A table that is served.
#[derive(Debug)]
pub struct Store {
    machine: RwLock<Machine>,
}

impl Store {
    /// A table in memory: it is empty at each start.
    #[must_use]
    pub fn in_memory(bounds: Bounds) -> Self {
        Self { machine: RwLock::new(Machine::new(bounds)) }
    }

    fn read<R>(&self, look: impl FnOnce(&Machine) -> R) -> Result<R, CallError<TableError>> {
        Ok(look(&self.machine.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Decides a call, does what it decided, and answers.
    async fn change<T: Serialize>(
        &self,
        _cx: &Context,
        decide: impl FnOnce(&Machine) -> Result<(T, Option<Decision>), TableError>,
    ) -> Result<T, CallError<TableError>> {
        let mut machine = self.machine.write().unwrap_or_else(PoisonError::into_inner);
        let (answer, decision) = decide(&machine)?;
        if let Some(decision) = decision {
            machine.apply_now(decision);
        }
        Ok(answer)
    }
}

impl Table for Store {
    async fn get(&self, _: &Context, key: String) -> Result<Option<Bytes>, CallError<TableError>> {
        let value = self.read(|machine| machine.entries().get(&key).cloned())?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    async fn put(
        &self,
        cx: &Context,
        key: String,
        value: Bytes,
    ) -> Result<(), CallError<TableError>> {
        // A copy: the value borrows the receive buffer, which would be kept with it.
        let value = Value::from(&value[..]);
        self.change(cx, |machine| Ok(((), Some(machine.put(key, value)?)))).await
    }

    async fn compare_and_swap(
        &self,
        cx: &Context,
        key: String,
        expected: Option<Bytes>,
        value: Bytes,
    ) -> Result<bool, CallError<TableError>> {
        let value = Value::from(&value[..]);
        self.change(cx, |machine| {
            let decision = machine.compare_and_swap(key, expected.as_deref(), value)?;
            Ok((decision.is_some(), decision))
        })
        .await
    }

    async fn delete(&self, cx: &Context, key: String) -> Result<bool, CallError<TableError>> {
        self.change(cx, |machine| {
            let decision = machine.delete(key);
            Ok((decision.is_some(), decision))
        })
        .await
    }

    async fn increment(
        &self,
        cx: &Context,
        key: String,
        by: i64,
    ) -> Result<i64, CallError<TableError>> {
        self.change(cx, |machine| {
            let (sum, decision) = machine.increment(key, by)?;
            Ok((sum, Some(decision)))
        })
        .await
    }

    async fn keys(
        &self,
        _: &Context,
        prefix: String,
        after: Option<String>,
    ) -> Result<Vec<String>, CallError<TableError>> {
        self.read(|machine| machine.page(&prefix, after.as_deref()))
    }

    async fn stats(&self, _: &Context) -> Result<Stats, CallError<TableError>> {
        let size = self.read(|machine| machine.entries().size())?;
        Ok(Stats { keys: size.keys as u64, bytes: size.bytes as u64, kept: None })
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
