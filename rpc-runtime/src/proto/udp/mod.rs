//! Datagrams: frames on a path that loses, repeats and reorders what it carries.
//!
//! A file uses only those above it in this list.

pub(crate) mod budget; // how many retries a client allows itself
pub(crate) mod rtt; // how long to wait for an answer

mod flight; // packets under way: how many, and which are lost
mod fragments; // long messages on their way out
mod mtu; // how long datagrams may be
mod outgoing; // frames that wait
mod path; // where the peer is
pub(crate) mod reassembly; // long messages on their way in

pub(crate) mod link; // one session, either end

#[cfg(test)]
mod link_tests; // what a link promises its owner
#[cfg(test)]
mod link_world; // two links and a network between them
#[cfg(test)]
mod path_tests; // addresses, sizes, ends and forgeries
