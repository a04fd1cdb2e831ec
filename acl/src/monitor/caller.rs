//! Someone who has proven a key: the name, what goes on record, and the groups it belongs to.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::remembered::Remembered;
use crate::policy::{Policy, Principal, Subjects};

/// A principal in one session. Only the [`Monitor`](super::Monitor) makes one, by
/// [`admit`](super::Monitor::admit).
#[derive(Debug)]
pub struct Caller {
    principal: Principal,
    key: Option<([u8; 32], Box<str>)>,
    session: [u8; 8],
    peer: Box<str>,
    /// As they were when the session began: no atomic operation reads them.
    first: Subjects,
    /// Looked up again under each new revision of the policy; none under the first.
    later: ArcSwapOption<Subjects>,
    pub(super) remembered: Remembered,
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
            first: subjects,
            later: ArcSwapOption::empty(),
            remembered: Remembered::default(),
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
    #[inline]
    pub(super) fn subjects(&self, policy: &Policy) -> Option<Cow<'_, Subjects>> {
        if self.first.is_current(policy) {
            return Some(Cow::Borrowed(&self.first));
        }
        self.later_subjects(policy).map(Cow::Owned)
    }

    #[inline(never)] // so that `subjects` stays small
    fn later_subjects(&self, policy: &Policy) -> Option<Subjects> {
        let known = self.later.load();
        if let Some(known) = known.as_deref()
            && known.is_current(policy)
        {
            return Some(known.clone());
        }
        let fresh = self.subjects_in(policy)?;
        self.later.store(Some(Arc::new(fresh.clone())));
        Some(fresh)
    }

    /// As [`subjects`](Self::subjects), and remembers nothing: for a policy that is not in force.
    pub(super) fn subjects_in(&self, policy: &Policy) -> Option<Subjects> {
        if let Some((key, _)) = &self.key
            && policy.principal_of(key).as_ref() != Some(&self.principal)
        {
            return None;
        }
        policy.subjects(self.principal.as_str())
    }
}
