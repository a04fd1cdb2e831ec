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

mod pace; // at most four times a second
mod seeded; // hashing with a key
mod table; // places used again under names that are not

mod answers; // handshake answers that wait to be sent
mod completed; // INITs that begin nothing any more
pub(crate) mod sources; // who may have how many connections

pub(crate) mod half_open; // handshakes between INIT and look-up
mod rate; // INITs a second, by source
pub(crate) mod refusals; // what goes on record

pub(crate) mod sessions; // an endpoint's links, and whose turn it is

pub(crate) mod client; // a client over all of it
pub(crate) mod dial; // a client's way to a link
pub(crate) mod endpoint; // a server's side of one socket

#[cfg(test)]
mod dial_tests;
#[cfg(test)]
mod endpoint_tests;
#[cfg(test)]
mod link_tests; // what a link promises its owner
#[cfg(test)]
mod link_world; // two links and a network between them
#[cfg(test)]
mod path_tests; // addresses, sizes, ends and forgeries
#[cfg(test)]
mod testing; // a server in virtual time
