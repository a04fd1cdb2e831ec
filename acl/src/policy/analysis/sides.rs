//! The rows of a policy by effect, each side with its index.

use super::index::Index;
use super::ruleset::{Asker, Rule, Ruleset, VerbId};
use crate::policy::decision::Effect;
use crate::policy::pattern::Pattern;

/// The allows and the denies of a policy.
pub(super) struct Sides<'r> {
    pub(super) allows: Side<'r>,
    pub(super) denies: Side<'r>,
}

/// Rows of one effect, in their order, and an index of them.
pub(super) struct Side<'r> {
    pub(super) rules: Vec<&'r Rule>,
    pub(super) index: Index<'r>,
}

impl<'r> Sides<'r> {
    pub(super) fn of(rules: &'r Ruleset) -> Self {
        let side = |effect| {
            let rules: Vec<_> = rules.rules.iter().filter(|rule| rule.effect == effect).collect();
            let index = Index::of(rules.iter().map(|rule| (rule.subject, &rule.object)));
            Side { rules, index }
        };
        Self { allows: side(Effect::Allow), denies: side(Effect::Deny) }
    }
}

impl<'r> Side<'r> {
    /// The rows that speak of this asker, of the verb and of some of the objects, in their order.
    /// `None` is a verb that no row names.
    pub(super) fn meeting(
        &self,
        asker: Asker<'_>,
        verb: Option<VerbId>,
        objects: &Pattern,
    ) -> Vec<&'r Rule> {
        let mut found = self.of_any_verb(asker, objects);
        found.retain(|rule| rule.verbs.includes(verb));
        found
    }

    /// As [`meeting`](Self::meeting), whatever the verb.
    pub(super) fn of_any_verb(&self, asker: Asker<'_>, objects: &Pattern) -> Vec<&'r Rule> {
        let mut found = Vec::new();
        let subjects = asker.subjects.iter().copied();
        self.index.meeting(subjects, Some(asker.name), objects, |at| {
            found.push(at);
            None::<()>
        });
        found.sort_unstable();
        found.into_iter().map(|at| self.rules[at as usize]).collect()
    }
}
