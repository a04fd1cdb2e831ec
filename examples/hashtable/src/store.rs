//! The implementation: a table, in memory or kept by a journal.

use std::{
    future,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use bailiwick::{
    Bytes, CallError, Context, Unavailable,
    durable::{Completions, Durable},
};
use serde::Serialize;
use stable_store::{Epoch, Journal, Refused, StoreId};

use crate::{
    kept::{self, KeptTable},
    machine::{Bounds, Decision, Machine},
    planted::{Bug, planted},
    record::CHANGE,
    service::{Kept, Stats, Table, TableError},
    table::Value,
};

/// A table that is served. Clones are of the same table.
#[derive(Clone, Debug)]
pub struct Store(Arc<Keeper>);

#[derive(Debug)]
enum Keeper {
    /// It is empty at each start.
    Memory(RwLock<Machine>),
    Journal {
        /// Not there before the log has been read.
        journal: OnceLock<(Journal<KeptTable>, Epoch)>,
        completions: Completions,
    },
}

impl Store {
    /// A table in memory: it is empty at each start.
    #[must_use]
    pub fn in_memory(bounds: Bounds) -> Self {
        Self(Arc::new(Keeper::Memory(RwLock::new(Machine::new(bounds)))))
    }

    /// A table that is kept under `id`, and refuses every call until it is [open](Self::open).
    #[must_use]
    pub fn recovering(id: StoreId) -> Self {
        let completions = Completions::recovering(id.0);
        if planted(Bug::OpenBeforeRecovery) {
            completions.open();
        }
        Self(Arc::new(Keeper::Journal { journal: OnceLock::new(), completions }))
    }

    /// What the log is to be read into; then [`open`](Self::open).
    ///
    /// # Panics
    ///
    /// If the table is in memory.
    #[must_use]
    pub fn unread(&self, bounds: Bounds) -> KeptTable {
        let Keeper::Journal { completions, .. } = &*self.0 else {
            panic!("a table in memory has no log")
        };
        KeptTable::new(bounds, completions.clone())
    }

    /// Serves what was recovered.
    ///
    /// # Panics
    ///
    /// If the table is in memory, or open.
    pub fn open(&self, journal: Journal<KeptTable>, epoch: Epoch) {
        let Keeper::Journal { journal: place, completions } = &*self.0 else {
            panic!("a table in memory has no journal")
        };
        assert!(place.set((journal, epoch)).is_ok(), "a table is opened once");
        completions.open();
    }

    fn read<R>(&self, look: impl FnOnce(&Machine) -> R) -> Result<R, CallError<TableError>> {
        match &*self.0 {
            Keeper::Memory(machine) => {
                Ok(look(&machine.read().unwrap_or_else(PoisonError::into_inner)))
            }
            Keeper::Journal { journal, .. } => {
                Ok(opened(journal)?.0.read(|table| look(table.machine())))
            }
        }
    }

    /// Decides a call, and answers once what it decided is done.
    async fn change<T: Serialize>(
        &self,
        cx: &Context,
        decide: impl FnOnce(&Machine) -> Result<(T, Option<Decision>), TableError>,
    ) -> Result<T, CallError<TableError>> {
        match &*self.0 {
            Keeper::Memory(machine) => {
                let mut machine = machine.write().unwrap_or_else(PoisonError::into_inner);
                let (answer, decision) = decide(&machine)?;
                if let Some(decision) = decision {
                    machine.apply_now(decision);
                }
                Ok(answer)
            }
            Keeper::Journal { journal, .. } => {
                let submitted = opened(journal)?.0.submit(|table, log| {
                    let (answer, decision) = decide(table.machine())?;
                    if let Some(decision) = decision {
                        let completion = cx.completion(&Ok::<_, TableError>(&answer));
                        let record = kept::record(&decision, completion);
                        let lsn = log.append(CHANGE, &record);
                        table.expect(decision, lsn.expect("key, value and answer are short"));
                    }
                    Ok(answer)
                });
                match submitted {
                    // Also a refusal may stand on what is pending: it waits as an effect does.
                    Ok((answer, committed)) => {
                        if !planted(Bug::AnsweredBeforeDurable) {
                            committed.await;
                        }
                        Ok(answer.map_err(CallError::App)?)
                    }
                    Err(Refused::Overloaded | Refused::Stopped) => Err(TableError::Busy.into()),
                    // Nobody knows what the disk holds. The process ends, and this call with it.
                    Err(Refused::Failed) => future::pending().await,
                }
            }
        }
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
        let kept = match &*self.0 {
            Keeper::Memory(_) => None,
            Keeper::Journal { journal, .. } => {
                let (journal, epoch) = opened(journal)?;
                let done = journal.stats();
                Some(Kept {
                    epoch: epoch.0,
                    records: done.records,
                    forced: done.batches,
                    checkpoints: done.checkpoints,
                })
            }
        };
        Ok(Stats { keys: size.keys as u64, bytes: size.bytes as u64, kept })
    }
}

impl Durable for Store {
    fn completions(&self) -> Option<&Completions> {
        match &*self.0 {
            Keeper::Memory(_) => None,
            Keeper::Journal { completions, .. } => Some(completions),
        }
    }
}

/// The runtime refuses all calls until a table is open; this is for calls past it.
fn opened<J>(journal: &OnceLock<J>) -> Result<&J, CallError<TableError>> {
    journal.get().ok_or(CallError::Unavailable(Unavailable::Recovering))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
