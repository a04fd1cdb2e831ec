//! The policy file, the reference monitor and the audit log of Bailiwick.
//!
//! * [`policy`] reads the four-column access-control file and answers who may do what.
//! * [`monitor`] judges each request by it and is the only maker of a [`Grant`].
//! * [`audit`] keeps the refusals in a chain of hashes that shows every edit.
//! * [`object`] says which names of objects are canonical.
//!
//! Bytes and values only: the crate reads no clock, opens no socket and starts no task. Time is an
//! argument, and the one place that touches a file is the audit log's sink.
//!
//! ```
//! use bailiwick_acl::policy::{Effect, KeysRequired, LoadOptions, Policy, Source};
//!
//! let source = Source { name: "policy.acl", text: b"dthain | exam.txt | write | allow" };
//! // A lone file without keys, as the tools read it; a server wants a key for each principal.
//! let options = LoadOptions { keys: KeysRequired::Tool, ..LoadOptions::default() };
//! let policy = Policy::load(source, &options)?.policy;
//! let decision = policy.explain("dthain", "write", "exam.txt");
//! assert_eq!(decision.effect, Effect::Allow);
//! assert_eq!(decision.row.map(|row| row.line), Some(1));
//! # Ok::<(), bailiwick_acl::policy::PolicyErrors>(())
//! ```
#![forbid(unsafe_code)]

pub mod object;

pub mod policy;

pub mod audit;

pub mod monitor;

pub use audit::{AuditError, AuditId, AuditLog};
pub use monitor::{Caller, Denial, Grant, Monitor, Request};
pub use policy::{Decision, Effect, Policy, PolicyErrors, Principal, Reason};
