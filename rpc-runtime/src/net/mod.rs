//! The shell around the protocol: the only place with tokio, sockets, tasks and a clock.

pub(crate) mod admission; // how many connections, and from where
pub(crate) mod client_driver; // a client's connection as a task
pub(crate) mod handlers; // calls at work
pub(crate) mod listener;
pub(crate) mod orphans; // calls at work whose connection has ended
pub(crate) mod server_driver; // a server's connection as a task
pub(crate) mod socket; // what a connection runs over
pub(crate) mod timer; // one timer a connection // a port
