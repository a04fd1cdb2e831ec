//! Patterns by subject and segment, so that those which contain or meet another are found without
//! looking at the rest.
//!
//! One trie for each subject, all in the same tables. [`containing`](Index::containing) follows at
//! most three edges at each node, whatever the number of patterns; [`meeting`](Index::meeting)
//! branches where its own pattern has a wildcard, as far as there is something to be met.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use crate::policy::pattern::{Extent, Pattern, Segment};
use crate::policy::people::SubjectId;

/// No node and no pattern has this number.
const NONE: u32 = u32::MAX;
/// The edges of a `*` and of a `{self}`.
const STAR: u32 = u32::MAX;
const CALLER: u32 = u32::MAX - 1;

/// An index of patterns; each has the number of its place among those it was built from.
pub(super) struct Index<'p> {
    texts: HashMap<&'p str, u32>,
    /// In order, so that the same policy always gets the same answer.
    roots: BTreeMap<SubjectId, u32>,
    edges: HashMap<(u32, u32), u32>,
    nodes: Vec<Node>,
    /// For each pattern, the next one that is the same for the same subject.
    same: Vec<u32>,
    /// Nodes and patterns looked at so far.
    steps: Cell<u64>,
}

#[derive(Clone, Copy)]
struct Node {
    /// The first pattern that ends here, and the first that goes on below.
    exact: u32,
    below: u32,
    /// The last literal child, from which the others follow as siblings.
    child: u32,
    sibling: u32,
}

impl<'p> Index<'p> {
    pub(super) fn of(
        patterns: impl DoubleEndedIterator<Item = (SubjectId, &'p Pattern)> + ExactSizeIterator,
    ) -> Self {
        let mut index = Self {
            texts: HashMap::new(),
            roots: BTreeMap::new(),
            edges: HashMap::new(),
            nodes: Vec::new(),
            same: vec![NONE; patterns.len()],
            steps: Cell::new(0),
        };
        // From the last one, so that the first of those that are the same comes first.
        for (at, (subject, pattern)) in patterns.enumerate().rev() {
            let node = index.path(subject, pattern);
            let node = &mut index.nodes[node as usize];
            let first = match pattern.extent {
                Extent::Exact => &mut node.exact,
                Extent::Below => &mut node.below,
            };
            index.same[at] = *first;
            *first = number(at);
        }
        index
    }

    /// The subjects that have patterns.
    pub(super) fn subjects(&self) -> impl Iterator<Item = SubjectId> {
        self.roots.keys().copied()
    }

    /// How many nodes and patterns all look-ups so far have looked at.
    pub(super) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// The first pattern, of those for `subjects`, that contains `inner` for this caller and is not
    /// passed over.
    pub(super) fn containing(
        &self,
        subjects: &[SubjectId],
        caller: &str,
        inner: &Pattern,
        pass_over: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        subjects.iter().find_map(|subject| {
            let root = self.roots.get(subject)?;
            self.container(*root, 0, caller, inner, &pass_over)
        })
    }

    /// Hands over every pattern, of those for `subjects`, that meets `other` for this caller; for
    /// none, that may meet it for some caller. Ends when `each` returns something.
    pub(super) fn meeting<T>(
        &self,
        subjects: impl IntoIterator<Item = SubjectId>,
        caller: Option<&str>,
        other: &Pattern,
        mut each: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        subjects.into_iter().find_map(|subject| {
            let root = self.roots.get(&subject)?;
            self.meet(*root, 0, caller, other, &mut each)
        })
    }

    fn container(
        &self,
        node: u32,
        depth: usize,
        caller: &str,
        inner: &Pattern,
        pass_over: &impl Fn(u32) -> bool,
    ) -> Option<u32> {
        self.step();
        let Node { exact, below, .. } = self.nodes[node as usize];
        let Some(segment) = inner.segments.get(depth) else {
            let first = if inner.extent == Extent::Exact { exact } else { below };
            return self.all(first).find(|at| !pass_over(*at));
        };
        if let Some(found) = self.all(below).find(|at| !pass_over(*at)) {
            return Some(found);
        }
        let literal = match segment {
            Segment::Any => None,
            Segment::Literal(text) => Some(&**text),
            Segment::Caller => Some(caller),
        };
        let edges = [
            literal.and_then(|text| self.texts.get(text).copied()),
            (literal == Some(caller)).then_some(CALLER),
            Some(STAR),
        ];
        edges.into_iter().flatten().find_map(|edge| {
            let next = self.edges.get(&(node, edge))?;
            self.container(*next, depth + 1, caller, inner, pass_over)
        })
    }

    fn meet<T>(
        &self,
        node: u32,
        depth: usize,
        caller: Option<&str>,
        other: &Pattern,
        each: &mut impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        self.step();
        let Node { exact, below, child, .. } = self.nodes[node as usize];
        let goes_on = depth < other.segments.len();
        // What lies below this node meets whatever goes on, by a segment or by its extent.
        let reaches = goes_on || other.extent == Extent::Below;
        if reaches && let Some(found) = self.all(below).find_map(&mut *each) {
            return Some(found);
        }
        let ends = match other.extent {
            Extent::Exact => depth == other.segments.len(),
            Extent::Below => depth > other.segments.len(),
        };
        if ends && let Some(found) = self.all(exact).find_map(&mut *each) {
            return Some(found);
        }
        if !goes_on && other.extent == Extent::Exact {
            return None;
        }
        let literal = match (other.segments.get(depth), caller) {
            (None | Some(Segment::Any), _) | (Some(Segment::Caller), None) => None,
            (Some(Segment::Literal(text)), _) => Some(&**text),
            (Some(Segment::Caller), Some(name)) => Some(name),
        };
        // A `{self}` of these patterns is met by any literal when the caller is open.
        let own = literal.is_none() || caller.is_none() || literal == caller;
        for edge in [Some(STAR), own.then_some(CALLER)].into_iter().flatten() {
            if let Some(next) = self.edges.get(&(node, edge)) {
                let found = self.meet(*next, depth + 1, caller, other, each);
                if found.is_some() {
                    return found;
                }
            }
        }
        if let Some(text) = literal {
            let edge = self.texts.get(text)?;
            let next = self.edges.get(&(node, *edge))?;
            return self.meet(*next, depth + 1, caller, other, each);
        }
        let mut next = child;
        while next != NONE {
            let found = self.meet(next, depth + 1, caller, other, each);
            if found.is_some() {
                return found;
            }
            next = self.nodes[next as usize].sibling;
        }
        None
    }

    /// The patterns from `first` on that are the same.
    fn all(&self, first: u32) -> impl Iterator<Item = u32> {
        let next = move |at: &u32| {
            self.step();
            Some(self.same[*at as usize]).filter(|next| *next != NONE)
        };
        std::iter::successors(Some(first).filter(|at| *at != NONE), next)
    }

    fn path(&mut self, subject: SubjectId, pattern: &'p Pattern) -> u32 {
        let nodes = &mut self.nodes;
        let mut node = *self.roots.entry(subject).or_insert_with(|| add(nodes, NONE));
        for segment in &pattern.segments {
            let edge = match segment {
                Segment::Any => STAR,
                Segment::Caller => CALLER,
                Segment::Literal(text) => {
                    let next = number(self.texts.len());
                    *self.texts.entry(text).or_insert(next)
                }
            };
            let nodes = &mut self.nodes;
            let next = *self.edges.entry((node, edge)).or_insert_with(|| {
                if edge >= CALLER {
                    return add(nodes, NONE);
                }
                let next = add(nodes, nodes[node as usize].child);
                nodes[node as usize].child = next;
                next
            });
            node = next;
        }
        node
    }

    fn step(&self) {
        self.steps.set(self.steps.get() + 1);
    }
}

fn add(nodes: &mut Vec<Node>, sibling: u32) -> u32 {
    nodes.push(Node { exact: NONE, below: NONE, child: NONE, sibling });
    number(nodes.len() - 1)
}

/// A file of 2^32 segments would not have been loaded.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(CALLER - 1)
}
