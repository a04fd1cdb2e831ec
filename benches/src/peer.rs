//! What a system must offer to be compared: a server, a connection, and one echo call.

use std::{future::Future, io, net::SocketAddr, path::Path};

use bailiwick::CallError;
use bytes::Bytes;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ours::SetupError, quinn_peer::QuinnError, workload::Workload};

/// Bytes in every call and every reply, before a system adds its own framing.
pub(crate) const PAYLOAD: usize = 64;

/// The systems compared, in the order in which the tables print them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// Plain coalesced echo; a batch is written after one yield.
    FloorAfterYield,
    /// Plain coalesced echo; a batch is written as soon as its writer runs.
    FloorAtOnce,
    /// tarpc over plain TCP with bincode.
    Tarpc,
    /// Bailiwick over TCP with mutual authentication, encryption, policy and audit.
    Bailiwick,
    /// Plain echo with a datagram a call.
    UdpFloor,
    /// Two blocking sockets, one call at a time.
    UdpPingPong,
    /// quinn with a stream a call.
    Quinn,
    /// Bailiwick over UDP, else as over TCP.
    BailiwickUdp,
    /// Bailiwick over TCP with the policy of `policy`; not one of those compared.
    BailiwickDocuments,
}

/// What a system's bytes travel by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// The systems that are held against the goals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subjects {
    /// Ours over TCP.
    pub(crate) tcp: System,
    /// Ours over UDP, when there is one.
    pub(crate) udp: Option<System>,
}

impl System {
    /// Every system.
    pub(crate) const ALL: [Self; 8] = [
        Self::FloorAfterYield,
        Self::FloorAtOnce,
        Self::Tarpc,
        Self::Bailiwick,
        Self::UdpFloor,
        Self::UdpPingPong,
        Self::Quinn,
        Self::BailiwickUdp,
    ];

    /// The two floors over TCP, of which the faster one counts.
    pub(crate) const FLOORS: [Self; 2] = [Self::FloorAfterYield, Self::FloorAtOnce];

    /// Ours.
    pub(crate) const SUBJECTS: Subjects =
        Subjects { tcp: Self::Bailiwick, udp: Some(Self::BailiwickUdp) };

    /// The name on the command line, in tables and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FloorAfterYield => "floor-after-yield",
            Self::FloorAtOnce => "floor-at-once",
            Self::Tarpc => "tarpc",
            Self::Bailiwick => "bailiwick",
            Self::UdpFloor => "udp-floor",
            Self::UdpPingPong => "udp-ping-pong",
            Self::Quinn => "quinn",
            Self::BailiwickUdp => "bailiwick-udp",
            Self::BailiwickDocuments => "bailiwick-documents",
        }
    }

    /// What it travels by.
    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::FloorAfterYield
            | Self::FloorAtOnce
            | Self::Tarpc
            | Self::Bailiwick
            | Self::BailiwickDocuments => Transport::Tcp,
            Self::UdpFloor | Self::UdpPingPong | Self::Quinn | Self::BailiwickUdp => Transport::Udp,
        }
    }

    /// The workloads it can be given. Only what sends lost datagrams again is given loss.
    pub(crate) fn workloads(self) -> &'static [Workload] {
        match self {
            Self::UdpPingPong => &[Workload::Lone],
            Self::Quinn | Self::BailiwickUdp => &Workload::ALL,
            Self::FloorAfterYield
            | Self::FloorAtOnce
            | Self::Tarpc
            | Self::Bailiwick
            | Self::BailiwickDocuments
            | Self::UdpFloor => &Workload::WITHOUT_LOSS,
        }
    }

    /// Whether its server keeps anything of a client that does not call.
    pub(crate) fn has_connections(self) -> bool {
        !matches!(self, Self::UdpFloor | Self::UdpPingPong)
    }
}

/// One way to serve and to call `echo`.
///
/// `site` is a folder of this run's own: a server that needs keys, a policy or an audit file
/// puts them there, and its clients find there what they need to be let in.
pub(crate) trait Peer: Send + Sync + 'static {
    /// A connection to the server, shared by all callers on it.
    type Caller: Caller;

    /// Starts serving on a free loopback port and says which.
    ///
    /// The server runs in tasks until its process ends.
    fn serve(&self, site: &Path) -> impl Future<Output = Result<SocketAddr, PeerError>> + Send;

    /// Opens one connection that is ready for its first call.
    fn connect(
        &self,
        site: &Path,
        address: SocketAddr,
    ) -> impl Future<Output = Result<Self::Caller, PeerError>> + Send;
}

/// A handle on one connection; clones share it.
pub(crate) trait Caller: Clone + Send + Sync + 'static {
    /// Sends `payload` and returns what the server sent back.
    fn echo(&self, payload: &Bytes) -> impl Future<Output = Result<Bytes, PeerError>> + Send;
}

/// Why a system could not serve, connect or answer. Any of them ends the comparison.
#[derive(Debug, Error)]
pub(crate) enum PeerError {
    /// The socket failed: is something else using the port, or are descriptors exhausted?
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The peer sent a length that no echo frame has.
    #[error(
        "a frame of {length} bytes is outside {} to {}",
        crate::floor::FRAME_MIN,
        crate::floor::FRAME_MAX
    )]
    FrameLength {
        /// The length that the frame claimed, in bytes.
        length: usize,
    },
    /// The peer answered a call that is not outstanding.
    #[error("a reply to call {id}, which is not outstanding")]
    UnknownCall {
        /// The number on the reply.
        id: u64,
    },
    /// The connection ended while calls were outstanding.
    #[error("the connection closed before the reply came")]
    Closed,
    /// tarpc reported a failure of its own.
    #[error("tarpc: {0}")]
    Tarpc(#[from] tarpc::client::RpcError),
    /// quinn reported a failure of its own.
    #[error("quinn: {0}")]
    Quinn(#[from] QuinnError),
    /// Bailiwick did not answer a call.
    #[error("bailiwick: {0}")]
    Ours(#[from] CallError),
    /// Bailiwick did not start or connect.
    #[error(transparent)]
    OursSetup(#[from] Box<SetupError>),
}
