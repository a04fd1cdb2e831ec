//! A channel: the calling side of a session, shared by all who call through it.

use std::{
    fmt,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bailiwick_crypto::{Identity, Psk, PublicKey};
use futures_util::future::join_all;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::Notify, task::JoinHandle, time};

use crate::{
    config::{LimitError, Limits},
    context::Context,
    endpoint::Endpoint,
    error::{CallError, ConnectError, Outcome},
    id::{CallKey, CallNumber, Incarnation},
    net::{
        dialer::{Connection, Dialer},
        redial,
        socket::Socket,
    },
    observe::meters::ClientMeters,
    proto::{
        calls::{LaneId, Reconnect, Rerun},
        client::{SharedCalls, lock},
    },
    service::{Delivery, MethodDescription},
};

mod call; // one call, from its first poll to its answer

use call::Call;

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
    /// `Serialize` of the arguments, and `Deserialize` of an answer of up to 1 KiB, run while the channel is locked:
    /// they must neither poll nor drop its calls, nor wait for who does.
    ///
    /// # Errors
    ///
    /// [`CallError`]; [`CallError::executed`] says whether the call ran.
    pub fn call<'a, A, T, E>(
        &'a self,
        method: &'static MethodDescription,
        cx: &'a Context,
        arguments: &'a A,
    ) -> impl Future<Output = Result<T, CallError<E>>> + use<'a, A, T, E>
    where
        A: Serialize,
        T: DeserializeOwned,
        E: DeserializeOwned,
    {
        Call::new(&self.link, method, cx, arguments)
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
