//! Lays the rows of a trie out as it wants them, and bounds what a request can cost there.

use super::super::Found;
use super::super::build::number;
use super::super::grants::{Grant, Grants, merge};
use super::super::interner::Interner;
use super::super::key::{Hashed, Key};
use super::super::table::Table;
use super::{CALLER, MANY, NO_SEGMENT, Node, ROOT, STAR, Trie, VerbId};
use crate::policy::pattern::{Extent, Part};
use crate::policy::people::SubjectId;

/// Rows with wildcards on their way into a [`Trie`].
pub(in crate::policy::engine) struct TrieBuilder {
    segments: Interner,
    /// From (parent, edge) to the child.
    edges: Table,
    /// The parent and the edge of each node but the root; a child has a higher number.
    parents: Vec<(u32, u32)>,
    /// The place of each of the grants.
    places: Vec<Place>,
    grants: Vec<Grant>,
}

/// A node and an extent: where the grants of an object pattern lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy::engine) struct Place(u32);

impl Place {
    /// A text has fewer than 2^31 nodes: a file is no longer than 2^30 bytes.
    fn of(node: u32, extent: Extent) -> Self {
        Self(node * 2 + u32::from(extent == Extent::Below))
    }
}

impl TrieBuilder {
    /// A builder without a row.
    pub(in crate::policy::engine) fn new() -> Self {
        Self {
            segments: Interner::with_room(0),
            edges: Table::with_room(0),
            parents: Vec::new(),
            places: Vec::new(),
            grants: Vec::new(),
        }
    }

    /// The place of the object pattern that `segments` and `extent` are, made if need be.
    pub(in crate::policy::engine) fn place<'p>(
        &mut self,
        segments: impl Iterator<Item = Part<'p>>,
        extent: Extent,
    ) -> Place {
        let mut node = ROOT;
        for segment in segments {
            let edge = match segment {
                Part::Any => STAR,
                Part::Caller => CALLER,
                Part::Literal(text) => self.segments.intern(&text),
            };
            node = self.child(node, edge);
        }
        Place::of(node, extent)
    }

    fn child(&mut self, parent: u32, edge: u32) -> u32 {
        if let Some(child) = self.edges.exact(self.edges.key().pair(parent, edge)) {
            return child;
        }
        if self.edges.is_full() {
            self.edges.grow((1..).zip(self.parents.iter().copied()), edge_hash);
        }
        self.parents.push((parent, edge));
        let child = number(self.parents.len());
        self.edges.insert(self.edges.key().pair(parent, edge), child);
        child
    }

    /// Adds what a row says of one verb.
    pub(in crate::policy::engine) fn grant(
        &mut self,
        place: Place,
        verb: VerbId,
        subject: SubjectId,
        found: Found,
    ) {
        self.places.push(place);
        self.grants.push(Grant { verb, subject, found });
    }

    /// The trie.
    pub(in crate::policy::engine) fn finish(self) -> Trie {
        let Self { segments, edges, parents, places, grants } = self;
        drop(edges); // a table of those that need one follows
        let mut nodes = nodes(&parents);
        let many = (1..).zip(parents.iter().copied()).filter(|(_, (parent, edge))| {
            *edge < CALLER && nodes[*parent as usize].segment == MANY
        });
        let edges = Table::of(&many, edge_hash);
        drop(parents);
        let segments = segments.finish();
        let grants = in_places(&places, grants, &mut nodes);
        drop(places);
        let grants = Grants::of(grants, ranges(&nodes));
        Trie { segments, nodes, edges, grants }
    }

    /// An upper bound for the nodes that any one request can visit: at each node a segment follows
    /// at most one literal edge, and the two wildcards.
    pub(in crate::policy::engine) fn worst_visits(&self) -> u64 {
        let mut wild = vec![0_u64; self.parents.len() + 1];
        let mut literal = vec![0_u64; self.parents.len() + 1];
        for (at, (parent, edge)) in self.parents.iter().enumerate().rev() {
            let cost = 1_u64.saturating_add(wild[at + 1]).saturating_add(literal[at + 1]);
            let parent = *parent as usize;
            if *edge >= CALLER {
                wild[parent] = wild[parent].saturating_add(cost);
            } else {
                literal[parent] = literal[parent].max(cost);
            }
        }
        1_u64.saturating_add(wild[0]).saturating_add(literal[0])
    }
}

fn edge_hash(key: Key, (one, two): (u32, u32)) -> Hashed {
    key.pair(one, two)
}

/// The nodes with their edges, and one more, where the last node's grants end.
fn nodes(parents: &[(u32, u32)]) -> Vec<Node> {
    let mut nodes = vec![Node::default(); parents.len() + 2];
    for (child, (parent, edge)) in (1..).zip(parents) {
        let node = &mut nodes[*parent as usize];
        match (*edge, node.segment) {
            (STAR, _) => node.star = child,
            (CALLER, _) => node.caller = child,
            (segment, NO_SEGMENT) => (node.segment, node.child) = (segment, child),
            _ => node.segment = MANY,
        }
    }
    nodes
}

/// Sorts the grants by place, verb and subject, and makes one of those that agree in all three;
/// each node learns its ranges.
fn in_places(places: &[Place], grants: Vec<Grant>, nodes: &mut [Node]) -> Vec<Grant> {
    let mut ends = vec![0_u32; nodes.len() * 2];
    for place in places {
        ends[place.0 as usize] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        total += *end;
        *end = total;
    }
    let mut sorted = vec![Grant::default(); grants.len()];
    for (place, grant) in places.iter().zip(grants) {
        // What was the end of a range becomes its begin.
        let at = &mut ends[place.0 as usize];
        *at -= 1;
        sorted[*at as usize] = grant;
    }
    let mut kept = 0;
    for place in 0..ends.len() {
        let begin = number(kept);
        let node = &mut nodes[place / 2];
        *(if place % 2 == 0 { &mut node.exact } else { &mut node.below }) = begin;
        let to = ends.get(place + 1).copied().unwrap_or(total) as usize;
        let from = ends[place] as usize;
        kept = merge(&mut sorted, from..to, kept);
    }
    sorted.truncate(kept);
    sorted.shrink_to_fit();
    sorted
}

/// Where the grants of each place are.
fn ranges(nodes: &[Node]) -> impl Iterator<Item = (u32, u32)> + Clone {
    nodes.windows(2).flat_map(|pair| {
        let [node, next] = pair else { return [(0, 0); 2] };
        [(node.exact, node.below), (node.below, next.exact)]
    })
}
