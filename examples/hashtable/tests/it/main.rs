//! The binary as its users meet it: real processes, real keys, real ports.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_data;
mod bad_start;
mod call;
mod demo;
mod describe;
mod failing_fsync;
mod hammer;
mod history;
mod kept;
mod killed;
mod linearizable;
mod observe;
mod relay;
mod serve;
mod support;
