//! A stretch of network between one UDP client and a server, which loses what a test likes and
//! gives the client another address.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bailiwick::Endpoint;
use tokio::{net::UdpSocket, sync::watch, task::JoinHandle};

use crate::relay::Flow;

pub(crate) struct UdpRelay {
    pub(crate) endpoint: Endpoint,
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    near: UdpSocket,
    server: SocketAddr,
    client: Mutex<Option<SocketAddr>>,
    /// What the server sees as the client's address.
    far: Mutex<Arc<UdpSocket>>,
    /// From the client, from the server.
    flow: watch::Sender<[Flow; 2]>,
}

impl UdpRelay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::udp(near.local_addr().unwrap().to_string());
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let shared = Arc::new(Shared {
            near,
            server,
            client: Mutex::default(),
            far: Mutex::new(Arc::clone(&far)),
            flow: watch::Sender::new([Flow::Carried; 2]),
        });
        let up = tokio::spawn(up(Arc::clone(&shared)));
        let down = tokio::spawn(down(Arc::clone(&shared), far));
        Self { endpoint, shared, tasks: Mutex::new(vec![up, down]) }
    }

    /// What the client sends comes from another port from now on.
    pub(crate) async fn move_client(&self) {
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        *self.shared.far.lock().unwrap() = Arc::clone(&far);
        self.tasks.lock().unwrap().push(tokio::spawn(down(Arc::clone(&self.shared), far)));
    }

    pub(crate) fn upward(&self, flow: Flow) {
        self.shared.flow.send_modify(|[up, _]| *up = flow);
    }

    pub(crate) fn downward(&self, flow: Flow) {
        self.shared.flow.send_modify(|[_, down]| *down = flow);
    }
}

impl Drop for UdpRelay {
    fn drop(&mut self) {
        self.tasks.lock().unwrap().iter().for_each(JoinHandle::abort);
    }
}

async fn up(shared: Arc<Shared>) {
    let mut flow = shared.flow.subscribe();
    let mut datagram = vec![0; 65_536];
    loop {
        let Ok((length, client)) = shared.near.recv_from(&mut datagram).await else { continue };
        *shared.client.lock().unwrap() = Some(client);
        let far = Arc::clone(&shared.far.lock().unwrap());
        if flow.wait_for(|[up, _]| *up != Flow::Held).await.unwrap()[0] == Flow::Carried {
            let _ = far.send_to(&datagram[..length], shared.server).await;
        }
    }
}

async fn down(shared: Arc<Shared>, far: Arc<UdpSocket>) {
    let mut flow = shared.flow.subscribe();
    let mut datagram = vec![0; 65_536];
    loop {
        let Ok((length, _)) = far.recv_from(&mut datagram).await else { continue };
        let client = *shared.client.lock().unwrap();
        let flow = flow.wait_for(|[_, down]| *down != Flow::Held).await.unwrap()[1];
        if let (Flow::Carried, Some(client)) = (flow, client) {
            let _ = shared.near.send_to(&datagram[..length], client).await;
        }
    }
}
