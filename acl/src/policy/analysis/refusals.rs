//! Refused requests of an audit log, those that are alike counted together.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::Vacant;

use serde::Serialize;

use crate::audit::Entry;

/// Most different requests that are looked at.
pub const MAX_REQUESTS: usize = 100_000;

/// A request that was refused, so many times.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Refusal {
    /// Who asked.
    pub principal: String,
    /// What for.
    pub verb: String,
    /// On what.
    pub object: String,
    /// How often.
    pub count: u64,
}

/// Refusals as they are read, in memory that [`MAX_REQUESTS`] bounds.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    /// By principal, verb and object.
    counts: BTreeMap<[String; 3], u64>,
    beyond: u64,
}

impl Refusal {
    /// The request of an audit record, if no row of the policy in force allowed it. One that ran
    /// because its principal is permissive is among them; what only a shadow would refuse is not,
    /// nor is a summary, which names no object.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let by_policy = matches!(entry.reason.as_deref(), Some("row" | "default"));
        let in_force = entry.mode.as_deref() != Some("shadow");
        let denied = entry.event == "decision" && entry.decision.as_deref() == Some("deny");
        if !(denied && by_policy && in_force) {
            return None;
        }
        let (principal, verb) = (entry.principal.clone()?, entry.verb.clone()?);
        // A decision is about one request, whatever it says.
        Some(Self { principal, verb, object: entry.object.clone()?, count: 1 })
    }
}

impl Refusals {
    /// Counts one more.
    pub fn add(&mut self, refusal: Refusal) {
        let Refusal { principal, verb, object, count } = refusal;
        let full = self.counts.len() >= MAX_REQUESTS;
        let sum = match self.counts.entry([principal, verb, object]) {
            Vacant(_) if full => &mut self.beyond,
            entry => entry.or_default(),
        };
        *sum = sum.saturating_add(count);
    }

    /// Those that were not kept, since there are more than [`MAX_REQUESTS`] different ones.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// The different ones.
    pub(super) fn counted(self) -> impl Iterator<Item = Refusal> {
        self.counts.into_iter().map(|([principal, verb, object], count)| Refusal {
            principal,
            verb,
            object,
            count,
        })
    }
}

impl FromIterator<Refusal> for Refusals {
    fn from_iter<T: IntoIterator<Item = Refusal>>(refusals: T) -> Self {
        let mut all = Self::default();
        refusals.into_iter().for_each(|refusal| all.add(refusal));
        all
    }
}

/// How many these are together.
pub(super) fn total<'r>(refusals: impl IntoIterator<Item = &'r Refusal>) -> u64 {
    refusals.into_iter().fold(0, |sum: u64, refusal| sum.saturating_add(refusal.count))
}
