//! A server behind one UDP socket, without the socket: datagrams and times in, datagrams out.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bailiwick_acl::Caller;
use bailiwick_crypto::{Alert, CryptoRng, Transport, responder};

use super::{
    handlers::Handlers,
    server_driver::{Common, UNKNOWN_PRINCIPAL, violation},
};
use crate::{
    context::SessionInfo,
    dispatch::News,
    error::{Disconnected, Executed, Unavailable},
    id::Incarnation,
    metrics,
    object::Names,
    observe::meters::{Carrier, OpenSession},
    overload::{Parked, Waiting},
    proto::{
        frame,
        frames::Frames,
        memories::Attached,
        session::{Failure, Flow},
        udp::{
            endpoint::{Applicant, Arrived, Endpoint, Time},
            link::{Counters, Link, Transmit},
            sessions::SessionId,
        },
    },
    reply::Refusal,
    router::{Connection, Received},
};

/// A frame's length field.
const LENGTH: usize = 4;

/// A client of a server that shuts down has so much time to ask again for answers that were lost.
const QUIET: Duration = Duration::from_millis(300);

pub(crate) struct UdpServer {
    common: Arc<Common>,
    endpoint: Endpoint,
    sessions: HashMap<SessionId, Session>,
    handlers: Handlers<(SessionId, u64)>,
    parked: Parked,
    names: Names,
    /// Answers to what one datagram brought.
    answers: Frames,
    /// The revision of the policy under which all callers were known last.
    revision: u64,
    draining: bool,
}

struct Session {
    info: Arc<SessionInfo>,
    caller: Caller,
    memory: Attached,
    /// The longest frame that the client accepts, and the longest over UDP.
    max_frame: u32,
    max_here: u32,
    /// Handlers at work.
    in_flight: usize,
    /// Bytes of answers that the client has not taken.
    unsent: usize,
    /// What of the link's counts is on record.
    recorded: Counters,
    /// Counts the session until it ends.
    _open: OpenSession,
}

impl UdpServer {
    pub(crate) fn new(common: Arc<Common>, unix_seconds: u64, rng: &mut impl CryptoRng) -> Self {
        let config = responder::Config { transport: Transport::Udp, ..common.handshake.clone() };
        let limits = common.router.limits.clone();
        Self {
            endpoint: Endpoint::new(config, limits, unix_seconds, rng),
            revision: common.router.monitor.revision(),
            common,
            sessions: HashMap::new(),
            handlers: Handlers::default(),
            parked: Parked::default(),
            names: Names::default(),
            answers: Frames::default(),
            draining: false,
        }
    }

    /// Takes one datagram, which is changed.
    pub(crate) fn handle_datagram(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
        time: Time,
        rng: &mut impl CryptoRng,
    ) {
        let Self { common, endpoint, sessions, handlers, parked, names, answers, draining, .. } =
            self;
        answers.clear();
        let arrived = endpoint.handle_datagram(datagram, from, time, rng, &mut |id, frame| {
            let Some(session) = sessions.get_mut(&id) else { return Ok(()) };
            let router = &common.router;
            if session.unsent >= router.limits.max_unsent {
                // As though it had been lost: the client asks again.
                return Ok(());
            }
            let own = (&mut *names, &mut *parked);
            let times = (time.arrived, time.now);
            let mut connection = session.connection(id, common, own, *draining, times);
            match router.receive(&frame, &mut connection, answers)? {
                Received::Done => {}
                Received::Parked { more } => session.in_flight += usize::from(more),
                Received::Pending(pending) => {
                    let call = (id, pending.header.call);
                    session.in_flight += usize::from(handlers.insert(call, pending));
                }
                Received::Cancelled(call) => {
                    let was_here = parked.cancel(Some(id), call) || handlers.cancel((id, call));
                    session.in_flight -= usize::from(was_here);
                }
                // As though it had been lost: the client asks again.
                Received::Unanswered => {}
            }
            Ok(())
        });
        match arrived {
            Arrived::Nothing => {}
            Arrived::Session(id) => self.answer(id),
            Arrived::Authenticated(applicant) => self.look_up(&applicant, time.now, rng),
            Arrived::Ended(id, failure) => self.ended(id, &failure),
        }
    }

    /// Sends what one datagram of a session's was answered with.
    fn answer(&mut self, id: SessionId) {
        let (Some(session), Some(link)) = (self.sessions.get_mut(&id), self.endpoint.link(id))
        else {
            return;
        };
        self.answers.drain(|frames| send(link, frames));
        session.unsent = link.unsent();
        let counters = link.counters();
        if (counters.replayed, counters.failed)
            != (session.recorded.replayed, session.recorded.failed)
        {
            let monitor = &self.common.router.monitor;
            for (reason, count) in [
                ("packet_replayed", counters.replayed - session.recorded.replayed),
                ("packet_not_authentic", counters.failed - session.recorded.failed),
            ] {
                if count > 0 {
                    monitor.packets_refused(&session.caller, reason, count);
                }
            }
            session.recorded = counters;
        }
    }

    /// Over UDP, the one place where a key becomes a principal.
    fn look_up(&mut self, applicant: &Applicant, now: Instant, rng: &mut impl CryptoRng) {
        let Applicant { id, key, channel_id, from } = *applicant;
        let common = Arc::clone(&self.common);
        let [a, b, c, d, e, f, g, h, ..] = channel_id;
        let (name, peer) = ([a, b, c, d, e, f, g, h], from.to_string());
        let fingerprint = key.fingerprint().to_string();
        let monitor = &common.router.monitor;
        let Ok(caller) = monitor.admit(key.as_bytes(), &fingerprint, name, &peer) else {
            metrics::handshakes_refused(UNKNOWN_PRINCIPAL, 1);
            return self.endpoint.refuse(id, Alert::AccessDenied, now);
        };
        let Ok((id, params)) = self.endpoint.admit(id, now) else {
            common.refused(&peer, "bad_parameters", 1);
            return;
        };
        let incarnation = Incarnation::from_bytes(params.incarnation);
        let mut fresh = [0; 8];
        rng.fill_bytes(&mut fresh);
        let Ok(memory) = common.memories.attach(key, incarnation, fresh) else {
            self.endpoint.abort(id, Alert::LimitExceeded, now);
            common.refused(&peer, "too_many_clients", 1);
            return;
        };
        let Some(link) = self.endpoint.link(id) else { return };
        self.answers.clear();
        let memory_id = common.router.memory_id(&memory, common.tcp_port);
        frame::put_memory(memory_id, self.answers.tail());
        if self.draining {
            frame::put_go_away(self.answers.tail());
        }
        self.answers.drain(|frames| send(link, frames));
        let principal = caller.principal().clone();
        let info = Arc::new(SessionInfo { principal, client: key, incarnation, peer });
        let session = Session {
            info,
            caller,
            memory,
            max_frame: params.max_frame,
            max_here: u32::try_from(link.max_message()).unwrap_or(u32::MAX),
            in_flight: 0,
            unsent: 0,
            recorded: Counters::default(),
            _open: OpenSession::count(Carrier::Udp),
        };
        self.sessions.insert(id, session);
    }

    /// A session is over. Its handlers go on to their end, and what they answer is kept for the
    /// client to ask for again.
    fn ended(&mut self, id: SessionId, failure: &Failure) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.parked.forget(id);
        if let Disconnected::Protocol(error) = &failure.why {
            self.common.router.monitor.session_broken(&session.caller, violation(error));
        }
    }

    /// Ends the sessions of callers whom a new revision of the policy does not know by their keys any
    /// more. Their handlers go on as those of any session that ends.
    pub(crate) fn handle_revision(&mut self, now: Instant) {
        let monitor = &self.common.router.monitor;
        let revision = monitor.revision();
        if std::mem::replace(&mut self.revision, revision) == revision {
            return;
        }
        let (endpoint, parked) = (&mut self.endpoint, &mut self.parked);
        self.sessions.retain(|id, session| {
            let welcome = monitor.is_welcome(&session.caller);
            if !welcome {
                monitor.session_revoked(&session.caller);
                endpoint.abort(*id, Alert::AccessDenied, now);
                parked.forget(*id);
            }
            welcome
        });
    }

    /// Begins the calls whose turn it is, runs the handlers that can go on, and sends what they answer.
    pub(crate) fn run_handlers(&mut self, cx: &mut Context<'_>, now: Instant) {
        self.resume(cx, now);
        let (endpoint, sessions) = (&mut self.endpoint, &mut self.sessions);
        self.handlers.poll(cx, |(id, _), mut frame| {
            if let (Some(session), Some(link)) = (sessions.get_mut(&id), endpoint.link(id)) {
                session.in_flight -= 1;
                frame.drain(|frame| send(link, frame));
                session.unsent = link.unsent();
            }
            Flow::Continue
        });
    }

    fn resume(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Poll::Ready(summoned) = self.parked.poll(cx) else { return };
        for summons in summoned {
            // One without a session is refused as it is dropped.
            let Some(id) = summons.waiting.origin else { continue };
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            self.answers.clear();
            session.in_flight -= 1;
            let own = (&mut self.names, &mut self.parked);
            let mut connection =
                session.connection(id, &self.common, own, self.draining, (now, now));
            let router = &self.common.router;
            let resumed = router.resume(summons, &mut connection, &mut self.answers);
            if let Received::Pending(pending) = resumed {
                let call = (id, pending.header.call);
                session.in_flight += usize::from(self.handlers.insert(call, pending));
            }
            self.answer(id);
        }
    }

    /// Answers calls that wait in vain.
    fn refuse_parked(&mut self, waiting: Vec<Waiting>, refusal: &Refusal) {
        for waiting in waiting {
            let Some(id) = waiting.origin else { continue };
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            session.in_flight -= 1;
            self.answers.clear();
            self.common.router.refuse_waiting(waiting, refusal, self.answers.tail());
            self.answer(id);
        }
    }

    /// Puts datagrams into `out`, which is empty; `None` if nothing is to be sent now.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
        max_segments: usize,
    ) -> Option<Transmit> {
        self.endpoint.poll_transmit(now, out, max_segments)
    }

    /// The socket refused the datagrams given out last: they are too long.
    pub(crate) fn too_big(&mut self, size: usize, now: Instant) {
        self.endpoint.too_big(size, now);
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let (endpoint, sessions) = (&mut self.endpoint, &mut self.sessions);
        self.handlers.expire(now, |(id, _), frame| {
            if let (Some(session), Some(link)) = (sessions.get_mut(&id), endpoint.link(id)) {
                session.in_flight -= 1;
                send(link, frame);
            }
        });
        let late = self.parked.expire(now);
        self.refuse_parked(late, &Refusal::DeadlineExceeded(Executed::No));
        let mut ended = Vec::new();
        self.endpoint.handle_timeout(now, &mut |id, failure| ended.push((id, failure)));
        for (id, failure) in ended {
            self.ended(id, &failure);
        }
        if self.draining {
            self.close_quiet(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. To be asked once
    /// [`poll_transmit`](Self::poll_transmit) has nothing more.
    pub(crate) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let quiet = (self.draining && !self.sessions.is_empty()).then(|| now + QUIET / 4);
        let (handlers, parked) = (self.handlers.next_deadline(), self.parked.next_deadline());
        [self.endpoint.next_timeout(), handlers, parked, quiet].into_iter().flatten().min()
    }

    /// Puts on record whose handshakes were turned away.
    pub(crate) fn record_refusals(&mut self) {
        let refusals = self.endpoint.take_refusals();
        for refusal in &refusals.listed {
            self.common.refused(&refusal.from.to_string(), refusal.reason, refusal.count);
        }
        if refusals.unlisted > 0 {
            self.common.refused("many", "various", refusals.unlisted);
        }
    }

    /// Begins to shut down: no new calls, those that run may end.
    pub(crate) fn drain(&mut self, now: Instant) {
        self.draining = true;
        let waiting = self.parked.take_all();
        self.refuse_parked(waiting, &Refusal::Unavailable(Unavailable::Draining));
        let mut go_away = Vec::new();
        frame::put_go_away(&mut go_away);
        for id in self.sessions.keys() {
            if let Some(link) = self.endpoint.link(*id) {
                send(link, &go_away);
            }
        }
        self.close_quiet(now);
    }

    /// Closes the sessions whose clients have all their answers, or do not ask for them.
    fn close_quiet(&mut self, now: Instant) {
        let endpoint = &mut self.endpoint;
        self.sessions.retain(|id, session| {
            let Some(link) = endpoint.link(*id) else { return false };
            let quiet = now.saturating_duration_since(link.last_received()) >= QUIET;
            let done = session.in_flight == 0 && link.unsent() == 0 && quiet;
            if done {
                endpoint.close(*id, now);
            }
            !done
        });
    }

    /// Connections, bytes of messages that are being put together, and handlers at work.
    #[cfg(feature = "simulation")]
    pub(crate) fn usage(&self) -> (usize, usize, usize) {
        (self.endpoint.connections(), self.endpoint.reassembly(), self.handlers.len())
    }

    /// Whether a server that shuts down has nothing more to do.
    pub(crate) fn is_drained(&self) -> bool {
        self.draining && self.sessions.is_empty() && self.handlers.is_empty()
    }
}

impl Session {
    /// What the client's requests come with, which came at the first of the times.
    fn connection<'a>(
        &'a mut self,
        id: SessionId,
        common: &'a Common,
        (names, parked): (&'a mut Names, &'a mut Parked),
        draining: bool,
        (arrived, now): (Instant, Instant),
    ) -> Connection<'a> {
        Connection {
            session: &self.info,
            caller: &mut self.caller,
            names,
            memory: &self.memory,
            tcp_port: common.tcp_port,
            max_frame: self.max_frame,
            max_here: self.max_here,
            max_in_flight: common.router.limits.max_calls_in_flight_udp,
            in_flight: self.in_flight,
            parked,
            origin: Some(id),
            news: News::AtOnce,
            draining,
            arrived,
            late: now.saturating_duration_since(arrived),
            now,
        }
    }
}

/// Queues whole frames. Small ones share packets. One that fits no packet goes in fragments, and
/// so does one that fits none on every path and has been asked for again: nobody acknowledges data
/// packets of ours, so that a path which has become too narrow for them would never be noticed.
fn send(link: &mut Link, frames: &[u8]) {
    let (mut small, mut at) = (0, 0);
    while let Some(length) = frames.get(at..).and_then(|rest| rest.first_chunk::<LENGTH>()) {
        let end = at + LENGTH + u32::from_be_bytes(*length) as usize;
        let Some(frame) = frames.get(at..end) else { break };
        if !Link::fits_any_path(frame.len())
            && let Some((call, attempt)) = frame::answered_by(&frame[LENGTH..])
            && (attempt > 0 || !link.fits_this_path(frame.len()))
        {
            queue(link, &frames[small..at]);
            // What is still on its way from the last time is not sent twice.
            if !link.is_sending(call) {
                let queued = link.send_in_fragments(frame, call);
                debug_assert!(queued.is_ok());
            }
            small = end;
        }
        at = end;
    }
    queue(link, &frames[small..at]);
    // What became of an answer is the client's to find out.
    while link.poll_report().is_some() {}
}

fn queue(link: &mut Link, frames: &[u8]) {
    if !frames.is_empty() {
        // Answers were bounded by what the link takes when they were written.
        let queued = link.send(frames, None);
        debug_assert!(queued.is_ok());
    }
}
