//! A channel's call as a future: marshalled once there is room for it, and then waited for.
//!
//! It is written out, not an `async fn`: callers move their futures about, and one that is written out is a third
//! as large.

use std::{
    marker::PhantomData,
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

enum Stage<'a> {
    /// Not polled yet.
    New,
    /// As many calls as allowed are under way. In a box, since each call is as large as its largest stage, and few
    /// come here.
    Crowded {
        until: Instant,
        room: Pin<Box<Timeout<Notified<'a>>>>,
    },
    Waiting(Waiting<'a>),
    /// Polled once more than a future may be: it does not begin another call.
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
        loop {
            let begun = match &mut self.stage {
                Stage::New => {
                    let max = link.max_metadata;
                    self.observed = ObservedCall::begin(&link.meters, method, self.cx, max);
                    let deadline = self.deadline();
                    self.begin(task, deadline, false)
                }
                Stage::Crowded { until, room } => {
                    let (until, late) = (*until, ready!(room.as_mut().poll(task)).is_err());
                    if late {
                        let executed = Executed::No;
                        Err(CallError::DeadlineExceeded { executed, call: None })
                    } else {
                        self.begin(task, until, true)
                    }
                }
                Stage::Waiting(waiting) => {
                    return waiting.poll(task, |answer, number| {
                        reply::read(answer, method, link.key(number))
                    });
                }
                Stage::Over => return Poll::Pending,
            };
            match begun {
                Ok(stage) => self.stage = stage,
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Stage::Waiting(_) = self.stage {
                // The call has begun in this same poll of the task, with its waker.
                return Poll::Pending;
            }
        }
    }

    fn deadline(&self) -> Instant {
        // The clock is not read for each call: what is too late is found when it would be sent.
        let own = self.method.timeout.and_then(|timeout| clock::now().checked_add(timeout));
        own.map_or(self.cx.deadline(), |own| own.min(self.cx.deadline()))
    }

    /// Marshals the request, if there is room for it.
    fn begin(
        &self,
        task: &Task<'_>,
        deadline: Instant,
        waited: bool,
    ) -> Result<Stage<'a>, CallError<E>> {
        let (link, method, cx) = (self.link, self.method, self.cx);
        let metadata = self.observed.as_ref().and_then(|observed| observed.metadata());
        let metadata = metadata.unwrap_or_else(|| cx.metadata());
        let header =
            Header { method: method.id, rerun: rerun(method.delivery), deadline, metadata };
        let begun = {
            let waker = task.waker().clone();
            let mut calls = lock(&link.calls);
            let begun = calls.begin(&header, waker, |draft| draft.encode(self.arguments));
            if waited && !calls.is_full() {
                // Whoever waits behind gets the room that is left.
                link.room.notify_one();
            }
            begun
        };
        match begun {
            Ok(ticket) => {
                if let Some(observed) = &self.observed {
                    observed.numbered(ticket.number());
                }
                Ok(Stage::Waiting(Waiting { link, ticket: Some(ticket) }))
            }
            Err(BeginError::NotSent(why)) => Err(CallError::NotSent(why)),
            Err(BeginError::Full) => {
                let room = Box::pin(time::timeout_at(deadline.into(), link.room.notified()));
                Ok(Stage::Crowded { until: deadline, room })
            }
        }
    }
}

impl<A: Serialize, T: DeserializeOwned, E: DeserializeOwned> Future for Call<'_, A, T, E> {
    type Output = Result<T, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let result = ready!(self.poll_stages(task));
        self.stage = Stage::Over;
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
