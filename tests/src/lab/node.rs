//! Either end, as the world sees it.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Caller, Host};
use crate::sim::Node;

/// A node of a lab.
pub enum LabNode {
    /// A server's machine.
    Host(Box<Host>),
    /// A client, and who calls through it.
    Caller(Box<Caller>),
    /// Somebody else, who sends what a test makes up and keeps what comes.
    Mailbox(Vec<Vec<u8>>),
}

impl Node for Vec<Vec<u8>> {
    fn handle_datagram(&mut self, _: SocketAddr, datagram: &mut [u8], _: Instant) {
        self.push(datagram.to_vec());
    }

    fn poll_transmit(&mut self, _: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        None
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant) {}
}

impl LabNode {
    pub(super) fn host(&self) -> &Host {
        match self {
            Self::Host(host) => host,
            _ => panic!("this node is no server"),
        }
    }

    pub(super) fn host_mut(&mut self) -> &mut Host {
        match self {
            Self::Host(host) => host,
            _ => panic!("this node is no server"),
        }
    }

    /// The caller.
    ///
    /// # Panics
    ///
    /// If it is another node.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        match self {
            Self::Caller(caller) => caller,
            _ => panic!("this node is no caller"),
        }
    }

    pub(super) fn caller_mut(&mut self) -> &mut Caller {
        match self {
            Self::Caller(caller) => caller,
            _ => panic!("this node is no caller"),
        }
    }

    fn node(&self) -> &dyn Node {
        match self {
            Self::Host(host) => &**host,
            Self::Caller(caller) => &**caller,
            Self::Mailbox(mailbox) => mailbox,
        }
    }

    fn node_mut(&mut self) -> &mut dyn Node {
        match self {
            Self::Host(host) => &mut **host,
            Self::Caller(caller) => &mut **caller,
            Self::Mailbox(mailbox) => mailbox,
        }
    }
}

impl Node for LabNode {
    fn handle_datagram(&mut self, from: SocketAddr, datagram: &mut [u8], now: Instant) {
        self.node_mut().handle_datagram(from, datagram, now);
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        self.node_mut().poll_transmit(now)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.node().next_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.node_mut().handle_timeout(now);
    }

    fn handle_too_big(&mut self, to: SocketAddr, length: usize, now: Instant) {
        self.node_mut().handle_too_big(to, length, now);
    }
}
