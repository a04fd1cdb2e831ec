//! Hash tables with a bound on what any look-up in them costs.
//!
//! A table grows while a policy is read and is built once more at the end of it. The bound is
//! measured then and holds for whatever text an attacker sends: a table with a long run of full
//! slots is thrown away and built again under another key.

use super::key::{Hashed, Key};

/// Most full slots side by side, hence most that one look-up passes.
///
/// At most half full, a table of 2^28 entries has runs of about 100; it is spread out if need be.
pub(super) const MAX_RUN: usize = 128;

/// The fewest slots of a table: a look-up ends at an empty one.
const MIN_SLOTS: usize = 4;

/// From hashes to numbers; what a number means, and whether it is the one, is its owner's to say.
#[derive(Debug)]
pub(super) struct Table {
    key: Key,
    /// At least half of them are empty.
    slots: Box<[Slot]>,
    count: usize,
}

/// All zeros when it is empty, so that fresh memory is a table.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    tag: u64,
    /// The entry's number plus one, or 0.
    entry: u32,
}

impl Table {
    /// A table without entries and with room for so many.
    pub(super) fn with_room(entries: usize) -> Self {
        Self::empty(slots_for(entries))
    }

    /// A table of `items`, as small as may be: the number of each entry, and what `hash` hashes of
    /// it. The entries must differ in hash.
    pub(super) fn of<T>(
        items: &(impl Iterator<Item = (u32, T)> + Clone),
        hash: impl Fn(Key, T) -> Hashed,
    ) -> Self {
        let least = slots_for(items.clone().count());
        let mut spread = 0;
        loop {
            let mut table = Self::empty(least << spread);
            for (entry, item) in items.clone() {
                table.insert(hash(table.key, item), entry);
            }
            if longest_run(&table.slots) <= MAX_RUN {
                return table;
            }
            spread = (spread + 1).min(3);
        }
    }

    fn empty(slots: usize) -> Self {
        Self { key: Key::random(), slots: vec![Slot::default(); slots].into(), count: 0 }
    }

    #[inline]
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Whether it must grow before anything more comes in.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.count >= self.slots.len() / 2
    }

    /// Gives the table room for twice as many entries. `items` are those that it has, as for
    /// [`of`](Self::of); the old table is gone before the new one takes memory.
    pub(super) fn grow<T>(
        &mut self,
        items: impl Iterator<Item = (u32, T)>,
        hash: impl Fn(Key, T) -> Hashed,
    ) {
        let slots = self.slots.len() * 2;
        self.slots = Box::default();
        *self = Self::empty(slots);
        for (entry, item) in items {
            self.insert(hash(self.key, item), entry);
        }
    }

    /// Adds an entry that is not there yet, to a table that is not full.
    pub(super) fn insert(&mut self, hash: Hashed, entry: u32) {
        let mut at = self.begin(hash);
        while self.slots[at].entry != 0 {
            at = self.after(at);
        }
        self.slots[at] = Slot { tag: hash.tag, entry: entry + 1 };
        self.count += 1;
    }

    /// The entry with this hash, where the tag is all there is to compare.
    #[inline]
    pub(super) fn exact(&self, hash: Hashed) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// The entry with this hash for which `is_it` holds.
    #[inline]
    pub(super) fn find(&self, hash: Hashed, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.begin(hash);
        loop {
            let slot = self.slots[at];
            let entry = slot.entry.checked_sub(1)?;
            if slot.tag == hash.tag && is_it(entry) {
                return Some(entry);
            }
            at = self.after(at);
        }
    }

    /// Where to begin: the place's share of all places, as a share of the slots (Lemire, 2016), so
    /// that any number of slots will do.
    #[inline]
    fn begin(&self, hash: Hashed) -> usize {
        ((u64::from(hash.place) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }
}

fn slots_for(entries: usize) -> usize {
    (entries * 2).max(MIN_SLOTS)
}

/// The most full slots side by side; the last slot is beside the first.
fn longest_run(slots: &[Slot]) -> usize {
    let (mut longest, mut run) = (0, 0);
    for slot in slots.iter().chain(slots) {
        run = if slot.entry == 0 { 0 } else { run + 1 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn numbered(count: u32) -> impl Iterator<Item = (u32, u32)> + Clone {
        (0..count).map(|entry| (entry, entry * 3))
    }

    #[test]
    fn each_entry_is_found_and_no_other_while_the_table_grows_and_after() {
        let mut table = Table::with_room(0);
        for (entry, number) in numbered(1_000) {
            if table.is_full() {
                table.grow(numbered(entry), |key, number| key.pair(0, number));
            }
            table.insert(table.key().pair(0, number), entry);
        }
        for table in [table, Table::of(&numbered(1_000), |key, number| key.pair(0, number))] {
            for (entry, number) in numbered(1_000) {
                assert_eq!(table.exact(table.key().pair(0, number)), Some(entry));
                assert_eq!(table.exact(table.key().pair(0, number + 1)), None);
            }
            assert!(table.slots.len() >= 2_000);
        }
    }

    #[test]
    fn a_key_under_which_all_collide_is_given_up() {
        let keys_tried = Cell::new(0_u32);
        let table = Table::of(&numbered(1_000), |key, number| {
            keys_tried.set(keys_tried.get() + u32::from(number == 0));
            let bad = Hashed { place: 5, tag: 5 };
            if keys_tried.get() < 4 { bad } else { key.pair(0, number) }
        });
        assert_eq!(keys_tried.get(), 4);
        assert!(longest_run(&table.slots) <= MAX_RUN);
        for (entry, number) in numbered(1_000) {
            assert_eq!(table.exact(table.key().pair(0, number)), Some(entry));
        }
    }

    #[test]
    fn a_run_over_the_end_of_the_slots_is_counted_whole() {
        let slot = |entry| Slot { tag: 0, entry };
        assert_eq!(longest_run(&[slot(1), slot(2), slot(0), slot(3)]), 3);
    }
}
