//! The relay's task: it owns all sockets' clients, links and what is held back.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{RelayConfig, RelayCounts};
use crate::sim::{Arrival, Fate, Link};

pub(super) struct Relay {
    config: RelayConfig,
    listener: Arc<UdpSocket>,
    from_server: mpsc::Sender<FromServer>,
    answers: mpsc::Receiver<FromServer>,
    counts: watch::Sender<RelayCounts>,
    flows: HashMap<SocketAddr, Flow>,
    held: BinaryHeap<Reverse<Held>>,
    /// How many datagrams have been held back so far.
    holds: u64,
    began: Instant,
}

/// One client, with a socket towards the server.
struct Flow {
    socket: Arc<UdpSocket>,
    to_server: Link,
    to_client: Link,
    last_used: Instant,
    reader: JoinHandle<()>,
}

/// A datagram of the server's, and the client that it is for.
struct FromServer {
    client: SocketAddr,
    datagram: Vec<u8>,
}

/// A datagram that leaves later.
struct Held {
    due: Instant,
    number: u64,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    datagram: Vec<u8>,
}

impl Relay {
    pub(super) fn new(
        config: RelayConfig,
        listener: UdpSocket,
        counts: watch::Sender<RelayCounts>,
    ) -> Self {
        let (from_server, answers) = mpsc::channel(ANSWERS);
        Self {
            config,
            listener: Arc::new(listener),
            from_server,
            answers,
            counts,
            flows: HashMap::new(),
            held: BinaryHeap::new(),
            holds: 0,
            began: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) {
        let listener = Arc::clone(&self.listener);
        let mut buffer = vec![0; LONGEST];
        let mut sweep = interval(self.config.idle.max(SHORTEST_SWEEP));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.held.peek().map(|next| next.0.due);
            tokio::select! {
                received = listener.recv_from(&mut buffer) => {
                    // An error of a UDP socket is about one datagram.
                    if let Ok((length, client)) = received {
                        self.take_from_client(client, &buffer[..length]).await;
                    }
                }
                Some(FromServer { client, datagram }) = self.answers.recv() => {
                    self.take_from_server(client, datagram).await;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.release().await;
                }
                _ = sweep.tick() => self.forget_idle(),
            }
        }
    }

    async fn take_from_client(&mut self, client: SocketAddr, datagram: &[u8]) {
        if !self.flows.contains_key(&client) && !self.admit(client).await {
            self.counts.send_modify(|counts| counts.turned_away += 1);
            return;
        }
        let Some(flow) = self.flows.get_mut(&client) else { return };
        flow.last_used = Instant::now();
        let (to, at) = (self.config.to, self.began.elapsed());
        let fate = flow.to_server.judge(datagram.len(), to, at);
        let counted = flow.to_server.take_counts();
        let socket = Arc::clone(&flow.socket);
        self.counts.send_modify(|counts| counts.to_server += counted);
        self.carry(fate, &socket, to, datagram.to_vec()).await;
    }

    async fn take_from_server(&mut self, client: SocketAddr, datagram: Vec<u8>) {
        let Some(flow) = self.flows.get_mut(&client) else { return };
        flow.last_used = Instant::now();
        let fate = flow.to_client.judge(datagram.len(), client, self.began.elapsed());
        let counted = flow.to_client.take_counts();
        self.counts.send_modify(|counts| counts.to_clients += counted);
        let listener = Arc::clone(&self.listener);
        self.carry(fate, &listener, client, datagram).await;
    }

    async fn carry(
        &mut self,
        fate: Fate,
        socket: &Arc<UdpSocket>,
        to: SocketAddr,
        datagram: Vec<u8>,
    ) {
        // Of what the first hop does not take, a relay cannot tell the sender.
        let Fate::Arrives { first, again } = fate else { return };
        if let Some(again) = again {
            self.carry_copy(again, socket, to, datagram.clone()).await;
        }
        self.carry_copy(first, socket, to, datagram).await;
    }

    async fn carry_copy(
        &mut self,
        copy: Arrival,
        socket: &Arc<UdpSocket>,
        to: SocketAddr,
        mut datagram: Vec<u8>,
    ) {
        copy.apply(&mut datagram);
        if copy.after.is_zero() {
            self.send(socket, to, &datagram).await;
        } else if self.held.len() < MAX_HELD {
            let (due, number) = (Instant::now() + copy.after, self.holds);
            self.holds += 1;
            let socket = Arc::clone(socket);
            self.held.push(Reverse(Held { due, number, socket, to, datagram }));
        } else {
            self.counts.send_modify(|counts| counts.unsent += 1);
        }
    }

    /// Sends what has been held back long enough.
    async fn release(&mut self) {
        let now = Instant::now();
        while self.held.peek().is_some_and(|next| next.0.due <= now) {
            if let Some(Reverse(held)) = self.held.pop() {
                self.send(&held.socket, held.to, &held.datagram).await;
            }
        }
    }

    async fn send(&self, socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) {
        if socket.send_to(datagram, to).await.is_err() {
            self.counts.send_modify(|counts| counts.unsent += 1);
        }
    }

    /// Makes a client's flow; returns whether there was room for it.
    async fn admit(&mut self, client: SocketAddr) -> bool {
        if self.flows.len() >= self.config.max_clients {
            self.forget_idle();
        }
        if self.flows.len() >= self.config.max_clients {
            return false;
        }
        let Ok(flow) = self.flow(client).await else { return false };
        self.flows.insert(client, flow);
        self.counts.send_modify(|counts| counts.clients += 1);
        true
    }

    async fn flow(&self, client: SocketAddr) -> io::Result<Flow> {
        // Not connected: a server that is away must not cost the next datagram (ECONNREFUSED).
        let any: SocketAddr = match self.config.to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = Arc::new(UdpSocket::bind(any).await?);
        let number = 2 * self.counts.borrow().clients;
        let link = |number| Link::numbered(self.config.link.clone(), self.config.seed, number);
        let reader = read(Arc::clone(&socket), self.config.to, client, self.from_server.clone());
        Ok(Flow {
            socket,
            to_server: link(number).map_err(io::Error::other)?,
            to_client: link(number + 1).map_err(io::Error::other)?,
            last_used: Instant::now(),
            reader: tokio::spawn(reader),
        })
    }

    fn forget_idle(&mut self) {
        let idle = self.config.idle;
        self.flows.retain(|_, flow| flow.last_used.elapsed() < idle);
    }
}

/// Hands on what the server sends to one client's socket.
async fn read(
    socket: Arc<UdpSocket>,
    server: SocketAddr,
    client: SocketAddr,
    answers: mpsc::Sender<FromServer>,
) {
    let mut buffer = vec![0; LONGEST];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let datagram = buffer[..length].to_vec();
        if from == server && answers.send(FromServer { client, datagram }).await.is_err() {
            return;
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Held {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.number)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// A UDP datagram's length is a u16.
const LONGEST: usize = 65_535;

/// Answers of the server that wait for their turn; then sockets' buffers fill, and overflow as sockets do.
const ANSWERS: usize = 1_024;

/// Datagrams held back at once.
const MAX_HELD: usize = 65_536;

/// Idle clients are looked for no more often than this.
const SHORTEST_SWEEP: Duration = Duration::from_millis(100);
