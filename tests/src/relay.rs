//! A relay between real UDP sockets that does to datagrams what a simulated link does.
//!
//! Each client gets a socket of its own towards the server, so that the server sees one address a client,
//! as behind a NAT. Both directions have the same [`LinkConfig`], and chances of their own.

mod carry;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::sim::{Counts, LinkConfig, LinkConfigError};
use carry::Relay;

/// Where to relay, and what happens on the way.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Where clients send to. Port 0: a free one.
    pub listen: SocketAddr,
    /// The server.
    pub to: SocketAddr,
    /// What happens in each direction.
    pub link: LinkConfig,
    /// Decides what is left to chance: the fate of the n-th datagram of the m-th client, each way.
    pub seed: u64,
    /// How many clients there are at once, at most; datagrams of others are dropped. 1,024 by
    /// [`RelayConfig::new`].
    pub max_clients: usize,
    /// A client without a datagram in either direction for so long is forgotten. A minute by
    /// [`RelayConfig::new`].
    pub idle: Duration,
}

impl RelayConfig {
    /// A relay from a free port of the loopback address to `to`.
    #[must_use]
    pub fn new(to: SocketAddr, link: LinkConfig, seed: u64) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { listen, to, link, seed, max_clients: 1_024, idle: Duration::from_secs(60) }
    }
}

/// Why there is no relay.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The link cannot be.
    #[error("such a link cannot be")]
    Link(#[from] LinkConfigError),
    /// Nothing can be sent to the server's address.
    #[error("{0} is no address of a server")]
    To(SocketAddr),
    /// The address cannot be had, because it is taken perhaps.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// What a relay has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounts {
    /// From clients to the server.
    pub to_server: Counts,
    /// From the server to clients.
    pub to_clients: Counts,
    /// Clients that came; one that was forgotten and comes again counts again.
    pub clients: u64,
    /// Datagrams of clients that found no room.
    pub turned_away: u64,
    /// Datagrams that a socket did not take, or that found too many held back.
    pub unsent: u64,
}

/// A relay at work, until this is dropped.
#[derive(Debug)]
pub struct RelayHandle {
    address: SocketAddr,
    counts: watch::Receiver<RelayCounts>,
    task: JoinHandle<()>,
}

impl RelayHandle {
    /// Where clients send to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> RelayCounts {
        *self.counts.borrow()
    }

    /// Waits until the counts are as `wanted`; they change before the datagrams leave.
    ///
    /// # Panics
    ///
    /// If the relay has panicked.
    pub async fn wait_until(&mut self, wanted: impl FnMut(&RelayCounts) -> bool) -> RelayCounts {
        *self.counts.wait_for(wanted).await.expect("the relay works while it has a handle")
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a relay in the runtime of the caller.
///
/// # Errors
///
/// [`RelayError`] if the link cannot be, or the address cannot be had.
pub async fn start(config: RelayConfig) -> Result<RelayHandle, RelayError> {
    config.link.check()?;
    if config.to.ip().is_unspecified() || config.to.port() == 0 {
        return Err(RelayError::To(config.to));
    }
    let refused = |source| RelayError::Listen { address: config.listen, source };
    let listener = UdpSocket::bind(config.listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let (counting, counts) = watch::channel(RelayCounts::default());
    let task = tokio::spawn(Relay::new(config, listener, counting).run());
    Ok(RelayHandle { address, counts, task })
}
