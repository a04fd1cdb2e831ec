//! How a call ended, and how its caller hears of it.

use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{Calls, LaneId, Sent, Ticket};
use crate::{
    error::{Executed, NotSent, Outcome, ProtocolError},
    marshal::Message,
    proto::{frame::Reply, status},
};

/// How a call ended, before its body is decoded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Reply {
        status: u8,
        body: Body,
    },
    DeadlineExceeded(Executed),
    NotSent(NotSent),
    /// The request may have been read by a server that cannot be asked any more.
    Lost,
}

/// What a reply brought, in the caller's own memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    /// Copied out of the receive buffer, into that which the request had.
    Copied(Vec<u8>),
    /// A large one, in the allocation that it was joined in.
    Owned(Bytes),
}

/// An answer of so many bytes, or fewer, is so short that reading it does not hold the lock for long.
const SHORT: usize = 1024;

impl Answer {
    /// Whether it is to be read at once, and its buffer given back to [`Calls::reuse_answer`].
    pub(crate) fn is_short(&self) -> bool {
        matches!(self, Self::Reply { body: Body::Copied(bytes), .. } if bytes.len() <= SHORT)
    }
}

impl Body {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Owned(message) => message,
        }
    }
}

impl Calls {
    /// A reply came, in an allocation of its own if that is given. One to a call that nobody waits for is
    /// dropped; otherwise, how the call had gone out.
    pub(crate) fn complete(
        &mut self,
        reply: &Reply<'_>,
        message: Option<&Bytes>,
    ) -> Result<Option<Sent>, ProtocolError> {
        if reply.call >= self.window.next() {
            return Err(ProtocolError::CallNumber);
        }
        let outcome = status::outcome(reply.status, reply.body);
        let Some(slot) = self.window.slot(reply.call) else {
            // A copy that met its own fence, say, is answered as stale: that tells less than the
            // answer to the question, which may be under way.
            if outcome != Outcome::Unknown {
                self.held.learn(reply.call, outcome, &mut self.window);
            }
            return Ok(None);
        };
        let waiting = &self.waiting[slot];
        let (sent, before) = (waiting.sent(), waiting.before);
        if reply.status == status::TOO_LARGE_HERE && self.bulk.max_frame.is_some() {
            self.requeue(slot, LaneId::Bulk);
            return Ok(sent);
        }
        self.window.settle(reply.call);
        self.acknowledgements.answered(reply.call, reply.body.len(), self.window.floor());
        if outcome == Outcome::DidNotRun && !before.is_known(reply.status) {
            self.finish(slot, Answer::Lost);
            return Ok(sent);
        }
        let mut request = self.withdraw(slot);
        let body = match (message, &mut request) {
            (Some(message), _) => Body::Owned(message.slice_ref(reply.body)),
            (None, Message::Short(buffer)) if reply.body.len() <= SHORT => {
                let mut buffer = mem::take(buffer);
                buffer.clear();
                buffer.extend_from_slice(reply.body);
                Body::Copied(buffer)
            }
            (None, _) => Body::Copied(reply.body.to_vec()),
        };
        self.tell(slot, Answer::Reply { status: reply.status, body });
        self.discard(request);
        Ok(sent)
    }

    pub(super) fn finish(&mut self, slot: usize, answer: Answer) {
        let request = self.withdraw(slot);
        self.tell(slot, answer);
        self.discard(request);
    }

    /// Tells a call's caller how it ended.
    fn tell(&mut self, slot: usize, answer: Answer) {
        let waiting = &mut self.waiting[slot];
        (waiting.answer, waiting.resend) = (Some(answer), None);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    /// Takes the request of a call that will not be sent any more. It is dropped behind all else: parts of it are
    /// the user's, whose `Drop` may panic.
    fn withdraw(&mut self, slot: usize) -> Message {
        let waiting = &mut self.waiting[slot];
        let request = mem::take(&mut waiting.request);
        let (lane, state) = (waiting.lane, waiting.state);
        self.uncount(&request, lane, state);
        request
    }

    /// The call's answer, once it is there; until then `cx` is woken for it.
    pub(crate) fn poll(&mut self, ticket: &Ticket, cx: &mut Context<'_>) -> Poll<Answer> {
        let waiting = &mut self.waiting[ticket.slot];
        if let Some(answer) = waiting.answer.take() {
            self.waiting.remove(ticket.slot);
            return Poll::Ready(answer);
        }
        match &mut waiting.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// A short answer has been read.
    pub(crate) fn reuse_answer(&mut self, answer: Answer) {
        if let Answer::Reply { body: Body::Copied(buffer), .. } = answer {
            self.reuse(buffer);
        }
    }
}
