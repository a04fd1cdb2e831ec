//! Someone who has proven a key: the name, what goes on record, and the groups it belongs to.

use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

use crate::policy::{Policy, Principal, Subjects};

/// A principal in one session. Only the [`Monitor`](super::Monitor) makes one, by
/// [`admit`](super::Monitor::admit).
#[derive(Debug)]
pub struct Caller {
    principal: Principal,
    key: Option<([u8; 32], Box<str>)>,
    session: [u8; 8],
    peer: Box<str>,
    /// Looked up again under each new revision of the policy.
    subjects: ArcSwap<Subjects>,
}

impl Caller {
    pub(super) fn new(
        subjects: Subjects,
        key: Option<([u8; 32], &str)>,
        session: [u8; 8],
        peer: &str,
    ) -> Self {
        Self {
            principal: subjects.principal().clone(),
            key: key.map(|(key, fingerprint)| (key, fingerprint.into())),
            session,
            peer: peer.into(),
            subjects: ArcSwap::from_pointee(subjects),
        }
    }

    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The fingerprint of the key; `None` in process.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_ref().map(|(_, fingerprint)| &**fingerprint)
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> [u8; 8] {
        self.session
    }

    /// The network address.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The principal with its groups under `policy`; `None` if that no longer knows the principal,
    /// or no longer binds the key to it.
    pub(super) fn subjects(&self, policy: &Policy) -> Option<Guard<Arc<Subjects>>> {
        let known = self.subjects.load();
        if known.is_current(policy) {
            return Some(known);
        }
        if let Some((key, _)) = &self.key
            && policy.principal_of(key).as_ref() != Some(&self.principal)
        {
            return None;
        }
        let fresh = Arc::new(policy.subjects(self.principal.as_str())?);
        self.subjects.store(Arc::clone(&fresh));
        Some(Guard::from_inner(fresh))
    }
}
