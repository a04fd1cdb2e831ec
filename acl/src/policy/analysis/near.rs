//! Near misses: the rows that would have allowed a request, had it or the policy differed a little.

use std::fmt;

use serde::Serialize;
use unicode_normalization::UnicodeNormalization as _;

use super::region::{bound, example};
use super::ruleset::{Asker, Rule, Ruleset, VerbId};
use crate::object;
use crate::policy::decision::{Decision, Effect, Reason};
use crate::policy::pattern::{Extent, Pattern, Segment};
use crate::policy::people::EVERYONE;
use crate::policy::suggest::nearest;

/// Most near misses of one request.
pub const MAX_NEAR_MISSES: usize = 5;

/// Most of them that are of one kind, so that a long list does not hide the others.
const MAX_OF_A_KIND: usize = 3;

/// A row that nearly allowed a request. It prints as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// The row's line; 1 is the first.
    pub line: u32,
    /// What kept it from allowing the request.
    #[serde(flatten)]
    pub miss: Miss,
}

/// What kept a row from allowing a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Miss {
    /// It allows the request, but the row on this line denies it.
    Denied {
        /// The line of the deny.
        by: u32,
    },
    /// It allows other verbs.
    Verb {
        /// Those that would be allowed.
        verbs: Vec<String>,
    },
    /// It allows another object, of which this one is an example.
    Object {
        /// The object that would be allowed.
        object: String,
        /// The row's second column.
        pattern: String,
    },
    /// It allows someone else.
    Subject {
        /// The principal, or the group whose members would be allowed.
        subject: String,
        /// Who asked.
        principal: String,
    },
}

/// The rows that nearly allowed a request, the nearest first; none if it is allowed.
///
/// Each is tried: with the verb, the object or the principal that it names the policy does allow
/// the request. At most [`MAX_NEAR_MISSES`]. The cost grows with the number of rows.
#[must_use]
pub fn near_misses(rules: &Ruleset, principal: &str, verb: &str, object: &str) -> Vec<NearMiss> {
    let policy = rules.policy();
    let decision = policy.explain(principal, verb, object);
    let miss = |decision: Decision, miss| decision.row.map(|row| NearMiss { line: row.line, miss });
    match decision.reason {
        _ if decision.is_allowed() => Vec::new(),
        Reason::UnknownPrincipal => {
            let Some(meant) = rules.nearest_principal(principal) else { return Vec::new() };
            let decision = policy.explain(meant, verb, object);
            let (subject, principal) = (meant.to_owned(), principal.to_owned());
            let allowed = Some(decision).filter(Decision::is_allowed);
            let found = allowed.and_then(|it| miss(it, Miss::Subject { subject, principal }));
            found.into_iter().collect()
        }
        Reason::BadObject => {
            let Some(meant) = canonical(object) else { return Vec::new() };
            let decision = policy.explain(principal, verb, &meant);
            let allowed = Some(decision).filter(Decision::is_allowed);
            let pattern = super::region::literal(&meant).to_string();
            let found = allowed.and_then(|it| miss(it, Miss::Object { object: meant, pattern }));
            found.into_iter().collect()
        }
        _ => match rules.folk.named(principal) {
            Some(asker) => Request { rules, asker, verb, object, decision }.near_misses(),
            None => Vec::new(),
        },
    }
}

struct Request<'r> {
    rules: &'r Ruleset,
    asker: Asker<'r>,
    verb: &'r str,
    object: &'r str,
    decision: Decision,
}

/// How a row differs from a request, the nearest kinds first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Denied,
    /// One word that looks like a slip of the fingers.
    Slip,
    Verb,
    /// A group, or everyone of another kind.
    Group,
    /// One segment, or the extent.
    Object,
    Principal,
}

impl Request<'_> {
    fn near_misses(&self) -> Vec<NearMiss> {
        let verb = self.rules.verb_id(self.verb);
        let names: Vec<&str> = self.object.split('/').collect();
        let allows = self.rules.rules.iter().filter(|rule| rule.effect == Effect::Allow);
        let mut near: Vec<(Distance, &Rule)> =
            allows.filter_map(|rule| Some((self.distance(rule, verb, &names)?, rule))).collect();
        near.sort_by_key(|(distance, rule)| (*distance, rule.line()));
        let mut found: Vec<NearMiss> = Vec::new();
        for (distance, rule) in near {
            if found.len() == MAX_NEAR_MISSES {
                break;
            }
            let Some(miss) = self.miss(rule, verb, &names) else { continue };
            let kind = std::mem::discriminant(&miss);
            let of_this_kind =
                found.iter().filter(|other| std::mem::discriminant(&other.miss) == kind).count();
            let again = found.iter().any(|other| other.miss == miss);
            if !again && (of_this_kind < MAX_OF_A_KIND || distance == Distance::Slip) {
                found.push(NearMiss { line: rule.line(), miss });
            }
        }
        found
    }

    /// How far the row is from the request; `None` if it differs in more than one column.
    fn distance(&self, rule: &Rule, verb: Option<VerbId>, names: &[&str]) -> Option<Distance> {
        let subject = self.asker.is(rule.subject);
        let has_verb = rule.verbs.includes(verb);
        if !subject && !has_verb {
            return None;
        }
        let object = rule.object.matches(self.object, self.asker.name);
        match (subject, has_verb, object) {
            (true, true, true) => Some(Distance::Denied),
            (true, false, true) if self.verbs(rule).any(|verb| is_slip(self.verb, verb)) => {
                Some(Distance::Slip)
            }
            (true, false, true) => Some(Distance::Verb),
            // In another's mouth `{self}` means another object, so this is for literal ones.
            (false, true, _) if self.decision.row.is_none() => {
                let is_group =
                    rule.subject == EVERYONE || self.rules.folk.asker(rule.subject).is_none();
                let matches = rule.object.matches(self.object, self.rules.folk.name(rule.subject));
                match is_group {
                    true if object => Some(Distance::Group),
                    false if matches => Some(Distance::Principal),
                    _ => None,
                }
            }
            (true, true, false) => Some(match self.nearly(&rule.object, names)? {
                Nearly::Segment(at) if is_slip_at(&rule.object, names, at) => Distance::Slip,
                // Another object altogether, unless something before it is the same.
                Nearly::Segment(0) if rule.object.segments.len() == 1 => return None,
                _ => Distance::Object,
            }),
            _ => None,
        }
    }

    /// What would have to be different; `None` if even that would not be allowed.
    fn miss(&self, rule: &Rule, verb: Option<VerbId>, names: &[&str]) -> Option<Miss> {
        let allows = |verb: &str, object: &str| {
            self.rules.policy().explain(self.asker.name, verb, object).is_allowed()
        };
        let object = rule.object.matches(self.object, self.asker.name);
        if !self.asker.is(rule.subject) {
            return self.other_subject(rule);
        }
        if !rule.verbs.includes(verb) {
            let verbs: Vec<_> = self.verbs(rule).filter(|verb| allows(verb, self.object)).collect();
            let verbs: Vec<_> = verbs.into_iter().map(str::to_owned).collect();
            return (!verbs.is_empty()).then_some(Miss::Verb { verbs });
        }
        if object {
            return self.decision.row.map(|row| Miss::Denied { by: row.line });
        }
        let own = bound(&rule.object, self.asker.name);
        let mended = match self.nearly(&rule.object, names)? {
            Nearly::Segment(at) => {
                let mut names: Vec<&str> = names.to_vec();
                let Some(Segment::Literal(text)) = own.segments.get(at) else { return None };
                names[at] = text;
                names.join("/")
            }
            Nearly::Above => example(&own, self.asker.name, "x"),
            Nearly::Below => names[..own.segments.len()].join("/"),
        };
        let pattern = rule.object.to_string();
        allows(self.verb, &mended).then_some(Miss::Object { object: mended, pattern })
    }

    fn other_subject(&self, rule: &Rule) -> Option<Miss> {
        let name = self.rules.folk.name(rule.subject);
        let (subject, principal) = (name.to_owned(), self.asker.name.to_owned());
        let miss = Miss::Subject { subject, principal };
        match self.rules.folk.asker(rule.subject) {
            Some(other) => {
                let decision = self.rules.policy().explain(other.name, self.verb, self.object);
                decision.is_allowed().then_some(miss)
            }
            // Whoever joined the group would bring along what it is denied; so some member, at
            // least, has to be allowed.
            None => self
                .rules
                .folk
                .askers(rule.subject)
                .any(|member| {
                    let object = rule.object.matches(self.object, member.name);
                    let policy = self.rules.policy();
                    object && policy.explain(member.name, self.verb, self.object).is_allowed()
                })
                .then_some(miss),
        }
    }

    fn verbs<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a str> {
        rule.verbs.each().flatten().map(|verb| self.rules.verb(Some(verb)))
    }

    /// How the names miss the pattern, if by a single segment or by the extent.
    fn nearly(&self, pattern: &Pattern, names: &[&str]) -> Option<Nearly> {
        let segments = &pattern.segments;
        let fits = |(segment, name): (&Segment, &&str)| match segment {
            Segment::Literal(text) => **text == **name,
            Segment::Caller => **name == *self.asker.name,
            Segment::Any => true,
        };
        let mut misses = segments.iter().zip(names).enumerate().filter(|(_, pair)| !fits(*pair));
        let (first, second) = (misses.next().map(|(at, _)| at), misses.next());
        let reaches = match pattern.extent {
            Extent::Exact => names.len() == segments.len(),
            Extent::Below => names.len() > segments.len(),
        };
        match (reaches, first, second) {
            (true, Some(at), None) => Some(Nearly::Segment(at)),
            (false, None, None) if names.len() == segments.len() => Some(Nearly::Above),
            (false, None, None) if names.len() > segments.len() => Some(Nearly::Below),
            _ => None,
        }
    }
}

fn is_slip_at(pattern: &Pattern, names: &[&str], at: usize) -> bool {
    match (pattern.segments.get(at), names.get(at)) {
        (Some(Segment::Literal(text)), Some(name)) => is_slip(name, text),
        _ => false,
    }
}

/// Whether a word looks like another by a slip of the fingers. Of two letters and fewer, all do.
fn is_slip(word: &str, meant: &str) -> bool {
    word.chars().count() > 2 && nearest(word, [meant]).is_some()
}

/// How an object misses a pattern.
enum Nearly {
    /// By this segment.
    Segment(usize),
    /// It is the object itself, and the pattern means what lies below.
    Above,
    /// It lies below the object that the pattern means.
    Below,
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line;
        match &self.miss {
            Miss::Denied { by } => write!(f, "line {line} allows it, but line {by} denies it"),
            Miss::Verb { verbs } => {
                write!(f, "line {line} would allow the verb `{}`", verbs.join("`, `"))
            }
            Miss::Object { object, pattern } => {
                write!(f, "line {line} would allow `{object}`: its objects are `{pattern}`")
            }
            Miss::Subject { subject, principal } if subject.starts_with('@') => {
                write!(f, "line {line} allows `{subject}`, and `{principal}` is not in it")
            }
            Miss::Subject { subject, principal } => {
                write!(f, "line {line} allows `{subject}`, not `{principal}`")
            }
        }
    }
}

/// What a name that is not canonical may have been meant to be.
fn canonical(name: &str) -> Option<String> {
    let meant: String = name.nfc().collect();
    let meant: Vec<_> =
        meant.split(['/', '\\']).filter(|name| !matches!(*name, "" | ".")).collect();
    let meant = meant.join("/");
    object::check(&meant).is_ok().then_some(meant)
}
