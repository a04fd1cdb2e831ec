//! A channel's call as a future: marshalled once there is room for it, and then waited for.
//!
//! It is written out, not an `async fn`: callers move their futures about, and one that is written out is less than
//! half as large.

use std::{
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context as Task, Poll, ready},
    time::Instant,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::futures::Notified,
    time::{self, Timeout},
};

use super::{Link, rerun};
use crate::{
    clock,
    context::Context,
    error::{CallError, Executed},
    id::CallNumber,
    observe::calls::ObservedCall,
    proto::{
        calls::{Answer, BeginError, Header, Ticket},
        client::lock,
    },
    reply,
    service::MethodDescription,
};

/// One call. Dropping it tells the server that nobody waits.
pub(super) struct Call<'a, A, T, E> {
    link: &'a Link,
    method: &'static MethodDescription,
    cx: &'a Context,
    arguments: &'a A,
    observed: Option<Box<ObservedCall>>,
    stage: Stage<'a>,
    result: PhantomData<fn() -> (T, E)>,
}

/// Room for one more call, or the call's deadline.
type Room<'a> = Timeout<Notified<'a>>;

enum Stage<'a> {
    /// Not polled yet.
    New,
    /// As many calls as allowed are under way. In a box, since each call is as large as its largest stage, and few
    /// come here.
    Crowded {
        until: Instant,
        room: Pin<Box<Room<'a>>>,
    },
    Waiting(Waiting<'a>),
    /// Nothing comes of it any more, and no other call begins.
    Over,
}

impl<'a, A: Serialize, T: DeserializeOwned, E: DeserializeOwned> Call<'a, A, T, E> {
    pub(super) fn new(
        link: &'a Link,
        method: &'static MethodDescription,
        cx: &'a Context,
        arguments: &'a A,
    ) -> Self {
        let (stage, result) = (Stage::New, PhantomData);
        Self { link, method, cx, arguments, observed: None, stage, result }
    }

    fn poll_stages(&mut self, task: &mut Task<'_>) -> Poll<Result<T, CallError<E>>> {
        let (link, method) = (self.link, self.method);
        // Until it is known what comes next: where the user's code panics, the call is over.
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::New => {
                let max = link.max_metadata;
                self.observed = ObservedCall::begin(&link.meters, method, self.cx, max);
                let until = self.deadline();
                self.begin(task, until, None)
            }
            Stage::Crowded { until, room } => self.begin(task, until, Some(room)),
            Stage::Waiting(mut waiting) => {
                let polled = waiting
                    .poll(task, |answer, number| reply::read(answer, method, link.key(number)));
                if polled.is_pending() {
                    self.stage = Stage::Waiting(waiting);
                }
                polled
            }
            Stage::Over => Poll::Pending,
        }
    }

    /// Marshals the request once there is room for it, which is waited for after the first try.
    fn begin(
        &mut self,
        task: &mut Task<'_>,
        until: Instant,
        mut room: Option<Pin<Box<Room<'a>>>>,
    ) -> Poll<Result<T, CallError<E>>> {
        let link = self.link;
        loop {
            let waited = room.is_some();
            if let Some(mut room) = room.take() {
                match room.as_mut().poll(task) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => {
                        let executed = Executed::No;
                        let late = CallError::DeadlineExceeded { executed, call: None };
                        return Poll::Ready(Err(late));
                    }
                    Poll::Pending => {
                        self.stage = Stage::Crowded { until, room };
                        return Poll::Pending;
                    }
                }
            }
            let begun = self.marshal(task, until);
            if waited && !lock(&link.calls).is_full() {
                // Whoever waits behind gets the room that is left.
                link.room.notify_one();
            }
            match begun {
                Ok(ticket) => {
                    if let Some(observed) = &self.observed {
                        observed.numbered(ticket.number());
                    }
                    // The call has begun in this same poll of the task, with its waker.
                    self.stage = Stage::Waiting(Waiting { link, ticket: Some(ticket) });
                    return Poll::Pending;
                }
                Err(BeginError::NotSent(why)) => return Poll::Ready(Err(CallError::NotSent(why))),
                Err(BeginError::Full) => {
                    room = Some(Box::pin(time::timeout_at(until.into(), link.room.notified())));
                }
            }
        }
    }

    fn deadline(&self) -> Instant {
        // The clock is not read for each call: what is too late is found when it would be sent.
        let own = self.method.timeout.and_then(|timeout| clock::now().checked_add(timeout));
        own.map_or(self.cx.deadline(), |own| own.min(self.cx.deadline()))
    }

    /// Marshals the request, if there is room for it.
    fn marshal(&self, task: &Task<'_>, deadline: Instant) -> Result<Ticket, BeginError> {
        let (link, method, cx) = (self.link, self.method, self.cx);
        let metadata = self.observed.as_ref().and_then(|observed| observed.metadata());
        let metadata = metadata.unwrap_or_else(|| cx.metadata());
        let header =
            Header { method: method.id, rerun: rerun(method.delivery), deadline, metadata };
        let waker = task.waker().clone();
        lock(&link.calls).begin(&header, waker, |draft| draft.encode(self.arguments))
    }
}

impl<A: Serialize, T: DeserializeOwned, E: DeserializeOwned> Future for Call<'_, A, T, E> {
    type Output = Result<T, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let result = ready!(self.poll_stages(task));
        if let Some(observed) = self.observed.take() {
            observed.end(&result);
        }
        Poll::Ready(result)
    }
}

/// A call that has begun and waits for its answer.
struct Waiting<'a> {
    link: &'a Link,
    ticket: Option<Ticket>,
}

impl Waiting<'_> {
    /// What `read` makes of the answer, once it is there.
    fn poll<R>(
        &mut self,
        task: &mut Task<'_>,
        read: impl FnOnce(&Answer, CallNumber) -> R,
    ) -> Poll<R> {
        let Some(ticket) = &self.ticket else { return Poll::Pending };
        let mut calls = lock(&self.link.calls);
        let (answer, crowded) = (ready!(calls.poll(ticket, task)), calls.is_crowded());
        let number = ticket.number();
        self.ticket = None;
        if crowded {
            // Before `read`, which is the user's code.
            self.link.room.notify_one();
        }
        Poll::Ready(if answer.is_short() {
            let result = read(&answer, number);
            calls.reuse_answer(answer);
            result
        } else {
            drop(calls);
            read(&answer, number)
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            lock(&self.link.calls).abandon(ticket);
            self.link.room.notify_one();
        }
    }
}
