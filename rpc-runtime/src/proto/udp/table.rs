//! Places that are used again under names that are not.

use std::{fmt, marker::PhantomData};

use slab::Slab;

/// Values by keys that never name another value, even once theirs is gone.
#[derive(Debug)]
pub(crate) struct Table<T> {
    places: Slab<(u64, T)>,
    next: u64,
}

/// Names one value of a [`Table<T>`].
pub(crate) struct Key<T> {
    place: usize,
    serial: u64,
    of: PhantomData<fn() -> T>,
}

impl<T> Table<T> {
    pub(crate) fn insert(&mut self, value: T) -> Key<T> {
        let serial = self.next;
        // 2^64 insertions take centuries.
        self.next += 1;
        Key { place: self.places.insert((serial, value)), serial, of: PhantomData }
    }

    pub(crate) fn get(&self, key: Key<T>) -> Option<&T> {
        let (serial, value) = self.places.get(key.place)?;
        (*serial == key.serial).then_some(value)
    }

    pub(crate) fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let (serial, value) = self.places.get_mut(key.place)?;
        (*serial == key.serial).then_some(value)
    }

    pub(crate) fn remove(&mut self, key: Key<T>) -> Option<T> {
        self.get(key)?;
        Some(self.places.remove(key.place).1)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { places: Slab::new(), next: 0 }
    }
}

// By hand, since deriving would ask the same of `T`.
impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl<T> Eq for Key<T> {}

impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.serial.cmp(&other.serial)
    }
}

impl<T> std::hash::Hash for Key<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.serial.hash(state);
    }
}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_name_who_took_its_place() {
        let mut table = Table::default();
        let first = table.insert("first");
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second");
        assert_eq!(first.place, second.place);
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&"second"));
    }
}
