//! A client's UDP socket as a task: sends what callers marshalled, hands them what comes back.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task};

use super::{
    busy_poll::BusyPoll,
    timer::Timer,
    udp_socket::{self, Datagrams, UdpSocket},
};
use crate::{
    clock,
    proto::{
        calls::LaneId,
        client::{SharedCalls, lock},
        udp::{
            client::{Standing, UdpClient},
            link::{MAX_BATCH, Transmit},
        },
    },
};

/// Reads in a row before other tasks get their turn.
const TURNS: usize = 16;

/// Pieces received with one system call: what came together is one, and a second shows whether
/// there is more.
const PIECES: usize = 2;

/// The last packet, a close, is sent again if the server asks for it within this time.
const LINGER: Duration = Duration::from_millis(100);

/// How often the kernel may say that nobody listens before it is believed: the first could be
/// about a server that is just being started.
const REFUSALS: u32 = 2;

pub(crate) struct UdpClientDriver {
    socket: UdpSocket,
    pub(crate) core: UdpClient,
    calls: SharedCalls,
    /// Wakes callers that wait for one of the others to finish.
    room: Arc<Notify>,
    timer: Timer,
    busy_poll: BusyPoll,
    received: Datagrams,
    /// What the socket did not take yet.
    unsent: Option<Transmit>,
    batch: Vec<u8>,
    /// The other callers have had their turn to add to the batch.
    yielded: bool,
    refusals: u32,
    /// Set once the session has ended.
    finish_by: Option<Instant>,
}

impl UdpClientDriver {
    pub(crate) fn new(
        socket: UdpSocket,
        core: UdpClient,
        calls: SharedCalls,
        room: Arc<Notify>,
        busy_poll: Duration,
    ) -> Self {
        Self {
            socket,
            core,
            calls,
            room,
            timer: Timer::default(),
            busy_poll: BusyPoll::new(busy_poll),
            received: Datagrams::new(PIECES),
            unsent: None,
            batch: Vec::new(),
            yielded: false,
            refusals: 0,
            finish_by: None,
        }
    }

    /// Runs the handshake; ready once it has succeeded or failed.
    pub(crate) fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = self.pump(cx).is_ready();
        if !over && *self.core.standing() == Standing::Connecting {
            return Poll::Pending;
        }
        self.timer.disarm();
        Poll::Ready(())
    }

    /// Whether the kernel has said that nobody listens there.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusals >= REFUSALS
    }

    fn pump(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let now = clock::now();
            if self.timer.is_due(now) {
                self.core.handle_timeout(now, &mut rand::rng());
            }
            if !self.yield_to_callers(cx) {
                return Poll::Pending;
            }
            if lock(&self.calls).is_abandoned() {
                self.core.close(now);
            }
            self.send(cx, now);
            if let Standing::Ended(_) | Standing::Failed(_) = self.core.standing() {
                return self.poll_finish(cx, now);
            }
            if self.receive(cx) {
                self.busy_poll.found();
            } else if !self.find_more_to_do(cx) {
                self.busy_poll.looks_again(cx);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets callers that are ready to run add their requests to the batch before it is sent: one
    /// packet for many of them. A lone call does not wait.
    fn yield_to_callers(&mut self, cx: &mut Context<'_>) -> bool {
        if self.yielded || !lock(&self.calls).gather(LaneId::Main, cx.waker()) {
            self.yielded = false;
            return true;
        }
        self.yielded = true;
        // Wakes this task once all that are ready have run.
        let _ = pin!(task::yield_now()).poll(cx);
        false
    }

    /// Sends until nothing waits or the socket takes no more.
    fn send(&mut self, cx: &mut Context<'_>, now: Instant) {
        loop {
            if self.unsent.is_none() {
                self.batch.clear();
                let segments = self.socket.max_segments();
                self.unsent =
                    self.core.poll_transmit(now, &mut rand::rng(), &mut self.batch, segments);
            }
            let Some(transmit) = self.unsent else { return };
            debug_assert!(self.batch.len() <= MAX_BATCH.max(transmit.segment));
            match self.socket.poll_send(transmit.to, transmit.segment, &self.batch, cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.failed_to_send(&error, transmit.segment, now),
            }
            self.unsent = None;
            self.busy_poll.sent();
            // Somebody may have waited for these bytes to leave.
            self.room.notify_one();
        }
    }

    /// What the kernel refuses is lost, as it could be anywhere on the way.
    fn failed_to_send(&mut self, error: &io::Error, size: usize, now: Instant) {
        if udp_socket::is_too_big(error) {
            self.core.too_big(size, now);
        } else {
            self.refused(error, now);
        }
    }

    fn refused(&mut self, error: &io::Error, now: Instant) {
        tracing::debug!(%error, "the socket reports an error");
        if error.kind() == io::ErrorKind::ConnectionRefused {
            self.refusals = self.refusals.saturating_add(1);
            if self.is_refused() {
                self.core.refused(now);
            }
        }
    }

    /// Receives once; `false` if nothing is there.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        match self.socket.poll_receive(&mut self.received, cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => {
                let now = clock::now();
                for (from, datagram) in self.received.iter_mut() {
                    self.core.handle_datagram(datagram, from, now, &mut rand::rng());
                }
            }
            Poll::Ready(Err(error)) => self.refused(&error, clock::now()),
        }
        true
    }

    /// Before sleeping: `true` if a caller or a timer has been faster.
    fn find_more_to_do(&mut self, cx: &mut Context<'_>) -> bool {
        {
            let mut calls = lock(&self.calls);
            // What the socket does not take yet is sent when it wakes us for that.
            if (calls.has_frames(LaneId::Main) && self.unsent.is_none()) || calls.is_abandoned() {
                return true;
            }
            calls.sleep(LaneId::Main, cx.waker().clone());
        }
        self.timer.arm(self.core.next_timeout(clock::now()), cx)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        self.room.notify_waiters();
        let until = *self.finish_by.get_or_insert(now + LINGER);
        self.timer.disarm();
        if self.unsent.is_none() || now >= until || self.timer.arm(Some(until), cx) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Future for UdpClientDriver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().pump(cx)
    }
}
