//! One connection, both ends, and what a driver of the server's end does with it.

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use bailiwick_acl::Caller;

use super::{
    peer::Peer,
    service::{Shared, lock},
    world::MAX_IN_FLIGHT,
};
use crate::{
    context::SessionInfo,
    dispatch::News,
    net::handlers::Handlers,
    object::Names,
    overload::Parked,
    proto::{memories::Attached, server::Server, session::Flow},
    router::{Connection, Received, Router},
};

/// One connection, both ends.
pub(super) struct Open {
    pub(super) core: Server,
    pub(super) info: Arc<SessionInfo>,
    pub(super) caller: Caller,
    pub(super) memory: Attached,
    pub(super) handlers: Handlers,
    pub(super) names: Names,
    pub(super) parked: Parked,
    pub(super) peer: Peer,
    /// The client takes what the server sends.
    pub(super) is_reading: bool,
    /// Requests wait that have not been looked at.
    pub(super) has_input: bool,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    Ended,
}

impl Open {
    /// What a driver of a connection does, until there is nothing to do.
    pub(super) fn pump(
        &mut self,
        router: &Router,
        state: &Shared,
        draining: bool,
        now: Instant,
    ) -> Goes {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let frames = self.core.frames().tail();
            self.handlers.expire(now, |_, frame| frames.extend_from_slice(frame));
            self.core.handle_timeout(now);
            let room = self.core.room();
            if room > 0 {
                let frames = self.core.frames();
                let full = frames.len() + room;
                self.handlers.poll(&mut cx, |_, mut frame| {
                    frames.append(&mut frame);
                    if frames.len() < full { Flow::Continue } else { Flow::Pause }
                });
            }
            let is_last = self.core.is_closing() || draining;
            if is_last && self.handlers.is_empty() && !self.core.has_unsent() {
                self.core.close(now);
            }
            while self.core.handle_transmit(now) && self.is_reading {
                let sent = self.core.output.unsent().to_vec();
                self.core.output.sent(sent.len());
                let owed = self.peer.receive(&sent, &mut lock(state).ledger, now);
                self.has_input |= !owed.is_empty();
                self.core.input.append(&owed);
            }
            if self.core.ended().is_some() {
                return Goes::Ended;
            }
            if !self.has_input || self.core.is_choked() {
                return Goes::On;
            }
            self.handle_requests(router, draining, now);
        }
    }

    /// As the driver of connections does it.
    fn handle_requests(&mut self, router: &Router, draining: bool, now: Instant) {
        let mut connection = Connection {
            session: &self.info,
            caller: &mut self.caller,
            names: &mut self.names,
            memory: &self.memory,
            tcp_port: 0,
            max_frame: self.core.peer_max_frame(),
            max_here: self.core.peer_max_frame(),
            max_in_flight: MAX_IN_FLIGHT,
            in_flight: 0,
            parked: &mut self.parked,
            origin: None,
            news: News::WhenAsked,
            draining,
            arrived: now,
            late: Duration::ZERO,
            now,
        };
        let handlers = &mut self.handlers;
        let flow = self.core.handle_input(now, |frame, out| {
            connection.in_flight = handlers.len();
            match router.receive(&frame, &mut connection, out)? {
                // This world's limits let as many be at work as there are.
                Received::Done | Received::Parked { .. } => {}
                Received::Pending(pending) => {
                    handlers.insert(pending.header.call, pending);
                }
                Received::Cancelled(call) => _ = handlers.cancel(call),
                // No service of this world has a log to read.
                Received::Unanswered => {}
            }
            Ok(())
        });
        self.has_input = flow == Flow::Pause;
    }
}
