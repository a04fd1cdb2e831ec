//! The rows with a wildcard inside their object: a trie over interned segments, with the grants of
//! each node side by side.

mod build;

use super::grants::Grants;
use super::interner::Interner;
use super::table::Table;
use super::{Found, VerbId};
use crate::object::MAX_SEGMENTS;
use crate::policy::people::SubjectId;

pub(super) use build::TrieBuilder;

/// A text that the policy does not mention.
const UNKNOWN: u32 = u32::MAX;
/// The edges of a `*` and of a `{self}` while the trie is being built.
const STAR: u32 = u32::MAX - 1;
const CALLER: u32 = u32::MAX - 2;
/// What stands for the literal edge of a node that has none, or several.
const NO_SEGMENT: u32 = u32::MAX - 3;
const MANY: u32 = u32::MAX - 4;
/// No node: the root is nobody's child.
const NONE: u32 = 0;
const ROOT: u32 = 0;

#[derive(Debug)]
pub(super) struct Trie {
    /// The literal segments of all its rows.
    segments: Interner,
    /// The nodes, and one more, where the last node's grants end.
    nodes: Vec<Node>,
    /// From (node, segment) to the child, for nodes with several literal edges.
    edges: Table,
    /// Grants by node and extent; each node knows where its own begin.
    grants: Grants,
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

/// A request, cut and interned.
pub(super) struct Names<'q> {
    ids: [u32; MAX_SEGMENTS],
    /// Bit n: segment n is the caller's own name.
    own: u32,
    count: usize,
    subjects: &'q [SubjectId],
    verb: VerbId,
}

impl<'q> Names<'q> {
    pub(super) fn new(subjects: &'q [SubjectId], verb: VerbId) -> Self {
        Self { ids: [UNKNOWN; MAX_SEGMENTS], own: 0, count: 0, subjects, verb }
    }

    /// Adds a segment; there are [`MAX_SEGMENTS`] at most.
    #[inline]
    pub(super) fn push(&mut self, segment: u32, is_own: bool) {
        self.ids[self.count] = segment;
        self.own |= u32::from(is_own) << self.count;
        self.count += 1;
    }
}

impl Trie {
    /// The number of a request's segment.
    #[inline]
    pub(super) fn segment(&self, text: &str) -> u32 {
        self.segments.find(text).unwrap_or(UNKNOWN)
    }

    /// Adds what the rows say of a request.
    pub(super) fn collect(&self, names: &Names<'_>, found: &mut Found) {
        self.visit(ROOT, 0, names, found);
    }

    /// Follows the literal edges down, and calls itself for the wildcards on the way.
    fn visit(&self, node: u32, depth: usize, names: &Names<'_>, found: &mut Found) {
        let mut at = node;
        for depth in depth..names.count {
            let node = &self.nodes[at as usize];
            let below = (node.below, self.nodes[at as usize + 1].exact);
            self.grants.collect(below, names.subjects, names.verb, found);
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
        self.grants.collect((node.exact, node.below), names.subjects, names.verb, found);
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
}

impl Default for Node {
    fn default() -> Self {
        Self { star: NONE, caller: NONE, segment: NO_SEGMENT, child: NONE, exact: 0, below: 0 }
    }
}
