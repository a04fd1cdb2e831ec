//! A server's connection as a task: handshake, look-up, then requests in and answers out.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bailiwick_acl::Caller;
use bailiwick_crypto::{record::Alert, responder};
use futures_util::FutureExt;

use super::{
    admission::Entered,
    busy_poll::BusyPoll,
    drain::Drain,
    handlers::Handlers,
    orphans::Orphans,
    quiet::Quiet,
    revisions::{Listening, Revisions},
    socket::{self, Socket},
    timer::Timer,
};
use crate::{
    clock,
    context::SessionInfo,
    dispatch::News,
    error::{Executed, ProtocolError, Unavailable},
    metrics,
    object::Names,
    observe::meters::OpenSession,
    overload::{Lateness, Parked, Waiting},
    policy_file::reload::Reloader,
    proto::{
        input::Input,
        memories::{Attached, Memories},
        server::Server,
        session::Flow,
    },
    reply::Refusal,
    router::{Connection, Received, Router},
};

mod handshake; // until the client is let in

/// Reads in a row before other tasks get their turn.
const TURNS: usize = 16;

/// After the last record is sent, what still comes is read and discarded for this long...
const LINGER: Duration = Duration::from_secs(1);

/// ...or for this many bytes, so that the last record is not lost to a reset.
const LINGER_BYTES: usize = 64 * 1024;

/// When a client may try again whose calls were not begun because it takes no answers.
const CHOKED: Duration = Duration::from_millis(50);

/// How often a connection that owes an answer looks whether a service has read its log.
const RECOVERED: Duration = Duration::from_millis(50);

/// What a key that the policy does not know is refused for; its record is the monitor's.
pub(super) const UNKNOWN_PRINCIPAL: &str = "unknown_principal";

/// What all connections of a server share.
pub(crate) struct Common {
    pub(crate) router: Router,
    pub(crate) handshake: responder::Config,
    pub(crate) memories: Memories,
    pub(crate) orphans: Orphans,
    pub(crate) revisions: Arc<Revisions>,
    /// Where the next policy comes from, and the next that is judged beside it.
    pub(crate) policy: Arc<Reloader>,
    pub(crate) shadow: Option<Arc<Reloader>>,
    /// The first port that takes connections over TCP; 0 if none does.
    pub(crate) tcp_port: u16,
}

pub(crate) struct ServerDriver<S> {
    socket: S,
    core: Server,
    common: Arc<Common>,
    peer: String,
    entered: Option<Entered>,
    session: Option<Connected>,
    handlers: Handlers,
    parked: Parked,
    names: Names,
    timer: Timer,
    busy_poll: BusyPoll,
    quiet: Quiet,
    handshake_until: Instant,
    drain: Drain,
    draining: bool,
    /// The client sends nothing more, and has said so.
    input_ended: bool,
    /// A request came that could not be answered truly while so many services read their logs. Once
    /// there are fewer the connection ends, so that the client asks again over the next one.
    unanswered: Option<usize>,
    /// Requests wait in the input until the client has taken some of its answers.
    paused: bool,
    /// When the input came last.
    arrived: Instant,
    /// Set once the connection has ended.
    finish_by: Option<Instant>,
    discarded: usize,
}

struct Connected {
    info: Arc<SessionInfo>,
    caller: Caller,
    memory: Attached,
    /// Counts the session until it ends.
    _open: OpenSession,
    /// The revision of the policy under which the caller was known last.
    revision: u64,
    listening: Listening,
}

impl Connected {
    /// What the client's requests come with, which came at the first of the times.
    fn connection<'a>(
        &'a mut self,
        common: &'a Common,
        (names, parked): (&'a mut Names, &'a mut Parked),
        max_frame: u32,
        draining: bool,
        (arrived, now): (Instant, Instant),
    ) -> Connection<'a> {
        Connection {
            session: &self.info,
            caller: &mut self.caller,
            names,
            memory: &self.memory,
            tcp_port: common.tcp_port,
            max_frame,
            max_here: max_frame,
            max_in_flight: common.router.limits.max_calls_in_flight,
            in_flight: 0,
            parked,
            origin: None,
            news: News::WhenAsked,
            draining,
            arrived,
            late: Duration::ZERO,
            now,
        }
    }
}

impl Common {
    /// Puts on record, and counts, that so many handshakes failed alike.
    pub(crate) fn refused(&self, peer: &str, reason: &'static str, count: u64) {
        metrics::handshakes_refused(reason, count);
        self.router.monitor.handshakes_refused(peer, reason, count);
    }

    /// Forgets the clients whose lease is over. To be called about once a second.
    pub(crate) fn expire(&self, now: Instant) {
        self.memories.expire(&self.router.books, now);
    }
}

impl<S: Socket> ServerDriver<S> {
    /// `entered` counts the connection until it ends.
    pub(crate) fn new(
        socket: S,
        peer: String,
        entered: Option<Entered>,
        common: Arc<Common>,
        drain: Drain,
    ) -> Self {
        let limits = common.router.limits.clone();
        let now = clock::now();
        Self {
            handshake_until: now + limits.handshake_timeout,
            arrived: now,
            busy_poll: BusyPoll::new(limits.busy_poll),
            core: Server::new(limits),
            socket,
            common,
            peer,
            entered,
            session: None,
            handlers: Handlers::default(),
            parked: Parked::default(),
            names: Names::default(),
            timer: Timer::default(),
            quiet: Quiet::default(),
            drain,
            draining: false,
            input_ended: false,
            unanswered: None,
            paused: false,
            finish_by: None,
            discarded: 0,
        }
    }

    fn pump(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let now = clock::now();
            self.handle_time(cx, now);
            self.handle_revision(cx, now);
            self.resume(cx, now);
            self.run_handlers(cx);
            if self.core.has_unsent() {
                self.quiet.disturb(now);
            }
            let mut written = self.write(cx, now);
            if self.close_if_done(now) {
                written = self.write(cx, now);
            }
            if let Poll::Ready(Err(_)) = written {
                self.core.handle_end_of_stream();
            }
            if self.core.ended().is_some() {
                return self.poll_finish(cx, written, now);
            }
            if self.read(cx) {
                self.busy_poll.found();
                self.quiet.disturb(now);
                continue;
            }
            if self.quiet.has_come(now) {
                self.core.rest();
                self.names.rest();
            }
            if !self.timer.arm(self.next_timeout(), cx) {
                // Either it has yielded, or it sleeps.
                self.busy_poll.looks_again(cx);
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Begins the calls whose turn it is, and answers those that wait in vain.
    fn resume(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Poll::Ready(summoned) = self.parked.poll(cx) else { return };
        let Some(session) = &mut self.session else { return };
        let (router, max_frame) = (&self.common.router, self.core.peer_max_frame());
        let mut lateness = Lateness::since(now);
        for summons in summoned {
            let now = lateness.next(clock::now);
            if self.core.is_choked() {
                // A client that takes no answers gets no handler run.
                let overloaded = Refusal::Overloaded { retry_after: CHOKED };
                router.refuse_waiting(summons.waiting, &overloaded, self.core.frames().tail());
                continue;
            }
            let own = (&mut self.names, &mut self.parked);
            let mut connection =
                session.connection(&self.common, own, max_frame, self.draining, (now, now));
            let resumed = router.resume(summons, &mut connection, self.core.frames());
            if let Received::Pending(pending) = resumed {
                self.handlers.insert(pending.header.call, pending);
            }
        }
    }

    fn refuse_parked(&mut self, late: Vec<Waiting>, refusal: &Refusal) {
        for waiting in late {
            self.common.router.refuse_waiting(waiting, refusal, self.core.frames().tail());
        }
    }

    fn run_handlers(&mut self, cx: &mut Context<'_>) {
        let room = self.core.room();
        if room == 0 {
            return self.handlers.give_up_slots();
        }
        let frames = self.core.frames();
        let full = frames.len().saturating_add(room);
        self.handlers.poll(cx, |_, mut frame| {
            frames.append(&mut frame);
            if frames.len() < full { Flow::Continue } else { Flow::Pause }
        });
    }

    fn handle_time(&mut self, cx: &mut Context<'_>, now: Instant) {
        if !self.draining && self.drain.poll_unpin(cx).is_ready() {
            self.draining = true;
            let waiting = self.parked.take_all();
            self.refuse_parked(waiting, &Refusal::Unavailable(Unavailable::Draining));
            match self.session {
                Some(_) => self.core.go_away(),
                None => self.core.handle_end_of_stream(),
            }
        }
        if self.timer.is_due(now) {
            let frames = self.core.frames().tail();
            self.handlers.expire(now, |_, frame| frames.extend_from_slice(frame));
            let late = self.parked.expire(now);
            self.refuse_parked(late, &Refusal::DeadlineExceeded(Executed::No));
            self.core.handle_timeout(now);
            let half_open = self.session.is_none() && self.core.ended().is_none();
            if half_open && self.handshake_until <= now {
                self.refuse_handshake("handshake_timeout");
                self.core.handle_end_of_stream();
            }
        }
    }

    /// Ends the session of a caller whom a new revision of the policy does not know by its key any
    /// more. Its handlers go on as those of any connection that ends.
    fn handle_revision(&mut self, cx: &Context<'_>, now: Instant) {
        let Some(session) = &mut self.session else { return };
        session.listening.listen(cx);
        let monitor = &self.common.router.monitor;
        let revision = monitor.revision();
        if std::mem::replace(&mut session.revision, revision) == revision {
            return;
        }
        if self.core.ended().is_none() && !monitor.is_welcome(&session.caller) {
            monitor.session_revoked(&session.caller);
            self.core.abort(Alert::AccessDenied, now);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let handshake = self.session.is_none().then_some(self.handshake_until);
        let recovered = self.unanswered.map(|_| clock::now() + RECOVERED);
        let (handlers, parked) = (self.handlers.next_deadline(), self.parked.next_deadline());
        [handshake, self.core.next_timeout(), handlers, parked, recovered, self.quiet.at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether what could not be answered before can be answered now, if the client asks again.
    fn is_to_be_asked_again(&self) -> bool {
        self.unanswered.is_some_and(|before| self.common.router.books.recovering() < before)
    }

    /// Closes once the client has closed, the server drains, or the client has to ask again, and all
    /// other calls are answered; `true` if it has done so.
    fn close_if_done(&mut self, now: Instant) -> bool {
        let last = self.core.is_closing() || self.draining || self.is_to_be_asked_again();
        let answered = self.handlers.is_empty() && self.parked.is_empty();
        let done = last && answered && !self.core.has_unsent();
        if done && self.core.ended().is_none() {
            self.core.close(now);
            return true;
        }
        false
    }

    /// Seals and writes what waits.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<io::Result<()>> {
        while self.core.handle_transmit(now) {
            ready!(socket::poll_write(&mut self.socket, &mut self.core.output, cx))?;
            if !self.core.has_unsent() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, or goes on with what was read; `false` if nothing can be done.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        if self.core.is_choked() || self.input_ended || self.is_to_be_asked_again() {
            return false;
        }
        if self.paused {
            self.handle_requests(clock::now());
            return true;
        }
        let mut read = socket::poll_read(&mut self.socket, &mut self.core.input, cx);
        if read.is_pending() {
            let looks = self.busy_poll.looks();
            read = socket::look(&self.socket, &mut self.core.input, looks);
        }
        match read {
            // The client has closed in good order; what it asked for before is still answered.
            Poll::Ready(Ok(0)) if self.core.is_closing() => self.input_ended = true,
            Poll::Ready(Ok(0)) => self.end_of_stream("closed_in_handshake"),
            Poll::Ready(Ok(_)) => {
                self.arrived = clock::now();
                self.handle_input(cx, self.arrived);
            }
            Poll::Ready(Err(_)) => self.end_of_stream("broken_in_handshake"),
            Poll::Pending => return false,
        }
        true
    }

    fn end_of_stream(&mut self, reason: &'static str) {
        // A connection that says nothing, a health check perhaps, is not a refusal.
        if self.session.is_none() && self.core.input.len() > 0 {
            self.refuse_handshake(reason);
        }
        self.core.handle_end_of_stream();
    }

    fn handle_input(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.session.is_none() {
            self.handle_handshake(cx, now);
        }
        self.handle_requests(now);
    }

    fn handle_requests(&mut self, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let (router, max_frame) = (&self.common.router, self.core.peer_max_frame());
        let own = (&mut self.names, &mut self.parked);
        let times = (self.arrived, now);
        let mut connection = session.connection(&self.common, own, max_frame, self.draining, times);
        let mut lateness = Lateness::of(self.arrived, now);
        let (handlers, unanswered) = (&mut self.handlers, &mut self.unanswered);
        let flow = self.core.handle_input(now, |frame, out| {
            connection.in_flight = handlers.len() + connection.parked.len();
            connection.now = lateness.next(clock::now);
            connection.late = lateness.late();
            match router.receive(&frame, &mut connection, out)? {
                Received::Done | Received::Parked { .. } => {}
                Received::Pending(pending) => {
                    handlers.insert(pending.header.call, pending);
                }
                Received::Cancelled(call) => {
                    if !connection.parked.cancel(None, call) {
                        handlers.cancel(call);
                    }
                }
                Received::Unanswered => {
                    unanswered.get_or_insert(router.books.recovering());
                }
            }
            Ok(())
        });
        self.paused = flow == Flow::Pause;
        if let Some(error) = self.core.violation() {
            router.monitor.session_broken(&session.caller, violation(&error));
        }
    }

    /// Sends what is left, shuts the sending side down and discards what still comes, all within
    /// bounds.
    fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<()>>,
        now: Instant,
    ) -> Poll<()> {
        self.common.orphans.adopt(&mut self.handlers);
        self.parked = Parked::default();
        let until = *self.finish_by.get_or_insert(now + LINGER);
        if now >= until {
            return Poll::Ready(());
        }
        self.timer.disarm();
        if self.timer.arm(Some(until), cx) {
            return Poll::Ready(());
        }
        if ready!(written).is_ok() {
            let _ = ready!(Pin::new(&mut self.socket).poll_shutdown(cx));
        }
        while self.discarded < LINGER_BYTES {
            let mut discard = Input::default();
            match ready!(socket::poll_read(&mut self.socket, &mut discard, cx)) {
                Ok(count @ 1..) => self.discarded += count,
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

/// What a breach of the protocol is called on record.
pub(super) fn violation(error: &ProtocolError) -> &'static str {
    match error {
        ProtocolError::Record => "record_not_authentic",
        ProtocolError::RecordRule => "record_against_rules",
        ProtocolError::CallNumber => "call_number_out_of_range",
        _ => "malformed_frame",
    }
}

impl<S: Socket> Future for ServerDriver<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().pump(cx)
    }
}
