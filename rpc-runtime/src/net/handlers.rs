//! The calls of one connection that are at work: those whose handler was not ready at once.

use std::{
    collections::HashMap,
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
    proto::memories::ClientMemory,
    reply::{self, Refusal, ReplyHeader},
};

#[derive(Default)]
pub(crate) struct Handlers {
    running: FuturesUnordered<Abortable<Numbered>>,
    /// By call number; std's hash is keyed, and peers choose the numbers.
    calls: HashMap<u64, Call>,
    /// The earliest deadline, or an earlier time.
    deadline: Option<Instant>,
}

struct Call {
    abort: AbortHandle,
    deadline: Instant,
    header: ReplyHeader,
    awaits: Awaits,
    memory: Arc<ClientMemory>,
}

struct Numbered {
    call: u64,
    /// Gives the reply's whole frame.
    future: Pin<Box<dyn Future<Output = Vec<u8>> + Send>>,
}

impl Future for Numbered {
    type Output = (u64, Vec<u8>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.call;
        self.future.as_mut().poll(cx).map(|frame| (call, frame))
    }
}

impl Handlers {
    pub(crate) fn insert(&mut self, pending: Pending) {
        let Pending { header, deadline, awaits, memory, frame } = pending;
        let (abort, registration) = AbortHandle::new_pair();
        let numbered = Numbered { call: header.call, future: frame };
        self.running.push(Abortable::new(numbered, registration));
        self.calls.insert(header.call, Call { abort, deadline, header, awaits, memory });
        if self.deadline.is_none_or(|earliest| deadline < earliest) {
            self.deadline = Some(deadline);
        }
    }

    /// Runs what can go on, and appends the replies of those that are done to `out` until it has
    /// grown by `room` bytes. A client that takes no answers gets no handler run.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, room: usize) {
        let full = out.len().saturating_add(room);
        while out.len() < full
            && let Poll::Ready(Some(done)) = self.running.poll_next_unpin(cx)
        {
            // An aborted handler has been answered, or nobody waits for it.
            if let Ok((call, frame)) = done
                && self.calls.remove(&call).is_some()
            {
                out.extend_from_slice(&frame);
            }
        }
    }

    /// Drops the handler of a call that nobody waits for.
    pub(crate) fn cancel(&mut self, call: u64) {
        if let Some(call) = self.calls.remove(&call) {
            call.abort.abort();
        }
    }

    /// Drops the handlers whose deadline has passed, and tells their callers.
    pub(crate) fn expire(&mut self, now: Instant, out: &mut Vec<u8>) {
        if self.deadline.is_none_or(|earliest| now < earliest) {
            return;
        }
        for (_, late) in self.calls.extract_if(|_, call| call.deadline <= now) {
            late.abort.abort();
            let answer = (&Refusal::DeadlineExceeded(Executed::Unknown)).into();
            if late.awaits == Awaits::Handler {
                late.memory.lock().expire(late.header.call, answer);
            }
            reply::write_short(late.header, answer, out);
        }
        self.deadline = self.calls.values().map(|call| call.deadline).min();
    }

    /// The connection is gone: drops what would answer nobody but it.
    pub(crate) fn orphan(&mut self) {
        for (_, call) in self.calls.extract_if(|_, call| call.awaits != Awaits::Handler) {
            call.abort.abort();
        }
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
