//! `acl check`'s warnings about rows that load: shadowed, redundant, conflicting, idle.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::overlap::{Overlap, Pairs, first_asker};
use super::region::{example, is_empty, lengths, of_length};
use super::ruleset::{Asker, Rule, Ruleset};
use super::sides::{Side, Sides};
use crate::policy::decision::Effect;
use crate::policy::fault::Fault;
use crate::policy::finding::{Finding, Severity};
use crate::policy::pattern::Extent;
use crate::policy::people::{EVERYONE, SubjectId};

/// Most findings of one kind; one more says how many there are besides.
pub const MAX_LINTS: usize = 1_000;

/// Most comparisons of rows, and a few more for each row. Policies whose rows overlap like a
/// lattice need the square of their number; they are looked at as far as this goes, and told so.
const MAX_STEPS: u64 = 4_000_000;
const STEPS_PER_ROW: u64 = 50;

/// What is odd in a policy that loads, by line: warnings, and advice that may well be as meant.
///
/// | code | says |
/// |---|---|
/// | `acl::dead` | no request matches the row |
/// | `acl::shadowed` | denies take back all that the row allows |
/// | `acl::redundant` | another row says all that this one says |
/// | `acl::conflict` | an allow and a deny overlap, and neither's objects lie within the other's |
/// | `acl::unused-group` | no row, `never` or group names the group |
/// | `acl::idle-deny` | advice: nothing allows what the row denies |
/// | `acl::idle-principal` | advice: no row allows the principal anything |
/// | `acl::unchecked` | advice: the rows overlap too much for all of them to be compared |
///
/// What [`Ruleset::warnings`] has is not repeated.
#[must_use]
pub fn lints(rules: &Ruleset) -> Vec<Finding> {
    let mut found = Found::default();
    let study = Study::of(rules);
    for (at, rule) in rules.rules.iter().enumerate() {
        study.look_at(at, rule, &mut found);
        if study.is_over() {
            let line = rule.line();
            let message = format!("the rows from line {line} on were not compared with all others");
            let help = "their wildcards overlap so much that it would take too long";
            found.advise("acl::unchecked", || Fault::new(rules.start(), message, help));
            break;
        }
    }
    idle_people(rules, &mut found);
    found.finish(rules)
}

#[derive(Default)]
struct Found {
    warnings: Vec<Fault>,
    advice: Vec<Fault>,
    counts: BTreeMap<&'static str, usize>,
}

struct Study<'r> {
    pairs: Pairs<'r>,
    sides: Sides<'r>,
    /// The number of each row among those of its effect.
    places: Vec<u32>,
    most: u64,
    /// The subjects whose rows may speak of someone in a group.
    touching: Cell<Option<(SubjectId, Vec<SubjectId>)>>,
}

impl<'r> Study<'r> {
    fn of(rules: &'r Ruleset) -> Self {
        let mut counts = [0_u32; 2];
        let places = rules.rules.iter().map(|rule| {
            let count = &mut counts[usize::from(rule.effect == Effect::Deny)];
            *count += 1;
            *count - 1
        });
        let places = places.collect();
        let most = MAX_STEPS.saturating_add(STEPS_PER_ROW * rules.rules.len() as u64);
        Self {
            pairs: Pairs::new(rules, most),
            sides: Sides::of(rules),
            places,
            most,
            touching: Cell::default(),
        }
    }

    fn is_over(&self) -> bool {
        let index = self.sides.allows.index.steps() + self.sides.denies.index.steps();
        self.pairs.steps() + index > self.most
    }

    fn look_at(&self, at: usize, rule: &'r Rule, found: &mut Found) {
        if rule.object.is_dead() {
            return; // the load has warned of it
        }
        let Some((asker, object)) = first_asker(self.pairs.rules, rule) else {
            let message = "no request matches this row";
            let help = match rule.object.extent {
                Extent::Below => "no object has that many segments: shorten it",
                Extent::Exact => "nobody of whom it speaks can name this object",
            };
            return found.warn("acl::dead", || Fault::new(rule.span, message, help));
        };
        let ours =
            if rule.effect == Effect::Allow { &self.sides.allows } else { &self.sides.denies };
        let this = self.places[at];
        let other = ours.index.containing(asker.subjects, asker.name, &object, |other| {
            let outer = ours.rules[other as usize];
            other == this
                || !self.pairs.covers(outer, rule)
                // Of two rows that say the same, the later one is told of.
                || (other > this && self.pairs.covers(rule, outer))
        });
        if let Some(other) = other {
            let other = ours.rules[other as usize];
            return found.warn("acl::redundant", || redundant(rule, other));
        }
        match rule.effect {
            Effect::Allow => match self.shadows(rule, &asker) {
                Some(denies) => found.warn("acl::shadowed", || shadowed(rule, &denies)),
                None => self.conflicts(rule, found),
            },
            Effect::Deny => self.look_for_use(rule, found),
        }
    }

    /// The denies that together take back all that `rule` allows.
    fn shadows(&self, rule: &Rule, first: &Asker<'_>) -> Option<Vec<&'r Rule>> {
        let deny = |at: u32| self.sides.denies.rules[at as usize];
        // Most often it is a single one.
        let single =
            self.sides.denies.index.containing(first.subjects, first.name, &rule.object, |at| {
                !self.pairs.covers(deny(at), rule)
            });
        if let Some(single) = single {
            return Some(vec![deny(single)]);
        }
        let mut used = BTreeSet::new();
        for asker in self.pairs.rules.folk.askers(rule.subject) {
            if is_empty(&rule.object, asker.name) {
                continue;
            }
            for verb in rule.verbs.each() {
                // The freest object of each length: what covers it covers all of them.
                for length in lengths(&rule.object) {
                    if !self.pairs.spend() {
                        return None;
                    }
                    let object = of_length(&rule.object, length);
                    let index = &self.sides.denies.index;
                    used.insert(index.containing(asker.subjects, asker.name, &object, |at| {
                        !deny(at).verbs.includes(verb)
                    })?);
                }
            }
        }
        Some(used.into_iter().map(deny).collect())
    }

    fn conflicts(&self, allow: &Rule, found: &mut Found) {
        self.with_touching(allow.subject, &self.sides.denies, |touching| {
            self.sides.denies.index.meeting(touching, None, &allow.object, |at| {
                let deny = self.sides.denies.rules[at as usize];
                if let Some(overlap) = self.pairs.crossing(allow, deny) {
                    let verb = self.pairs.rules.verb(overlap.verb);
                    found.warn("acl::conflict", || conflict(allow, deny, verb, &overlap));
                }
                (!self.pairs.spend()).then_some(())
            })
        });
    }

    fn look_for_use(&self, deny: &Rule, found: &mut Found) {
        let used = self.with_touching(deny.subject, &self.sides.allows, |touching| {
            self.sides.allows.index.meeting(touching, None, &deny.object, |at| {
                let allow = self.sides.allows.rules[at as usize];
                (self.pairs.shared(allow, deny).is_some() || !self.pairs.spend()).then_some(())
            })
        });
        if used.is_none() {
            let message = "no row allows what this one denies";
            let help = "fine as a precaution; otherwise look for a slip in its columns";
            found.advise("acl::idle-deny", || Fault::new(deny.span, message, help));
        }
    }

    /// Calls `f` with the subjects, of those with rows on `side`, that may speak of someone in
    /// `subject`.
    fn with_touching<T>(
        &self,
        subject: SubjectId,
        side: &Side<'_>,
        f: impl FnOnce(&mut dyn Iterator<Item = SubjectId>) -> T,
    ) -> T {
        if subject == EVERYONE {
            return f(&mut side.index.subjects());
        }
        // Rows of one group often stand together.
        let known = self.touching.take().filter(|(whose, _)| *whose == subject);
        let (_, touching) = known.unwrap_or_else(|| {
            let askers = self.pairs.rules.folk.askers(subject);
            let all: BTreeSet<_> = askers.flat_map(|asker| asker.subjects).copied().collect();
            (subject, all.into_iter().collect())
        });
        let done = f(&mut touching.iter().copied());
        self.touching.set(Some((subject, touching)));
        done
    }
}

impl Found {
    fn warn(&mut self, code: &'static str, fault: impl FnOnce() -> Fault) {
        if self.counts(code) {
            self.warnings.push(fault().with_code(code));
        }
    }

    fn advise(&mut self, code: &'static str, fault: impl FnOnce() -> Fault) {
        if self.counts(code) {
            self.advice.push(fault().with_code(code));
        }
    }

    /// Counts a finding; false if there are too many of its kind to show it.
    fn counts(&mut self, code: &'static str) -> bool {
        let count = self.counts.entry(code).or_default();
        *count += 1;
        *count <= MAX_LINTS
    }

    fn finish(mut self, rules: &Ruleset) -> Vec<Finding> {
        for (code, count) in self.counts {
            if let Some(more @ 1..) = count.checked_sub(MAX_LINTS) {
                let message = format!("{more} more findings like those of `{code}` below");
                let help = "they are shown once some of the others are mended";
                self.advice.push(Fault::new(rules.start(), message, help).with_code(code));
            }
        }
        let mut all = rules.findings(self.warnings, Severity::Warning);
        all.extend(rules.findings(self.advice, Severity::Advice));
        all.sort_by_key(|finding| (finding.line, finding.column));
        all
    }
}

fn redundant(rule: &Rule, other: &Rule) -> Fault {
    let (line, says) =
        (other.line(), if rule.effect == Effect::Allow { "allows" } else { "denies" });
    let message = format!("line {line} {says} all that this row {says}");
    let help = "remove this row: no decision changes";
    Fault::new(rule.span, message, help).with_related(other.span, "this row says it all")
}

fn shadowed(rule: &Rule, denies: &[&Rule]) -> Fault {
    let lines: Vec<_> = denies.iter().map(|deny| deny.line().to_string()).collect();
    let (message, help) = match &lines[..] {
        [line] => (
            format!("line {line} denies all that this row allows"),
            format!("remove this row, or narrow line {line}"),
        ),
        lines => (
            format!("lines {} together deny all that this row allows", lines.join(", ")),
            "remove this row, or narrow one of them".to_owned(),
        ),
    };
    let fault = Fault::new(rule.span, message, help);
    match denies.first() {
        Some(deny) => fault.with_related(deny.span, "this row denies it"),
        None => fault,
    }
}

fn conflict(allow: &Rule, deny: &Rule, verb: &str, overlap: &Overlap<'_>) -> Fault {
    let Overlap { asker, objects, .. } = overlap;
    let line = deny.line();
    let message = format!("this row allows `{objects}` and line {line} denies it: the deny wins");
    let who = if asker.name.is_empty() { "*" } else { asker.name };
    let object = example(objects, asker.name, "x");
    let help = format!("leave it if that is meant; `{who}` with `{verb}` on `{object}` shows it");
    Fault::new(allow.span, message, help).with_related(deny.span, "this row denies it")
}

fn idle_people(rules: &Ruleset, found: &mut Found) {
    let folk = &rules.folk;
    let allowed: BTreeSet<_> = rules
        .rules
        .iter()
        .filter(|rule| rule.effect == Effect::Allow)
        .map(|rule| rule.subject)
        .collect();
    for (id, span) in &folk.defined {
        let name = folk.name(*id);
        match folk.asker(*id) {
            None if !folk.used.contains(id) => {
                let message = format!("no row names the group `{name}`");
                let help = "remove the line, or write the rows that it is for";
                found.warn("acl::unused-group", || Fault::new(*span, message, help));
            }
            Some(asker) if !asker.subjects.iter().any(|subject| allowed.contains(subject)) => {
                let message = format!("no row allows `{name}` anything");
                let help = "fine if it is to come; every call of this principal is denied";
                found.advise("acl::idle-principal", || Fault::new(*span, message, help));
            }
            _ => {}
        }
    }
}
