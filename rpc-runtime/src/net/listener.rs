//! A port: counts who comes in, and runs each connection as a task.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};

use super::{
    admission::{Admission, Entered},
    server_driver::{Common, Drain, ServerDriver},
};

/// After an error of `accept`, such as no free file descriptors, before the next attempt.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the server drains, then waits for the last of them to end. When this
/// is dropped, they are too.
pub(crate) async fn serve(
    listener: TcpListener,
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
                if let Some(entered) = admit(&socket, peer, &common, &admission) {
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
fn admit(
    socket: &TcpStream,
    peer: SocketAddr,
    common: &Common,
    admission: &Admission,
) -> Option<Entered> {
    let entered = match admission.enter(peer.ip()) {
        Ok(entered) => entered,
        Err(too_many) => {
            let monitor = &common.router.monitor;
            monitor.handshake_refused(&peer.to_string(), too_many.reason(), None);
            return None;
        }
    };
    // Batches are formed here; waiting for more would only delay a lone answer.
    socket.set_nodelay(true).is_ok().then_some(entered)
}
