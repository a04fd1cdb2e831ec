//! A channel: the calling side of a session, shared by all who call through it.

use std::{
    fmt,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
    time::{Duration, SystemTime},
};

use bailiwick_crypto::{Identity, Psk, PublicKey};
use futures_util::future::join_all;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::Notify, task::JoinHandle, time};

use crate::{
    clock,
    config::{LimitError, Limits},
    context::{Context, Metadata},
    endpoint::Endpoint,
    error::{CallError, ConnectError, Executed, Outcome},
    id::{CallKey, CallNumber, Incarnation},
    net::{
        dialer::{Connection, Dialer},
        redial,
        socket::Socket,
    },
    observe::{calls::ObservedCall, meters::ClientMeters},
    proto::{
        calls::{Answer, BeginError, Header, LaneId, Reconnect, Rerun, Ticket},
        client::{SharedCalls, lock},
    },
    reply,
    service::{Delivery, MethodDescription},
};

/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(1);

/// A session with a server, to call through; it reconnects by itself. Clones share it; it closes
/// when the last is dropped.
///
/// Any number of calls can be under way at once; those that begin together travel together.
#[derive(Clone)]
pub struct Channel {
    link: Arc<Link>,
}

/// How a channel is made, beside where to and who as.
#[derive(Clone, Debug, Default)]
pub struct ChannelConfig {
    /// Bounds and times.
    pub limits: Limits,
    /// A secret that the server's key is configured with too, mixed into the session's keys.
    /// Default: none.
    pub psk: Option<Psk>,
    /// What becomes of calls whose connection ends. Default: they wait for the next one.
    pub reconnect: Reconnect,
}

struct Link {
    /// The connections' tasks; aborting them is nobody's business but the runtime's.
    connections: Mutex<Vec<JoinHandle<()>>>,
    calls: SharedCalls,
    room: Arc<Notify>,
    client: PublicKey,
    server: PublicKey,
    incarnation: Incarnation,
    meters: ClientMeters,
    max_metadata: usize,
}

impl Channel {
    /// Connects to the server that holds the key `server`, as `identity`.
    ///
    /// A connection that is lost later is made anew when there is something to send, after a
    /// random pause that grows from attempt to attempt; see [`Reconnect`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says whether the server cannot be reached, is not the one with this key,
    /// or does not admit this identity.
    pub async fn connect(
        endpoint: Endpoint,
        server: PublicKey,
        identity: Identity,
    ) -> Result<Self, ConnectError> {
        Self::connect_with(endpoint, server, identity, ChannelConfig::default()).await
    }

    /// As [`connect`](Self::connect), with limits and a pre-shared key of one's own.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and [`ConnectError::Limits`].
    pub async fn connect_with(
        endpoint: Endpoint,
        server: PublicKey,
        identity: Identity,
        config: ChannelConfig,
    ) -> Result<Self, ConnectError> {
        config.limits.check()?;
        let dialer = Dialer::new(endpoint, server, identity, config, SystemTime::now);
        let connection = dialer.dial(LaneId::Main).await?;
        Ok(Self::of(dialer, Some(connection)))
    }

    /// A channel that connects when the first call is made. That call leaves with the handshake's last
    /// message, a round trip sooner than behind [`connect`](Self::connect), and servers and clients may be
    /// started in any order: until its deadline a call waits for a server that is not there yet.
    ///
    /// What `connect` reports, calls report: [`CallError::NotSent`] says why there is no connection, at once
    /// if the server does not let this identity in. If a connection breaks before any server has answered
    /// anything, calls that left with it end [`CallError::OutcomeUnknown`], durable ones too, unless their
    /// methods are readonly or idempotent.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn connect_lazy(endpoint: Endpoint, server: PublicKey, identity: Identity) -> Self {
        Self::lazy(endpoint, server, identity, ChannelConfig::default())
    }

    /// As [`connect_lazy`](Self::connect_lazy), with limits and a pre-shared key of one's own.
    ///
    /// # Errors
    ///
    /// [`LimitError`] if a limit is out of range.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn connect_lazy_with(
        endpoint: Endpoint,
        server: PublicKey,
        identity: Identity,
        config: ChannelConfig,
    ) -> Result<Self, LimitError> {
        config.limits.check()?;
        Ok(Self::lazy(endpoint, server, identity, config))
    }

    fn lazy(
        endpoint: Endpoint,
        server: PublicKey,
        identity: Identity,
        config: ChannelConfig,
    ) -> Self {
        let dialer = Dialer::new(endpoint, server, identity, config, SystemTime::now);
        Self::of(dialer, None)
    }

    /// As [`connect_with`](Self::connect_with), over streams that `connector` makes. For simulated
    /// networks.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](Self::connect_with).
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub async fn connect_by<F, S>(
        connector: impl Fn() -> F + Send + Sync + 'static,
        server: PublicKey,
        identity: Identity,
        config: ChannelConfig,
    ) -> Result<Self, ConnectError>
    where
        F: Future<Output = std::io::Result<S>> + Send + 'static,
        S: crate::net::simulated::Stream,
    {
        config.limits.check()?;
        let endpoint = Endpoint::tcp("simulated");
        let mut dialer = Dialer::new(endpoint, server, identity, config, SystemTime::now);
        dialer.connector = Some(crate::net::simulated::connector(connector));
        let connection = dialer.dial(LaneId::Main).await?;
        Ok(Self::of(dialer, Some(connection)))
    }

    /// Runs the handshake over `socket` and leaves the session to a task. There is no other
    /// connection once this one ends.
    pub(crate) async fn over(
        socket: impl Socket,
        endpoint: Endpoint,
        server: PublicKey,
        identity: Identity,
        config: ChannelConfig,
    ) -> Result<Self, ConnectError> {
        let config = ChannelConfig { reconnect: Reconnect::Never, ..config };
        let dialer = Dialer::new(endpoint, server, identity, config, SystemTime::now);
        let connection = dialer.over(socket, LaneId::Main).await?;
        Ok(Self::of(dialer, Some(connection)))
    }

    fn of(dialer: Dialer, connection: Option<Connection>) -> Self {
        let link = Link {
            connections: Mutex::default(),
            calls: Arc::clone(&dialer.calls),
            room: Arc::clone(&dialer.room),
            client: dialer.identity.public_key(),
            server: dialer.server,
            incarnation: dialer.incarnation,
            meters: ClientMeters::open(),
            max_metadata: dialer.limits().max_metadata,
        };
        let tasks = redial::spawn(dialer, connection);
        *link.connections.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
        Self { link: Arc::new(link) }
    }

    /// Closes the session in good order and waits until the server can know, a second at most.
    ///
    /// Dropping the last clone closes it too, but a process that ends right then may be gone
    /// before the close is sent. While other clones are in use this only drops one.
    pub async fn close(self) {
        let Some(link) = Arc::into_inner(self.link) else { return };
        let connections =
            mem::take(&mut *link.connections.lock().unwrap_or_else(PoisonError::into_inner));
        drop(link);
        // A connection that does not end by itself is left to the runtime.
        let _ = time::timeout(CLOSE, join_all(connections)).await;
    }

    /// The key that this channel calls as.
    #[must_use]
    pub fn identity(&self) -> PublicKey {
        self.link.client
    }

    /// The key that the server proves at each connection.
    #[must_use]
    pub fn server(&self) -> PublicKey {
        self.link.server
    }

    /// What became of a call that ended without an answer: [`CallError::OutcomeUnknown`] and
    /// [`CallError::DeadlineExceeded`] have its key. The server is asked, once there is a
    /// connection to it; a call that it has not run by then never runs.
    ///
    /// The answer is [`Outcome::Unknown`] if `cx` ends first, if the call is not one of this
    /// channel's, or if it ended longer ago than [`Limits::lease`].
    pub async fn outcome(&self, cx: &Context, call: CallKey) -> Outcome {
        if call.client != self.link.client || call.incarnation != self.link.incarnation {
            return Outcome::Unknown;
        }
        let number = call.number.get();
        let known = poll_fn(|cx| lock(&self.link.calls).poll_outcome(number, cx));
        time::timeout_at(cx.deadline().into(), known).await.unwrap_or(Outcome::Unknown)
    }

    /// Calls `method`. The stubs that `#[rpc_service]` writes are this call and nothing else.
    ///
    /// Dropping the future tells the server that nobody waits; the call may have run.
    ///
    /// # Errors
    ///
    /// [`CallError`]; [`CallError::executed`] says whether the call ran.
    pub async fn call<A, T, E>(
        &self,
        method: &'static MethodDescription,
        cx: &Context,
        arguments: &A,
    ) -> Result<T, CallError<E>>
    where
        A: Serialize,
        T: DeserializeOwned,
        E: DeserializeOwned,
    {
        let link = &self.link;
        let observed = ObservedCall::begin(&link.meters, method, cx, link.max_metadata);
        let result = match link.begin(method, cx, observed.metadata(cx), arguments).await {
            Ok(ticket) => {
                let call = link.key(ticket.number());
                observed.numbered(call.number);
                let answer = Waiting { link, ticket: Some(ticket), begun_now: true }.await;
                reply::read(answer, method, call)
            }
            Err(error) => Err(error),
        };
        observed.end(&result);
        result
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("server", &self.link.server)
            .field("client", &self.link.client)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Marshals a request, once there is room for it.
    async fn begin<A: Serialize, E>(
        &self,
        method: &MethodDescription,
        cx: &Context,
        metadata: &Metadata,
        arguments: &A,
    ) -> Result<Ticket, CallError<E>> {
        // The clock is not read for each call: what is too late is found when it would be sent.
        let own = method.timeout.and_then(|timeout| clock::now().checked_add(timeout));
        let deadline = own.map_or(cx.deadline(), |own| own.min(cx.deadline()));
        let rerun = rerun(method.delivery);
        let header = Header { method: method.id, rerun, deadline, metadata };
        let mut waited = false;
        loop {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let begun = {
                let mut calls = lock(&self.calls);
                let begun = calls.begin(&header, waker, |draft| draft.encode(arguments));
                if waited && !calls.is_full() {
                    // Whoever waits behind gets the room that is left.
                    self.room.notify_one();
                }
                begun
            };
            match begun {
                Ok(ticket) => return Ok(ticket),
                Err(BeginError::NotSent(why)) => return Err(CallError::NotSent(why)),
                Err(BeginError::Full) => waited = true,
            }
            // In a box: each call is as large as the future that waits here, and few do.
            let room = Box::pin(time::timeout_at(deadline.into(), self.room.notified()));
            if room.await.is_err() {
                return Err(CallError::DeadlineExceeded { executed: Executed::No, call: None });
            }
        }
    }

    fn key(&self, number: CallNumber) -> CallKey {
        CallKey { client: self.client, incarnation: self.incarnation, number }
    }
}

/// Whether a server that has forgotten a call of such a method may run it again.
pub(crate) fn rerun(delivery: Delivery) -> Rerun {
    match delivery {
        Delivery::Readonly | Delivery::Idempotent => Rerun::Allowed,
        Delivery::AtMostOnce => Rerun::Forbidden,
        Delivery::Durable => Rerun::Durable,
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        lock(&self.calls).abandon_all();
    }
}

/// A call that has begun and waits for its answer.
struct Waiting<'a> {
    link: &'a Link,
    ticket: Option<Ticket>,
    /// Not polled yet: the call has begun in this same poll of the task, with its waker.
    begun_now: bool,
}

impl Future for Waiting<'_> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Answer> {
        if std::mem::take(&mut self.begun_now) {
            return Poll::Pending;
        }
        let Some(ticket) = &self.ticket else { return Poll::Pending };
        let mut calls = lock(&self.link.calls);
        let (polled, crowded) = (calls.poll(ticket, cx), calls.is_crowded());
        drop(calls);
        if polled.is_ready() {
            self.ticket = None;
            if crowded {
                self.link.room.notify_one();
            }
        }
        polled
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            lock(&self.link.calls).abandon(ticket);
            self.link.room.notify_one();
        }
    }
}
