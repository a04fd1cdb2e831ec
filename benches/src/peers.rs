//! The systems ours is compared with, from the floors to whole RPC frameworks.

pub(crate) mod capnp;
pub(crate) mod floor;
mod mutual_tls;
pub(crate) mod ping_pong;
pub(crate) mod quinn;
mod slots;
pub(crate) mod tarpc;
pub(crate) mod tonic;
pub(crate) mod udp_floor;
