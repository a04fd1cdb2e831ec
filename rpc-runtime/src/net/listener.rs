//! A port: counts who comes in, and runs each connection as a task.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};

use super::{
    admission::{Admission, Entered},
    drain::Drain,
    server_driver::{Common, ServerDriver},
    socket::Socket,
};

/// After an error of `accept`, such as no free file descriptors, before the next attempt.
const PAUSE: Duration = Duration::from_millis(50);

/// Where connections come from.
pub(crate) trait Accept: Send + 'static {
    type Socket: Socket;

    /// The next one. Nothing is lost if this is dropped before it is done.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Socket, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    type Socket = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = Self::accept(self).await?;
        // Batches are formed here; waiting for more would only delay a lone answer. Where that
        // cannot be had the connection is over already, as its task will see.
        let _ = socket.set_nodelay(true);
        Ok((socket, peer))
    }
}

/// Accepts connections until the server drains, then waits for the last of them to end. When this
/// is dropped, they are too.
pub(crate) async fn serve(
    mut listener: impl Accept,
    common: Arc<Common>,
    admission: Admission,
    drain: Drain,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = drain.clone() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                if let Some(entered) = admit(peer, &common, &admission) {
                    let peer = peer.to_string();
                    let common = Arc::clone(&common);
                    let driver =
                        ServerDriver::new(socket, peer, Some(entered), common, drain.clone());
                    connections.spawn(driver);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                time::sleep(PAUSE).await;
            }
        }
    }
    // The port closes before the connections do, so that nobody comes in behind the last.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Refuses a connection that is one too many; dropping the socket closes it.
fn admit(peer: SocketAddr, common: &Common, admission: &Admission) -> Option<Entered> {
    match admission.enter(peer.ip()) {
        Ok(entered) => Some(entered),
        Err(too_many) => {
            common.refused(&peer.to_string(), too_many.reason(), 1);
            None
        }
    }
}
