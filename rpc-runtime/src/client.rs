//! A channel: the calling side of a session, shared by all who call through it.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{self, Poll},
    time::{Duration, Instant},
};

use bailiwick_crypto::{Identity, Params, Psk, PublicKey, RecordLimits, Transport, initiator};
use rand::Rng;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::TcpStream, sync::Notify, task::JoinHandle, time};

use crate::{
    config::Limits,
    context::Context,
    endpoint::Endpoint,
    error::{CallError, ConnectError, Disconnected, Executed},
    id::{CallKey, CallNumber, Incarnation},
    marshal,
    net::{client_driver::ClientDriver, socket::Socket},
    proto::{
        calls::{Answer, BeginError, Calls, Header, Ticket},
        client::{Client, Progress, SharedCalls, lock},
    },
    reply,
    service::MethodDescription,
};

/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(1);

/// A session with a server, to call through. Clones share it; it closes when the last is dropped.
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
}

struct Link {
    /// The connection's task; aborting it is nobody's business but the runtime's.
    connection: Mutex<Option<JoinHandle<()>>>,
    calls: SharedCalls,
    room: Arc<Notify>,
    client: PublicKey,
    server: PublicKey,
    incarnation: Incarnation,
}

impl Channel {
    /// Connects to the server that holds the key `server`, as `identity`.
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
        let timeout = config.limits.handshake_timeout;
        let connecting = async {
            let unreachable =
                |source| ConnectError::Unreachable { endpoint: endpoint.to_string(), source };
            let socket = TcpStream::connect(endpoint.address()).await.map_err(unreachable)?;
            // Batches are formed here; waiting for more would only delay a lone call.
            socket.set_nodelay(true).map_err(unreachable)?;
            Self::over(socket, endpoint.to_string(), server, identity, config).await
        };
        match time::timeout(timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::TimedOut { endpoint: endpoint.to_string(), timeout }),
        }
    }

    /// Runs the handshake over `socket` and leaves the session to a task.
    pub(crate) async fn over(
        socket: impl Socket,
        endpoint: String,
        server: PublicKey,
        identity: Identity,
        config: ChannelConfig,
    ) -> Result<Self, ConnectError> {
        let client = identity.public_key();
        // Call numbers are counted for each channel, so each is a client life of its own.
        let incarnation = fresh_incarnation();
        let calls = Arc::new(Mutex::new(Calls::new(&config.limits)));
        let handshake = initiator::Config {
            transport: Transport::Tcp,
            identity,
            server,
            params: params(&config.limits, incarnation),
            psk: config.psk,
            records: RecordLimits::default(),
        };
        let core = Client::start(handshake, config.limits, Arc::clone(&calls), &mut rand::rng());
        let room = Arc::new(Notify::new());
        let mut driver = ClientDriver::new(socket, core, Arc::clone(&calls), Arc::clone(&room));
        poll_fn(|cx| driver.poll_connected(cx)).await;
        if let Progress::Connected = driver.core.progress() {
            let connection = Mutex::new(Some(tokio::spawn(driver)));
            let link = Link { connection, calls, room, client, server, incarnation };
            return Ok(Self { link: Arc::new(link) });
        }
        Err(match driver.core.into_failure() {
            Ok(source) => ConnectError::NotTrusted { endpoint, source },
            Err((Disconnected::Alert(bailiwick_crypto::Alert::AccessDenied), _)) => {
                ConnectError::AccessDenied { endpoint, identity: client }
            }
            Err((_, false)) => ConnectError::NotThisServer { endpoint, server },
            Err((source, true)) => ConnectError::Ended { endpoint, source },
        })
    }

    /// Closes the session in good order and waits until the server can know, a second at most.
    ///
    /// Dropping the last clone closes it too, but a process that ends right then may be gone
    /// before the close is sent. While other clones are in use this only drops one.
    pub async fn close(self) {
        let connection = match Arc::into_inner(self.link) {
            Some(link) => link.connection.lock().unwrap_or_else(PoisonError::into_inner).take(),
            None => None,
        };
        if let Some(connection) = connection {
            // A connection that does not end by itself is left to the runtime.
            let _ = time::timeout(CLOSE, connection).await;
        }
    }

    /// The key that this channel calls as.
    #[must_use]
    pub fn identity(&self) -> PublicKey {
        self.link.client
    }

    /// The key that the server has proven.
    #[must_use]
    pub fn server(&self) -> PublicKey {
        self.link.server
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
        let ticket = self.link.begin(method, cx, arguments).await?;
        let call = self.link.key(ticket.number());
        let answer = Waiting { link: &self.link, ticket: Some(ticket), begun_now: true }.await;
        reply::read(answer, method, call)
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
        arguments: &A,
    ) -> Result<Ticket, CallError<E>> {
        let mut now = Instant::now();
        let own = method.timeout.and_then(|timeout| now.checked_add(timeout));
        let deadline = own.map_or(cx.deadline(), |own| own.min(cx.deadline()));
        let header = Header { method: method.id, deadline, metadata: cx.metadata() };
        let mut waited = false;
        loop {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            let begun = {
                let mut calls = lock(&self.calls);
                let begun = calls.begin(&header, now, waker, |out| marshal::encode(arguments, out));
                if waited && !calls.is_full() {
                    // Whoever waits behind gets the room that is left.
                    self.room.notify_one();
                }
                begun
            };
            match begun {
                Ok(ticket) => return Ok(ticket),
                Err(BeginError::NotSent(why)) => return Err(CallError::NotSent(why)),
                Err(BeginError::TooLate) => break,
                Err(BeginError::Full) => waited = true,
            }
            if time::timeout_at(deadline.into(), self.room.notified()).await.is_err() {
                break;
            }
            now = Instant::now();
        }
        Err(CallError::DeadlineExceeded { executed: Executed::No })
    }

    fn key(&self, number: CallNumber) -> CallKey {
        CallKey { client: self.client, incarnation: self.incarnation, number }
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
        let polled = lock(&self.link.calls).poll(ticket, cx);
        if polled.is_ready() {
            self.ticket = None;
            self.link.room.notify_one();
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

/// 16 bytes that no other life has.
pub(crate) fn fresh_incarnation() -> Incarnation {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    Incarnation::from_bytes(bytes)
}

/// What this side accepts, as the handshake says it.
pub(crate) fn params(limits: &Limits, incarnation: Incarnation) -> Params {
    Params {
        max_frame: limits.max_frame,
        idle_timeout: limits.idle_timeout,
        max_reassembly: limits.max_message_udp,
        lease: limits.lease,
        ..Params::new(*incarnation.as_bytes())
    }
}
