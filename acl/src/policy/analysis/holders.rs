//! Who can do something, and what someone can do.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::region::{Region, bound};
use super::ruleset::{Asker, Listed, Rule, Ruleset, VerbId};
use super::sides::Sides;
use super::verb_set::VerbSet;
use crate::policy::pattern::Pattern;

/// Someone who may use a verb on some objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Who; `*` is whoever else may come to have a key, where the policy gives none.
    pub principal: String,
    /// The line of the row that allows it; 1 is the first.
    pub line: u32,
    /// On which of the objects that were asked for.
    #[serde(flatten)]
    pub region: Region,
}

/// What a row gives to someone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// The row's line; 1 is the first.
    pub line: u32,
    /// Verbs that the row allows and that the same denies cut into.
    pub verbs: VerbSet,
    /// What is left of the row's objects; `{self}` is filled in.
    #[serde(flatten)]
    pub region: Region,
    /// The lines of the denies that cut it, sorted.
    pub denied_by: Vec<u32>,
}

/// Who can use `verb` on `objects`, or on some of them: for each principal the rows that allow it,
/// without what denies take back. A row whose objects lie within an earlier one's is left out.
#[must_use]
pub fn who_can(rules: &Ruleset, verb: &str, objects: &Pattern) -> Vec<Holder> {
    let sides = Sides::of(rules);
    let verb = rules.verb_id(verb);
    let mut askers: Vec<_> = rules.folk.stranger().into_iter().collect();
    askers.extend(rules.folk.principals());
    askers.sort_by_key(|asker| asker.name);
    let mut found = Vec::new();
    for asker in askers {
        let mut own: Vec<Holder> = Vec::new();
        for allow in sides.allows.meeting(asker, verb, objects) {
            let Some(both) = allow.object.meet(objects, asker.name) else { continue };
            let known = |held: &Holder| super::region::contains(&held.region.objects, &both, None);
            if own.iter().any(known) {
                continue;
            }
            let denies = sides.denies.meeting(asker, verb, &both);
            let denies: Vec<_> = denies.iter().map(|deny| &deny.object).collect();
            if let Some(region) = Region::of(both, &denies, asker.name) {
                let principal = if asker.name.is_empty() { "*" } else { asker.name }.to_owned();
                own.push(Holder { principal, line: allow.line(), region });
            }
        }
        found.append(&mut own);
    }
    found
}

/// What a principal can do: each row that allows it something, in the order of the lines, without
/// what denies take back. `None` if the policy does not know it.
#[must_use]
pub fn what_can(rules: &Ruleset, principal: &str) -> Option<Vec<Holding>> {
    let asker = rules.folk.named(principal)?;
    let sides = Sides::of(rules);
    let allows = sides.allows.rules.iter().filter(|allow| asker.is(allow.subject));
    Some(allows.flat_map(|allow| holdings(rules, &sides, asker, allow)).collect())
}

/// What is left of an allow, verbs with the same rest together.
fn holdings(rules: &Ruleset, sides: &Sides<'_>, asker: Asker<'_>, allow: &Rule) -> Vec<Holding> {
    let objects = bound(&allow.object, asker.name);
    let denies = sides.denies.of_any_verb(asker, &objects);
    let named: BTreeSet<VerbId> = match &allow.verbs {
        Listed::These(verbs) => verbs.iter().copied().collect(),
        // Only verbs that some deny names can differ from all the others.
        Listed::Every => denies.iter().flat_map(|deny| deny.verbs.each().flatten()).collect(),
    };
    let mut left: BTreeMap<Vec<u32>, Vec<Option<VerbId>>> = BTreeMap::new();
    let fresh = (allow.verbs == Listed::Every).then_some(None);
    for verb in named.iter().copied().map(Some).chain(fresh) {
        let cut = denies.iter().filter(|deny| deny.verbs.includes(verb));
        left.entry(cut.map(|deny| deny.line()).collect()).or_default().push(verb);
    }
    let all: Vec<_> = named.iter().map(|verb| rules.verb(Some(*verb))).collect();
    let holding = |(lines, verbs): (Vec<u32>, Vec<Option<VerbId>>)| {
        let cut = denies.iter().filter(|deny| lines.binary_search(&deny.line()).is_ok());
        let cut: Vec<_> = cut.map(|deny| &deny.object).collect();
        let region = Region::of(objects.clone(), &cut, asker.name)?;
        let names: Vec<_> = verbs.iter().map(|verb| verb.map(|_| rules.verb(*verb))).collect();
        let verbs = VerbSet::of(&all, |verb| names.contains(&verb))?;
        Some(Holding { line: allow.line(), verbs, region, denied_by: lines })
    };
    left.into_iter().filter_map(holding).collect()
}
