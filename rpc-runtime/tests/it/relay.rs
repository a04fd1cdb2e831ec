//! A stretch of network between TCP clients and a server, which a test cuts where it likes.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bailiwick::Endpoint;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// After so many bytes in either direction a connection breaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) up: usize,
    pub(crate) down: usize,
}

impl Budget {
    pub(crate) const ENDLESS: Self = Self { up: usize::MAX, down: usize::MAX };
}

/// What happens to bytes on their way in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Carried,
    /// They wait.
    Held,
    Lost,
}

/// Carries any number of connections, until it is dropped.
pub(crate) struct Relay {
    pub(crate) endpoint: Endpoint,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    server: SocketAddr,
    budgets: Mutex<Box<dyn FnMut() -> Budget + Send>>,
    accepted: AtomicUsize,
    /// Bytes that the last connection carried.
    carried: [AtomicUsize; 2],
    /// From the client, from the server.
    flow: watch::Sender<[Flow; 2]>,
    cuts: watch::Sender<usize>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        Self::with(server, || Budget::ENDLESS).await
    }

    /// Asks `budgets` how long each connection lasts.
    pub(crate) async fn with(
        server: SocketAddr,
        budgets: impl FnMut() -> Budget + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::tcp(listener.local_addr().unwrap().to_string());
        let shared = Arc::new(Shared {
            server,
            budgets: Mutex::new(Box::new(budgets)),
            accepted: AtomicUsize::new(0),
            carried: [AtomicUsize::new(0), AtomicUsize::new(0)],
            flow: watch::Sender::new([Flow::Carried; 2]),
            cuts: watch::Sender::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { endpoint, shared, task }
    }

    /// Breaks the connections that stand.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn upward(&self, flow: Flow) {
        self.shared.flow.send_modify(|[up, _]| *up = flow);
    }

    pub(crate) fn downward(&self, flow: Flow) {
        self.shared.flow.send_modify(|[_, down]| *down = flow);
    }

    /// Connections that came.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Bytes of the last connection, from the client and from the server.
    pub(crate) fn carried(&self) -> [usize; 2] {
        [0, 1].map(|way| self.shared.carried[way].load(Ordering::SeqCst))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let budget = (shared.budgets.lock().unwrap())();
        shared.carried.iter().for_each(|carried| carried.store(0, Ordering::SeqCst));
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let mut cut = shared.cuts.subscribe();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A client of a server that is gone sees its connection break.
            let Ok(server) = TcpStream::connect(shared.server).await else { return };
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = carry(from_client, to_server, &shared, 0, budget.up) => {}
                () = carry(from_server, to_client, &shared, 1, budget.down) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    way: usize,
    mut left: usize,
) {
    let mut flow = shared.flow.subscribe();
    let mut bytes = vec![0; 4096];
    while left > 0 {
        let most = left.min(bytes.len());
        let Ok(count @ 1..) = from.read(&mut bytes[..most]).await else { return };
        let now = *flow.wait_for(|flow| flow[way] != Flow::Held).await.unwrap();
        if now[way] == Flow::Lost {
            continue;
        }
        left -= count;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
        shared.carried[way].fetch_add(count, Ordering::SeqCst);
    }
}
