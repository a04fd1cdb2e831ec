//! A secure RPC framework: a trait becomes a client and a server over authenticated, encrypted
//! sessions; one policy file is judged on every call; every refusal is on record; and every answer
//! says whether the call ran.
//!
//! [`rpc_service`] on a trait makes a client and a server of it. A [`Server`] serves it under a
//! [`PolicyFile`] and an [`AuditLog`]; a [`Channel`] calls it; a [`CallError`] says what the caller
//! can do and whether the call ran. [`testing`] runs all of it in memory, and [`durable`] is for
//! services whose calls outlive a crash.
//!
//! Without the default feature `net` only the protocol's core is built: no tokio, no socket, no
//! clock.

// Without the shell nobody drives the core.
#![cfg_attr(not(feature = "net"), allow(dead_code))]

// A module uses those above it.
mod clock;
mod config;
mod id;
pub mod marshal;

mod context;
mod error;
mod proto;
pub mod trace;

mod described;
mod object;
pub mod service;
mod shown;

mod dispatch;
pub mod durable;
pub mod metrics;
mod observe;
mod overload;
mod policy_file;
mod regular_file;
mod repeat;
mod reply;
mod router;
mod status;

#[cfg(feature = "net")]
mod audit;
#[cfg(feature = "net")]
mod endpoint;
#[cfg(feature = "net")]
mod net;
#[cfg(feature = "net")]
mod redaction_file;

#[cfg(feature = "net")]
mod client;
#[cfg(feature = "net")]
pub mod health;
#[cfg(feature = "prometheus")]
mod prometheus;
#[cfg(feature = "net")]
mod server;
#[cfg(feature = "server-file")]
pub mod server_file;
#[cfg(feature = "net")]
pub mod testing;
#[cfg(feature = "net")]
pub mod witness;

#[cfg(all(feature = "net", any(test, feature = "fuzzing")))]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(any(test, feature = "benchmarks"))]
#[doc(hidden)]
pub mod benchmarks;

#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;

pub use bailiwick_acl::{
    AuditId, PolicyErrors,
    monitor::{Allows, MAX_PERMISSIVE, ModeError},
    policy::PolicyWarning,
};
pub use bailiwick_crypto::{Fingerprint, Identity, Psk, PublicKey, key_file};
pub use bailiwick_macros::rpc_service;
pub use bytes::Bytes;

pub use config::{LimitError, Limits};
pub use context::{Context, Metadata};
pub use error::{
    CallError, ConnectError, Disconnected, Executed, Never, NotSent, Outcome, ProtocolError,
    Unavailable,
};
pub use id::{CallKey, CallNumber, Incarnation, MethodId};
pub use policy_file::{PolicyFile, PolicyFileError, SignedPolicyError};
pub use proto::calls::Reconnect;
pub use router::DuplicateMethod;
pub use status::{ServerStatus, Status};

#[cfg(feature = "net")]
pub use audit::{AuditError, AuditLog, AuditLogBuilder, CheckpointKey};
#[cfg(feature = "net")]
pub use client::{Channel, ChannelConfig};
#[cfg(feature = "net")]
pub use endpoint::{Endpoint, EndpointError};
#[cfg(feature = "net")]
pub use health::{Health, HealthClient};
#[cfg(feature = "net")]
pub use policy_file::reload::{Outcomes, PolicyHandle, ReloadError, Reloaded, Revision};
#[cfg(feature = "net")]
pub use server::{Drained, ServeError, Server, ServerBuilder};

/// The README's examples, compiled and run with the documentation's.
#[cfg(all(doctest, feature = "net"))]
#[doc = include_str!("../../README.md")]
struct Readme;

/// What expansions of [`rpc_service`] need under a name that the user's crate need not have.
#[doc(hidden)]
pub mod __private {
    pub use serde;
}
