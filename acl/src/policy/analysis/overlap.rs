//! Two rows: whether one covers the other, and which requests both speak of.

use std::cell::Cell;

use super::region::{bound, contains, is_empty};
use super::ruleset::{Asker, Rule, Ruleset, VerbId};
use crate::policy::pattern::{Pattern, Segment};
use crate::policy::people::EVERYONE;

/// Compares rows, and counts what that costs.
pub(super) struct Pairs<'r> {
    pub(super) rules: &'r Ruleset,
    steps: Cell<u64>,
    most: u64,
}

/// Requests of which two rows speak.
pub(super) struct Overlap<'r> {
    pub(super) asker: Asker<'r>,
    /// `None` is a verb that no row names.
    pub(super) verb: Option<VerbId>,
    pub(super) objects: Pattern,
}

impl<'r> Pairs<'r> {
    /// Gives up after `most` comparisons.
    pub(super) fn new(rules: &'r Ruleset, most: u64) -> Self {
        Self { rules, steps: Cell::new(0), most }
    }

    /// Whether `outer` speaks of every request of which `inner` does. Not so, when too much was
    /// compared before.
    pub(super) fn covers(&self, outer: &Rule, inner: &Rule) -> bool {
        if !outer.verbs.include(&inner.verbs) {
            return false;
        }
        let subject = outer.subject == EVERYONE || outer.subject == inner.subject;
        if subject && contains(&outer.object, &inner.object, None) {
            return true;
        }
        self.rules.folk.askers(inner.subject).all(|asker| {
            let covered = || {
                is_empty(&inner.object, asker.name)
                    || contains(&outer.object, &inner.object, Some(asker.name))
            };
            self.spend() && asker.is(outer.subject) && covered()
        })
    }

    /// Requests of which both rows speak; `None` if there are none, or too much was compared.
    pub(super) fn shared(&self, one: &Rule, two: &Rule) -> Option<Overlap<'r>> {
        self.find(one, two, |_| true)
    }

    /// Requests of which both rows speak, asked by someone for whom neither row's objects lie
    /// within the other's.
    pub(super) fn crossing(&self, one: &Rule, two: &Rule) -> Option<Overlap<'r>> {
        if contains(&one.object, &two.object, None) || contains(&two.object, &one.object, None) {
            return None;
        }
        self.find(one, two, |asker| {
            let name = Some(asker.name);
            !contains(&one.object, &two.object, name) && !contains(&two.object, &one.object, name)
        })
    }

    fn find(
        &self,
        one: &Rule,
        two: &Rule,
        wanted: impl Fn(&Asker<'_>) -> bool,
    ) -> Option<Overlap<'r>> {
        let verb = one.verbs.shared(&two.verbs)?;
        let askers = self.rules.folk.shared_askers(one.subject, two.subject);
        // Without `{self}` all askers are alike.
        let alike = !uses_self(&one.object) && !uses_self(&two.object);
        let most = if alike { 1 } else { usize::MAX };
        askers.take(most).take_while(|_| self.spend()).find_map(|asker| {
            let objects = one.object.meet(&two.object, asker.name)?;
            let empty = is_empty(&objects, asker.name);
            (!empty && wanted(&asker)).then_some(Overlap { asker, verb, objects })
        })
    }

    /// Counts a step; false when there were too many.
    pub(super) fn spend(&self) -> bool {
        self.steps.set(self.steps.get() + 1);
        self.steps.get() <= self.most
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps.get()
    }
}

/// The first asker of whom the row speaks and who has some object of it, with the row's objects
/// for that asker.
pub(super) fn first_asker<'r>(rules: &'r Ruleset, rule: &Rule) -> Option<(Asker<'r>, Pattern)> {
    let asker =
        rules.folk.askers(rule.subject).find(|asker| !is_empty(&rule.object, asker.name))?;
    Some((asker, bound(&rule.object, asker.name)))
}

pub(super) fn uses_self(pattern: &Pattern) -> bool {
    pattern.segments.contains(&Segment::Caller)
}
