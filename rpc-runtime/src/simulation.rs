//! The two ends over UDP as values, for tests in a simulated world: the same client and server as
//! behind the sockets, on whatever clock and chance they are given.
//!
//! Nothing here is part of the API.

mod client;
mod server;
mod transmits;

pub use client::{SimCall, SimClient, SimStanding};
pub use server::{SimServer, Usage};
