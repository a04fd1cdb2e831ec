//! The real client and server in the simulated world: whatever the network does, what callers are told
//! is true.

mod cuts;
mod increments;
