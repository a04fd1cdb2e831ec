//! Where calls wait for their replies: a slot each, whose index is the call's number on the wire.

use std::{
    mem,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::peer::PeerError;

/// The calls of one connection of a floor.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

#[derive(Default)]
enum Slot {
    #[default]
    Free,
    Waiting(Option<Waker>),
    Answered(Bytes),
}

impl Slots {
    /// A slot for a call that is about to be sent.
    pub(crate) fn take(&mut self) -> usize {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot == self.slots.len() {
            self.slots.push(Slot::Free);
        }
        self.slots[slot] = Slot::Waiting(None);
        slot
    }

    /// Takes the reply out of `slot` and frees it, or has the caller woken when the reply is there.
    pub(crate) fn poll(&mut self, slot: usize, cx: &mut Context<'_>) -> Poll<Bytes> {
        if let Slot::Answered(reply) = mem::take(&mut self.slots[slot]) {
            self.free.push(slot);
            return Poll::Ready(reply);
        }
        self.slots[slot] = Slot::Waiting(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Hands a reply to the call it names, and returns whom to wake for it.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownCall`] if no such call is outstanding.
    pub(crate) fn answer(&mut self, id: u64, payload: &[u8]) -> Result<Option<Waker>, PeerError> {
        let index = usize::try_from(id).ok();
        let Some(slot @ Slot::Waiting(_)) = index.and_then(|at| self.slots.get_mut(at)) else {
            return Err(PeerError::UnknownCall { id });
        };
        match mem::replace(slot, Slot::Answered(Bytes::copy_from_slice(payload))) {
            Slot::Waiting(waker) => Ok(waker),
            Slot::Free | Slot::Answered(_) => Ok(None),
        }
    }

    /// Whether a call waits for its reply, or a reply for its caller.
    pub(crate) fn in_use(&self) -> bool {
        self.free.len() < self.slots.len()
    }

    /// Whoever waits for a reply that will not come.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        let waiting = self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Waiting(waker) => waker.take(),
            Slot::Free | Slot::Answered(_) => None,
        });
        waiting.collect()
    }
}
