//! Records that share a sync, in one allocation.

use std::mem;

/// What a record takes beside its payload, in the log and here; so empty ones count as well.
const RECORD_OVERHEAD: usize = 32;

/// The most that an empty batch keeps of its memory: a burst is not to hold it for ever.
const KEPT_CAPACITY: usize = 1 << 20;

/// Records in order, not yet written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    payloads: Vec<u8>,
    records: Vec<Entry>,
}

/// A record's kind, and where its payload ends; it begins where the one before ended.
#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: u8,
    end: usize,
}

impl Batch {
    pub(super) fn push(&mut self, kind: u8, payload: &[u8]) {
        self.payloads.extend_from_slice(payload);
        self.records.push(Entry { kind, end: self.payloads.len() });
    }

    /// Kind and payload of each record.
    pub(super) fn records(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut begin = 0;
        self.records.iter().map(move |record| {
            let begin = mem::replace(&mut begin, record.end);
            (record.kind, &self.payloads[begin..record.end])
        })
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.payloads.len() + self.records.len() * RECORD_OVERHEAD
    }

    /// Empties it and keeps some of its memory for the next records.
    pub(super) fn clear(&mut self) {
        self.payloads.clear();
        self.payloads.shrink_to(KEPT_CAPACITY);
        self.records.clear();
        self.records.shrink_to(KEPT_CAPACITY / RECORD_OVERHEAD);
    }
}
