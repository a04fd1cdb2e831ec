//! One policy gives way to another: which is in force, which was refused, and who is no longer
//! welcome under it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::{Caller, Mode, Monitor, ReplaceError};
use crate::audit::{AuditError, AuditId, Event, Record};
use crate::policy::{Policy, Reason};

/// A policy that did not come into force, as it goes on record.
#[derive(Clone, Copy, Debug)]
pub struct Rejected<'a> {
    /// What the policy is called in messages.
    pub name: &'a str,
    /// Its digest, as far as it could be read; see [`Policy::digest`].
    pub digest: Option<[u8; 32]>,
    /// A word for why.
    pub reason: &'a str,
    /// The first error.
    pub detail: &'a str,
    /// Whose place it would have taken: the policy in force, or its shadow.
    pub mode: Mode,
}

impl Monitor {
    /// The number of the policy in force; see [`Policy::revision`].
    #[must_use]
    pub fn revision(&self) -> u64 {
        // Not `remembered_under`: who has seen this number may rely on the policy being there.
        self.policy.load().revision()
    }

    /// Puts another policy in force, for the next request of every session.
    ///
    /// # Errors
    ///
    /// [`ReplaceError`]; the policy before stays in force.
    pub fn replace(&self, policy: Policy) -> Result<(), ReplaceError> {
        let _turn = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let in_force = self.policy();
        if let Some(serial) = in_force.serial()
            && policy.serial().is_none_or(|new| new < serial)
        {
            self.audit
                .append(&about(&policy, Event::PolicyReject, Some("serial")), (self.clock)())?;
            return Err(ReplaceError::Serial { new: policy.serial(), in_force: serial });
        }
        self.audit.append(&about(&policy, Event::PolicyLoad, None), (self.clock)())?;
        // First: who has once been judged by the new policy remembers nothing of the old one.
        self.remembered_under.store(policy.revision(), Ordering::Release);
        self.policy.store(Arc::new(policy));
        Ok(())
    }

    /// Puts on record that a policy did not come into force.
    ///
    /// # Errors
    ///
    /// [`AuditError`].
    pub fn rejected(&self, rejected: &Rejected<'_>) -> Result<(), AuditError> {
        let detail = format!("{}: {}", rejected.name, rejected.detail);
        let record = Record {
            reason: Some(rejected.reason),
            policy: rejected.digest,
            mode: Some(rejected.mode.as_str()),
            detail: Some(&detail),
            ..Record::of(Event::PolicyReject)
        };
        self.audit.append(&record, (self.clock)()).map(|_| ())
    }

    /// Whether the policy in force still knows the caller by its key. A session of one that is not
    /// welcome must end; its requests are refused already.
    #[must_use]
    pub fn is_welcome(&self, caller: &Caller) -> bool {
        caller.subjects(&self.policy.load()).is_some()
    }

    /// Puts on record that a session was ended since its caller is no longer welcome.
    ///
    /// `None`: the log could not be written. The session is over either way.
    pub fn session_revoked(&self, caller: &Caller) -> Option<AuditId> {
        let policy = self.policy.load();
        let record = Record {
            reason: Some(Reason::UnknownPrincipal.as_str()),
            principal: Some(caller.principal().as_str()),
            key: caller.key(),
            session: Some(caller.session()),
            peer: Some(caller.peer()),
            policy: Some(policy.digest()),
            serial: policy.serial(),
            ..Record::of(Event::SessionRevoked)
        };
        self.audit.append(&record, (self.clock)()).ok()
    }

    /// Puts the load of the first policy on record.
    pub(super) fn record_start(&self) -> Result<(), AuditError> {
        let policy = self.policy();
        let record = about(&policy, Event::PolicyLoad, None);
        self.audit.append_at_start(&record, (self.clock)()).map(|_| ())
    }
}

fn about<'a>(policy: &'a Policy, event: Event, reason: Option<&'a str>) -> Record<'a> {
    Record {
        reason,
        policy: Some(policy.digest()),
        serial: policy.serial(),
        mode: Some(Mode::Enforce.as_str()),
        detail: Some(policy.name()),
        ..Record::of(event)
    }
}
