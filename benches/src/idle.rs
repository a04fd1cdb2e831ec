//! What an idle connection costs a server: its memory with many of them, less its memory without.
//!
//! Each connection makes one call before it idles, so that buffers that come with the first call
//! are counted too. A few connections come first, so that what a server allocates once is not.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use thiserror::Error;

use crate::{
    compare::CompareError,
    load::payload,
    peer::{Caller, PAYLOAD, Peer, PeerError, System},
    process::{ProcessError, Server, resident_bytes, this_binary},
};

/// Connections opened before the first reading.
const WARM_UP_CONNECTIONS: u32 = 50;

/// Time a server is left alone before its memory is read.
const SETTLE: Duration = Duration::from_millis(1_500);

/// Bytes that the memory of `system`'s server grows by for each of `connections` idle ones.
///
/// # Errors
///
/// Whatever kept the server or its client from running.
pub(crate) fn measure(system: System, connections: u32) -> Result<f64, CompareError> {
    let site = tempfile::tempdir().map_err(CompareError::Site)?;
    let server = Server::start(system, site.path(), 0.0)?;
    let mut holder = Holder::start(system, site.path(), server.address, connections)?;
    thread::sleep(SETTLE);
    let without = resident_bytes(server.pid)?;
    holder.go_on()?;
    thread::sleep(SETTLE);
    let with = resident_bytes(server.pid)?;
    holder.finish()?;
    server.stop()?;
    Ok((with as f64 - without as f64) / f64::from(connections))
}

/// Why idle connections could not be held open.
#[derive(Debug, Error)]
pub(crate) enum HoldError {
    /// A connection failed.
    #[error("connection {number} failed")]
    Connection {
        /// Which one, from 0.
        number: u32,
        /// Why.
        #[source]
        source: PeerError,
    },
    /// The measuring process cannot be spoken to.
    #[error("the measuring process is gone")]
    Conversation(#[from] io::Error),
}

/// The holder's side: opens a few connections, then `connections` more when stdin says so.
///
/// Says `open` on stdout after each step and ends when stdin does.
///
/// # Errors
///
/// [`HoldError::Connection`] with the number of the connection that failed.
pub(crate) async fn hold<P: Peer>(
    peer: &P,
    site: &Path,
    address: SocketAddr,
    connections: u32,
) -> Result<(), HoldError> {
    let mut held = Vec::new();
    for step in [WARM_UP_CONNECTIONS, connections] {
        for number in 0..step {
            let opened = open(peer, site, address, number).await;
            held.push(opened.map_err(|source| HoldError::Connection { number, source })?);
        }
        println!("open");
        tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new()))
            .await
            .map_err(io::Error::other)??;
    }
    Ok(())
}

/// A connection that stands: it has made one call, whose bytes are made of its number.
pub(crate) async fn open<P: Peer>(
    peer: &P,
    site: &Path,
    address: SocketAddr,
    number: u32,
) -> Result<P::Caller, PeerError> {
    let caller = peer.connect(site, address).await?;
    caller.echo(&payload(number, PAYLOAD)).await?;
    Ok(caller)
}

/// The client process that holds the connections.
struct Holder {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Holder {
    /// Returns when the first few connections are open.
    fn start(
        system: System,
        site: &Path,
        address: SocketAddr,
        connections: u32,
    ) -> Result<Self, ProcessError> {
        let mut child = Command::new(this_binary()?)
            .args(["hold", system.name(), "--site"])
            .arg(site)
            .args(["--address", &address.to_string()])
            .args(["--connections", &connections.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let mut holder = Self { child, stdin, stdout: BufReader::new(stdout) };
        holder.wait_until_open()?;
        Ok(holder)
    }

    /// Has the rest opened, and returns when they are.
    fn go_on(&mut self) -> Result<(), ProcessError> {
        self.stdin.write_all(b"\n").map_err(failed)?;
        self.wait_until_open()
    }

    fn finish(mut self) -> Result<(), ProcessError> {
        drop(self.stdin);
        self.child.wait().map(drop).map_err(failed)
    }

    fn wait_until_open(&mut self) -> Result<(), ProcessError> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).map_err(failed)?;
        if line.trim_end() == "open" {
            return Ok(());
        }
        Err(ProcessError::Ended { what: "the client that holds idle connections".to_owned() })
    }
}

fn failed(source: io::Error) -> ProcessError {
    ProcessError::Child { what: "the client that holds idle connections".to_owned(), source }
}
