//! What waits to go out over one connection, and whom to wake for it.

use std::{collections::VecDeque, mem, task::Waker, time::Instant};

/// A batch of this many calls, or of requests of this many bytes, is worth a write of its own...
const LARGE_BATCH: (usize, usize) = (16, 2 * 1024);

/// ...if it is also this part of the calls under way. So the server works on one part of them
/// while this side marshals the next, and neither waits for the other.
const BATCHES_IN_FLIGHT: usize = 4;

/// One of this many bytes is in any case.
const HUGE_BATCH: usize = 64 * 1024;

/// Which connection of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneId {
    /// The one that the channel was made with.
    Main,
    /// TCP beside UDP, for messages that are too long for datagrams.
    Bulk,
}

#[derive(Default)]
pub(super) struct Lane {
    /// Numbers of calls to send, oldest first. One that nobody waits for any more is skipped.
    pub(super) queue: VecDeque<u64>,
    /// Those that wait for the next connection: this one's server takes no new calls.
    later: VecDeque<u64>,
    draining: bool,
    /// Frames that belong to no call, or say something about one.
    pub(super) control: Vec<u8>,
    /// Bytes of requests in the queue.
    pub(super) queued: usize,
    /// Bytes of frames that the connection took since it began.
    pub(super) taken: u64,
    /// Bytes that the connection took and could not send on yet.
    pub(super) backlog: usize,
    /// Requests may go: the session stands, and the server has said which memory it has of us.
    pub(super) open: bool,
    /// When the session was made.
    pub(super) since: Option<Instant>,
    /// That memory's id.
    pub(super) memory: Option<[u8; 8]>,
    /// The longest frame that can be sent; `None` where there is no such connection to be had.
    pub(super) max_frame: Option<u32>,
    /// Calls marshalled since the connection last took frames.
    batch: usize,
    /// Bytes of each request that the connection last took, about.
    each: usize,
    connection: Connection,
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

impl Lane {
    pub(super) fn push(&mut self, number: u64, size: usize, in_flight: usize) {
        self.queue.push_back(number);
        self.queued += size;
        self.batch += 1;
        self.wake(in_flight);
    }

    /// As [`push`](Self::push), for a call that was never sent.
    pub(super) fn push_new(&mut self, number: u64, size: usize, in_flight: usize) {
        if self.draining {
            self.later.push_back(number);
            self.queued += size;
            // It does not go, and its deadline is looked after all the same.
            self.wake(in_flight);
        } else {
            self.push(number, size, in_flight);
        }
    }

    /// The server takes no new calls; `is_new` tells them from those that it may have read, whose
    /// answers are still asked for.
    pub(super) fn drain(&mut self, is_new: impl Fn(u64) -> bool) {
        self.draining = true;
        let (later, queue) = self.queue.drain(..).partition::<VecDeque<_>, _>(|it| is_new(*it));
        self.queue = queue;
        self.later.extend(later);
    }

    pub(super) fn clear_queue(&mut self) {
        self.queue.clear();
        self.later.clear();
        self.queued = 0;
    }

    /// Whether there is something that the connection can take now.
    pub(super) fn has_frames(&self) -> bool {
        !self.control.is_empty() || (self.open && !self.queue.is_empty())
    }

    /// Forgets the numbers of calls that nobody waits for.
    pub(super) fn retain(&mut self, is_waited_for: impl Fn(u64) -> bool) {
        self.queue.retain(|number| is_waited_for(*number));
        self.later.retain(|number| is_waited_for(*number));
    }

    /// Whether anything waits, for this connection or the next.
    pub(super) fn is_wanted(&self) -> bool {
        !(self.control.is_empty() && self.queue.is_empty() && self.later.is_empty())
    }

    /// Takes the oldest call that waits.
    pub(super) fn pop(&mut self) -> Option<u64> {
        if self.open { self.queue.pop_front() } else { None }
    }

    pub(super) fn taking(&mut self) {
        self.each = self.queued.checked_div(self.batch).unwrap_or(self.each);
        self.batch = 0;
    }

    /// The connection is gone; the next one begins to count anew.
    pub(super) fn reset(&mut self) {
        self.clear_queue();
        self.control = Vec::new();
        (self.taken, self.backlog, self.batch) = (0, 0, 0);
        (self.open, self.draining, self.memory, self.since) = (false, false, None, None);
    }

    /// The connection has nothing to do until there are frames.
    pub(super) fn sleep(&mut self, task: Waker) {
        self.connection = Connection::Asleep(task);
    }

    /// See [`Calls::gather`](super::Calls::gather).
    pub(super) fn gather(&mut self, task: &Waker, in_flight: usize) -> bool {
        let wait = self.has_frames() && in_flight > 1 && !self.has_large_batch(in_flight);
        if wait {
            self.expect(task);
        }
        wait
    }

    /// See [`Calls::expect`](super::Calls::expect).
    pub(super) fn expect(&mut self, task: &Waker) {
        self.connection = Connection::Gathering(task.clone());
    }

    pub(super) fn wake(&mut self, in_flight: usize) {
        self.connection = match mem::take(&mut self.connection) {
            Connection::Asleep(task) => {
                task.wake();
                Connection::Working
            }
            Connection::Gathering(task) if self.has_large_batch(in_flight) => {
                task.wake();
                Connection::Working
            }
            as_before => as_before,
        };
    }

    /// Whether so many calls like those that went last are too few for a large batch.
    pub(super) fn is_small_batch(&self, calls: usize) -> bool {
        calls < LARGE_BATCH.0 && calls * self.each < LARGE_BATCH.1
    }

    fn has_large_batch(&self, in_flight: usize) -> bool {
        let (calls, bytes) = LARGE_BATCH;
        let is_large = self.batch >= calls || self.queued >= bytes;
        (is_large && self.batch >= in_flight / BATCHES_IN_FLIGHT) || self.queued >= HUGE_BATCH
    }
}
