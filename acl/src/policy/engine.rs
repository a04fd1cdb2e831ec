//! The prepared policy: a trie over interned segments, with the grants of each node side by side.
//!
//! The cost of a decision follows the length of the object and the number of wildcard branches
//! that fit it, times the caller's subjects; both are bounded at load ([`MAX_VISITS`],
//! [`MAX_SUBJECTS`](super::MAX_SUBJECTS)). It does not follow the number of rows. A decision allocates
//! nothing.
//!
//! There is no second form for small policies: a scan of all rows takes longer than the trie from
//! five rows on.

mod build;
mod interner;
mod key;
mod table;

use super::decision::{Decision, Effect, Reason};
use super::people::SubjectId;
use crate::object::{self, BadObject, MAX_SEGMENTS};
use table::Table;

pub(super) use build::Builder;
pub(super) use interner::Interner;

/// Most nodes that one decision may visit, whatever the request; more than this refuses the file.
pub const MAX_VISITS: u64 = 16_384;

/// The number of a verb.
pub(super) type VerbId = u32;

/// `*`, every verb.
pub(super) const EVERY_VERB: VerbId = 0;

/// A text that the policy does not mention.
const UNKNOWN: u32 = u32::MAX;
/// The edges of a `*` and of a `{self}` while the trie is being built.
const STAR: u32 = u32::MAX - 1;
const CALLER: u32 = u32::MAX - 2;
/// What stands for the literal edge of a node that has none, or several.
const NO_SEGMENT: u32 = u32::MAX - 3;
const MANY: u32 = u32::MAX - 4;
/// Grants up to this many are searched from end to end, more by hash.
const SHORT: u32 = 8;
/// No line, no node: the root is nobody's child and lines begin at 1.
const NONE: u32 = 0;
const ROOT: u32 = 0;

#[derive(Debug)]
pub(super) struct Engine {
    /// The literal segments of all rows.
    segments: Interner,
    /// The nodes, and one more, where the last node's grants end.
    nodes: Vec<Node>,
    /// From (node, segment) to the child, for nodes with several literal edges.
    edges: Table,
    /// Grants, sorted by (node, extent, verb, subject); each node knows where its own begin.
    grants: Vec<Grants>,
    /// The grants of long ranges, by (begin of the range, verb, subject).
    many_grants: Table,
    /// What each subject may ever do with a verb.
    ever: Vec<Ever>,
    /// By (verb, subject).
    ever_of: Table,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    star: u32,
    caller: u32,
    /// The only literal edge and its child, or [`NO_SEGMENT`] or [`MANY`].
    segment: u32,
    child: u32,
    /// Where the grants for the node itself begin; they end where those below it begin.
    exact: u32,
    /// Where the grants for what is below it begin; they end where the next node's begin.
    below: u32,
}

/// The rows of one (node, extent, verb, subject), of which only the first of each effect matters.
#[derive(Clone, Copy, Debug, Default)]
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
                if let Some(at) = self.ever_of.exact(self.ever_of.key().pair(verb, *subject)) {
                    let ever = &self.ever[at as usize];
                    found.add(ever.deny_all, ever.allow);
                }
            }
        }
        found.decision()
    }

    /// Follows the literal edges down, and calls itself for the wildcards on the way.
    fn visit(&self, node: u32, depth: usize, names: &Names<'_>, found: &mut Found) {
        let mut at = node;
        for depth in depth..names.count {
            let node = &self.nodes[at as usize];
            self.collect((node.below, self.nodes[at as usize + 1].exact), names, found);
            if node.star != NONE {
                self.visit(node.star, depth + 1, names, found);
            }
            if node.caller != NONE && names.own & (1 << depth) != 0 {
                self.visit(node.caller, depth + 1, names, found);
            }
            match self.child(node, at, names.ids[depth]) {
                Some(child) => at = child,
                None => return,
            }
        }
        let node = &self.nodes[at as usize];
        self.collect((node.exact, node.below), names, found);
    }

    #[inline]
    fn child(&self, node: &Node, at: u32, segment: u32) -> Option<u32> {
        if node.segment == segment {
            return Some(node.child);
        }
        if node.segment != MANY || segment == UNKNOWN {
            return None;
        }
        self.edges.exact(self.edges.key().pair(at, segment))
    }

    #[inline]
    fn collect(&self, (from, to): (u32, u32), names: &Names<'_>, found: &mut Found) {
        if from == to {
        } else if to - from <= SHORT {
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

impl Default for Node {
    fn default() -> Self {
        Self { star: NONE, caller: NONE, segment: NO_SEGMENT, child: NONE, exact: 0, below: 0 }
    }
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
