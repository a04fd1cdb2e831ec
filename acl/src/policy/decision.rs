//! The answer to "may this principal do this?", and the row that gave it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a row grants, and what a decision comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The call may run.
    Allow,
    /// The call must not run.
    Deny,
}

/// Why a decision came out as it did; the words of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// A row says so.
    Row,
    /// No row speaks of it, so it is denied.
    Default,
    /// The object's name is not canonical.
    BadObject,
    /// The service has no such method.
    UnknownMethod,
    /// The policy does not know the principal, or no longer knows the key.
    UnknownPrincipal,
    /// A retry under the call key of a different call.
    FalseRetry,
    /// The audit log cannot be written, so no handler runs.
    AuditUnavailable,
    /// A stream was ended because its permission went.
    StreamRevoked,
}

/// A row of the policy file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RowRef {
    /// Its line; 1 is the first.
    pub line: u32,
}

/// The answer of [`Policy::decide`](super::Policy::decide).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Decision {
    /// May it run?
    pub effect: Effect,
    /// Why.
    pub reason: Reason,
    /// The deciding row: the first matching deny, or else the first matching allow.
    pub row: Option<RowRef>,
}

impl Decision {
    /// A denial that no row gave.
    pub const fn denied(reason: Reason) -> Self {
        Self { effect: Effect::Deny, reason, row: None }
    }

    /// A decision that the row at `line` gave.
    pub const fn by_row(effect: Effect, line: u32) -> Self {
        Self { effect, reason: Reason::Row, row: Some(RowRef { line }) }
    }

    /// Whether the call may run.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self.effect, Effect::Allow)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

impl Reason {
    /// The word of the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Default => "default",
            Self::BadObject => "bad_object",
            Self::UnknownMethod => "unknown_method",
            Self::UnknownPrincipal => "unknown_principal",
            Self::FalseRetry => "false_retry",
            Self::AuditUnavailable => "audit_unavailable",
            Self::StreamRevoked => "stream_revoked",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
