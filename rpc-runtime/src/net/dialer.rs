//! Making a connection for a channel, the first time and again.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bailiwick_crypto::{
    Alert, HandshakeError, Identity, Params, PublicKey, RecordLimits, Transport, initiator,
};
use rand::Rng;
use tokio::{net::TcpStream, sync::Notify, time};

use super::{
    client_driver::ClientDriver, socket::Socket, udp_client_driver::UdpClientDriver, udp_socket,
};
use crate::{
    client::ChannelConfig,
    clock,
    config::Limits,
    endpoint::Endpoint,
    error::{ConnectError, Disconnected},
    id::Incarnation,
    proto::{
        calls::{Calendar, Calls, LaneId, Read, Reconnect},
        client::{Client, Progress, SharedCalls, lock},
        udp::{
            client::{Standing, UdpClient},
            dial::DialError,
        },
    },
};

/// A connection that stands, to be driven until it ends.
pub(crate) type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a channel needs to connect.
pub(crate) struct Dialer {
    endpoint: Endpoint,
    pub(crate) server: PublicKey,
    pub(crate) identity: Identity,
    config: ChannelConfig,
    pub(crate) incarnation: Incarnation,
    pub(crate) calls: SharedCalls,
    /// Wakes callers that wait for one of the others to finish.
    pub(crate) room: Arc<Notify>,
    /// Makes streams in place of TCP's.
    #[cfg(feature = "simulation")]
    pub(crate) connector: Option<super::simulated::Connector>,
}

impl Dialer {
    pub(crate) fn new(
        endpoint: Endpoint,
        server: PublicKey,
        identity: Identity,
        config: ChannelConfig,
        calendar: Calendar,
    ) -> Self {
        let max_in_flight = match endpoint {
            Endpoint::Tcp(_) => config.limits.max_calls_in_flight,
            Endpoint::Udp(_) => config.limits.max_calls_in_flight_udp,
        };
        let calls = Calls::new(&config.limits, max_in_flight, config.reconnect, calendar);
        Self {
            endpoint,
            server,
            identity,
            config,
            // Call numbers are counted for each channel, so each is a client life of its own.
            incarnation: fresh_incarnation(),
            calls: Arc::new(Mutex::new(calls)),
            room: Arc::default(),
            #[cfg(feature = "simulation")]
            connector: None,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }

    pub(crate) fn reconnect(&self) -> Reconnect {
        self.config.reconnect
    }

    /// Whether messages that are too long for the main connection can go by another.
    pub(crate) fn has_bulk_lane(&self) -> bool {
        matches!(self.endpoint, Endpoint::Udp(_))
    }

    /// Connects and runs the handshake.
    pub(crate) async fn dial(&self, lane: LaneId) -> Result<Connection, ConnectError> {
        #[cfg(feature = "simulation")]
        if let Some(connector) = &self.connector {
            return self.dial_by(connector, lane).await;
        }
        match (&self.endpoint, lane) {
            (Endpoint::Tcp(address), _) => self.dial_tcp(address.clone(), lane).await,
            (Endpoint::Udp(address), LaneId::Main) => self.dial_udp(address).await,
            (Endpoint::Udp(address), LaneId::Bulk) => {
                let port = lock(&self.calls).tcp_port().unwrap_or_default();
                let host = address.rsplit_once(':').map_or("", |(host, _)| host);
                self.dial_tcp(format!("{host}:{port}"), lane).await
            }
        }
    }

    async fn dial_tcp(&self, address: String, lane: LaneId) -> Result<Connection, ConnectError> {
        let endpoint = Endpoint::Tcp(address);
        let connecting = async {
            let unreachable =
                |source| ConnectError::Unreachable { endpoint: endpoint.to_string(), source };
            let socket = TcpStream::connect(endpoint.address()).await.map_err(unreachable)?;
            // Batches are formed here; waiting for more would only delay a lone call.
            socket.set_nodelay(true).map_err(unreachable)?;
            self.over(socket, lane).await
        };
        self.in_time(&endpoint, lane, connecting).await
    }

    #[cfg(feature = "simulation")]
    async fn dial_by(
        &self,
        connector: &super::simulated::Connector,
        lane: LaneId,
    ) -> Result<Connection, ConnectError> {
        let connecting = async {
            let endpoint = self.endpoint.to_string();
            let socket = connector()
                .await
                .map_err(|source| ConnectError::Unreachable { endpoint, source })?;
            self.over(socket, lane).await
        };
        self.in_time(&self.endpoint, lane, connecting).await
    }

    async fn in_time(
        &self,
        endpoint: &Endpoint,
        lane: LaneId,
        connecting: impl Future<Output = Result<Connection, ConnectError>>,
    ) -> Result<Connection, ConnectError> {
        let timeout = self.config.limits.handshake_timeout;
        match time::timeout(timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => {
                // Calls may have left behind FIN.
                lock(&self.calls).lost(lane, &Disconnected::Idle(timeout), Read::All);
                Err(ConnectError::TimedOut { endpoint: endpoint.to_string(), timeout })
            }
        }
    }

    /// Runs the handshake over `socket`.
    pub(crate) async fn over(
        &self,
        socket: impl Socket,
        lane: LaneId,
    ) -> Result<Connection, ConnectError> {
        let (limits, calls) = (self.config.limits.clone(), Arc::clone(&self.calls));
        let handshake = self.handshake(Transport::Tcp);
        let core = Client::start(handshake, limits, Arc::clone(&calls), lane, &mut rand::rng());
        let (room, busy_poll) = (Arc::clone(&self.room), self.config.limits.busy_poll);
        let mut driver = ClientDriver::new(socket, core, calls, lane, room, busy_poll);
        poll_fn(|cx| driver.poll_connected(cx)).await;
        if let Progress::Connected = driver.core.progress() {
            return Ok(Box::pin(driver));
        }
        let endpoint = self.endpoint.to_string();
        Err(match driver.core.into_failure() {
            Ok(source) => ConnectError::NotTrusted { endpoint, source },
            Err((Disconnected::Alert(Alert::AccessDenied), _)) => {
                ConnectError::AccessDenied { endpoint, identity: self.identity.public_key() }
            }
            Err((_, false)) => ConnectError::NotThisServer { endpoint, server: self.server },
            Err((source, true)) => ConnectError::Ended { endpoint, source },
        })
    }

    /// Each attempt has a socket of its own: the path may have changed, and with it our address.
    async fn dial_udp(&self, address: &str) -> Result<Connection, ConnectError> {
        let endpoint = self.endpoint.to_string();
        let (socket, server) = udp_socket::connect(address)
            .await
            .map_err(|source| ConnectError::Unreachable { endpoint: endpoint.clone(), source })?;
        let (limits, calls) = (self.config.limits.clone(), Arc::clone(&self.calls));
        let handshake = self.handshake(Transport::Udp);
        let core = {
            let (now, rng) = (clock::now(), &mut rand::rng());
            UdpClient::start(handshake, server, limits, Arc::clone(&calls), now, rng)
        };
        let (room, busy_poll) = (Arc::clone(&self.room), self.config.limits.busy_poll);
        let mut driver = UdpClientDriver::new(socket, core, calls, room, busy_poll);
        poll_fn(|cx| driver.poll_connected(cx)).await;
        match driver.core.standing() {
            Standing::Connecting | Standing::Connected => Ok(Box::pin(driver)),
            Standing::Ended(why) => Err(ConnectError::Ended { endpoint, source: why.clone() }),
            Standing::Failed(_) if driver.is_refused() => {
                let source = io::ErrorKind::ConnectionRefused.into();
                Err(ConnectError::Unreachable { endpoint, source })
            }
            Standing::Failed(error) => Err(self.cannot_dial(error, endpoint)),
        }
    }

    pub(crate) fn cannot_dial(&self, error: &DialError, endpoint: String) -> ConnectError {
        match error {
            DialError::GaveUp { last: Some(HandshakeError::WrongServer { .. }) } => {
                ConnectError::NotThisServer { endpoint, server: self.server }
            }
            DialError::GaveUp { .. } => ConnectError::NoAnswer { endpoint, server: self.server },
            DialError::PathTooSmall => ConnectError::PathTooSmall { endpoint },
            DialError::Refused(Alert::AccessDenied) => {
                ConnectError::AccessDenied { endpoint, identity: self.identity.public_key() }
            }
            DialError::Refused(alert) => {
                ConnectError::Ended { endpoint, source: Disconnected::Alert(*alert) }
            }
            DialError::Failed(source) => ConnectError::NotTrusted { endpoint, source: *source },
        }
    }

    pub(crate) fn handshake(&self, transport: Transport) -> initiator::Config {
        initiator::Config {
            transport,
            identity: self.identity.clone(),
            server: self.server,
            params: params(&self.config.limits, self.incarnation),
            psk: self.config.psk.clone(),
            records: RecordLimits::default(),
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
