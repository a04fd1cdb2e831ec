//! From refused requests to the fewest rows that would let them through.
//!
//! A suggestion is a proposal to a person: it names what would change and what else it would open,
//! and is never one that breaks an `expect` or a `never`. What a deny refused is left alone: that
//! someone decided.

use std::collections::BTreeMap;

use serde::Serialize;

use super::refusals::{Refusal, Refusals, total};
use super::region::{Region, bound, literal};
use super::ruleset::{Asker, Ruleset};
use crate::object;
use crate::policy::decision::{Effect, Reason};
use crate::policy::names::is_name;
use crate::policy::pattern::{Extent, Pattern, Segment};
use crate::policy::{Policy, PolicyError, PolicyErrors};

/// Most alternatives that are offered; each is tried by a load of the whole policy.
pub const MAX_ALTERNATIVES: usize = 16;

/// Most loads of the whole policy that find out which rows it would refuse. Whoever may ask may be
/// refused many rows, by a `never` say, and each costs some: those who are refused any share what
/// is left, once the others have their rows. To tell them apart takes two for each of them.
pub const MAX_TRIALS: usize = 256;

/// What could be written, and what could not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Suggestions {
    /// Rows to append, those that would let the most requests through first. They can be taken
    /// together.
    pub rows: Vec<Suggestion>,
    /// What has no row, and why.
    pub not: Vec<NotSuggested>,
    /// Refusals that were not looked at: there are more than
    /// [`MAX_REQUESTS`](super::MAX_REQUESTS) different ones.
    pub beyond: u64,
}

/// A row to append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// The row as the policy file wants it.
    pub row: String,
    /// How many of the refusals it would have let through.
    pub flips: u64,
    /// A wider row that stands for several of the exact ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<Alternative>,
}

/// A wider row, offered instead of several exact ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alternative {
    /// The row as the policy file wants it.
    pub row: String,
    /// How many of the refusals it would have let through.
    pub flips: u64,
    /// What else it would open: none of these objects was asked for and refused.
    pub opens: Region,
}

/// A refusal for which nothing is suggested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotSuggested {
    /// The refusal.
    pub refusal: Refusal,
    /// Why.
    #[serde(flatten)]
    pub why: Why,
}

/// Why nothing is suggested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// The policy allows it by now.
    AllowedNow {
        /// The line of the row.
        line: u32,
    },
    /// A row denies it: somebody decided that.
    Denied {
        /// The line of the row.
        line: u32,
    },
    /// The policy does not know the principal.
    Unknown,
    /// The object's name is not canonical, or the verb no verb: no row can allow it.
    Impossible,
    /// The policy would refuse the row, as when a `never` or an `expect` forbids it.
    Refused {
        /// Which line refuses it, and why.
        message: String,
    },
    /// None of the [`MAX_TRIALS`] was left for it: too many rows of its principal are refused, or of too
    /// many principals.
    NotTried,
}

/// Proposes rows for these refusals, judged by the policy as it is now.
///
/// One row a principal and object, with all its verbs. Where several objects lie side by side,
/// `parent/*` is offered instead, with what else it would open. All rows of the answer together
/// were put to the policy, which loads with them, its `expect`s and `never`s included.
#[must_use]
pub fn suggest(rules: &Ruleset, refusals: Refusals) -> Suggestions {
    let mut answer = Suggestions { beyond: refusals.beyond(), ..Suggestions::default() };
    let mut wanted: BTreeMap<String, BTreeMap<String, Wanted>> = BTreeMap::new();
    for refusal in refusals.counted() {
        match obstacle(rules.policy(), &refusal) {
            Some(why) => answer.not.push(NotSuggested { refusal, why }),
            None => {
                let his = wanted.entry(refusal.principal.clone()).or_default();
                his.entry(refusal.object.clone()).or_default().refusals.push(refusal);
            }
        }
    }
    let rows_of = |his: BTreeMap<_, Wanted>| his.into_values().filter_map(Wanted::exact).collect();
    let mut trial = Trial { rules, left: MAX_TRIALS, taken: Vec::new(), not: answer.not };
    trial.admit_all(wanted.into_values().map(rows_of).collect());
    let taken = trial.taken;
    answer.not = trial.not;
    answer.rows = taken.iter().map(Candidate::suggestion).collect();
    offer_alternatives(rules, &taken, &mut answer.rows);
    let weight = |row: &Suggestion| row.instead.as_ref().map_or(row.flips, |wide| wide.flips);
    answer.rows.sort_by_key(|row| std::cmp::Reverse((weight(row), row.flips)));
    answer.not.sort_by_key(|not| std::cmp::Reverse(not.refusal.count));
    answer
}

/// The refusals of one principal on one object.
#[derive(Default)]
struct Wanted {
    refusals: Vec<Refusal>,
}

/// A row that may be suggested.
#[derive(Clone)]
struct Candidate {
    principal: String,
    verbs: Vec<String>,
    object: Pattern,
    row: String,
    refusals: Vec<Refusal>,
}

impl Wanted {
    fn exact(self) -> Option<Candidate> {
        let first = self.refusals.first()?;
        let (principal, object) = (first.principal.clone(), literal(&first.object));
        let verbs = self.refusals.iter().map(|refusal| refusal.verb.clone()).collect();
        Some(Candidate::new(principal, verbs, object, self.refusals))
    }
}

impl Candidate {
    fn new(principal: String, verbs: Vec<String>, object: Pattern, refusals: Vec<Refusal>) -> Self {
        let row = format!("{principal} | {object} | {} | allow", verbs.join(","));
        Self { principal, verbs, object, row, refusals }
    }

    fn suggestion(&self) -> Suggestion {
        Suggestion { row: self.row.clone(), flips: self.flips(), instead: None }
    }

    fn flips(&self) -> u64 {
        total(&self.refusals)
    }
}

/// Why no row can be proposed, as far as the policy alone knows.
fn obstacle(policy: &Policy, refusal: &Refusal) -> Option<Why> {
    let decision = policy.explain(&refusal.principal, &refusal.verb, &refusal.object);
    match (decision.row, decision.effect) {
        (Some(row), Effect::Allow) => return Some(Why::AllowedNow { line: row.line }),
        (Some(row), Effect::Deny) => return Some(Why::Denied { line: row.line }),
        (None, _) if decision.reason == Reason::UnknownPrincipal => return Some(Why::Unknown),
        _ => {}
    }
    // A long name is cut in the record, and its `…` would make another object of it.
    let impossible = object::check(&refusal.object).is_err() || !is_name(&refusal.verb);
    impossible.then_some(Why::Impossible)
}

/// Which rows the policy loads with.
struct Trial<'r> {
    rules: &'r Ruleset,
    /// Loads that may still be made.
    left: usize,
    taken: Vec<Candidate>,
    not: Vec<NotSuggested>,
}

impl Trial<'_> {
    /// Takes the rows that the policy loads with, given each principal's. Those of whom none is refused come
    /// first; the others then share what trials are left, who wants little before who wants much.
    fn admit_all(&mut self, mut folk: Vec<Vec<Candidate>>) {
        folk.sort_by_key(Vec::len);
        let mut noisy = Vec::new();
        self.admit_quiet(folk, &mut noisy);
        let mut others = noisy.len();
        for rows in noisy {
            let share = self.left / others;
            let kept = self.left - share;
            self.left = share;
            self.admit(rows);
            self.left += kept;
            others -= 1;
        }
    }

    /// Takes the rows of as many of `folk` as have all their rows taken; `noisy` gets those of the others.
    fn admit_quiet(&mut self, mut folk: Vec<Vec<Candidate>>, noisy: &mut Vec<Vec<Candidate>>) {
        if folk.is_empty() {
            return;
        }
        match self.refusal(folk.iter().flatten()) {
            Some(None) => self.taken.extend(folk.into_iter().flatten()),
            Some(Some(_)) if folk.len() > 1 => {
                let rest = folk.split_off(folk.len() / 2);
                self.admit_quiet(folk, noisy);
                self.admit_quiet(rest, noisy);
            }
            Some(Some(_)) | None => noisy.append(&mut folk),
        }
    }

    /// Takes as many of `batch` as the policy loads with, halving it where it does not. Whether a row
    /// breaks an `expect` or a `never` does not depend on other allows, so halves can be tried alone.
    fn admit(&mut self, mut batch: Vec<Candidate>) {
        if batch.is_empty() {
            return;
        }
        let Some(refused) = self.refusal(&batch) else {
            return batch.iter().for_each(|candidate| self.leave(candidate, &Why::NotTried));
        };
        let Some(errors) = refused else { return self.taken.append(&mut batch) };
        if let [only] = &batch[..] {
            let message = errors.errors().first().map_or_else(String::new, refusal_of);
            return self.leave(only, &Why::Refused { message });
        }
        let rest = batch.split_off(batch.len() / 2);
        self.admit(batch);
        self.admit(rest);
    }

    /// Why the policy does not load with these rows and those taken, if it does not; `None` if no trial
    /// is left to find out.
    fn refusal<'c>(
        &mut self,
        rows: impl IntoIterator<Item = &'c Candidate>,
    ) -> Option<Option<PolicyErrors>> {
        self.left = self.left.checked_sub(1)?;
        let mut all: Vec<_> = self.taken.iter().map(|taken| taken.row.clone()).collect();
        all.extend(rows.into_iter().map(|candidate| candidate.row.clone()));
        Some(self.rules.with_rows(&all).err())
    }

    fn leave(&mut self, candidate: &Candidate, why: &Why) {
        let left = candidate.refusals.iter().cloned();
        self.not.extend(left.map(|refusal| NotSuggested { refusal, why: why.clone() }));
    }
}

/// What an error that comes of a row means for it. The row's own line is none of the file's yet.
fn refusal_of(error: &PolicyError) -> String {
    match error.code {
        "acl::never-violated" => format!("the `never` on line {} forbids it", error.line),
        "acl::expect-failed" => format!("the `expect` on line {} would fail", error.line),
        _ => format!("the policy would not load with it: {}", error.message),
    }
}

/// Where several rows of one principal and the same verbs lie side by side, offers `parent/*` at
/// the first of them.
fn offer_alternatives(rules: &Ruleset, taken: &[Candidate], rows: &mut [Suggestion]) {
    let mut keys: Vec<(String, usize)> = Vec::new();
    for (at, candidate) in taken.iter().enumerate() {
        let Some((_, parent)) = candidate.object.segments.split_last() else { continue };
        // A lone `*` would open every object of one segment, of whatever service.
        if !parent.is_empty() {
            let parent = Pattern { segments: parent.to_vec(), extent: Extent::Exact };
            let key = format!("{} {} {parent}", candidate.principal, candidate.verbs.join(","));
            keys.push((key, at));
        }
    }
    keys.sort();
    let mut families: Vec<_> = keys.chunk_by(|a, b| a.0 == b.0).filter(|f| f.len() > 1).collect();
    families.sort_by_key(|family| std::cmp::Reverse(family.len()));
    for family in families.into_iter().take(MAX_ALTERNATIVES) {
        let members: Vec<_> = family.iter().map(|(_, at)| &taken[*at]).collect();
        if let Some(first) = family.first()
            && let Some(wide) = alternative(rules, &members)
        {
            rows[first.1].instead = Some(wide);
        }
    }
}

fn alternative(rules: &Ruleset, members: &[&Candidate]) -> Option<Alternative> {
    let first = members.first()?;
    let mut object = first.object.clone();
    *object.segments.last_mut()? = Segment::Any;
    let refusals = members.iter().flat_map(|member| member.refusals.iter().cloned()).collect();
    let wide =
        Candidate::new(first.principal.clone(), first.verbs.clone(), object.clone(), refusals);
    let policy = rules.with_rows(std::slice::from_ref(&wide.row)).ok()?;
    let let_through = |refusal: &&Refusal| {
        policy.explain(&refusal.principal, &refusal.verb, &refusal.object).is_allowed()
    };
    let flips = total(wide.refusals.iter().filter(let_through));
    let asker = rules.folk.named(&first.principal)?;
    let known = known_answers(rules, &asker, &object, &first.verbs);
    let asked = members.iter().map(|member| &member.object);
    let known: Vec<&Pattern> = known.iter().chain(asked).collect();
    let opens = Region::of(object, &known, asker.name)?;
    Some(Alternative { row: wide.row, flips, opens })
}

/// The objects below `object` on which this asker's rows already speak of all these verbs.
fn known_answers(
    rules: &Ruleset,
    asker: &Asker<'_>,
    object: &Pattern,
    verbs: &[String],
) -> Vec<Pattern> {
    let verbs: Vec<_> = verbs.iter().map(|verb| rules.verb_id(verb)).collect();
    let spoken_of = rules.rules.iter().filter(|rule| {
        asker.is(rule.subject)
            && object.meet(&rule.object, asker.name).is_some()
            && verbs.iter().all(|verb| rule.verbs.includes(*verb))
    });
    spoken_of.map(|rule| bound(&rule.object, asker.name)).collect()
}
