//! A client's calls that wait for an answer, over however many connections they travel.
//!
//! Shared between the callers, who marshal requests into it and wait, and the connections, which
//! take the requests out and complete the calls. It outlives connections: what was not answered on
//! one is sent on the next, under the same number.

use std::{task::Waker, time::Instant};

use slab::Slab;

use super::frame::{self, MemoryId};
use super::status;
use crate::{
    config::Limits,
    context::Metadata,
    error::{Disconnected, NotSent},
    id::{CallNumber, MethodId},
    marshal::{Draft, MarshalError, Message},
};

mod acknowledgements;
mod answer;
mod endings;
mod held;
mod lane;
mod lease;
mod lost;
mod sending;
mod window;

pub(crate) use answer::{Answer, Body};
pub(crate) use lane::LaneId;
pub(crate) use lease::Calendar;
pub(crate) use lost::Read;
pub(crate) use sending::Sent;

use acknowledgements::Acknowledgements;
use held::HeldCalls;
use lane::Lane;
use lease::Lease;
use window::Window;

/// Bytes that may wait behind a socket that takes none, before pings go unanswered.
const MAX_PONG_BACKLOG: usize = 64 * 1024;

/// What any server may say that it accepts at the most.
const MAX_FRAME: u32 = 1 << 24;

/// Requests are kept until they are answered: so many times the bytes that may wait to be sent.
const KEPT: usize = 4;

/// A request's buffer is used again for the next one, unless it has grown beyond this.
const SPARE: usize = 4 * 1024;

/// Why a call could not begin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BeginError {
    /// As many calls as allowed are under way: wait until one ends.
    Full,
    NotSent(NotSent),
}

/// What a request says beside its arguments.
pub(crate) struct Header<'a> {
    pub(crate) method: MethodId,
    pub(crate) rerun: Rerun,
    pub(crate) deadline: Instant,
    pub(crate) metadata: &'a Metadata,
}

/// Whether a server that does not know what it has run may run a call again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rerun {
    /// It changes nothing, or the same twice as once.
    Allowed,
    Forbidden,
    /// While the server has the records of what ran: it answers from them and does not run it again.
    Durable,
}

/// What a server may have done with a call whose memory of it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// It may have run, and nobody knows.
    Perhaps,
    /// If it ran, the present server has the record.
    OnRecord,
}

impl Before {
    /// Whether a server that answers so can know that the call did not run.
    fn is_known(self, status: u8) -> bool {
        match self {
            Self::Nothing => true,
            Self::Perhaps => false,
            // Where a method is not known, nobody has looked for records of it.
            Self::OnRecord => status != status::UNIMPLEMENTED,
        }
    }
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

/// What becomes of calls whose connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reconnect {
    /// They wait for the next connection, within their deadlines, and are sent again under the
    /// same call key where that is safe.
    #[default]
    Always,
    /// They end at once; the channel is of no further use.
    Never,
}

pub(crate) struct Calls {
    waiting: Slab<Waiting>,
    window: Window,
    held: HeldCalls,
    lease: Lease,
    acknowledgements: Acknowledgements,
    main: Lane,
    bulk: Lane,
    /// The earliest deadline, or an earlier time.
    deadline: Option<Instant>,
    /// The earliest time at which a call is sent again, or an earlier one.
    resend: Option<Instant>,
    /// What the server remembers of us goes by this name.
    memory: Option<MemoryId>,
    /// Bytes of requests that are kept until they are answered.
    kept: usize,
    /// Buffers of requests that were answered, and of their answers.
    spare: Vec<Vec<u8>>,
    reconnect: Reconnect,
    max_in_flight: usize,
    max_unsent: usize,
    max_metadata: usize,
    refusing: Option<NotSent>,
    /// Why there is no connection, while there is none.
    disconnected: Option<Disconnected>,
    /// Nobody can begin a call any more.
    abandoned: bool,
    /// Somebody has had to wait for room: whoever makes some says so.
    crowded: bool,
}

struct Waiting {
    number: u64,
    method: MethodId,
    rerun: Rerun,
    deadline: Instant,
    /// Metadata and arguments, as they are sent.
    request: Message,
    lane: LaneId,
    state: State,
    /// How often it was sent; the next attempt's number.
    attempts: u64,
    /// A server whose memory has the name we know may have read it.
    seen: bool,
    before: Before,
    /// When it was first handed to a connection, and last.
    first: Option<Instant>,
    last: Option<Instant>,
    resend: Option<Instant>,
    waker: Option<Waker>,
    answer: Option<Answer>,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In its lane's queue, or in none while there is no connection.
    Queued,
    /// Taken by the connection. `mark` is its place in the stream of frames, or its packet.
    Out { mark: u64, at: Instant },
}

impl Waiting {
    /// How it went out last, if it waits for an answer.
    fn sent(&self) -> Option<Sent> {
        match self.state {
            State::Out { mark, at } => {
                Some(Sent { mark, at, taken: self.last?, attempt: self.attempts - 1 })
            }
            State::Queued => None,
        }
    }
}

impl Calls {
    /// No calls. Beside the times that it is told it looks at the `calendar`, to notice that the
    /// machine has slept.
    pub(crate) fn new(
        limits: &Limits,
        max_in_flight: usize,
        reconnect: Reconnect,
        calendar: Calendar,
    ) -> Self {
        Self {
            waiting: Slab::new(),
            window: Window::default(),
            held: HeldCalls::new(limits.lease),
            lease: Lease::new(calendar),
            acknowledgements: Acknowledgements::default(),
            main: Lane::default(),
            bulk: Lane::default(),
            deadline: None,
            resend: None,
            memory: None,
            kept: 0,
            spare: Vec::new(),
            reconnect,
            max_in_flight,
            max_unsent: limits.max_unsent,
            max_metadata: limits.max_metadata,
            refusing: None,
            disconnected: None,
            abandoned: false,
            crowded: false,
        }
    }

    /// Marshals a request and begins to wait for its answer; `waker` is woken once it is there.
    pub(crate) fn begin(
        &mut self,
        header: &Header<'_>,
        waker: Waker,
        arguments: impl FnOnce(&mut Draft) -> Result<(), MarshalError>,
    ) -> Result<Ticket, BeginError> {
        self.may_begin(header)?;
        let mut draft = Draft::new(self.spare.pop().unwrap_or_default());
        frame::put_metadata(header.metadata, draft.bytes());
        if let Err(error) = arguments(&mut draft) {
            self.reuse(draft.discard());
            return Err(BeginError::NotSent(error.into()));
        }
        let request = draft.finish();
        let lane = match self.lane_for(request.len()) {
            Ok(lane) => lane,
            Err(why) => {
                self.discard(request);
                return Err(BeginError::NotSent(why));
            }
        };
        let (number, size) = (self.window.next(), footprint(&request));
        let deadline = header.deadline;
        let slot = self.waiting.insert(Waiting {
            number,
            method: header.method,
            rerun: header.rerun,
            deadline,
            request,
            lane,
            state: State::Queued,
            attempts: 0,
            seen: false,
            before: Before::Nothing,
            first: None,
            last: None,
            resend: None,
            waker: Some(waker),
            answer: None,
        });
        self.window.push(slot);
        self.kept += size;
        if self.deadline.is_none_or(|earliest| deadline < earliest) {
            self.deadline = Some(deadline);
        }
        let in_flight = self.waiting.len();
        self.lane_mut(lane).push_new(number, size, in_flight);
        Ok(Ticket { slot, number })
    }

    fn may_begin(&mut self, header: &Header<'_>) -> Result<(), BeginError> {
        let size = header.metadata.size();
        if let Some(why) = &self.refusing {
            Err(BeginError::NotSent(why.clone()))
        } else if size > self.max_metadata {
            let limit = self.max_metadata;
            Err(BeginError::NotSent(NotSent::MetadataTooLarge { size, limit }))
        } else if header.metadata.iter().len() > frame::MAX_METADATA_ENTRIES {
            // The server would end the connection over it, and every other call with it.
            let (count, limit) = (header.metadata.iter().len(), frame::MAX_METADATA_ENTRIES);
            Err(BeginError::NotSent(NotSent::TooManyMetadata { count, limit }))
        } else if self.is_full() {
            self.crowded = true;
            Err(BeginError::Full)
        } else {
            Ok(())
        }
    }

    /// Whether a further call must wait.
    pub(crate) fn is_full(&self) -> bool {
        let unsent = |lane: &Lane| lane.control.len() + lane.queued + lane.backlog;
        self.waiting.len() >= self.max_in_flight
            || self.window.is_full()
            || self.kept >= KEPT * self.max_unsent
            || unsent(&self.main) + unsent(&self.bulk) >= self.max_unsent
    }

    /// Whether somebody may wait until there is room.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// The connection that carries a request of this length.
    fn lane_for(&self, request: usize) -> Result<LaneId, NotSent> {
        if self.fits(LaneId::Main, request) {
            Ok(LaneId::Main)
        } else if self.fits(LaneId::Bulk, request) {
            Ok(LaneId::Bulk)
        } else {
            let size = request + frame::MAX_REQUEST_HEADER;
            let limit = self.main.max_frame.max(self.bulk.max_frame).unwrap_or(0) as usize;
            Err(NotSent::TooLarge { size, limit })
        }
    }

    fn fits(&self, lane: LaneId, request: usize) -> bool {
        let size = request + frame::MAX_REQUEST_HEADER;
        // What goes beside UDP is known with the server's memory: judged then, by `find_ways`.
        let is_unknown = self.memory.is_none() && !self.main.open;
        let limit = if is_unknown { Some(MAX_FRAME) } else { self.lane(lane).max_frame };
        limit.is_some_and(|limit| size <= limit as usize)
    }

    /// The caller no longer waits: the server is told, unless it has answered or never heard of
    /// the call.
    pub(crate) fn abandon(&mut self, ticket: &Ticket) {
        let waiting = self.waiting.remove(ticket.slot);
        if waiting.answer.is_some() {
            return;
        }
        let (number, lane) = (waiting.number, waiting.lane);
        let out = waiting.seen || waiting.state != State::Queued;
        self.uncount(&waiting.request, lane, waiting.state);
        self.discard(waiting.request);
        self.window.settle(number);
        let in_flight = self.waiting.len();
        let lane = self.lane_mut(lane);
        if out && lane.open {
            frame::put_cancel(number, &mut lane.control);
        }
        lane.wake(in_flight);
    }

    /// The server is at work on a call: asking again is of no use for a while. Over a stream it is
    /// of no use at all, and nobody would look at the time.
    pub(crate) fn working(&mut self, call: u64, again: Instant) {
        if let Some(slot) = self.window.slot(call)
            && self.waiting[slot].lane == LaneId::Main
        {
            self.set_resend(slot, again);
        }
    }

    /// Asks whether the server is there.
    pub(crate) fn ask(&mut self, lane: LaneId, now: Instant) {
        let token = self.lease.ask(now);
        frame::put_ping(token, &mut self.lane_mut(lane).control);
    }

    /// The server answers the question whether it is there.
    pub(crate) fn ponged(&mut self, lane: LaneId, token: u64) {
        if self.lane(lane).open {
            self.lease.heed(token);
        }
    }

    /// The server has answered what was sent at this time.
    pub(crate) fn heard(&mut self, lane: LaneId, sent: Instant) {
        if self.lane(lane).open {
            self.lease.answered(sent);
        }
    }

    /// Answers the server's question. One that never reads the answers gets no more of them.
    pub(crate) fn answer_ping(&mut self, lane: LaneId, token: u64) {
        let lane = self.lane_mut(lane);
        if lane.control.len() + lane.queued + lane.backlog < MAX_PONG_BACKLOG {
            frame::put_pong(token, &mut lane.control);
        }
    }

    /// The last channel is gone: the connections close once no call is under way.
    pub(crate) fn abandon_all(&mut self) {
        self.abandoned = true;
        self.main.wake(0);
        self.bulk.wake(0);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned && self.waiting.is_empty()
    }

    fn lane_mut(&mut self, lane: LaneId) -> &mut Lane {
        match lane {
            LaneId::Main => &mut self.main,
            LaneId::Bulk => &mut self.bulk,
        }
    }

    fn lane(&self, lane: LaneId) -> &Lane {
        match lane {
            LaneId::Main => &self.main,
            LaneId::Bulk => &self.bulk,
        }
    }

    fn uncount(&mut self, request: &Message, lane: LaneId, state: State) {
        let size = footprint(request);
        self.kept = self.kept.saturating_sub(size);
        if state == State::Queued {
            let lane = self.lane_mut(lane);
            lane.queued = lane.queued.saturating_sub(size);
        }
    }

    fn discard(&mut self, request: Message) {
        if let Message::Short(buffer) = request {
            self.reuse(buffer);
        }
    }

    fn reuse(&mut self, mut buffer: Vec<u8>) {
        let is_of_use = (1..=SPARE).contains(&buffer.capacity());
        if is_of_use && self.spare.len() < self.max_in_flight {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

/// What a request takes on its way out, about.
fn footprint(request: &Message) -> usize {
    request.len() + frame::MAX_REQUEST_HEADER
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
