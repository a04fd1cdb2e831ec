//! The protocol as values: bytes and times in, bytes and answers out.
//!
//! Nothing here reads a clock, opens a socket, spawns a task or draws randomness it was not
//! given. A file uses only those above it in this list.

pub(crate) mod buffers; // bytes received and not read, to send and not sent
pub(crate) mod calls; // a client's calls that wait for answers
pub(crate) mod claim; // a call that the server has taken on
pub(crate) mod client; // a connection, as its initiator sees it
pub(crate) mod duplicate_requests; // run each call at most once
pub(crate) mod frame; // a frame's fields, written and read
pub(crate) mod joiner; // frames out of the stream that records carry
pub(crate) mod memories; // what a server remembers of all its clients
pub(crate) mod server;
pub(crate) mod session; // an established session: records around frames
pub(crate) mod varint; // integers of few bytes // a connection, as its responder sees it
