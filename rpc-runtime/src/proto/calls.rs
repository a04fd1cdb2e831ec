//! A client's calls that wait for an answer.
//!
//! Shared between the callers, who marshal requests into it and wait, and the connection, which
//! takes the requests out and completes the calls.

use std::{
    collections::VecDeque,
    mem,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use slab::Slab;
use smallvec::SmallVec;

use super::frame::{self, Reply};
use crate::{
    config::Limits,
    context::Metadata,
    error::{Disconnected, Executed, NotSent, ProtocolError},
    id::{CallNumber, MethodId},
    marshal::MarshalError,
};

/// Calls between the oldest that is unanswered and the newest. One call that stays unanswered
/// for long holds the floor; at this distance new calls wait for it.
const MAX_SPAN: usize = 1 << 20;

/// Bytes that may wait behind a socket that takes none, before pings go unanswered.
const MAX_PONG_BACKLOG: usize = 64 * 1024;

/// How a call ended, before its body is decoded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Reply {
        status: u8,
        body: Body,
    },
    DeadlineExceeded(Executed),
    NotSent(NotSent),
    /// The connection was lost after the request may have left.
    Lost,
    /// The server closed in good order without answering: it ran nothing more.
    Refused,
}

/// What a reply brought, in the caller's own memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    /// Copied out of the receive buffer; most replies fit without an allocation.
    Copied(SmallVec<[u8; 96]>),
    /// A large one, in the allocation that it was joined in.
    Owned(Bytes),
}

/// Why a call could not begin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BeginError {
    /// As many calls as allowed are under way: wait until one ends.
    Full,
    NotSent(NotSent),
    /// The deadline has passed already.
    TooLate,
}

/// What a request says beside its arguments.
pub(crate) struct Header<'a> {
    pub(crate) method: MethodId,
    pub(crate) deadline: Instant,
    pub(crate) metadata: &'a Metadata,
}

/// A call that has begun; gives its answer once.
#[derive(Debug)]
pub(crate) struct Ticket {
    slot: usize,
    number: u64,
}

impl Ticket {
    pub(crate) fn number(&self) -> CallNumber {
        CallNumber::new(self.number)
    }
}

pub(crate) struct Calls {
    waiting: Slab<Waiting>,
    /// For each call from `floor` on the slot where it waits, or `None` once it is answered.
    window: VecDeque<Option<usize>>,
    /// The oldest call that is not answered.
    floor: u64,
    /// Frames that the connection has not taken yet.
    frames: Vec<u8>,
    /// Bytes of frames that the connection took since it began.
    taken: u64,
    /// Bytes that the connection took and could not send on yet.
    pub(crate) backlog: usize,
    /// The earliest deadline, or an earlier time.
    deadline: Option<Instant>,
    /// Calls marshalled since the connection last took frames.
    batch: usize,
    connection: Connection,
    max_in_flight: usize,
    max_unsent: usize,
    max_metadata: usize,
    /// What the server accepts; known once connected.
    pub(crate) max_frame: u32,
    refusing: Option<NotSent>,
    /// Nobody can begin a call any more.
    abandoned: bool,
}

/// What the connection's task is at.
#[derive(Default)]
enum Connection {
    /// It runs, or is about to.
    #[default]
    Working,
    /// It waits for something to send.
    Asleep(Waker),
    /// It lets callers add to the batch and will come back by itself, or sooner if that is large.
    Gathering(Waker),
}

/// A batch of this many calls is worth a write of its own...
const LARGE_BATCH: usize = 16;

/// ...if it is also this part of the calls under way. So the server works on one part of them
/// while this side marshals the next, and neither waits for the other.
const BATCHES_IN_FLIGHT: usize = 4;

struct Waiting {
    number: u64,
    deadline: Instant,
    /// Where in the stream of frames the request begins.
    offset: u64,
    waker: Option<Waker>,
    answer: Option<Answer>,
}

impl Calls {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            waiting: Slab::new(),
            window: VecDeque::new(),
            floor: 0,
            frames: Vec::new(),
            taken: 0,
            backlog: 0,
            deadline: None,
            batch: 0,
            connection: Connection::Working,
            max_in_flight: limits.max_calls_in_flight,
            max_unsent: limits.max_unsent,
            max_metadata: limits.max_metadata,
            max_frame: limits.max_frame,
            refusing: None,
            abandoned: false,
        }
    }

    /// Marshals a request and begins to wait for its answer; `waker` is woken once it is there.
    pub(crate) fn begin(
        &mut self,
        header: &Header<'_>,
        now: Instant,
        waker: Waker,
        arguments: impl FnOnce(&mut Vec<u8>) -> Result<(), MarshalError>,
    ) -> Result<Ticket, BeginError> {
        self.may_begin(header, now)?;
        let offset = self.taken + self.frames.len() as u64;
        let number = self.floor + self.window.len() as u64;
        let slot = self.waiting.vacant_key();
        // The oldest unanswered call, this one included.
        let remaining = header.deadline - now;
        let Header { method, metadata, deadline } = *header;
        let mut rest = Vec::new();
        frame::put_metadata(metadata, &mut rest);
        arguments(&mut rest).map_err(|error| BeginError::NotSent(error.into()))?;
        let (size, limit) = (rest.len() + frame::MAX_REQUEST_HEADER, self.max_frame as usize);
        if size > limit {
            return Err(BeginError::NotSent(NotSent::TooLarge { size, limit }));
        }
        let header =
            frame::RequestHeader { call: number, floor: self.floor, attempt: 0, method, remaining };
        frame::put_request(&header, &rest, &mut self.frames);

        let waker = Some(waker);
        self.waiting.insert(Waiting { number, deadline, offset, waker, answer: None });
        self.window.push_back(Some(slot));
        self.batch += 1;
        if self.deadline.is_none_or(|earliest| deadline < earliest) {
            self.deadline = Some(deadline);
        }
        self.wake_connection();
        Ok(Ticket { slot, number })
    }

    fn may_begin(&self, header: &Header<'_>, now: Instant) -> Result<(), BeginError> {
        let size = header.metadata.size();
        if let Some(why) = &self.refusing {
            Err(BeginError::NotSent(why.clone()))
        } else if header.deadline <= now {
            Err(BeginError::TooLate)
        } else if size > self.max_metadata {
            let limit = self.max_metadata;
            Err(BeginError::NotSent(NotSent::MetadataTooLarge { size, limit }))
        } else if header.metadata.iter().len() > frame::MAX_METADATA_ENTRIES {
            // The server would end the connection over it, and every other call with it.
            let (count, limit) = (header.metadata.iter().len(), frame::MAX_METADATA_ENTRIES);
            Err(BeginError::NotSent(NotSent::TooManyMetadata { count, limit }))
        } else if self.is_full() {
            Err(BeginError::Full)
        } else {
            Ok(())
        }
    }

    /// Whether a further call must wait.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.max_in_flight
            || self.window.len() >= MAX_SPAN
            || self.frames.len() + self.backlog >= self.max_unsent
    }

    /// The call's answer, once it is there; until then `cx` is woken for it.
    pub(crate) fn poll(&mut self, ticket: &Ticket, cx: &mut Context<'_>) -> Poll<Answer> {
        let waiting = &mut self.waiting[ticket.slot];
        if waiting.answer.is_none() {
            match &mut waiting.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        match self.waiting.remove(ticket.slot).answer {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }

    /// The caller no longer waits: the server is told, unless it has answered.
    pub(crate) fn abandon(&mut self, ticket: &Ticket) {
        let waiting = self.waiting.remove(ticket.slot);
        if waiting.answer.is_none() {
            self.settle(waiting.number);
            frame::put_cancel(waiting.number, &mut self.frames);
            self.wake_connection();
        }
    }

    /// A reply came. One to a call that nobody waits for is dropped.
    pub(crate) fn complete(&mut self, reply: &Reply<'_>, body: Body) -> Result<(), ProtocolError> {
        if reply.call >= self.floor + self.window.len() as u64 {
            return Err(ProtocolError::CallNumber);
        }
        if let Some(slot) = self.settle(reply.call) {
            self.finish(slot, Answer::Reply { status: reply.status, body });
        }
        Ok(())
    }

    /// Asks whether the server is there.
    pub(crate) fn ask(&mut self) {
        frame::put_ping(0, &mut self.frames);
    }

    /// Answers the server's question. One that never reads the answers gets no more of them.
    pub(crate) fn answer_ping(&mut self, token: u64) {
        if self.frames.len() + self.backlog < MAX_PONG_BACKLOG {
            frame::put_pong(token, &mut self.frames);
        }
    }

    /// Ends the calls whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.deadline.is_none_or(|earliest| now < earliest) {
            return;
        }
        let open = || self.waiting.iter().filter(|(_, waiting)| waiting.answer.is_none());
        let late: Vec<_> = open()
            .filter(|(_, waiting)| waiting.deadline <= now)
            .map(|(slot, waiting)| (slot, waiting.number))
            .collect();
        self.deadline = open().map(|(_, waiting)| waiting.deadline).filter(|at| *at > now).min();
        for (slot, number) in late {
            self.settle(number);
            // A request that still waits here is sent all the same and may run.
            self.finish(slot, Answer::DeadlineExceeded(Executed::Unknown));
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The server takes no new calls; those under way go on.
    pub(crate) fn drain(&mut self) {
        self.refusing.get_or_insert(NotSent::Draining);
    }

    /// The connection has ended. Requests from `sealed` on, an offset in the stream of frames,
    /// were never sealed, so that nobody can have read them.
    pub(crate) fn end(&mut self, why: &Disconnected, sealed: u64) {
        self.refusing = Some(NotSent::Disconnected(why.clone()));
        self.connection = Connection::Working;
        self.frames = Vec::new();
        let open: Vec<_> = mem::take(&mut self.window).into_iter().flatten().collect();
        for slot in open {
            let answer = match (self.waiting[slot].offset < sealed, why) {
                (false, _) => Answer::NotSent(NotSent::Disconnected(why.clone())),
                (true, Disconnected::Closed) => Answer::Refused,
                (true, _) => Answer::Lost,
            };
            self.finish(slot, answer);
        }
    }

    /// Moves the frames that wait to `into`, which is empty; returns how many bytes the
    /// connection has taken in all.
    pub(crate) fn take_frames(&mut self, into: &mut Vec<u8>) -> u64 {
        self.batch = 0;
        self.taken += self.frames.len() as u64;
        mem::swap(&mut self.frames, into);
        self.taken
    }

    /// The connection has nothing to do until there are frames.
    pub(crate) fn sleep(&mut self, task: Waker) {
        self.connection = Connection::Asleep(task);
    }

    /// Whether callers should have their turn before what waits is sent: `task` is woken if they
    /// make a large batch of it. A lone call is sent at once.
    pub(crate) fn gather(&mut self, task: &Waker) -> bool {
        let wait = self.has_frames() && self.waiting.len() > 1 && !self.has_large_batch();
        if wait {
            self.connection = Connection::Gathering(task.clone());
        }
        wait
    }

    pub(crate) fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// The last channel is gone: the connection closes once no call is under way.
    pub(crate) fn abandon_all(&mut self) {
        self.abandoned = true;
        self.wake_connection();
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned && self.waiting.is_empty()
    }

    fn wake_connection(&mut self) {
        self.connection = match mem::take(&mut self.connection) {
            Connection::Asleep(task) => {
                task.wake();
                Connection::Working
            }
            Connection::Gathering(task) if self.has_large_batch() => {
                task.wake();
                Connection::Working
            }
            as_before => as_before,
        };
    }

    fn has_large_batch(&self) -> bool {
        self.batch >= LARGE_BATCH.max(self.waiting.len() / BATCHES_IN_FLIGHT)
    }

    /// Takes a call out of the window; the slot where it waits, if it does.
    fn settle(&mut self, number: u64) -> Option<usize> {
        let index = usize::try_from(number.checked_sub(self.floor)?).ok()?;
        let slot = self.window.get_mut(index)?.take();
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.floor += 1;
        }
        slot
    }

    fn finish(&mut self, slot: usize, answer: Answer) {
        let waiting = &mut self.waiting[slot];
        waiting.answer = Some(answer);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
