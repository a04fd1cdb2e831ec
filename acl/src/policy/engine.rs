//! The prepared policy: a trie over interned segments, with the grants of each node side by side.
//!
//! The cost of a decision follows the length of the object and the number of wildcard branches
//! that fit it, which is bounded at load, and not the number of rows. A decision allocates nothing.

mod build;
mod key;
mod table;

use super::decision::{Decision, Effect, Reason};
use super::pattern::Pattern;
use super::people::SubjectId;
use crate::object::{self, BadObject, MAX_SEGMENTS};
use table::Table;

pub(super) use table::Interner;

/// Most nodes that one decision may visit, whatever the request; more than this refuses the file.
pub const MAX_VISITS: u64 = 16_384;

/// The number of a verb.
pub(super) type VerbId = u32;

/// `*`, every verb.
pub(super) const EVERY_VERB: VerbId = 0;

/// A row ready to be built in.
#[derive(Clone, Debug)]
pub(super) struct CompiledRow<'p> {
    pub(super) subject: SubjectId,
    pub(super) object: &'p Pattern,
    pub(super) verb: VerbId,
    pub(super) effect: Effect,
    pub(super) line: u32,
}

/// A text that the policy does not mention.
const UNKNOWN: u32 = u32::MAX;
/// The edges of a `*` and of a `{self}` while the trie is being built.
const STAR: u32 = u32::MAX - 1;
const CALLER: u32 = u32::MAX - 2;
/// Lists up to this long are searched from end to end, longer ones by hash.
const SHORT: u32 = 8;
/// The empty range of a node that no row speaks of; others are never empty.
const NOTHING: (u32, u32) = (0, 0);
/// No line, no node: the root is nobody's child and lines begin at 1.
const NONE: u32 = 0;
const ROOT: u32 = 0;

#[derive(Debug)]
pub(super) struct Engine {
    /// The literal segments of all rows.
    segments: Interner,
    nodes: Vec<Node>,
    /// Literal edges, sorted by (node, segment); each node knows its range.
    edges: Vec<(u32, u32)>,
    /// The edges of the nodes with many, by (begin of the range, segment).
    many_edges: Table,
    /// Grants, sorted by (node, extent, verb, subject); each node knows its ranges.
    grants: Vec<Grants>,
    /// The grants of long ranges, by (begin of the range, verb, subject).
    many_grants: Table,
    /// What each subject may ever do with a verb, sorted by (verb, subject).
    ever: Vec<Ever>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    star: u32,
    caller: u32,
    edges: (u32, u32),
    exact: (u32, u32),
    below: (u32, u32),
}

/// The rows of one (node, extent, verb, subject), of which only the first of each effect matters.
#[derive(Clone, Copy, Debug)]
struct Grants {
    verb: VerbId,
    subject: SubjectId,
    deny: u32,
    allow: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ever {
    verb: VerbId,
    subject: SubjectId,
    /// The first row that denies everything.
    deny_all: u32,
    /// The first row that allows anything.
    allow: u32,
}

/// The first denying and the first allowing line so far.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    deny: u32,
    allow: u32,
}

/// A request, cut and interned.
struct Names<'q> {
    ids: [u32; MAX_SEGMENTS],
    /// Bit n: segment n is the caller's own name.
    own: u32,
    count: usize,
    subjects: &'q [SubjectId],
    verb: VerbId,
}

impl Engine {
    /// Builds the engine.
    ///
    /// # Errors
    ///
    /// The worst number of visits, if that is more than [`MAX_VISITS`].
    pub(super) fn build(rows: &[CompiledRow<'_>]) -> Result<Self, u64> {
        let mut builder = build::Builder::default();
        for row in rows {
            builder.add(row);
        }
        let worst = builder.worst_visits();
        if worst > MAX_VISITS {
            return Err(worst);
        }
        Ok(builder.finish(rows))
    }

    /// Judges an object name, which may be any text: it is cut, checked and looked up in one go.
    ///
    /// # Errors
    ///
    /// [`BadObject`] if the name is not canonical.
    pub(super) fn decide(
        &self,
        principal: &str,
        subjects: &[SubjectId],
        verb: VerbId,
        object: &str,
    ) -> Result<Decision, BadObject> {
        let mut names = Names { ids: [UNKNOWN; MAX_SEGMENTS], own: 0, count: 0, subjects, verb };
        object::each_segment(object, |segment| {
            names.ids[names.count] = self.segments.find(segment).unwrap_or(UNKNOWN);
            names.own |= u32::from(segment == principal) << names.count;
            names.count += 1;
        })?;
        let mut found = Found::default();
        self.visit(ROOT, 0, &names, &mut found);
        Ok(found.decision())
    }

    /// Judges a verb before the object is known: denied if no row can ever allow it.
    pub(super) fn gate(&self, subjects: &[SubjectId], verb: VerbId) -> Decision {
        let mut found = Found::default();
        for verb in both(verb) {
            for subject in subjects {
                let key = |ever: &Ever| (ever.verb, ever.subject);
                if let Ok(at) = self.ever.binary_search_by_key(&(verb, *subject), key) {
                    found.add(self.ever[at].deny_all, self.ever[at].allow);
                }
            }
        }
        found.decision()
    }

    /// Follows the literal edges down, and calls itself for the wildcards on the way.
    fn visit(&self, node: u32, depth: usize, names: &Names<'_>, found: &mut Found) {
        let mut node = &self.nodes[node as usize];
        for depth in depth..names.count {
            if node.below != NOTHING {
                self.collect(node.below, names, found);
            }
            if node.star != NONE {
                self.visit(node.star, depth + 1, names, found);
            }
            if node.caller != NONE && names.own & (1 << depth) != 0 {
                self.visit(node.caller, depth + 1, names, found);
            }
            match self.edge(node.edges, names.ids[depth]) {
                Some(child) => node = &self.nodes[child as usize],
                None => return,
            }
        }
        self.collect(node.exact, names, found);
    }

    #[inline]
    fn edge(&self, (from, to): (u32, u32), segment: u32) -> Option<u32> {
        if to - from <= SHORT {
            let edges = &self.edges[from as usize..to as usize];
            return edges.iter().find(|(at, _)| *at == segment).map(|(_, child)| *child);
        }
        self.edge_of_many(from, segment)
    }

    #[inline(never)] // so that `visit` stays small
    fn edge_of_many(&self, from: u32, segment: u32) -> Option<u32> {
        let hash = self.many_edges.key().pair(from, segment);
        self.many_edges.exact(hash).map(|at| self.edges[at as usize].1)
    }

    #[inline]
    fn collect(&self, (from, to): (u32, u32), names: &Names<'_>, found: &mut Found) {
        if to - from <= SHORT {
            for grant in &self.grants[from as usize..to as usize] {
                if (grant.verb == EVERY_VERB || grant.verb == names.verb)
                    && includes(names.subjects, grant.subject)
                {
                    found.add(grant.deny, grant.allow);
                }
            }
        } else {
            self.collect_many((from, to), names, found);
        }
    }

    /// Looks for each subject among the grants of a long range.
    #[inline(never)] // so that `visit` stays small
    fn collect_many(&self, (from, to): (u32, u32), names: &Names<'_>, found: &mut Found) {
        for verb in both(names.verb) {
            for subject in names.subjects {
                let hash = self.many_grants.key().triple([from, verb, *subject]);
                let at = self.many_grants.find(hash, |at| {
                    let grant = &self.grants[at as usize];
                    (from..to).contains(&at) && (grant.verb, grant.subject) == (verb, *subject)
                });
                if let Some(at) = at {
                    let grant = &self.grants[at as usize];
                    found.add(grant.deny, grant.allow);
                }
            }
        }
    }
}

/// Whether the sorted `subjects` include this one; most people are in few groups.
fn includes(subjects: &[SubjectId], subject: SubjectId) -> bool {
    if subjects.len() <= SHORT as usize {
        subjects.contains(&subject)
    } else {
        subjects.binary_search(&subject).is_ok()
    }
}

/// The rows' `*`, and the verb itself unless no row mentions it.
fn both(verb: VerbId) -> impl Iterator<Item = VerbId> {
    [EVERY_VERB, verb].into_iter().take(if verb == EVERY_VERB { 1 } else { 2 })
}

impl Found {
    fn add(&mut self, deny: u32, allow: u32) {
        self.deny = first(self.deny, deny);
        self.allow = first(self.allow, allow);
    }

    const fn decision(self) -> Decision {
        match self {
            Self { deny: NONE, allow: NONE } => Decision::denied(Reason::Default),
            Self { deny: NONE, allow } => Decision::by_row(Effect::Allow, allow),
            Self { deny, .. } => Decision::by_row(Effect::Deny, deny),
        }
    }
}

/// The earlier of two lines, either of which may be none.
fn first(left: u32, right: u32) -> u32 {
    // One less than none wraps to the latest line of all.
    left.wrapping_sub(1).min(right.wrapping_sub(1)).wrapping_add(1)
}
