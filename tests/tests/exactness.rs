//! The real client and server in the simulated world: whatever the network does, what callers are told
//! is true.

mod bad_input;
mod cuts;
mod durable;
mod increments;
mod lives;
mod long_session;
mod mixtures;
mod raw;
mod refusals;
