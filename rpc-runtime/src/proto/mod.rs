//! The protocol as values: bytes and times in, bytes and answers out.
//!
//! Nothing here reads a clock, opens a socket, spawns a task or draws randomness it was not
//! given. A module uses only those of its own line and above:
//!
//! ```text
//! varint  status  output  frames  frame             what is to be sent
//! spare  joined  input                              what was received
//! session                                           records around frames, on a stream
//! calls  answers                                    a client's calls, over any connection
//! duplicate_requests  memories  claim               what a server remembers of them
//! client  server                                    the two ends of a stream
//! udp                                               the same over datagrams
//! ```

pub(crate) mod frame;
pub(crate) mod frames;
pub(crate) mod input;
pub(crate) mod joined;
pub(crate) mod output;
pub(crate) mod spare;
pub(crate) mod status;
pub(crate) mod varint;

pub(crate) mod session;

pub(crate) mod answers;
pub(crate) mod calls;

pub(crate) mod claim;
pub(crate) mod completions;
pub(crate) mod duplicate_requests;
pub(crate) mod memories;

pub(crate) mod client;
pub(crate) mod server;

pub(crate) mod udp;
