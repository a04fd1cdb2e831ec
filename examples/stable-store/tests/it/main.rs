//! What the store promises, held against disks that forget, fail and rot.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod crash_table;
mod failures;
mod power_cuts;
mod storms;
mod support;
