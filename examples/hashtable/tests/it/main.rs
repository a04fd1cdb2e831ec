//! The binary as its users meet it: real processes, real keys, real ports.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_data;
mod bad_start;
mod call;
mod config; // a server from a file of settings
mod demo;
mod deployed; // as a service of the system
mod describe;
mod failing_fsync;
mod hammer;
mod history;
mod kept;
mod killed;
mod linearizable;
mod observe;
mod policy; // what is saved counts without a restart
mod relay;
mod serve;
mod support;
#[path = "../../../testing/tools.rs"]
mod tools; // that may be missing
mod witness; // of its audit log
