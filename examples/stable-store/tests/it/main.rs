//! What the store promises, held against disks that forget, fail and rot.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod crash_table;
mod damage;
mod failed_syncs;
mod failures;
mod fuzzing;
mod power_cuts;
mod redb_oracle;
mod storms;
mod support;
