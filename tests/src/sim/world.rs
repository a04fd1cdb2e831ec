//! The world: nodes with addresses, links between them, one clock, one seed.

mod run;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use super::link::{Counts, Link, LinkConfig};
use super::node::Node;
use super::trace::{Captured, Trace};
pub use run::Elapsed;
use run::UnderWay;

/// A node's place in its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

/// Nodes, links and datagrams under way, on a clock that stands still while anyone works.
///
/// Events at the same time happen in the order in which they were caused, arrivals before timeouts. If
/// a test panics, its world says its seed.
pub struct World<N> {
    seed: u64,
    base: Instant,
    elapsed: Duration,
    rng: Xoshiro256PlusPlus,
    hosts: Vec<Host<N>>,
    addresses: HashMap<SocketAddr, NodeId>,
    links: BTreeMap<(NodeId, NodeId), Link>,
    default_link: LinkConfig,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    datagrams: u64,
    unroutable: u64,
    /// How many datagrams nodes have sent, and the number from which on they get lost.
    sent: u64,
    cut: Option<u64>,
    /// How many timeouts in a row neither moved the clock nor followed an arrival.
    stuck: u32,
    trace: Trace,
    captured: Option<Vec<Captured>>,
}

struct Host<N> {
    node: N,
    address: SocketAddr,
    due: Option<Duration>,
    /// Whether it may have something to send, or another timeout.
    touched: bool,
    /// What a host that is stopped has not read yet.
    stopped: Option<VecDeque<(SocketAddr, Vec<u8>)>>,
}

impl<N: Node> World<N> {
    /// An empty world in which `seed` decides all that is left to chance.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            base: Instant::now(),
            elapsed: Duration::ZERO,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            hosts: Vec::new(),
            addresses: HashMap::new(),
            links: BTreeMap::new(),
            default_link: LinkConfig::default(),
            under_way: BinaryHeap::new(),
            datagrams: 0,
            unroutable: 0,
            sent: 0,
            cut: None,
            stuck: 0,
            trace: Trace::default(),
            captured: None,
        }
    }

    /// Places a node at an address.
    ///
    /// # Panics
    ///
    /// If the address is taken.
    pub fn add(&mut self, address: SocketAddr, node: N) -> NodeId {
        let id = NodeId(self.hosts.len());
        self.claim(address, id);
        self.hosts.push(Host { node, address, due: None, touched: true, stopped: None });
        id
    }

    /// The node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &N {
        &self.hosts[id.0].node
    }

    /// The node, to give it work; what it then sends leaves before the next event, over
    /// the links as they are then.
    pub fn node_mut(&mut self, id: NodeId) -> &mut N {
        let host = &mut self.hosts[id.0];
        host.touched = true;
        &mut host.node
    }

    /// Puts another node in the place of one, as a process that ends and starts anew: what is under way
    /// arrives at the new one. Returns the old one.
    pub fn replace(&mut self, id: NodeId, node: N) -> N {
        std::mem::replace(self.node_mut(id), node)
    }

    /// Stops a node as SIGSTOP does: its time stands still, and [`SOCKET_BUFFER`] datagrams wait for it.
    pub fn stop(&mut self, id: NodeId) {
        self.hosts[id.0].stopped.get_or_insert_default();
    }

    /// Lets a stopped node go on: it reads what waits, then meets the timeouts that it missed.
    pub fn resume(&mut self, id: NodeId) {
        let now = self.now();
        let host = &mut self.hosts[id.0];
        for (from, mut datagram) in host.stopped.take().into_iter().flatten() {
            host.node.handle_datagram(from, &mut datagram, now);
        }
        host.touched = true;
    }

    /// Where the node is reached, and what it is seen as.
    #[must_use]
    pub fn address(&self, id: NodeId) -> SocketAddr {
        self.hosts[id.0].address
    }

    /// Moves a node to another address, without telling it. What is under way to the old one is lost.
    ///
    /// # Panics
    ///
    /// If the address is taken.
    pub fn move_to(&mut self, id: NodeId, address: SocketAddr) {
        self.claim(address, id);
        self.addresses.remove(&self.hosts[id.0].address);
        self.hosts[id.0].address = address;
    }

    /// Has the NAT before a node forget its mapping: the node is seen at another port from now on, which
    /// is returned.
    ///
    /// # Panics
    ///
    /// If all ports of the address are taken.
    pub fn rebind(&mut self, id: NodeId) -> SocketAddr {
        let old = self.address(id);
        let address = (1..=u16::MAX)
            .map(|step| SocketAddr::new(old.ip(), old.port().wrapping_add(step)))
            .find(|address| address.port() != 0 && !self.addresses.contains_key(address))
            .expect("a port is left at this address");
        self.move_to(id, address);
        address
    }

    /// Changes what happens to datagrams from one node to another from now on.
    ///
    /// # Panics
    ///
    /// If a rate or the delay of `config` cannot be.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, config: LinkConfig) {
        self.link(from, to).set_config(config).expect("the test's link can be");
    }

    /// Changes all links, those to come included, from now on.
    ///
    /// # Panics
    ///
    /// If a rate or the delay of `config` cannot be.
    pub fn set_all_links(&mut self, config: &LinkConfig) {
        for link in self.links.values_mut() {
            link.set_config(config.clone()).expect("the test's link can be");
        }
        self.default_link = config.clone();
    }

    /// What the link from one node to another has done so far.
    #[must_use]
    pub fn counts(&self, from: NodeId, to: NodeId) -> Counts {
        self.links.get(&(from, to)).map(Link::counts).unwrap_or_default()
    }

    /// What all links have done so far.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for link in self.links.values() {
            total += link.counts();
        }
        total
    }

    /// How many datagrams had a destination where nobody was, at the latest when they came.
    #[must_use]
    pub fn unroutable(&self) -> u64 {
        self.unroutable
    }

    /// How many datagrams nodes have sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Loses every datagram that is sent after the first `number` of this world, until
    /// [`mend`](World::mend).
    pub fn cut_after(&mut self, number: u64) {
        self.cut = Some(number);
    }

    /// Ends what [`cut_after`](World::cut_after) began.
    pub fn mend(&mut self) {
        self.cut = None;
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.base + self.elapsed
    }

    /// The time since the start of the world.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// A seed for a node's own generator, so that the world's decides everything.
    pub fn draw_seed(&mut self) -> u64 {
        self.rng.random()
    }

    /// A hash over all that has happened: the same seed has the same one.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Keeps every datagram sent from now on, as it was sent.
    pub fn start_capture(&mut self) {
        self.captured.get_or_insert_default();
    }

    /// What was captured so far; capturing goes on if it had begun.
    pub fn take_captured(&mut self) -> Vec<Captured> {
        self.captured.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Lets a datagram arrive now, from whatever source: an attacker needs no link.
    pub fn inject(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        self.launch(self.elapsed, from, to, datagram);
    }

    fn link(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        self.links.entry((from, to)).or_insert_with(|| {
            let pair = (from.0 as u64) << 32 | to.0 as u64;
            Link::numbered(self.default_link.clone(), self.seed, pair)
                .expect("the test's link can be")
        })
    }

    fn claim(&mut self, address: SocketAddr, id: NodeId) {
        let before = self.addresses.insert(address, id);
        assert!(before.is_none(), "two nodes at {address}");
    }
}

impl<N> Drop for World<N> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the world had the seed {} and ended at {:?}", self.seed, self.elapsed);
        }
    }
}

/// How many datagrams wait for a node that is stopped, at most: about what Linux keeps of small ones by
/// default.
pub const SOCKET_BUFFER: usize = 256;
