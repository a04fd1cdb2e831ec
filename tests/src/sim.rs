//! A simulated world for datagrams: seeded, on a virtual clock, an hour in a millisecond.
//!
//! What a link does to a datagram is data ([`LinkConfig`]); ends without sockets and clocks ([`Node`])
//! talk over such links in a [`World`]. The same seed gives the same run, shown by
//! [`World::trace_hash`].
//!
//! ```
//! # use std::{net::SocketAddr, time::{Duration, Instant}};
//! use bailiwick_tests::sim::{LinkConfig, Node, World};
//!
//! /// Sends one datagram, and counts what comes.
//! struct Greeter { to: Option<SocketAddr>, heard: usize }
//!
//! impl Node for Greeter {
//!     fn handle_datagram(&mut self, _: SocketAddr, _: &mut [u8], _: Instant) {
//!         self.heard += 1;
//!     }
//!     fn poll_transmit(&mut self, _: Instant) -> Option<(SocketAddr, Vec<u8>)> {
//!         self.to.take().map(|to| (to, b"hello".to_vec()))
//!     }
//!     fn next_timeout(&self) -> Option<Instant> {
//!         None
//!     }
//!     fn handle_timeout(&mut self, _: Instant) {}
//! }
//!
//! let (alice, bob) = ("10.0.0.1:1000".parse()?, "10.0.0.2:2000".parse()?);
//! let mut world = World::seeded(7);
//! let from = world.add(alice, Greeter { to: Some(bob), heard: 0 });
//! let to = world.add(bob, Greeter { to: None, heard: 0 });
//! world.set_link(from, to, LinkConfig { duplicate: 1.0, ..LinkConfig::default() });
//! world.run_until_idle(Duration::from_secs(1))?;
//! assert_eq!(world.node(to).heard, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod link;
#[cfg(test)]
mod link_tests;
mod node;
mod trace;
mod world;
#[cfg(test)]
mod world_tests;

pub use link::{Arrival, Counts, Fate, Link, LinkConfig, LinkConfigError, datagram_limit};
pub use node::Node;
pub use trace::Captured;
pub use world::{Elapsed, NodeId, SOCKET_BUFFER, World};
