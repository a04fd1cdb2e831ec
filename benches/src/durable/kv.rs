//! The least machine that is one: keys and values in the table of the hashtable example.

use hashtable::table::Entries;
use stable_store::{Machine, Record, Rejected, Replay, StoreError};

/// The kind of the one record there is.
pub(crate) const PUT: u8 = 1;

/// A table whose entries come from a log.
#[derive(Debug, Default)]
pub(crate) struct Kv {
    /// What is in it.
    pub(crate) entries: Entries,
    /// Records that were applied.
    pub(crate) applied: u64,
}

/// The name of the key of this number.
pub(crate) fn key(number: u64) -> String {
    format!("key:{number:010}")
}

/// A record, or an item of a checkpoint: the key, its length before it, and the value.
pub(crate) fn put(key: &str, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(key.len()).expect("keys of this benchmark have 14 bytes");
    [&[length], key.as_bytes(), value].concat()
}

impl Kv {
    fn insert(&mut self, put: &[u8]) -> Option<()> {
        let (&length, rest) = put.split_first()?;
        let (key, value) = rest.split_at_checked(length.into())?;
        self.entries.insert(std::str::from_utf8(key).ok()?, value.into());
        Some(())
    }
}

impl Replay for Kv {
    fn restore(&mut self, item: &[u8]) -> Result<(), Rejected> {
        self.insert(item).ok_or_else(|| Rejected("no entry".to_owned()))
    }

    fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
        self.applied += 1;
        self.restore(record.payload)
    }
}

impl Machine for Kv {
    type Snapshot = Entries;

    fn snapshot(&mut self) -> Entries {
        self.entries.clone()
    }

    fn write(
        entries: Entries,
        item: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        entries.iter().try_for_each(|(key, value)| item(&put(key, value)))
    }

    fn size(&self) -> u64 {
        /// An item's length and kind, about.
        const OVERHEAD: usize = 16;
        let size = self.entries.size();
        (size.bytes + size.keys * OVERHEAD) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_entry_is_refused() {
        for bytes in [&b""[..], b"\x02a", b"\x01\xff"] {
            assert!(Kv::default().restore(bytes).is_err(), "{bytes:?}");
        }
        let mut kv = Kv::default();
        kv.restore(&put("a", b"value")).unwrap();
        assert_eq!(kv.entries.get("a").map(|value| &**value), Some(&b"value"[..]));
    }
}
