//! The calls of a connection that wait for a place at work: where they wait, and how it hears that
//! they wait no more.

use std::{
    collections::HashMap,
    mem,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bailiwick_crypto::PublicKey;
use bytes::Bytes;
use futures_util::task::AtomicWaker;

use super::{
    gate::{Class, Gate, Slot},
    queue::Ticket,
};
use crate::{
    proto::{
        claim::{Claim, Refused},
        udp::sessions::SessionId,
    },
    reply::{Refusal, ReplyHeader},
};

/// A request that waits. Its body has not been looked at, and nothing of it has run: if it is dropped
/// that is final, and remembered.
pub(crate) struct Waiting(Box<Parts>);

pub(crate) struct Parts {
    /// The whole frame.
    message: Bytes,
    claim: Option<Claim>,
    pub(crate) client: PublicKey,
    pub(crate) header: ReplyHeader,
    /// When it came, and until when somebody waits for it.
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
    /// The session that it came over, where a connection has several.
    pub(crate) origin: Option<SessionId>,
}

/// A call that does not wait any more.
pub(crate) struct Summons {
    pub(crate) waiting: Waiting,
    pub(crate) verdict: Verdict,
}

pub(crate) enum Verdict {
    /// It has this place.
    Run(Slot),
    Refuse(Refusal),
}

/// Where the calls of a connection are told.
#[derive(Default)]
pub(crate) struct Mailbox {
    summons: Mutex<Vec<Summons>>,
    waker: AtomicWaker,
}

/// The calls of a connection, or of all sessions of a port, that wait.
#[derive(Default)]
pub(crate) struct Parked {
    /// Std's hash is keyed, and peers choose the numbers.
    calls: HashMap<Name, Place>,
    /// The earliest deadline, or an earlier time.
    deadline: Option<Instant>,
    /// Made when the first call waits: most connections never need one.
    mailbox: Option<Arc<Mailbox>>,
}

/// A session, if there are several, and its call.
type Name = (Option<SessionId>, u64);

struct Place {
    gate: Arc<Gate>,
    class: Class,
    ticket: Ticket,
    deadline: Instant,
}

impl Waiting {
    pub(crate) fn new(
        message: Bytes,
        claim: Claim,
        client: PublicKey,
        header: ReplyHeader,
        (arrived, deadline): (Instant, Instant),
        origin: Option<SessionId>,
    ) -> Self {
        let claim = Some(claim);
        Self(Box::new(Parts { message, claim, client, header, arrived, deadline, origin }))
    }

    pub(crate) fn message(&self) -> &[u8] {
        &self.message
    }

    pub(crate) fn size(&self) -> usize {
        self.message.len()
    }

    /// The frame, and the claim to the call that it makes; none if it was refused before.
    pub(crate) fn into_parts(mut self) -> (Bytes, Option<Claim>) {
        (mem::take(&mut self.0.message), self.0.claim.take())
    }

    /// Nothing has run, and now never will.
    pub(crate) fn refuse(mut self, refusal: &Refusal) -> Refused {
        self.0.claim.take().map_or(Refused::Stale, |claim| claim.refuse(refusal.into()))
    }

    fn name(&self) -> Name {
        (self.origin, self.header.call)
    }
}

impl Deref for Waiting {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Drop for Waiting {
    /// Its connection is gone, or its client waits no more. A readonly call may wait over another
    /// connection as well, and is not refused there.
    fn drop(&mut self) {
        if let Some(claim) = self.0.claim.take().filter(|claim| !claim.is_readonly()) {
            claim.refuse((&Refusal::Overloaded { retry_after: Duration::ZERO }).into());
        }
    }
}

impl Mailbox {
    pub(super) fn put(&self, summons: Summons) {
        self.summons.lock().unwrap_or_else(PoisonError::into_inner).push(summons);
        self.waker.wake();
    }

    fn take(&self) -> Vec<Summons> {
        mem::take(&mut *self.summons.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Parked {
    /// Has a call wait at `gate`; `true` if that is one more.
    ///
    /// # Errors
    ///
    /// The call, if there is no room for it.
    pub(crate) fn park(
        &mut self,
        gate: &Arc<Gate>,
        class: Class,
        waiting: Waiting,
    ) -> Result<bool, Waiting> {
        let mailbox = Arc::clone(self.mailbox.get_or_insert_default());
        let (name, deadline) = (waiting.name(), waiting.deadline);
        let ticket = gate.wait(class, waiting, mailbox)?;
        // A readonly call that comes again waits in the place of the one before.
        let place = Place { gate: Arc::clone(gate), class, ticket, deadline };
        let before = self.calls.insert(name, place);
        if self.deadline.is_none_or(|earliest| deadline < earliest) {
            self.deadline = Some(deadline);
        }
        Ok(before.map(|before| drop(before.gate.withdraw(before.class, before.ticket))).is_none())
    }

    /// Those that wait no more; `cx` is woken for the next ones.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Summons>> {
        let Some(mailbox) = self.mailbox.as_ref().filter(|_| !self.calls.is_empty()) else {
            return Poll::Pending;
        };
        mailbox.waker.register(cx.waker());
        let mut summons = mailbox.take();
        // Who was cancelled meanwhile leaves its place to the next.
        summons.retain(|summons| self.calls.remove(&summons.waiting.name()).is_some());
        if summons.is_empty() { Poll::Pending } else { Poll::Ready(summons) }
    }

    /// Nobody waits for the call any more; `true` if it was in the queue.
    pub(crate) fn cancel(&mut self, origin: Option<SessionId>, call: u64) -> bool {
        let Some(place) = self.calls.remove(&(origin, call)) else { return false };
        drop(place.gate.withdraw(place.class, place.ticket));
        true
    }

    /// The session is over, and nobody is told of its calls.
    pub(crate) fn forget(&mut self, origin: SessionId) {
        for (_, place) in self.calls.extract_if(|(session, _), _| *session == Some(origin)) {
            drop(place.gate.withdraw(place.class, place.ticket));
        }
    }

    /// Takes those out of the queue whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Waiting> {
        if self.deadline.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let mut late = Vec::new();
        // One that has just left the queue is told of that.
        self.calls.retain(|_, place| {
            let is_late = place.deadline <= now;
            let taken = if is_late { place.gate.withdraw(place.class, place.ticket) } else { None };
            let keep = taken.is_none();
            late.extend(taken);
            keep
        });
        self.deadline = self.calls.values().map(|place| place.deadline).min();
        late
    }

    /// Takes all out of the queue.
    pub(crate) fn take_all(&mut self) -> Vec<Waiting> {
        let mut taken = Vec::new();
        self.calls.retain(|_, place| {
            let waiting = place.gate.withdraw(place.class, place.ticket);
            let keep = waiting.is_none();
            taken.extend(waiting);
            keep
        });
        taken
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

impl Drop for Parked {
    /// The connection is gone.
    fn drop(&mut self) {
        drop(self.take_all());
    }
}
