//! From a lane's queue to its connection, and back into the queue when an answer takes too long.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use super::{Answer, Calls, LaneId, State, footprint};
use crate::{
    error::Executed,
    marshal::Message,
    proto::{
        frame::{self, RequestHeader},
        frames::Frames,
    },
};

/// A call that has waited long enough for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) call: u64,
    /// What carried it last.
    pub(crate) mark: u64,
    /// How often it was sent.
    pub(crate) attempts: u64,
}

/// What a call's request looked like when it went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) mark: u64,
    pub(crate) at: Instant,
    /// When it was handed to its connection, which is before the server can have seen it.
    pub(crate) taken: Instant,
    /// The number of the attempt.
    pub(crate) attempt: u64,
}

impl Calls {
    /// Appends the frames that wait to `into`, for a stream; returns how many bytes its
    /// connection has taken in all.
    pub(crate) fn take_frames(&mut self, lane: LaneId, now: Instant, into: &mut Frames) -> u64 {
        let before = into.len();
        self.take_control(lane, now, into.tail());
        let taken = self.lane(lane).taken;
        while let Some(number) = self.lane_mut(lane).pop() {
            let mark = taken + (into.len() - before) as u64;
            self.write(number, lane, mark, now, |header, rest| {
                frame::push_request(header, rest, into);
            });
        }
        let lane = self.lane_mut(lane);
        lane.taken += (into.len() - before) as u64;
        lane.taken
    }

    /// Appends the frames that belong to no call.
    pub(crate) fn take_control(&mut self, lane: LaneId, now: Instant, into: &mut Vec<u8>) {
        self.acknowledge(lane, now);
        let lane = self.lane_mut(lane);
        lane.taking();
        into.append(&mut lane.control);
    }

    /// Appends the frame of the oldest call that waits, for datagrams; its number.
    pub(crate) fn take_call(
        &mut self,
        lane: LaneId,
        now: Instant,
        into: &mut Vec<u8>,
    ) -> Option<u64> {
        while let Some(number) = self.lane_mut(lane).pop() {
            let put = |header: &_, rest: &_| frame::put_request(header, rest, into);
            if self.write(number, lane, u64::MAX, now, put) {
                return Some(number);
            }
        }
        None
    }

    /// A call has gone out now, in this packet. It goes again after `wait`, which is told how often
    /// it was sent before; that is returned, unless nobody waits for the call any more.
    pub(crate) fn departed(
        &mut self,
        number: u64,
        packet: u64,
        now: Instant,
        wait: impl FnOnce(u64) -> Duration,
    ) -> Option<u64> {
        let slot = self.window.slot(number)?;
        let waiting = &mut self.waiting[slot];
        let before = waiting.attempts.saturating_sub(1);
        if let State::Out { mark, at } = &mut waiting.state {
            (*mark, *at) = (packet, now);
            self.set_resend(slot, now + wait(before));
        }
        Some(before)
    }

    /// Whether requests may go.
    pub(crate) fn is_open(&self, lane: LaneId) -> bool {
        self.lane(lane).open
    }

    /// A call goes again: what carried it did not arrive.
    pub(crate) fn send_again(&mut self, lane: LaneId, number: u64) {
        if let Some(slot) = self.window.slot(number) {
            self.requeue(slot, lane);
        }
    }

    /// How a call went out last, if it waits for an answer.
    pub(crate) fn sent(&self, number: u64) -> Option<Sent> {
        self.waiting[self.window.slot(number)?].sent()
    }

    /// Has `put` write the request; `false` if nobody waits for the call any more, or it waits elsewhere.
    fn write(
        &mut self,
        number: u64,
        lane: LaneId,
        mark: u64,
        now: Instant,
        put: impl FnOnce(&RequestHeader, &Message),
    ) -> bool {
        let floor = self.window.floor();
        let Some(slot) = self.window.slot(number) else { return false };
        let waiting = &mut self.waiting[slot];
        if waiting.lane != lane || waiting.state != State::Queued {
            return false;
        }
        if waiting.deadline <= now && !waiting.may_have_run() {
            self.window.settle(number);
            self.finish(slot, Answer::DeadlineExceeded(Executed::No));
            return false;
        }
        let header = RequestHeader {
            call: number,
            floor,
            attempt: waiting.attempts,
            method: waiting.method,
            remaining: waiting.deadline.saturating_duration_since(now),
        };
        put(&header, &waiting.request);
        waiting.state = State::Out { mark, at: now };
        waiting.attempts += 1;
        waiting.first.get_or_insert(now);
        (waiting.last, waiting.resend) = (Some(now), None);
        let size = footprint(&waiting.request);
        let lane = self.lane_mut(lane);
        lane.queued = lane.queued.saturating_sub(size);
        self.acknowledgements.told(floor);
        true
    }

    fn acknowledge(&mut self, lane: LaneId, now: Instant) {
        let owed = &mut self.acknowledgements;
        if lane == LaneId::Main && self.main.open && (owed.is_pressing() || owed.is_due(now)) {
            let floor = self.window.floor();
            let ranges = owed.take(floor);
            frame::put_acknowledge(floor, &ranges, &mut self.main.control);
        }
    }

    /// Puts the calls that have waited long enough back into the queue; `judge` may put one off
    /// instead, by naming a later time.
    pub(crate) fn resend_due(
        &mut self,
        lane: LaneId,
        now: Instant,
        mut judge: impl FnMut(Due) -> Option<Instant>,
    ) {
        if self.resend.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.resend = None;
        let timed: Vec<_> = self
            .waiting
            .iter()
            .filter_map(|(slot, waiting)| Some((slot, waiting.resend?)))
            .collect();
        for (slot, at) in timed {
            let waiting = &self.waiting[slot];
            let State::Out { mark, .. } = waiting.state else { continue };
            if at > now || waiting.lane != lane {
                self.set_resend(slot, at);
            } else if let Some(later) =
                judge(Due { call: waiting.number, mark, attempts: waiting.attempts })
            {
                self.set_resend(slot, later);
            } else {
                self.requeue(slot, lane);
            }
        }
    }

    /// Puts the calls that `packet` carried last back into the queue: it was lost.
    pub(crate) fn resend_packet(&mut self, lane: LaneId, packet: u64) {
        let lost: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| {
                waiting.answer.is_none()
                    && matches!(waiting.state, State::Out { mark, .. } if mark == packet)
            })
            .map(|(slot, _)| slot)
            .collect();
        for slot in lost {
            self.requeue(slot, lane);
        }
    }

    /// When [`resend_due`](Self::resend_due) has something to do.
    pub(crate) fn next_resend(&self) -> Option<Instant> {
        self.resend
    }

    /// When an acknowledgement is due that no request has taken along.
    pub(crate) fn next_acknowledgement(&mut self, now: Instant) -> Option<Instant> {
        if self.main.open { self.acknowledgements.next_timeout(now) } else { None }
    }

    pub(super) fn set_resend(&mut self, slot: usize, at: Instant) {
        self.waiting[slot].resend = Some(at);
        if self.resend.is_none_or(|earliest| at < earliest) {
            self.resend = Some(at);
        }
    }

    /// Sends a call again, over this lane.
    pub(super) fn requeue(&mut self, slot: usize, lane: LaneId) {
        let in_flight = self.waiting.len();
        let waiting = &mut self.waiting[slot];
        let (number, size) = (waiting.number, footprint(&waiting.request));
        if waiting.answer.is_some() {
            return;
        }
        (waiting.state, waiting.lane, waiting.resend) = (State::Queued, lane, None);
        // It has been out: whatever comes of the next attempt, it may have run.
        waiting.seen |= waiting.attempts > 0;
        self.lane_mut(lane).push(number, size, in_flight);
    }

    /// The connection has nothing to do until there are frames.
    pub(crate) fn sleep(&mut self, lane: LaneId, task: Waker) {
        self.lane_mut(lane).sleep(task);
    }

    /// Whether callers should have their turn before what waits is sent: `task` is woken if they
    /// make a large batch of it. A lone call is sent at once.
    pub(crate) fn gather(&mut self, lane: LaneId, task: &Waker) -> bool {
        let in_flight = self.waiting.len();
        self.lane_mut(lane).gather(task, in_flight)
    }

    /// Callers are about to have their turn: `task` will come back by itself, or is woken if they make a
    /// large batch of it.
    pub(crate) fn expect(&mut self, lane: LaneId, task: &Waker) {
        self.lane_mut(lane).expect(task);
    }

    /// The same if there are no calls but the `answered` ones, and these are too few for more than one batch.
    pub(crate) fn expect_all(&mut self, lane: LaneId, task: &Waker, answered: usize) -> bool {
        let in_flight = self.waiting.len();
        let lane = self.lane_mut(lane);
        let all = in_flight <= answered && lane.is_small_batch(in_flight);
        if all {
            lane.expect(task);
        }
        all
    }

    pub(crate) fn has_frames(&self, lane: LaneId) -> bool {
        self.lane(lane).has_frames()
            || (lane == LaneId::Main && self.main.open && self.acknowledgements.is_pressing())
    }

    /// Bytes that the connection took and could not send on yet.
    pub(crate) fn set_backlog(&mut self, lane: LaneId, backlog: usize) {
        self.lane_mut(lane).backlog = backlog;
    }
}
