//! Calls at work: those whose handler was not ready at once.

use std::{
    collections::HashMap,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use futures_util::{
    StreamExt,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};

use crate::{
    dispatch::{Awaits, Pending},
    error::Executed,
    overload::Slot,
    proto::{frames::Frames, memories::ClientMemory, session::Flow},
    reply::{self, Refusal, ReplyHeader},
};

/// `K` names a call among all that one task drives: its number, and whose it is if there are
/// several clients.
pub(crate) struct Handlers<K = u64> {
    running: FuturesUnordered<Abortable<Named<K>>>,
    /// Std's hash is keyed, and peers choose the numbers.
    calls: HashMap<K, Call>,
    /// The earliest deadline, or an earlier time.
    deadline: Option<Instant>,
}

struct Call {
    abort: AbortHandle,
    deadline: Instant,
    header: ReplyHeader,
    awaits: Awaits,
    memory: Arc<ClientMemory>,
    slot: Option<Slot>,
}

struct Named<K> {
    call: K,
    /// Gives the reply's whole frame.
    future: Pin<Box<dyn Future<Output = Frames> + Send>>,
}

impl<K: Copy + Unpin> Future for Named<K> {
    type Output = (K, Frames);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.call;
        self.future.as_mut().poll(cx).map(|frame| (call, frame))
    }
}

impl<K> Default for Handlers<K> {
    fn default() -> Self {
        Self { running: FuturesUnordered::new(), calls: HashMap::new(), deadline: None }
    }
}

impl<K: Copy + Eq + Hash + Unpin> Handlers<K> {
    /// Drives a handler on; `true` if that is one more. A readonly call that runs again takes the
    /// place of what its first handler would answer.
    pub(crate) fn insert(&mut self, call: K, pending: Pending) -> bool {
        let Pending { header, deadline, awaits, memory, slot, frame: future } = pending;
        let (abort, registration) = AbortHandle::new_pair();
        self.running.push(Abortable::new(Named { call, future }, registration));
        let at_work = Call { abort, deadline, header, awaits, memory, slot };
        let before = self.calls.insert(call, at_work);
        if self.deadline.is_none_or(|earliest| deadline < earliest) {
            self.deadline = Some(deadline);
        }
        before.map(|before| before.abort.abort()).is_none()
    }

    /// Runs what can go on, and hands out the replies of those that are done until `take` has no
    /// room for more. A client that takes no answers gets no handler run.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, mut take: impl FnMut(K, Frames) -> Flow) {
        while let Poll::Ready(Some(done)) = self.running.poll_next_unpin(cx) {
            // An aborted handler has been answered, or nobody waits for it.
            if let Ok((call, frame)) = done
                && self.calls.remove(&call).is_some()
                && take(call, frame) == Flow::Pause
            {
                // What is left is looked at the next time, whoever else wakes this task.
                cx.waker().wake_by_ref();
                return;
            }
        }
    }

    /// Drops the handler of a call that nobody waits for; `true` if it was at work.
    pub(crate) fn cancel(&mut self, call: K) -> bool {
        let cancelled = self.calls.remove(&call);
        cancelled.map(|call| call.abort.abort()).is_some()
    }

    /// Drops the handlers whose deadline has passed, and hands out what their callers are told.
    pub(crate) fn expire(&mut self, now: Instant, mut take: impl FnMut(K, &[u8])) {
        if self.deadline.is_none_or(|earliest| now < earliest) {
            return;
        }
        let mut frame = Vec::new();
        for (call, late) in self.calls.extract_if(|_, call| call.deadline <= now) {
            late.abort.abort();
            let answer = (&Refusal::DeadlineExceeded(Executed::Unknown)).into();
            if late.awaits == Awaits::Handler {
                late.memory.lock().expire(late.header.call, answer);
            }
            frame.clear();
            reply::write_short(late.header, answer, &mut frame);
            take(call, &frame);
        }
        self.deadline = self.calls.values().map(|call| call.deadline).min();
    }

    /// The connection is gone: drops what would answer nobody but it.
    pub(crate) fn orphan(&mut self) {
        for (_, call) in self.calls.extract_if(|_, call| call.awaits != Awaits::Handler) {
            call.abort.abort();
        }
    }

    /// They are not run on as long as their client takes no answers: their places at work go to
    /// others.
    pub(crate) fn give_up_slots(&mut self) {
        self.calls.values_mut().for_each(|call| call.slot = None);
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

#[cfg(test)]
#[path = "handlers_tests.rs"]
mod tests;
