//! What a change of the policy changes: every request whose answer becomes another.
//!
//! A request becomes allowed in one of two ways. No row allowed it before, so some row that is new
//! to its caller does; or some row denied it that is gone, and a row allows it now. Both begin at
//! a row that differs, so the rows that stay cost nothing but a look-up. What becomes denied is the
//! same with old and new the other way round.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::region::{Region, bound};
use super::ruleset::{Asker, Listed, Rule, Ruleset, VerbId};
use super::sides::Sides;
use super::verb_set::VerbSet;
use crate::policy::decision::Effect;
use crate::policy::pattern::Pattern;
use crate::policy::people::SubjectId;

/// What differs between two policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Every request whose answer differs lies in one of these, and no other request does.
    pub changes: Vec<Change>,
    /// Keys that are bound to another principal, or no longer, or only now.
    pub keys: Vec<KeyChange>,
}

/// Requests that are answered otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What they become.
    pub becomes: Effect,
    /// Whose requests; `*` is whoever may come to have a key, where neither policy gives any.
    pub principals: Vec<String>,
    /// With which verbs.
    pub verbs: VerbSet,
    /// On which objects.
    #[serde(flatten)]
    pub region: Region,
    /// The line in the old policy that allowed or denied them, if it was a row.
    pub old: Option<u32>,
    /// The line in the new policy that does, if it is a row.
    pub new: Option<u32>,
}

/// A key that changes its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyChange {
    /// `ed25519:<64 hex>`.
    pub key: String,
    /// Whose it was.
    pub old: Option<String>,
    /// Whose it is.
    pub new: Option<String>,
}

impl Difference {
    /// Whether no request is answered otherwise and no key has another owner.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.keys.is_empty()
    }
}

/// What changes from `old` to `new`; exact, as the module says.
#[must_use]
pub fn diff(old: &Ruleset, new: &Ruleset) -> Difference {
    let (before, after) = (Version::of(old, new), Version::of(new, old));
    let mut merged: BTreeMap<Shared, BTreeSet<String>> = BTreeMap::new();
    for (name, then, now) in askers(old, new) {
        let mut changes: BTreeMap<Found, BTreeSet<Option<&str>>> = BTreeMap::new();
        let changed = Changed::of(&before, &after, then, now);
        for verb in changed.verbs(&before, &after) {
            let rows = (&changed.before[..], &changed.after[..]);
            for (old, new, region) in step(&before, &after, then, now, rows, verb) {
                let found = Found { becomes: Effect::Allow, old, new, region };
                changes.entry(found).or_default().insert(verb);
            }
            // What is lost would be gained on the way back.
            let rows = (&changed.after[..], &changed.before[..]);
            for (new, old, region) in step(&after, &before, now, then, rows, verb) {
                let found = Found { becomes: Effect::Deny, old, new, region };
                changes.entry(found).or_default().insert(verb);
            }
        }
        let all: Vec<_> = before.verbs.keys().chain(after.verbs.keys()).copied().collect();
        let all: Vec<_> = all.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        for (found, verbs) in changes {
            if let Some(verbs) = VerbSet::of(&all, |verb| verbs.contains(&verb)) {
                merged.entry(Shared { found, verbs }).or_default().insert(name.to_owned());
            }
        }
    }
    let changes = merged.into_iter().map(|(Shared { found, verbs }, principals)| Change {
        becomes: found.becomes,
        principals: principals.into_iter().collect(),
        verbs,
        region: found.region,
        old: found.old,
        new: found.new,
    });
    Difference { changes: changes.collect(), keys: keys(old, new) }
}

/// Part of a change: what one principal's requests with one verb become.
#[derive(PartialEq, Eq)]
struct Found {
    becomes: Effect,
    old: Option<u32>,
    new: Option<u32>,
    region: Region,
}

/// What changes for several principals alike.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Shared {
    found: Found,
    verbs: VerbSet,
}

/// Allows first, then by line: the order in which people read them.
impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |it: &Self| (it.becomes == Effect::Deny, it.new, it.old, it.region.to_key());
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// One of the two policies.
struct Version<'r> {
    rules: &'r Ruleset,
    sides: Sides<'r>,
    verbs: HashMap<&'r str, VerbId>,
    /// The rows of each subject.
    all: HashMap<SubjectId, Vec<&'r Rule>>,
    /// Those that the other version does not have.
    own: HashMap<SubjectId, Vec<&'r Rule>>,
}

/// What a row says, in words that both versions understand.
#[derive(PartialEq, Eq, Hash)]
struct Said<'r> {
    subject: &'r str,
    object: &'r Pattern,
    verbs: Option<BTreeSet<&'r str>>,
    effect: Effect,
}

impl<'r> Version<'r> {
    fn of(rules: &'r Ruleset, other: &Ruleset) -> Self {
        let others: HashSet<_> = other.rules.iter().map(|rule| said(other, rule)).collect();
        let (mut all, mut own) = (HashMap::new(), HashMap::new());
        for rule in &rules.rules {
            all.entry(rule.subject).or_insert_with(Vec::new).push(rule);
            if !others.contains(&said(rules, rule)) {
                own.entry(rule.subject).or_insert_with(Vec::new).push(rule);
            }
        }
        let verbs = (0..).zip(&rules.verbs).map(|(id, name)| (&**name, id)).collect();
        Self { rules, sides: Sides::of(rules), verbs, all, own }
    }

    fn verb(&self, verb: Option<&str>) -> Option<VerbId> {
        self.verbs.get(verb?).copied()
    }

    /// The rows of this version that speak of the asker and do not in the other.
    fn changed(&self, here: Option<Asker<'_>>, there: &HashSet<&str>) -> Vec<&'r Rule> {
        let subjects = here.iter().flat_map(|asker| asker.subjects);
        let rows = subjects.filter_map(|subject| {
            let is_new = !there.contains(self.rules.folk.name(*subject));
            if is_new { self.all.get(subject) } else { self.own.get(subject) }
        });
        rows.flatten().copied().collect()
    }
}

fn said<'r>(rules: &'r Ruleset, rule: &'r Rule) -> Said<'r> {
    let verbs = match &rule.verbs {
        Listed::Every => None,
        Listed::These(verbs) => Some(verbs.iter().map(|verb| rules.verb(Some(*verb))).collect()),
    };
    let subject = rules.folk.name(rule.subject);
    Said { subject, object: &rule.object, verbs, effect: rule.effect }
}

/// The rows that differ for one asker.
struct Changed<'r> {
    before: Vec<&'r Rule>,
    after: Vec<&'r Rule>,
}

impl<'r> Changed<'r> {
    fn of(
        before: &Version<'r>,
        after: &Version<'r>,
        then: Option<Asker<'_>>,
        now: Option<Asker<'_>>,
    ) -> Self {
        let names = |version: &Version<'r>, asker: Option<Asker<'_>>| -> HashSet<&'r str> {
            let subjects = asker.into_iter().flat_map(|asker| asker.subjects.to_vec());
            subjects.map(|subject| version.rules.folk.name(subject)).collect()
        };
        let (held, holds) = (names(before, then), names(after, now));
        Self { before: before.changed(then, &holds), after: after.changed(now, &held) }
    }

    /// The verbs whose answers may differ; `None` is all that no row names.
    fn verbs(&self, before: &Version<'r>, after: &Version<'r>) -> BTreeSet<Option<&'r str>> {
        let rows = || self.before.iter().chain(&self.after);
        if rows().any(|rule| rule.verbs == Listed::Every) {
            let named = before.verbs.keys().chain(after.verbs.keys());
            return named.map(|verb| Some(*verb)).chain([None]).collect();
        }
        let of = |rows: &[&'r Rule], version: &Version<'r>| {
            let listed = rows.iter().flat_map(|rule| rule.verbs.each().flatten());
            listed.map(|verb| Some(version.rules.verb(Some(verb)))).collect::<BTreeSet<_>>()
        };
        let mut verbs = of(&self.before, before);
        verbs.append(&mut of(&self.after, after));
        verbs
    }
}

/// A line before, a line after, and what they made allowed.
type Step = (Option<u32>, Option<u32>, Region);

/// What becomes allowed on the way from one version to another.
fn step<'r>(
    from: &Version<'r>,
    to: &Version<'r>,
    then: Option<Asker<'_>>,
    now: Option<Asker<'_>>,
    (gone, come): (&[&'r Rule], &[&'r Rule]),
    verb: Option<&str>,
) -> Vec<Step> {
    // Whom a policy does not know, it denies everything.
    let Some(now) = now else { return Vec::new() };
    let (was, is) = (from.verb(verb), to.verb(verb));
    let mut found = Vec::new();
    for allow in come.iter().filter(|rule| rule.effect == Effect::Allow && rule.verbs.includes(is))
    {
        let objects = bound(&allow.object, now.name);
        let mut others = to.sides.denies.meeting(now, is, &objects);
        others.extend(then.iter().flat_map(|then| from.sides.allows.meeting(*then, was, &objects)));
        let others: Vec<_> = others.iter().map(|rule| &rule.object).collect();
        let Some(mut region) = Region::of(objects, &others, now.name) else { continue };
        if region.except.is_empty() {
            // Unbound, it is the same for everyone.
            region.objects = allow.object.clone();
        }
        found.push((None, Some(allow.line()), region));
    }
    for deny in gone.iter().filter(|rule| rule.effect == Effect::Deny && rule.verbs.includes(was)) {
        let objects = bound(&deny.object, now.name);
        for allow in to.sides.allows.meeting(now, is, &objects) {
            let Some(both) = objects.meet(&allow.object, now.name) else { continue };
            let denies = to.sides.denies.meeting(now, is, &both);
            let denies: Vec<_> = denies.iter().map(|rule| &rule.object).collect();
            if let Some(region) = Region::of(both, &denies, now.name) {
                found.push((Some(deny.line()), Some(allow.line()), region));
            }
        }
    }
    found
}

/// Everyone of whom either policy knows, with their name, as they are in each.
fn askers<'r>(
    old: &'r Ruleset,
    new: &'r Ruleset,
) -> Vec<(&'r str, Option<Asker<'r>>, Option<Asker<'r>>)> {
    let mut all: BTreeMap<&str, (Option<Asker<'_>>, Option<Asker<'_>>)> = BTreeMap::new();
    for asker in old.folk.principals() {
        all.entry(asker.name).or_default().0 = Some(asker);
    }
    for asker in new.folk.principals() {
        all.entry(asker.name).or_default().1 = Some(asker);
    }
    if let (Some(then), Some(now)) = (old.folk.stranger(), new.folk.stranger()) {
        all.insert("*", (Some(then), Some(now)));
    }
    all.into_iter().map(|(name, (then, now))| (name, then, now)).collect()
}

fn keys(old: &Ruleset, new: &Ruleset) -> Vec<KeyChange> {
    let mut owners: BTreeMap<&[u8; 32], (Option<&str>, Option<&str>)> = BTreeMap::new();
    for (key, owner) in old.policy().keys() {
        owners.entry(key).or_default().0 = Some(owner.as_str());
    }
    for (key, owner) in new.policy().keys() {
        owners.entry(key).or_default().1 = Some(owner.as_str());
    }
    owners.retain(|_, (old, new)| old != new);
    let change = |(key, (old, new)): (&[u8; 32], (Option<&str>, Option<&str>))| KeyChange {
        key: format!(
            "ed25519:{}",
            key.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        ),
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
    };
    owners.into_iter().map(change).collect()
}
