//! What the monitor answers: a grant, or why not.

use thiserror::Error;

use crate::audit::{AuditError, AuditId};
use crate::policy::{Reason, RowRef};

/// Proof that the monitor allowed one request; nothing else can build it.
///
/// ```compile_fail,E0451
/// fn forge() -> bailiwick_acl::Grant {
///     bailiwick_acl::Grant { row: None, revision: 1 }
/// }
/// ```
#[must_use]
#[derive(Debug)]
pub struct Grant {
    pub(super) row: Option<RowRef>,
    pub(super) revision: u64,
}

/// Why a request must not run.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// Refused, and on record. Tell the peer the number and no more.
    #[error("denied ({reason}); see {audit}")]
    Recorded {
        /// The record; in a flood, the last record in full of a refusal like this one, which is
        /// counted in the `summary` that follows.
        audit: AuditId,
        /// Why; not for the peer.
        reason: Reason,
    },
    /// Refused because the audit log cannot be written (`audit_unavailable`).
    #[error("refused: the audit log cannot be written")]
    Unrecorded,
}

/// A stranger, or someone no longer welcome.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no principal has this key")]
pub struct Refused {
    /// The record; `None` if it is counted in the next summary, or could not be written.
    pub audit: Option<AuditId>,
}

/// Why a policy did not come into force; the one before stays.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// An older policy, perhaps replayed.
    #[error("the new policy's serial {} is lower than {in_force}, the one in force: raise it",
        new.map_or_else(|| "(none)".to_owned(), |serial| serial.to_string()))]
    Serial {
        /// The new one's.
        new: Option<u64>,
        /// The one in force.
        in_force: u64,
    },
    /// The change could not be put on record.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl Grant {
    /// The row that allowed it (of the first object, if there are several); `None` if no row did and
    /// the principal is permissive.
    #[must_use]
    pub fn row(&self) -> Option<RowRef> {
        self.row
    }

    /// The revision of the policy that allowed it; see [`Policy::revision`](crate::Policy::revision).
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

impl Denial {
    /// The record's number, for the peer.
    #[must_use]
    pub const fn audit(&self) -> Option<AuditId> {
        match self {
            Self::Recorded { audit, .. } => Some(*audit),
            Self::Unrecorded => None,
        }
    }

    /// Why; not for the peer.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Recorded { reason, .. } => *reason,
            Self::Unrecorded => Reason::AuditUnavailable,
        }
    }
}
