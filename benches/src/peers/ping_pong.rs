//! Two sockets of the standard library and nothing between: what a lone round trip by UDP costs.
//!
//! Both sides block in the kernel, so no reactor and no scheduler of ours adds to the time. With many
//! calls outstanding the client sends one datagram for each that comes back.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use tokio::{task, task::JoinSet};

use crate::{
    load::{Ended, LoadError, closed, closed::Callers, payload},
    peer::{Caller, Peer, PeerError},
};

/// The longest datagram, in bytes; the rest of a longer one would be cut off.
const DATAGRAM_MAX: usize = 2048;

/// How long a reply may take; on loopback a datagram of a lone call is not lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// Calls between two turns of other tasks. The median call has none of their time in it.
const CALLS_PER_TURN: u32 = 16;

/// A blocking echo and its blocking caller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PingPong;

impl Peer for PingPong {
    type Caller = Pinger;

    async fn serve(&self, _site: &Path) -> Result<SocketAddr, PeerError> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        thread::spawn(move || {
            if let Err(error) = answer(&socket) {
                eprintln!("udp-ping-pong: no more datagrams: {error}");
            }
        });
        Ok(address)
    }

    async fn connect(&self, _site: &Path, address: SocketAddr) -> Result<Pinger, PeerError> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Pinger { socket: Arc::new(socket), calls: Arc::default() })
    }
}

fn answer(socket: &UdpSocket) -> io::Result<()> {
    let mut datagram = [0; DATAGRAM_MAX];
    loop {
        let (length, from) = socket.recv_from(&mut datagram)?;
        socket.send_to(&datagram[..length], from)?;
    }
}

/// The calling socket.
#[derive(Clone)]
pub(crate) struct Pinger {
    socket: Arc<UdpSocket>,
    calls: Arc<AtomicU32>,
}

impl Caller for Pinger {
    /// Blocks its thread on purpose, and lets the task that measures have a turn now and then.
    async fn echo(&self, payload: &Bytes) -> Result<Bytes, PeerError> {
        if self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(CALLS_PER_TURN) {
            task::yield_now().await;
        }
        self.socket.send(payload)?;
        let mut reply = [0; DATAGRAM_MAX];
        let length = self.socket.recv(&mut reply)?;
        Ok(Bytes::copy_from_slice(&reply[..length]))
    }

    fn keep_calling(self, callers: Callers, tasks: &mut JoinSet<Ended>) {
        if callers.outstanding == 1 {
            closed::spawn(&self, &callers, tasks);
        } else {
            tasks.spawn_blocking(move || keep_window_full(&self.socket, &callers));
        }
    }
}

/// Keeps all of `callers`' datagrams under way. Loopback keeps their order, so they return in turn.
fn keep_window_full(socket: &UdpSocket, callers: &Callers) -> Ended {
    let payloads: Vec<Bytes> =
        (0..callers.outstanding).map(|caller| payload(caller, callers.payload)).collect();
    for payload in &payloads {
        socket.send(payload).map_err(PeerError::from)?;
    }
    let mut reply = [0; DATAGRAM_MAX];
    for payload in payloads.iter().cycle().take_while(|_| !callers.progress.stops()) {
        let length = socket.recv(&mut reply).map_err(PeerError::from)?;
        if reply[..length] != **payload {
            return Err(LoadError::WrongReply);
        }
        callers.progress.count();
        socket.send(payload).map_err(PeerError::from)?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_ping_comes_back() {
        let address = PingPong.serve(Path::new("")).await.unwrap();
        let caller = PingPong.connect(Path::new(""), address).await.unwrap();
        let payload = Bytes::from(vec![5; 64]);
        assert_eq!(caller.echo(&payload).await.unwrap(), payload);
    }
}
