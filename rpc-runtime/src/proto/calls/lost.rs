//! Between two connections: what is sent again, and what nobody can know any more.

use std::time::Instant;

use super::{
    Answer, Before, Calls, LaneId, Reconnect, Rerun, State, Waiting, footprint, held::Durability,
    lease::Records,
};
use crate::{
    error::{Disconnected, NotSent},
    proto::frame::MemoryId,
};

/// Which requests of a connection that has ended the server may have read, beside those that it
/// answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// None: it closed in good order behind its last answer, or never stood.
    None,
    /// Those that begin before this offset in the stream of frames: the others were not sealed.
    Before(u64),
    /// All that were taken.
    All,
}

impl Calls {
    /// A connection stands: frames of at most `max_frame` bytes can go. Requests wait until the
    /// server has said which memory it has. All that the server says it says after `since`.
    pub(crate) fn connected(&mut self, lane: LaneId, max_frame: u32, since: Instant) {
        self.disconnected = None;
        let lane = self.lane_mut(lane);
        (lane.max_frame, lane.since) = (Some(max_frame), Some(since));
    }

    /// A connection, where no server has named its memory yet: no server can have seen what waits and must not
    /// run twice, so it goes before this one has. `false` if there is a memory to be compared with.
    pub(crate) fn go_ahead(&mut self, lane: LaneId) -> bool {
        let first = lane == LaneId::Main && self.memory.is_none();
        if first {
            self.main.open = true;
            self.find_ways();
            self.open(lane);
        }
        first
    }

    /// The server has said which memory it has of this client: whatever is not answered goes,
    /// oldest first. Where the memory is another, the server does not know what it ran before, but
    /// for what it has on record; then only that goes which no server can have seen, or which may
    /// run again, or which would be on record.
    pub(crate) fn recall(
        &mut self,
        lane: LaneId,
        memory: MemoryId,
        bulk_frame: Option<u32>,
        now: Instant,
    ) {
        if self.lane(lane).open && self.memory == Some(memory) {
            return;
        }
        self.lane_mut(lane).memory = Some(memory.id);
        if lane == LaneId::Bulk {
            return self.open_bulk();
        }
        let before = self.memory.replace(memory);
        let records = self.lease.meet(before, memory, self.main.since, now);
        self.bulk.max_frame = bulk_frame.filter(|_| memory.tcp_port != 0);
        if before.is_some_and(|before| before.id != memory.id) {
            self.bulk.open = false;
            self.forgotten(records);
        }
        self.find_ways();
        self.open(LaneId::Main);
        self.open_bulk();
        self.ask_again();
    }

    /// Calls move between the two connections, so both must lead to the same memory: what ran for
    /// the one would run again for the other.
    fn open_bulk(&mut self) {
        if self.bulk.memory.is_some() && self.bulk.memory == self.memory.map(|memory| memory.id) {
            self.open(LaneId::Bulk);
        }
    }

    /// What the server accepts is known: what waits and is too long for its connection goes by the other,
    /// or not at all.
    fn find_ways(&mut self) {
        for slot in self.open_slots() {
            let waiting = &self.waiting[slot];
            let size = waiting.request.len();
            if waiting.state != State::Queued || self.fits(waiting.lane, size) {
                continue;
            }
            match self.lane_for(size) {
                Ok(lane) => self.requeue(slot, lane),
                Err(why) => {
                    let lost = waiting.may_have_run();
                    let answer = if lost { Answer::Lost } else { Answer::NotSent(why) };
                    let number = waiting.number;
                    self.window.settle(number);
                    self.finish(slot, answer);
                }
            }
        }
        // Whatever has left it does not count there any more.
        self.queue_all(LaneId::Bulk);
    }

    fn open(&mut self, lane: LaneId) {
        self.lane_mut(lane).open = true;
        self.queue_all(lane);
        let in_flight = self.waiting.len();
        self.lane_mut(lane).wake(in_flight);
    }

    /// The server that may have run calls does not know about them any more, but for what these
    /// records cover.
    fn forgotten(&mut self, records: Option<Records>) {
        match records {
            Some(_) => self.acknowledgements.restate(self.window.settled()),
            None => self.acknowledgements.forget(),
        }
        self.held.forget(records, &mut self.window);
        for slot in self.open_slots() {
            let waiting = &mut self.waiting[slot];
            if !waiting.seen && waiting.state == State::Queued {
                continue;
            }
            match waiting.rerun {
                Rerun::Allowed => (waiting.seen, waiting.before) = (false, Before::Perhaps),
                Rerun::Durable if waiting.durability().is_covered(records) => {
                    waiting.before = Before::OnRecord;
                }
                Rerun::Durable | Rerun::Forbidden => {
                    let number = waiting.number;
                    self.window.settle(number);
                    self.finish(slot, Answer::Lost);
                }
            }
        }
    }

    fn queue_all(&mut self, lane: LaneId) {
        let mut waiting: Vec<_> = self
            .open_slots()
            .into_iter()
            .filter(|slot| self.waiting[*slot].lane == lane)
            .map(|slot| (self.waiting[slot].number, slot))
            .collect();
        waiting.sort_unstable();
        self.lane_mut(lane).clear_queue();
        for (_, slot) in waiting {
            if let State::Queued = self.waiting[slot].state {
                let (number, size) =
                    (self.waiting[slot].number, footprint(&self.waiting[slot].request));
                let in_flight = self.waiting.len();
                let seen = self.waiting[slot].seen;
                let lane = self.lane_mut(lane);
                if seen {
                    lane.push(number, size, in_flight);
                } else {
                    lane.push_new(number, size, in_flight);
                }
            }
        }
    }

    /// The server takes no new calls; those under way go on, and are sent again if their answers
    /// do not come. Further ones wait for the next connection.
    pub(crate) fn drain(&mut self, lane: LaneId) {
        match self.reconnect {
            Reconnect::Never => {
                self.refusing.get_or_insert(NotSent::Draining);
            }
            Reconnect::Always => {
                let (window, waiting) = (&self.window, &self.waiting);
                let is_new = |number| window.slot(number).is_some_and(|slot| !waiting[slot].seen);
                match lane {
                    LaneId::Main => self.main.drain(is_new),
                    LaneId::Bulk => self.bulk.drain(is_new),
                }
            }
        }
    }

    /// The connection has ended, and with it the server may have read these requests.
    pub(crate) fn lost(&mut self, lane: LaneId, why: &Disconnected, read: Read) {
        for slot in self.open_slots() {
            let waiting = &mut self.waiting[slot];
            if waiting.lane != lane {
                continue;
            }
            if let State::Out { mark, .. } = waiting.state {
                waiting.seen |= match read {
                    Read::None => false,
                    Read::Before(sealed) => mark < sealed,
                    Read::All => true,
                };
                waiting.state = State::Queued;
            }
            waiting.resend = None;
        }
        // Until there is another connection nobody looks at times that have passed.
        self.resend = self.waiting.iter().filter_map(|(_, waiting)| waiting.resend).min();
        if lane == LaneId::Main {
            self.disconnected = Some(why.clone());
            if self.memory.is_none() {
                // Whatever the next server remembers, it may be another than this one.
                self.forgotten(None);
            }
        }
        self.lane_mut(lane).reset();
        if self.reconnect == Reconnect::Never {
            self.give_up(why);
            self.refusing = Some(NotSent::Disconnected(why.clone()));
        } else {
            self.queue_all(lane);
        }
    }

    /// No connection is to be had: ends all calls, each with what is true of it.
    pub(crate) fn give_up(&mut self, why: &Disconnected) {
        self.held.forget(None, &mut self.window);
        for slot in self.open_slots() {
            let waiting = &self.waiting[slot];
            let answer = if waiting.may_have_run() {
                Answer::Lost
            } else {
                Answer::NotSent(NotSent::Disconnected(why.clone()))
            };
            let number = waiting.number;
            self.window.settle(number);
            self.finish(slot, answer);
        }
    }

    /// Whether anything waits for a connection that is not there.
    pub(crate) fn wants_connection(&mut self, lane: LaneId) -> bool {
        let window = &self.window;
        let own = match lane {
            LaneId::Main => &mut self.main,
            LaneId::Bulk => &mut self.bulk,
        };
        own.retain(|number| window.slot(number).is_some());
        own.is_wanted() || (lane == LaneId::Main && self.is_asking())
    }

    /// Why there is no connection at the moment.
    pub(crate) fn set_disconnected(&mut self, why: &Disconnected) {
        self.disconnected = Some(why.clone());
    }

    /// Where the server listens over TCP beside UDP.
    pub(crate) fn tcp_port(&self) -> Option<u16> {
        self.memory.map(|memory| memory.tcp_port).filter(|port| *port != 0)
    }

    fn open_slots(&self) -> Vec<usize> {
        let open = self.waiting.iter().filter(|(_, waiting)| waiting.answer.is_none());
        open.map(|(slot, _)| slot).collect()
    }
}

impl Waiting {
    /// Whether any server, the present one or one before it, may have run the call.
    pub(super) fn may_have_run(&self) -> bool {
        self.seen || self.state != State::Queued || self.before != Before::Nothing
    }

    pub(super) fn durability(&self) -> Durability {
        match (self.rerun, self.first) {
            (Rerun::Durable, Some(first)) => Durability::Recorded { first },
            _ => Durability::Remembered,
        }
    }
}

#[cfg(test)]
#[path = "lost_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "durable_tests.rs"]
mod durable_tests;
