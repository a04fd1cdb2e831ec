//! Services in every form that `#[rpc_service]` takes. That they compile under every lint that a
//! user may well deny is the evidence.
#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, dead_code)]
#![deny(rust_2018_idioms, single_use_lifetimes, clippy::all)]

pub mod colliding_names;
pub mod decorator;
pub mod every_feature;
pub mod visibility;
