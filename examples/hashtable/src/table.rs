//! An ordered table of values under keys whose copy is cheap: copies share what neither has changed.
//!
//! Entries lie in leaves of at most [`LEAF`], in order. A copy takes a reference to each leaf, some
//! thousands for a million keys, and whoever changes a leaf that is shared copies that leaf first. So
//! a checkpoint reads a table that stands still, while the table goes on.

use std::{ops::Bound, sync::Arc};

/// Most entries of a leaf: what one change copies at the most.
pub const LEAF: usize = 512;

/// A leaf with fewer entries is joined with its neighbour where they fit half a leaf together.
const SPARSE: usize = LEAF / 8;

/// By how many entries a leaf's memory grows.
const GROWTH: usize = LEAF / 16;

/// Keys and values, in the order of the keys. `clone` is cheap.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// In order, and none is empty.
    leaves: Vec<Arc<Leaf>>,
    size: Size,
}

/// How much a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Keys.
    pub keys: usize,
    /// Bytes of all keys and values.
    pub bytes: usize,
}

/// A value. Copies share it.
pub type Value = Arc<[u8]>;

#[derive(Clone, Debug)]
struct Leaf(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    key: Arc<str>,
    value: Value,
}

impl Entries {
    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let leaf = self.leaves.get(self.leaf_of(key))?;
        leaf.find(key).ok().map(|at| &leaf.0[at].value)
    }

    /// Puts `value` under `key`; returns what was there.
    pub fn insert(&mut self, key: &str, value: Value) -> Option<Value> {
        let length = value.len();
        let old = self.put(key, value);
        self.size = self.size.with(key, old.as_deref().map(<[u8]>::len), Some(length));
        old
    }

    /// Removes `key`; returns what was there.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let index = self.leaf_of(key);
        let at = self.leaves.get(index)?.find(key).ok()?;
        let leaf = Arc::make_mut(&mut self.leaves[index]);
        let old = leaf.0.remove(at).value;
        let left = leaf.0.len();
        if left == 0 {
            self.leaves.remove(index);
        } else if left < SPARSE {
            self.join(index);
        }
        self.size = self.size.with(key, Some(old.len()), None);
        Some(old)
    }

    /// The entries whose keys are at `start` or behind it, in order.
    pub fn from<'a>(&'a self, start: Bound<&str>) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let first = match start {
            Bound::Included(key) | Bound::Excluded(key) => self.leaf_of(key),
            Bound::Unbounded => 0,
        };
        let at = self.leaves.get(first).map_or(0, |leaf| leaf.first_in(start));
        let entries = self.leaves[first..].iter().flat_map(|leaf| &leaf.0).skip(at);
        entries.map(|entry| (&*entry.key, &entry.value))
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.from(Bound::Unbounded)
    }

    /// How much it holds.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The leaf in which `key` is, if it is anywhere: the last that begins at or before it.
    fn leaf_of(&self, key: &str) -> usize {
        self.leaves.partition_point(|leaf| leaf.first() <= Some(key)).saturating_sub(1)
    }

    fn put(&mut self, key: &str, value: Value) -> Option<Value> {
        let index = self.leaf_of(key);
        let Some(leaf) = self.leaves.get_mut(index) else {
            self.leaves.push(Arc::new(Leaf(vec![Entry { key: key.into(), value }])));
            return None;
        };
        let leaf = Arc::make_mut(leaf);
        match leaf.find(key) {
            Ok(at) => Some(std::mem::replace(&mut leaf.0[at].value, value)),
            Err(_) if leaf.0.len() == LEAF => {
                self.split(index);
                self.put(key, value)
            }
            Err(at) => {
                leaf.insert(at, Entry { key: key.into(), value });
                None
            }
        }
    }

    /// Moves the second half of a leaf into one of its own. At the end of the table the first stays
    /// nearly full, as keys often come in order.
    fn split(&mut self, index: usize) {
        let last = index + 1 == self.leaves.len();
        let leaf = Arc::make_mut(&mut self.leaves[index]);
        let upper = leaf.0.split_off(if last { LEAF - SPARSE } else { LEAF / 2 });
        self.leaves.insert(index + 1, Arc::new(Leaf(upper)));
    }

    /// Joins a sparse leaf with the next or the one before, if they are short together.
    fn join(&mut self, index: usize) {
        let length = |index: usize| self.leaves.get(index).map(|leaf| leaf.0.len());
        let fits = |one, other| {
            length(one).zip(length(other)).is_some_and(|(one, other)| one + other <= LEAF / 2)
        };
        let first = match index.checked_sub(1) {
            _ if fits(index, index + 1) => index,
            Some(before) if fits(before, index) => before,
            _ => return,
        };
        let second = self.leaves.remove(first + 1);
        let leaf = Arc::make_mut(&mut self.leaves[first]);
        leaf.0.extend(Arc::unwrap_or_clone(second).0);
    }
}

impl Size {
    /// The size once a value of `old` bytes under `key` has become one of `new` bytes; `None` is no
    /// value.
    #[must_use]
    pub fn with(self, key: &str, old: Option<usize>, new: Option<usize>) -> Self {
        let keys = self.keys + usize::from(new.is_some()) - usize::from(old.is_some());
        let bytes = |value: Option<usize>| value.map_or(0, |length| key.len() + length);
        Self { keys, bytes: self.bytes + bytes(new) - bytes(old) }
    }
}

impl Leaf {
    fn first(&self) -> Option<&str> {
        self.0.first().map(|entry| &*entry.key)
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| (*entry.key).cmp(key))
    }

    /// A vector by itself would double, and a full leaf would take twice what it holds.
    fn insert(&mut self, at: usize, entry: Entry) {
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(GROWTH);
        }
        self.0.insert(at, entry);
    }

    /// The place of the first entry behind `start`; its length if there is none.
    fn first_in(&self, start: Bound<&str>) -> usize {
        self.0.partition_point(|entry| match start {
            Bound::Included(start) => &*entry.key < start,
            Bound::Excluded(start) => &*entry.key <= start,
            Bound::Unbounded => false,
        })
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
