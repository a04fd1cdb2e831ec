//! The table as its log knows it: what records and checkpoints do to it, and to what calls answered.

use bailiwick::durable::{Completion, Completions};
use stable_store::{Lsn, Record, Rejected, Replay, StoreError};

use crate::{
    machine::{Bounds, Decision, Machine},
    planted::{Bug, planted},
    record::{CHANGE, Change, Item, Raw},
    table::Entries,
};

/// Bytes of an item of a checkpoint, about. It takes a larger one only for a longer value.
const ITEM: usize = 64 * 1024;

/// Completions of an item of a checkpoint. Each answer of a table that has one is short.
const COMPLETIONS: usize = 1024;

/// What a journal keeps for a table.
#[derive(Debug)]
pub struct KeptTable {
    machine: Machine,
    completions: Completions,
}

impl KeptTable {
    /// An empty table. The runtime looks up `completions` for a call that it does not remember.
    #[must_use]
    pub fn new(bounds: Bounds, completions: Completions) -> Self {
        Self { machine: Machine::new(bounds), completions }
    }

    /// What calls are decided on.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Counts on `decision`, for which [`record`] is the one at `lsn`.
    pub fn expect(&mut self, decision: Decision, lsn: Lsn) {
        self.machine.expect(decision, lsn);
    }
}

/// The record of `decision` and of the call that took it.
#[must_use]
pub fn record(decision: &Decision, completion: Option<Completion>) -> Vec<u8> {
    let Decision { key, value } = decision;
    let length = key.len() + value.as_ref().map_or(0, |value| value.len());
    let completion = completion.filter(|_| !planted(Bug::NoCompletion));
    let change = Change { key, value: value.as_deref().map(Raw), completion };
    write(&change, Vec::with_capacity(length + 128))
}

impl Replay for KeptTable {
    fn restore(&mut self, item: &[u8]) -> Result<(), Rejected> {
        match read(item)? {
            Item::Entries(entries) => {
                let entries = entries.into_iter().map(|(key, Raw(value))| (key, value.into()));
                self.machine.restore(entries);
            }
            Item::Completions(completions) => {
                completions.into_iter().for_each(|it| self.completions.insert(it));
            }
        }
        Ok(())
    }

    fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
        if record.kind != CHANGE {
            let kind = record.kind;
            return Err(Rejected(format!("a record of kind {kind}, which no table writes")));
        }
        let Change { key, value, completion } = read(record.payload)?;
        self.machine.apply(key, value.map(|Raw(value)| value.into()), record.lsn);
        if let Some(completion) = completion {
            self.completions.insert(completion);
        }
        Ok(())
    }
}

impl stable_store::Machine for KeptTable {
    type Snapshot = (Entries, Vec<Completion>);

    fn snapshot(&mut self) -> Self::Snapshot {
        let completions = if planted(Bug::CheckpointWithoutCompletions) {
            Vec::new()
        } else {
            self.completions.snapshot()
        };
        (self.machine.entries().clone(), completions)
    }

    fn write(
        (entries, completions): Self::Snapshot,
        item: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut buffer = Vec::with_capacity(2 * ITEM);
        let (mut some, mut bytes) = (Vec::new(), 0);
        let mut entries = entries.iter().peekable();
        while let Some((key, value)) = entries.next() {
            bytes += key.len() + value.len();
            some.push((key, Raw(value)));
            if bytes >= ITEM || entries.peek().is_none() {
                buffer.clear();
                buffer = write(&Item::Entries(std::mem::take(&mut some)), buffer);
                item(&buffer)?;
                bytes = 0;
            }
        }
        for some in completions.chunks(COMPLETIONS) {
            buffer.clear();
            buffer = write(&Item::Completions(some.to_vec()), buffer);
            item(&buffer)?;
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.machine.entries().size().bytes as u64
    }
}

/// Reads all of `bytes`. They are as they were written: if they make no sense, another wrote them.
fn read<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Rejected> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Rejected(format!("{} bytes more than a table writes", rest.len()))),
        Err(error) => Err(Rejected(format!("not what a table writes: {error}"))),
    }
}

fn write(value: &impl serde::Serialize, buffer: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, buffer).expect("a vector takes all that is written to it")
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
