//! Where the server runs, or does not.

use std::net::SocketAddr;
use std::time::Instant;

use bailiwick::simulation::{SimServer, Usage};
use bailiwick::testing::test_identity;
use bailiwick::{AuditLog, Limits, PolicyFile, Server};

use super::Ledger;
use super::probe::ProbeServer;
use crate::sim::Node;

/// A machine with a server on it, while that lives.
pub struct Host {
    server: Option<SimServer>,
    ledger: Ledger,
    audit: AuditLog,
    policy: PolicyFile,
    limits: Limits,
    epoch: Instant,
    most: Usage,
}

impl Host {
    pub(super) fn new(
        ledger: Ledger,
        audit: AuditLog,
        policy: PolicyFile,
        limits: Limits,
        seed: u64,
        now: Instant,
    ) -> Self {
        let most = Usage::default();
        let mut host = Self { server: None, ledger, audit, policy, limits, epoch: now, most };
        host.start(seed, now);
        host
    }

    pub(super) fn kill(&mut self) {
        self.server = None;
    }

    pub(super) fn start(&mut self, seed: u64, now: Instant) {
        let builder = Server::builder(test_identity("server"))
            .policy(self.policy.clone())
            .audit(self.audit.clone())
            .limits(self.limits.clone())
            .service(ProbeServer::new(self.ledger.clone()));
        let server = SimServer::start(builder, seed, self.epoch, now);
        self.server = Some(server.expect("the lab's server starts"));
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
        };
        now
    }
}

impl Node for Host {
    fn handle_datagram(&mut self, from: SocketAddr, datagram: &mut [u8], now: Instant) {
        self.ledger.tick(now);
        if let Some(server) = &mut self.server {
            server.handle_datagram(from, datagram, now);
        }
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        self.ledger.tick(now);
        self.server.as_mut()?.poll_transmit(now)
    }

    fn next_timeout(&self) -> Option<Instant> {
        let server = self.server.as_ref()?;
        [server.next_timeout(), self.ledger.next_wake()].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.ledger.tick(now);
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
