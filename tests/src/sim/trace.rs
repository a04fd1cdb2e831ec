//! What happened in a world: every event in one hash, and the datagrams sent for those who ask.

use std::net::SocketAddr;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// A datagram as its sender gave it to the network, before the link did anything to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When, since the start of the world.
    pub at: Duration,
    /// The source address that the destination sees.
    pub from: SocketAddr,
    /// Where it was sent.
    pub to: SocketAddr,
    /// What was sent.
    pub datagram: Vec<u8>,
}

/// What a trace tells apart.
#[derive(Clone, Copy)]
pub(super) enum Event {
    Sent,
    Arrived,
    TimedOut,
}

/// A running hash over all events of a world.
#[derive(Default)]
pub(super) struct Trace(Sha256);

impl Trace {
    pub(super) fn record(&mut self, event: Event, at: Duration, node: usize, bytes: &[u8]) {
        let mut header = [0; 33];
        header[0] = event as u8;
        header[1..17].copy_from_slice(&at.as_nanos().to_be_bytes());
        header[17..25].copy_from_slice(&(node as u64).to_be_bytes());
        header[25..].copy_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.update(header);
        self.0.update(bytes);
    }

    pub(super) fn hash(&self) -> u64 {
        let digest = self.0.clone().finalize();
        u64::from_be_bytes(*digest.first_chunk().expect("SHA-256 has 32 bytes"))
    }
}
