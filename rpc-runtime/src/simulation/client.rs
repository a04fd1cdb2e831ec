//! A channel over UDP without its tasks: calls in, datagrams and times in and out, answers out.

use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Instant, SystemTime},
};

use bailiwick_crypto::{Identity, PublicKey, Transport};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Serialize, de::DeserializeOwned};

use super::transmits::{SEGMENTS, Transmits};
use crate::{
    client::{ChannelConfig, rerun},
    context::Metadata,
    endpoint::Endpoint,
    error::{CallError, ConnectError, Disconnected, Outcome},
    id::{CallKey, Incarnation},
    net::{
        dialer::Dialer,
        redial::{self, GOOD},
    },
    proto::{
        calls::{BeginError, Header, LaneId, Ticket},
        client::lock,
        udp::client::{Standing, UdpClient},
    },
    reply,
    service::MethodDescription,
};

/// A channel's client over UDP, with the reconnecting that its tasks do.
pub struct SimClient {
    dialer: Dialer,
    server: SocketAddr,
    core: UdpClient,
    rng: StdRng,
    /// Handshakes since the last good session, when the present one began, and when the next
    /// begins.
    attempts: u32,
    begun: Instant,
    redial_at: Option<Instant>,
    transmits: Transmits,
    due: Option<Instant>,
}

/// A call that has begun. Its answer comes once.
#[derive(Debug)]
pub struct SimCall {
    ticket: Ticket,
    method: &'static MethodDescription,
    key: CallKey,
}

impl SimCall {
    /// What names the call for good.
    #[must_use]
    pub fn key(&self) -> CallKey {
        self.key
    }
}

/// How a client stands.
#[derive(Debug)]
pub enum SimStanding {
    /// There has been no session yet.
    Connecting,
    /// There is one.
    Connected,
    /// The last attempt failed.
    Failed(ConnectError),
    /// The last session has ended.
    Ended(Disconnected),
}

impl SimClient {
    /// A life of a client's process, which begins to connect. `seed` decides its chances, its
    /// incarnation among them.
    #[must_use]
    pub fn start(
        identity: Identity,
        server: PublicKey,
        address: SocketAddr,
        config: ChannelConfig,
        seed: u64,
        now: Instant,
    ) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let endpoint = Endpoint::udp(address.to_string());
        // No machine sleeps here, whatever the time is outside.
        let calendar = || SystemTime::UNIX_EPOCH;
        let mut dialer = Dialer::new(endpoint, server, identity, config, calendar);
        let mut incarnation = [0; 16];
        rng.fill_bytes(&mut incarnation);
        dialer.incarnation = Incarnation::from_bytes(incarnation);
        Self {
            core: dial(&dialer, address, now, &mut rng),
            dialer,
            server: address,
            rng,
            attempts: 0,
            begun: now,
            redial_at: None,
            transmits: Transmits::default(),
            due: None,
        }
    }

    /// Begins a call with these arguments; `None` if as many as allowed are under way.
    ///
    /// # Errors
    ///
    /// [`CallError`]: nothing was sent.
    pub fn begin<E>(
        &mut self,
        method: &'static MethodDescription,
        deadline: Instant,
        arguments: &impl Serialize,
    ) -> Result<Option<SimCall>, CallError<E>> {
        let rerun = rerun(method.delivery);
        let metadata = &Metadata::default();
        let header = Header { method: method.id, rerun, deadline, metadata };
        let waker = Waker::noop().clone();
        let begun = lock(&self.dialer.calls).begin(&header, waker, |draft| draft.encode(arguments));
        match begun {
            Ok(ticket) => {
                let client = self.dialer.identity.public_key();
                let (incarnation, number) = (self.dialer.incarnation, ticket.number());
                let key = CallKey { client, incarnation, number };
                Ok(Some(SimCall { ticket, method, key }))
            }
            Err(BeginError::Full) => Ok(None),
            Err(BeginError::NotSent(why)) => Err(CallError::NotSent(why)),
        }
    }

    /// How the call ended, once it has; it must not be asked for again then.
    pub fn poll<T, E>(&mut self, call: &SimCall) -> Option<Result<T, CallError<E>>>
    where
        T: DeserializeOwned,
        E: DeserializeOwned,
    {
        let cx = &mut Context::from_waker(Waker::noop());
        match lock(&self.dialer.calls).poll(&call.ticket, cx) {
            Poll::Ready(answer) => Some(reply::read(&answer, call.method, call.key)),
            Poll::Pending => None,
        }
    }

    /// Nobody waits for the call any more.
    pub fn cancel(&mut self, call: &SimCall) {
        lock(&self.dialer.calls).abandon(&call.ticket);
    }

    /// What became of a call that ended without an answer, once the server has said so.
    pub fn outcome(&mut self, call: CallKey) -> Option<Outcome> {
        if call.incarnation != self.dialer.incarnation {
            return Some(Outcome::Unknown);
        }
        let cx = &mut Context::from_waker(Waker::noop());
        match lock(&self.dialer.calls).poll_outcome(call.number.get(), cx) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    /// How the client stands.
    #[must_use]
    pub fn standing(&self) -> SimStanding {
        match self.core.standing() {
            Standing::Connecting => SimStanding::Connecting,
            Standing::Connected => SimStanding::Connected,
            Standing::Failed(error) => {
                SimStanding::Failed(self.dialer.cannot_dial(error, self.server.to_string()))
            }
            Standing::Ended(why) => SimStanding::Ended(why.clone()),
        }
    }

    /// Ends the session in good order.
    pub fn close(&mut self, now: Instant) {
        self.core.close(now);
    }

    /// Takes one datagram, which is changed.
    pub fn handle_datagram(&mut self, from: SocketAddr, datagram: &mut [u8], now: Instant) {
        self.core.handle_datagram(datagram, from, now, &mut self.rng);
    }

    /// The next datagram to send, until there is none.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        let Self { core, rng, .. } = self;
        let next = self.transmits.next(|batch| core.poll_transmit(now, rng, batch, SEGMENTS));
        if next.is_none() {
            self.plan_redial(now);
            let due = self.core.next_timeout(now);
            self.due = [due, self.redial_at].into_iter().flatten().min();
        }
        next
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.core.handle_timeout(now, &mut self.rng);
        if self.redial_at.is_some_and(|at| at <= now) {
            (self.redial_at, self.begun) = (None, now);
            self.attempts = self.attempts.saturating_add(1);
            self.core = dial(&self.dialer, self.server, now, &mut self.rng);
        }
    }

    /// The first hop does not take datagrams of this length.
    pub fn handle_too_big(&mut self, length: usize, now: Instant) {
        self.core.too_big(length, now);
    }

    /// As the tasks of `net::redial` do.
    fn plan_redial(&mut self, now: Instant) {
        if self.redial_at.is_some() {
            return;
        }
        match self.standing() {
            SimStanding::Connecting | SimStanding::Connected => return,
            SimStanding::Failed(error) => {
                redial::failed(&mut lock(&self.dialer.calls), &error);
            }
            SimStanding::Ended(_) if now.saturating_duration_since(self.begun) >= GOOD => {
                self.attempts = 0;
            }
            SimStanding::Ended(_) => {}
        }
        if lock(&self.dialer.calls).wants_connection(LaneId::Main) {
            let pause = redial::pause(self.attempts, self.dialer.limits(), &mut self.rng);
            self.redial_at = Some(now + pause);
        }
    }
}

fn dial(dialer: &Dialer, server: SocketAddr, now: Instant, rng: &mut StdRng) -> UdpClient {
    let (handshake, limits) = (dialer.handshake(Transport::Udp), dialer.limits().clone());
    UdpClient::start(handshake, server, limits, Arc::clone(&dialer.calls), now, rng)
}

impl std::fmt::Debug for SimClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimClient").field("standing", &self.standing()).finish_non_exhaustive()
    }
}
