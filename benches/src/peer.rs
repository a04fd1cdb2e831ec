//! What a system must offer to be compared: a server, a connection, and one echo call.

use std::{error::Error, future::Future, io, net::SocketAddr, path::Path};

use bailiwick::CallError;
use bytes::Bytes;
use thiserror::Error;
use tokio::task::JoinSet;

pub(crate) use crate::system::System;
use crate::{
    load::{Ended, closed, closed::Callers},
    ours::SetupError,
};

/// Bytes in a call and its reply where a row does not say otherwise.
pub(crate) const PAYLOAD: usize = 64;

/// The runtime a system wants; it has one thread of it in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// What `#[tokio::main]` gives, with one worker.
    MultiThread,
    /// For systems whose values must not leave their thread.
    CurrentThread,
}

/// One way to serve and to call `echo`.
///
/// `site` is a folder of this run's own: a server that needs keys, a policy or an audit file
/// puts them there, and its clients find there what they need to be let in.
pub(crate) trait Peer: Send + Sync + 'static {
    /// A connection to the server, shared by all callers on it.
    type Caller: Caller;

    /// What both of its sides run on.
    const FLAVOR: Flavor = Flavor::MultiThread;

    /// Starts serving on a free loopback port and says which.
    ///
    /// The server runs in tasks until its process ends.
    fn serve(&self, site: &Path) -> impl Future<Output = Result<SocketAddr, PeerError>> + Send;

    /// Makes one connection, with a whole handshake, ready for its first call or made by it.
    ///
    /// Keys and settings are read the first time only, as a client's process would.
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

    /// Adds the tasks that keep calls under way until they are told to stop.
    ///
    /// As provided, each call outstanding has a task; what has no runtime brings a loop of its own.
    fn keep_calling(self, callers: Callers, tasks: &mut JoinSet<Ended>) {
        closed::spawn(&self, &callers, tasks);
    }
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
        crate::peers::floor::FRAME_MIN,
        crate::peers::floor::FRAME_MAX
    )]
    FrameLength {
        /// The length that the frame claimed, in bytes.
        length: usize,
    },
    /// A record of the sealed floor was changed on the way.
    #[error("a record does not open")]
    NotAuthentic,
    /// The peer answered a call that is not outstanding.
    #[error("a reply to call {id}, which is not outstanding")]
    UnknownCall {
        /// The number on the reply.
        id: u64,
    },
    /// The connection ended while calls were outstanding.
    #[error("the connection closed before the reply came")]
    Closed,
    /// A peer's own library reported a failure of its own.
    #[error("{library}: {source}")]
    Library {
        /// Which one.
        library: &'static str,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Bailiwick did not answer a call.
    #[error("bailiwick: {0}")]
    Ours(#[from] CallError),
    /// Bailiwick did not start or connect.
    #[error(transparent)]
    OursSetup(#[from] Box<SetupError>),
}

impl PeerError {
    /// For `map_err`: a failure of `library`.
    pub(crate) fn of<E: Into<Box<dyn Error + Send + Sync>>>(
        library: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |error| Self::Library { library, source: error.into() }
    }
}
