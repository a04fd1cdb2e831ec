//! What two-phase commit promises: its machines in worlds that fail, and its programs as people run
//! them.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

mod machines;
mod programs;
