//! Hash tables that are built once, with a bound on what any look-up in them costs.
//!
//! The bound is measured at load and holds for whatever text an attacker sends: a table with a
//! long run of full slots is thrown away and built again under another key.

use super::key::{Hashed, Key, is_short};

/// Most full slots side by side, hence most that one look-up passes.
///
/// At most half full, a table of 2^28 entries has runs of about 100; it is spread out if need be.
pub(super) const MAX_RUN: usize = 128;

/// No entry has this number.
const EMPTY: u32 = u32::MAX;

/// From hashes to numbers; what a number means, and whether it is the one, is its owner's to say.
#[derive(Debug)]
pub(super) struct Table {
    key: Key,
    /// A power of two of them, and at least half of them empty.
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u64,
    entry: u32,
}

/// The texts of a policy, numbered from 0.
#[derive(Debug)]
pub(in crate::policy) struct Interner {
    table: Table,
    /// All texts, one after the other.
    bytes: Box<[u8]>,
    /// Where each begins, and at last where all end.
    starts: Box<[u32]>,
}

impl Table {
    /// A table of `entries`, which must differ in hash; `hash` takes a place among them.
    pub(super) fn of(entries: &[u32], hash: impl Fn(Key, usize) -> Hashed) -> Self {
        let least = (entries.len() * 2).next_power_of_two();
        let mut spread = 0;
        loop {
            let key = Key::random();
            let mut slots = vec![Slot { tag: 0, entry: EMPTY }; least << spread];
            for (nth, entry) in entries.iter().enumerate() {
                insert(&mut slots, hash(key, nth), *entry);
            }
            if longest_run(&slots) <= MAX_RUN {
                return Self { key, slots: slots.into() };
            }
            spread = (spread + 1).min(3);
        }
    }

    #[inline]
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// The entry with this hash, where the tag is all there is to compare.
    #[inline]
    pub(super) fn exact(&self, hash: Hashed) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// The entry with this hash for which `is_it` holds.
    #[inline]
    pub(super) fn find(&self, hash: Hashed, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = hash.place as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.entry == EMPTY {
                return None;
            }
            if slot.tag == hash.tag && is_it(slot.entry) {
                return Some(slot.entry);
            }
            at = (at + 1) & mask;
        }
    }
}

impl Interner {
    /// Numbers `texts`, which must differ, in their order.
    pub(in crate::policy) fn of(texts: &[&str]) -> Self {
        let mut bytes = Vec::with_capacity(texts.iter().map(|text| text.len()).sum());
        let mut starts = Vec::with_capacity(texts.len() + 1);
        for text in texts {
            starts.push(super::build::number(bytes.len()));
            bytes.extend_from_slice(text.as_bytes());
        }
        starts.push(super::build::number(bytes.len()));
        let entries: Vec<_> = (0..super::build::number(texts.len())).collect();
        let table = Table::of(&entries, |key, nth| key.text(texts[nth]));
        Self { table, bytes: bytes.into(), starts: starts.into() }
    }

    /// The number of a text; `None` if the policy does not mention it.
    #[inline]
    pub(in crate::policy) fn find(&self, text: &str) -> Option<u32> {
        if is_short(text) {
            self.table.exact(self.table.key().short_text(text))
        } else {
            self.find_long(text)
        }
    }

    #[inline(never)] // so that `find` stays small
    fn find_long(&self, text: &str) -> Option<u32> {
        self.table.find(self.table.key().long_text(text), |entry| {
            let at = entry as usize;
            let (from, to) = (self.starts[at] as usize, self.starts[at + 1] as usize);
            &self.bytes[from..to] == text.as_bytes()
        })
    }
}

fn insert(slots: &mut [Slot], hash: Hashed, entry: u32) {
    let mask = slots.len() - 1;
    let mut at = hash.place as usize;
    while slots[at & mask].entry != EMPTY {
        at += 1;
    }
    slots[at & mask] = Slot { tag: hash.tag, entry };
}

/// The most full slots side by side; the last slot is beside the first.
fn longest_run(slots: &[Slot]) -> usize {
    let (mut longest, mut run) = (0, 0);
    for slot in slots.iter().chain(slots) {
        run = if slot.entry == EMPTY { 0 } else { run + 1 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn each_text_has_its_number_and_others_have_none() {
        for count in [0, 1, 2, 7, 1_000] {
            let texts: Vec<_> = (0..count).map(|n| format!("segment {n}")).collect();
            let interner = Interner::of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            for (n, text) in (0..).zip(&texts) {
                assert_eq!(interner.find(text), Some(n));
            }
            for absent in ["", "segment", "segment 1000", "segment 1\0"] {
                assert_eq!(interner.find(absent), None);
            }
        }
    }

    #[test]
    fn a_key_under_which_all_collide_is_given_up() {
        let entries: Vec<u32> = (0..1_000).collect();
        let keys_tried = Cell::new(0_u32);
        let table = Table::of(&entries, |key, nth| {
            keys_tried.set(keys_tried.get() + u32::from(nth == 0));
            let bad = Hashed { place: 5, tag: 5 };
            if keys_tried.get() < 4 { bad } else { key.pair(0, entries[nth]) }
        });
        assert_eq!(keys_tried.get(), 4);
        assert!(longest_run(&table.slots) <= MAX_RUN);
        for entry in entries {
            let hash = table.key().pair(0, entry);
            assert_eq!(table.find(hash, |it| it == entry), Some(entry));
        }
    }

    #[test]
    fn a_run_over_the_end_of_the_slots_is_counted_whole() {
        let full = |entry| Slot { tag: 0, entry };
        assert_eq!(longest_run(&[full(1), full(2), full(EMPTY), full(3)]), 3);
    }
}
