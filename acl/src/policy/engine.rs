//! The prepared policy: a trie over interned segments, with the grants of each node side by side.
//!
//! The cost of a decision follows the length of the object and the number of wildcard branches
//! that fit it, which is bounded at load, and not the number of rows. A decision allocates nothing.

mod build;

use std::collections::HashMap;

use super::decision::{Decision, Effect, Reason};
use super::pattern::Pattern;
use super::people::SubjectId;
use crate::object::MAX_SEGMENTS;

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
/// No line, no node: the root is nobody's child and lines begin at 1.
const NONE: u32 = 0;
const ROOT: u32 = 0;

#[derive(Debug)]
pub(super) struct Engine {
    /// The literal segments of all rows. The requests' texts are looked up here, so the hash is
    /// the keyed one of the standard library.
    segments: HashMap<Box<str>, u32>,
    nodes: Vec<Node>,
    /// Literal edges, sorted by (node, segment); each node knows its range.
    edges: Vec<(u32, u32)>,
    /// Grants, sorted by (node, extent, verb, subject); each node knows its ranges.
    grants: Vec<Grants>,
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

    /// Judges a canonical object name.
    pub(super) fn decide(
        &self,
        principal: &str,
        subjects: &[SubjectId],
        verb: VerbId,
        object: &str,
    ) -> Decision {
        let mut names = Names { ids: [UNKNOWN; MAX_SEGMENTS], own: 0, count: 0, subjects, verb };
        for segment in object.split('/') {
            let Some(id) = names.ids.get_mut(names.count) else {
                return Decision::denied(Reason::BadObject);
            };
            *id = self.segments.get(segment).copied().unwrap_or(UNKNOWN);
            names.own |= u32::from(segment == principal) << names.count;
            names.count += 1;
        }
        let mut found = Found::default();
        self.visit(ROOT, 0, &names, &mut found);
        found.decision()
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

    fn visit(&self, node: u32, depth: usize, names: &Names<'_>, found: &mut Found) {
        let node = &self.nodes[node as usize];
        if depth == names.count {
            return self.collect(node.exact, names, found);
        }
        self.collect(node.below, names, found);
        if let Some(child) = self.edge(node.edges, names.ids[depth]) {
            self.visit(child, depth + 1, names, found);
        }
        if node.star != NONE {
            self.visit(node.star, depth + 1, names, found);
        }
        if node.caller != NONE && names.own & (1 << depth) != 0 {
            self.visit(node.caller, depth + 1, names, found);
        }
    }

    fn edge(&self, (from, to): (u32, u32), segment: u32) -> Option<u32> {
        let edges = &self.edges[from as usize..to as usize];
        if edges.len() <= 8 {
            return edges.iter().find(|(at, _)| *at == segment).map(|(_, child)| *child);
        }
        edges.binary_search_by_key(&segment, |(at, _)| *at).ok().map(|at| edges[at].1)
    }

    fn collect(&self, (from, to): (u32, u32), names: &Names<'_>, found: &mut Found) {
        let grants = &self.grants[from as usize..to as usize];
        // Either look for each subject among the grants or for each grant among the subjects.
        if grants.len() <= 8 {
            for grant in grants {
                if (grant.verb == EVERY_VERB || grant.verb == names.verb)
                    && names.subjects.binary_search(&grant.subject).is_ok()
                {
                    found.add(grant.deny, grant.allow);
                }
            }
            return;
        }
        for verb in both(names.verb) {
            for subject in names.subjects {
                let wanted = (verb, *subject);
                let key = |grant: &Grants| (grant.verb, grant.subject);
                if let Ok(at) = grants.binary_search_by_key(&wanted, key) {
                    found.add(grants[at].deny, grants[at].allow);
                }
            }
        }
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
