//! Buffers of long messages: a message lends its own to whoever holds it, and it comes back when nobody does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

/// Buffers that wait at the most. Another is being read into, and others are lent.
const SHELF: usize = 1;

/// Those of one connection.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    /// None before the first is lent, and after a rest.
    shelf: Option<Arc<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// An empty buffer, with room if one waits.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.shelf.as_ref().and_then(|shelf| shelf.lock().pop()).unwrap_or_default()
    }

    /// `message`, whose buffer comes back with the last clone of what is returned.
    pub(crate) fn lend(&mut self, message: Vec<u8>) -> Bytes {
        let shelf = Arc::downgrade(self.shelf.get_or_insert_default());
        Bytes::from_owner(Lent { message, shelf })
    }

    /// Gives memory back: also of what is lent nothing comes back any more.
    pub(crate) fn rest(&mut self) {
        self.shelf = None;
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lent {
    message: Vec<u8>,
    shelf: Weak<Shelf>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(shelf) = self.shelf.upgrade() else { return };
        let mut waiting = shelf.lock();
        if waiting.len() < SHELF {
            let mut buffer = std::mem::take(&mut self.message);
            buffer.clear();
            waiting.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_the_last_that_holds_its_message() {
        let mut spare = Spare::default();
        let message = vec![7; 1000];
        let at = message.as_ptr();
        let lent = spare.lend(message);
        let part = lent.slice(10..20);
        drop(lent);
        assert_eq!((spare.take().capacity(), &part[..]), (0, &[7; 10][..]), "a part is held");
        drop(part);
        let back = spare.take();
        assert_eq!((back.as_ptr(), back.len()), (at, 0));
    }

    #[test]
    fn no_more_buffers_wait_than_are_of_use() {
        let mut spare = Spare::default();
        let lent: Vec<_> = (0..5).map(|_| spare.lend(vec![7; 1000])).collect();
        drop(lent);
        let kept = std::iter::repeat_with(|| spare.take()).take_while(|back| back.capacity() > 0);
        assert_eq!(kept.count(), SHELF);
    }

    #[test]
    fn after_a_rest_nothing_comes_back() {
        let mut spare = Spare::default();
        let before = spare.lend(vec![7; 1000]);
        drop(spare.lend(vec![7; 1000]));
        spare.rest();
        assert_eq!(spare.take().capacity(), 0);
        let _after = spare.lend(vec![7; 1000]);
        drop(before);
        assert_eq!(spare.take().capacity(), 0);
    }
}
