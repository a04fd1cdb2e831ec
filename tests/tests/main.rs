//! Evidence that needs more than one crate, in one binary: a module for each subject.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod call_vectors;
mod delivery_model;
mod exactness;
mod lossy_calls;
mod lossy_link;
mod macro_services;
mod macro_ui;
mod simulated_hosts;
