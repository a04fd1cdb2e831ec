//! The shell around the protocol: the only place with tokio, sockets, tasks and a clock.

pub(crate) mod admission; // how many connections, and from where
pub(crate) mod handlers; // calls at work
pub(crate) mod socket; // what a connection runs over
pub(crate) mod timer; // one timer a connection
pub(crate) mod udp_socket; // many datagrams with one system call

pub(crate) mod client_driver; // a client's connection as a task
pub(crate) mod dialer; // how a channel connects
pub(crate) mod redial;
pub(crate) mod udp_client_driver; // its UDP socket as a task // and does so again

pub(crate) mod server_driver; // a server's connection as a task

pub(crate) mod listener; // a port
