//! The shell around the protocol: the only place with sockets and tasks, by the clock of tokio.
//!
//! `socket`, `udp_socket` and `timer` are what tokio gives; `busy_poll` looks again instead of sleeping, and
//! `quiet` says when buffers are given back. `handlers` and `orphans` are calls at work, with and without a
//! connection; `admission` counts connections, and of a server's `revisions` wakes those when its policy
//! changes and `drain` when it shuts down. A client's connection is a task, `client_driver` or
//! `udp_client_driver`, made by `dialer` and made again by `redial`. A server's is `server_driver`
//! behind a `listener`, or one of many in `udp_server`, which `udp_server_driver`
//! gives a socket. `simulated` and `simulated_port` take the place of sockets on a simulated network.

pub(crate) mod busy_poll;
pub(crate) mod drain;
pub(crate) mod quiet;
pub(crate) mod socket;
pub(crate) mod timer;
pub(crate) mod udp_socket;

#[cfg(feature = "simulation")]
pub(crate) mod simulated;

pub(crate) mod handlers;
pub(crate) mod orphans;

pub(crate) mod client_driver;
pub(crate) mod udp_client_driver;

pub(crate) mod dialer;
pub(crate) mod redial;

pub(crate) mod admission;
pub(crate) mod revisions;
pub(crate) mod server_driver;

pub(crate) mod udp_server;
pub(crate) mod udp_server_driver;

pub(crate) mod listener;
#[cfg(feature = "simulation")]
pub(crate) mod simulated_port;
