//! A client's connection as a task: writes what callers marshalled, hands them what comes back.

use std::{
    io, mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task};

use super::{
    busy_poll::BusyPoll,
    quiet::Quiet,
    socket::{self, Socket},
    timer::Timer,
};
use crate::{
    clock,
    proto::{
        calls::LaneId,
        client::{Client, Progress, SharedCalls, lock},
    },
};

/// Reads in a row before other tasks get their turn.
const TURNS: usize = 16;

/// How often callers get a turn before a batch is written, if answers come meanwhile.
const YIELDS: u32 = 3;

/// How long a server that reads nothing may hold up the last records: close, or an alert.
const LINGER: Duration = Duration::from_secs(1);

pub(crate) struct ClientDriver<S> {
    socket: S,
    pub(crate) core: Client,
    calls: SharedCalls,
    lane: LaneId,
    /// Wakes callers that wait for one of the others to finish.
    room: Arc<Notify>,
    timer: Timer,
    busy_poll: BusyPoll,
    quiet: Quiet,
    /// How often the other callers have had their turn to add to the batch.
    yielded: u32,
    /// All calls were answered when they got it: there was nothing to read since.
    awaits_none: bool,
    write_error: Option<io::ErrorKind>,
    /// Set once the connection has ended.
    finish_by: Option<Instant>,
}

impl<S: Socket> ClientDriver<S> {
    pub(crate) fn new(
        socket: S,
        core: Client,
        calls: SharedCalls,
        lane: LaneId,
        room: Arc<Notify>,
        busy_poll: Duration,
    ) -> Self {
        let timer = Timer::default();
        Self {
            socket,
            core,
            calls,
            lane,
            room,
            timer,
            busy_poll: BusyPoll::new(busy_poll),
            quiet: Quiet::default(),
            yielded: 0,
            awaits_none: false,
            write_error: None,
            finish_by: None,
        }
    }

    /// Runs the handshake; ready once it has succeeded or failed.
    pub(crate) fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = self.pump(cx).is_ready();
        match self.core.progress() {
            Progress::Connecting if !over => Poll::Pending,
            _ => {
                self.timer.disarm();
                Poll::Ready(())
            }
        }
    }

    fn pump(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let now = clock::now();
            if self.timer.is_due(now) {
                self.core.handle_timeout(now);
            }
            let awaited_none = mem::take(&mut self.awaits_none);
            let mut found = self.yielded > 0 && !awaited_none && self.read(cx, now);
            if !self.yield_to_callers(cx, found) {
                return Poll::Pending;
            }
            self.hang_up_if_alone(now);
            let blocked = self.write(cx, now).is_pending();
            if let Progress::Ended | Progress::NotTrusted = self.core.progress() {
                return self.poll_shutdown(cx);
            }
            found |= self.read(cx, now);
            if found {
                self.busy_poll.found();
                self.quiet.disturb(now);
                if self.has_all_answers(cx) {
                    return Poll::Pending;
                }
                continue;
            }
            if self.quiet.has_come(now) {
                self.core.rest();
            }
            if self.expects_callers(cx) {
                return Poll::Pending;
            }
            if !self.find_more_to_do(cx, blocked, now) {
                // Either it has yielded, or it sleeps.
                self.busy_poll.looks_again(cx);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets callers that are ready to run add their requests to the batch before it is written:
    /// one write for all of them. Those whose answers were `found` meanwhile are waited for too, so that
    /// a batch that was split once does not go to and fro in halves for ever. A lone call does not wait.
    fn yield_to_callers(&mut self, cx: &mut Context<'_>, found: bool) -> bool {
        let again = if found { YIELDS } else { 1 };
        if self.yielded >= again || !lock(&self.calls).gather(self.lane, cx.waker()) {
            self.yielded = 0;
            return true;
        }
        self.yield_now(cx);
        false
    }

    /// If all calls are answered, and so few that they make one batch, nothing more can come from the server: the
    /// callers get their turn at once, and sockets need not be looked at before.
    fn has_all_answers(&mut self, cx: &mut Context<'_>) -> bool {
        let answered = self.core.answered();
        self.awaits_none =
            answered > 1 && lock(&self.calls).expect_all(self.lane, cx.waker(), answered);
        if self.awaits_none {
            self.core.take_answered();
            self.yielded += 1;
            cx.waker().wake_by_ref();
        }
        self.awaits_none
    }

    /// Callers whose answers have just been read are likely to call again: their batch gathers from now
    /// on, and none of them need wake this task.
    fn expects_callers(&mut self, cx: &mut Context<'_>) -> bool {
        let expects = self.core.take_answered() > 1;
        if expects {
            lock(&self.calls).expect(self.lane, cx.waker());
            self.yield_now(cx);
        }
        expects
    }

    /// Wakes this task once all that are ready have run.
    fn yield_now(&mut self, cx: &mut Context<'_>) {
        self.yielded += 1;
        let _ = pin!(task::yield_now()).poll(cx);
    }

    fn hang_up_if_alone(&mut self, now: Instant) {
        if lock(&self.calls).is_abandoned() {
            self.core.close(now);
        }
    }

    /// Seals and writes what waits; pending if the socket takes no more for now.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let mut wrote = false;
        while self.write_error.is_none() && self.core.handle_transmit(now) {
            wrote = true;
            let written = socket::poll_write(&mut self.socket, &mut self.core.output, cx);
            if let Err(error) = ready!(written) {
                // What the server sent before, an alert perhaps, is still read.
                self.write_error = Some(error.kind());
            }
            if !self.core.has_frames() {
                break;
            }
        }
        if wrote {
            self.busy_poll.sent();
            // Somebody may have waited for these bytes to leave.
            self.room.notify_one();
        }
        Poll::Ready(())
    }

    /// Reads once; `false` if nothing is there.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut read = socket::poll_read(&mut self.socket, &mut self.core.input, cx);
        if read.is_pending() {
            let looks = self.busy_poll.looks();
            read = socket::look(&self.socket, &mut self.core.input, looks);
        }
        match read {
            Poll::Ready(Ok(0)) => self.core.handle_end_of_stream(),
            Poll::Ready(Ok(_)) => self.core.handle_input(now),
            Poll::Ready(Err(error)) => self.core.handle_io_error(error.kind()),
            Poll::Pending => match self.write_error {
                Some(kind) => self.core.handle_io_error(kind),
                None => return false,
            },
        }
        true
    }

    /// Before sleeping: `true` if a caller or a timer has been faster.
    fn find_more_to_do(&mut self, cx: &mut Context<'_>, blocked: bool, now: Instant) -> bool {
        {
            let mut calls = lock(&self.calls);
            // What the socket does not take yet is written when it wakes us for that.
            if (calls.has_frames(self.lane) && !blocked) || calls.is_abandoned() {
                return true;
            }
            calls.sleep(self.lane, cx.waker().clone());
        }
        let next = [self.core.next_timeout(now), self.quiet.at()];
        self.timer.arm(next.into_iter().flatten().min(), cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.room.notify_waiters();
        let now = clock::now();
        let until = *self.finish_by.get_or_insert(now + LINGER);
        self.timer.disarm();
        if now >= until || self.timer.arm(Some(until), cx) {
            return Poll::Ready(());
        }
        if self.write_error.is_none() {
            // What cannot be written any more is of no use to anybody.
            let _ = ready!(socket::poll_write(&mut self.socket, &mut self.core.output, cx));
        }
        let _ = ready!(Pin::new(&mut self.socket).poll_shutdown(cx));
        Poll::Ready(())
    }
}

impl<S: Socket> Future for ClientDriver<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().pump(cx)
    }
}

#[cfg(test)]
#[path = "client_driver_tests.rs"]
mod tests;
