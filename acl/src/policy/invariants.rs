//! The tests that a policy carries: `expect` and `never`, run at every load.
//!
//! A `never` is decided exactly. It is violated when some principal outside its exceptions may do
//! one of its verbs to one of its objects: an allow row grants it and no deny row takes it back.
//! Because wildcards are whole segments, what a row and an invariant have in common is one pattern
//! again; and a text that nobody has written down escapes at least as many denies as any other, so
//! trying that text at each length is enough. Whether a service can name the object is not asked:
//! an invariant holds for services that do not exist yet.

use std::collections::{BTreeSet, HashMap};

use super::Policy;
use super::decision::Effect;
use super::fault::{Fault, Span};
use super::pattern::Pattern;
use super::people::{EVERYONE, People, SubjectId};
use super::row::{Row, VerbList, Verbs};
use super::syntax::{ExpectLine, NeverLine, Syntax};

/// Runs every `expect` and `never`. With faults already on record, only those are reported that
/// fail whatever the faulty lines were meant to say.
pub(super) fn check(
    policy: &Policy,
    syntax: &Syntax<'_>,
    people: &People<'_>,
    faults: &mut Vec<Fault>,
) {
    let certain = faults.is_empty();
    for line in &syntax.expects {
        faults.extend(failed(policy, syntax, line, certain));
    }
    if certain && !syntax.nevers.is_empty() {
        let everyone = Everyone::of(people);
        for line in &syntax.nevers {
            violations(line, syntax, people, &everyone, faults);
        }
    }
}

fn failed(
    policy: &Policy,
    syntax: &Syntax<'_>,
    line: &ExpectLine<'_>,
    certain: bool,
) -> Option<Fault> {
    let (name, verb, object) = (line.principal?, line.verb?, line.object.as_ref()?);
    let expected = line.effect?;
    let subjects = policy.subjects(name.text)?;
    let decision = policy.decide(&subjects, verb.text, &object.literal()?);
    // A deny that matches decides, whatever else there may be.
    let settled = certain || (decision.effect == Effect::Deny && decision.row.is_some());
    if decision.effect == expected || !settled {
        return None;
    }
    let message = match decision.row {
        Some(row) => format!("expected {expected}, but line {} says {}", row.line, decision.effect),
        None => format!("expected {expected}, but it is denied: {}", decision.reason),
    };
    let help = match decision.row {
        Some(row) => format!("mend the row on line {}, or this expectation", row.line),
        None => {
            format!("add `{} | {object} | {} | allow`, or mend this line", name.text, verb.text)
        }
    };
    let fault = Fault::new(line.span, message, help).with_code("acl::expect-failed");
    // The rows stand in the order of their lines.
    let decided =
        decision.row.and_then(|row| syntax.rows.binary_search_by_key(&row.line, Row::line).ok());
    Some(match decided {
        Some(at) => fault.with_related(syntax.rows[at].span(), "this row decides"),
        None => fault,
    })
}

/// The principals that exist, each with its name and subjects.
struct Everyone<'p> {
    all: Vec<(&'p str, &'p [SubjectId])>,
}

impl<'p> Everyone<'p> {
    fn of(people: &'p People<'_>) -> Self {
        let named =
            people.principals.iter().zip(1..).map(|(name, id)| (*name, people.subjects_of(id)));
        // Where no keys are given, others than those mentioned may come to have one. No name can
        // be empty, so no `{self}` matches this stranger.
        let stranger = (!people.closed).then(|| ("", &[EVERYONE][..]));
        Self { all: named.chain(stranger).collect() }
    }
}

fn violations(
    line: &NeverLine<'_>,
    syntax: &Syntax<'_>,
    people: &People<'_>,
    everyone: &Everyone<'_>,
    faults: &mut Vec<Fault>,
) {
    let Some(subject) = line.row.who().and_then(|who| people.id(&who)) else { return };
    let Some(object) = line.row.pattern() else { return };
    let never = Near { row: line.row, object, subject };
    let near: Vec<_> = syntax.rows.iter().filter_map(|row| never.meeting(row, people)).collect();
    let (allows, denies): (Vec<&Near<'_>>, Vec<_>) =
        near.iter().partition(|near| near.row.effect == Some(Effect::Allow));
    let except: Vec<_> = line.except.iter().filter_map(|who| people.id(who)).collect();
    let bound = everyone.all.iter().filter(|(_, subjects)| {
        subjects.contains(&subject) && !except.iter().any(|id| subjects.contains(id))
    });
    // A row finds whom it concerns without going through everyone.
    let mut concerned: HashMap<SubjectId, Vec<(&str, &[SubjectId])>> = HashMap::new();
    for (name, subjects) in bound {
        for id in *subjects {
            concerned.entry(*id).or_default().push((name, subjects));
        }
    }
    for allow in allows {
        let witness =
            concerned.get(&allow.subject).into_iter().flatten().find_map(|(name, subjects)| {
                Some((*name, witness(&never, allow, name, subjects, &denies)?))
            });
        if let Some((name, verb)) = witness {
            faults.push(violated(line.row.span(), &allow.row, name, verb));
        }
    }
}

/// An invariant or a row that has something to do with it, with its object as a value.
struct Near<'a> {
    row: Row<'a>,
    object: Pattern,
    subject: SubjectId,
}

impl<'a> Near<'a> {
    /// The row with its object, if it has objects and verbs in common with this invariant, for
    /// some caller; the others need no closer look.
    fn meeting(&self, row: &Row<'a>, people: &People<'_>) -> Option<Self> {
        let (parts, extent) = row.object()?;
        if !self.object.may_meet(parts, extent)
            || shared_verbs(self.row.verbs(), row.verbs()).is_empty()
        {
            return None;
        }
        Some(Self { row: *row, object: row.pattern()?, subject: people.id(&row.who()?)? })
    }
}

fn violated(never: Span, row: &Row<'_>, name: &str, verb: Option<&str>) -> Fault {
    let who = if name.is_empty() { "anyone".to_owned() } else { format!("`{name}`") };
    let verb = verb.map_or_else(|| "any verb".to_owned(), |verb| format!("`{verb}`"));
    let line = row.line();
    let message = format!("this must never be, but line {line} allows it: {who} may, with {verb}");
    let help = format!("narrow line {line}, add a deny, or name the exception after `except`");
    let fault = Fault::new(never, message, help).with_code("acl::never-violated");
    fault.with_related(row.span(), "this row allows it")
}

/// A verb with which `row` lets the principal do what `never` forbids; `Some(None)` is one that
/// nobody has named.
fn witness<'r>(
    never: &Near<'r>,
    row: &Near<'r>,
    name: &str,
    subjects: &[SubjectId],
    denies: &[&Near<'_>],
) -> Option<Option<&'r str>> {
    let common = never.object.meet(&row.object, name)?;
    if common.is_dead() {
        return None;
    }
    shared_verbs(never.row.verbs(), row.row.verbs()).into_iter().find(|verb| {
        let denies: Vec<&Pattern> = denies
            .iter()
            .filter(|deny| subjects.contains(&deny.subject) && includes(deny.row.verbs(), *verb))
            .map(|deny| &deny.object)
            .collect();
        common.escapes(&denies, name)
    })
}

/// The verbs in both, `None` standing for one that nobody has named.
fn shared_verbs<'r>(left: Verbs<'r>, right: Verbs<'r>) -> Vec<Option<&'r str>> {
    let texts = |verbs: VerbList<'r>| verbs.iter().map(|verb| verb.text);
    match (left, right) {
        (Verbs::Every, Verbs::Every) => vec![None],
        (Verbs::Listed(verbs), Verbs::Every) | (Verbs::Every, Verbs::Listed(verbs)) => {
            texts(verbs).map(Some).collect()
        }
        (Verbs::Listed(left), Verbs::Listed(right)) => {
            let right: BTreeSet<_> = texts(right).collect();
            texts(left).filter(|verb| right.contains(verb)).map(Some).collect()
        }
    }
}

fn includes(verbs: Verbs<'_>, verb: Option<&str>) -> bool {
    match verbs {
        Verbs::Every => true,
        Verbs::Listed(verbs) => verbs.iter().any(|listed| Some(listed.text) == verb),
    }
}
