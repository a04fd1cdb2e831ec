//! Where the server runs, or does not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bailiwick::simulation::{SimServer, Usage};
use bailiwick::testing::test_identity;
use bailiwick::{AuditLog, Limits, PolicyFile, Server};

use super::probe::ProbeServer;
use super::recorder::{RecorderServer, Recording};
use super::{Crash, Disk, Ledger};
use crate::sim::Node;

/// A machine with a server on it, while that lives.
pub struct Host {
    server: Option<SimServer>,
    ledger: Ledger,
    disk: Disk,
    audit: AuditLog,
    policy: PolicyFile,
    limits: Limits,
    epoch: Instant,
    /// How long a boot reads the log.
    recovery: Duration,
    most: Usage,
}

impl Host {
    pub(super) fn new(
        (ledger, disk): (Ledger, Disk),
        audit: AuditLog,
        policy: PolicyFile,
        limits: Limits,
        seed: u64,
        now: Instant,
    ) -> Self {
        let (most, recovery) = (Usage::default(), Duration::ZERO);
        let (server, epoch) = (None, now);
        let mut host = Self { server, ledger, disk, audit, policy, limits, epoch, recovery, most };
        host.start(seed, now);
        host
    }

    pub(super) fn crash(&mut self, crash: Crash) {
        self.server = None;
        self.disk.crash(crash);
    }

    pub(super) fn set_recovery(&mut self, time: Duration) {
        self.recovery = time;
    }

    pub(super) fn start(&mut self, seed: u64, now: Instant) {
        let (disk, ledger) = (self.disk.clone(), self.ledger.clone());
        let completions = disk.boot(self.recovery, now);
        let builder = Server::builder(test_identity("server"))
            .policy(self.policy.clone())
            .audit(self.audit.clone())
            .limits(self.limits.clone())
            .service(ProbeServer::new(self.ledger.clone()))
            .service(RecorderServer::new(Recording { disk, ledger, completions }));
        let server = SimServer::start(builder, seed, self.epoch, now);
        self.server = Some(server.expect("the lab's server starts"));
    }

    fn tick(&self, now: Instant) {
        self.ledger.tick(now);
        self.disk.tick(now);
    }

    /// The server.
    ///
    /// # Panics
    ///
    /// If it was killed.
    pub fn server(&mut self) -> &mut SimServer {
        self.server.as_mut().expect("the server lives")
    }

    /// The most of each that the server ever held because of its peers.
    #[must_use]
    pub fn most(&self) -> Usage {
        self.most
    }

    /// What it holds now; looks, and remembers the most.
    pub fn usage(&mut self) -> Usage {
        let now = self.server.as_ref().map(SimServer::usage).unwrap_or_default();
        let most = &mut self.most;
        *most = Usage {
            connections: most.connections.max(now.connections),
            clients: most.clients.max(now.clients),
            kept_by_one: most.kept_by_one.max(now.kept_by_one),
            kept: most.kept.max(now.kept),
            reassembly: most.reassembly.max(now.reassembly),
            handlers: most.handlers.max(now.handlers),
            waiting: most.waiting.max(now.waiting),
        };
        now
    }
}

impl Node for Host {
    fn handle_datagram(&mut self, from: SocketAddr, datagram: &mut [u8], now: Instant) {
        self.tick(now);
        if let Some(server) = &mut self.server {
            server.handle_datagram(from, datagram, now);
        }
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        self.tick(now);
        self.server.as_mut()?.poll_transmit(now)
    }

    fn next_timeout(&self) -> Option<Instant> {
        let server = self.server.as_ref()?;
        let due = [server.next_timeout(), self.ledger.next_wake(), self.disk.next_wake()];
        due.into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
        self.usage();
        if let Some(server) = &mut self.server {
            server.handle_timeout(now);
        }
    }

    fn handle_too_big(&mut self, _: SocketAddr, length: usize, now: Instant) {
        if let Some(server) = &mut self.server {
            server.handle_too_big(length, now);
        }
    }
}
