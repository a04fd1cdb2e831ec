//! Connections made anew for each call: the handshake, the first call, and the end.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use tokio::task::JoinSet;

use super::{Ended, Progress, echo_once, nanoseconds_since, payload};
use crate::{peer::Peer, workload::Workload};

/// Starts as many tasks as `workload` has connections, each of which opens one after the other.
pub(crate) fn spawn<P: Peer>(
    peer: P,
    (site, address): (&Path, SocketAddr),
    workload: Workload,
    progress: &Arc<Progress>,
) -> JoinSet<Ended> {
    let peer = Arc::new(peer);
    let mut tasks = JoinSet::new();
    for number in 0..workload.connections() {
        let place = (site.to_owned(), address);
        tasks.spawn(connect_again(
            Arc::clone(&peer),
            place,
            number,
            workload,
            Arc::clone(progress),
        ));
    }
    tasks
}

async fn connect_again<P: Peer>(
    peer: Arc<P>,
    (site, address): (PathBuf, SocketAddr),
    number: u32,
    workload: Workload,
    progress: Arc<Progress>,
) -> Ended {
    let payload = payload(number, workload.payload());
    let mut nanoseconds = Vec::new();
    while !progress.stops() {
        let start = Instant::now();
        let caller = peer.connect(&site, address).await?;
        echo_once(&caller, &payload).await?;
        let took = nanoseconds_since(start);
        drop(caller);
        progress.count();
        if progress.counts() {
            nanoseconds.push(took);
        }
    }
    Ok(workload.is_lone().then_some(nanoseconds))
}
