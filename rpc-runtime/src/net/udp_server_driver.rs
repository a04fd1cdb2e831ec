//! A server's UDP socket as a task: all sessions of one port, and their handlers.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use futures_util::FutureExt;

use super::{
    busy_poll::BusyPoll,
    drain::Drain,
    revisions::Listening,
    server_driver::Common,
    timer::Timer,
    udp_server::UdpServer,
    udp_socket::{self, Datagrams, UdpSocket},
};
use crate::{
    clock,
    overload::Lateness,
    proto::udp::{endpoint::Time, link::Transmit},
};

/// Receives in a row before other tasks get their turn.
const TURNS: usize = 16;

/// Pieces received with one system call, each of one sender.
const PIECES: usize = 8;

/// How often what was refused is put on record, at the most.
const RECORD: Duration = Duration::from_millis(100);

pub(crate) struct UdpServerDriver {
    socket: UdpSocket,
    core: UdpServer,
    timer: Timer,
    busy_poll: BusyPoll,
    received: Datagrams,
    /// What the socket did not take yet.
    unsent: Option<Transmit>,
    batch: Vec<u8>,
    record_at: Instant,
    listening: Listening,
    drain: Drain,
    draining: bool,
}

impl UdpServerDriver {
    pub(crate) fn new(socket: UdpSocket, common: Arc<Common>, drain: Drain) -> Self {
        Self {
            socket,
            listening: Listening::new(&common.revisions),
            busy_poll: BusyPoll::new(common.router.limits.busy_poll),
            core: UdpServer::new(common, unix_seconds(), &mut rand::rng()),
            timer: Timer::default(),
            received: Datagrams::new(PIECES),
            unsent: None,
            batch: Vec::new(),
            record_at: clock::now(),
            drain,
            draining: false,
        }
    }

    fn pump(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let now = clock::now();
            if !self.draining && self.drain.poll_unpin(cx).is_ready() {
                self.draining = true;
                self.core.drain(now);
            }
            if self.timer.is_due(now) {
                self.core.handle_timeout(now);
            }
            self.listening.listen(cx);
            self.core.handle_revision(now);
            self.core.run_handlers(cx, now);
            self.send(cx, now);
            if self.record_at <= now {
                self.core.record_refusals();
                self.record_at = now + RECORD;
            }
            if self.core.is_drained() && self.unsent.is_none() {
                return Poll::Ready(());
            }
            if self.receive(cx) {
                self.busy_poll.found();
            } else if !self.timer.arm(self.core.next_timeout(now), cx) {
                self.busy_poll.looks_again(cx);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends until nothing waits or the socket takes no more.
    fn send(&mut self, cx: &mut Context<'_>, now: Instant) {
        loop {
            if self.unsent.is_none() {
                self.batch.clear();
                let segments = self.socket.max_segments();
                self.unsent = self.core.poll_transmit(now, &mut self.batch, segments);
            }
            let Some(Transmit { to, segment }) = self.unsent else { return };
            match self.socket.poll_send(to, segment, &self.batch, cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) if udp_socket::is_too_big(&error) => {
                    self.core.too_big(segment, now);
                }
                // Lost, as it could be anywhere on the way.
                Poll::Ready(Err(error)) => tracing::debug!(%error, "cannot send a datagram"),
            }
            self.unsent = None;
        }
    }

    /// Receives once; `false` if nothing is there.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        match self.socket.poll_receive(&mut self.received, cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => {
                let (arrived, unix_seconds) = (clock::now(), unix_seconds());
                let mut lateness = Lateness::since(arrived);
                for (from, datagram) in self.received.iter_mut() {
                    let now = lateness.next(clock::now);
                    let time = Time { now, arrived, unix_seconds };
                    self.core.handle_datagram(datagram, from, time, &mut rand::rng());
                }
            }
            // An answer of the network to something that was sent: nobody has proven it.
            Poll::Ready(Err(error)) => tracing::debug!(%error, "the socket reports an error"),
        }
        true
    }
}

impl Future for UdpServerDriver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().pump(cx)
    }
}

/// The calendar's time, for tokens that live for seconds; a clock before 1970 counts as 1970.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
