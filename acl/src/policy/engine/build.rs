//! Lays the rows out as the engine wants them, and bounds what a request can cost.

use std::collections::HashMap;

use super::key::{Hashed, Key};
use super::table::{Interner, Table};
use super::{
    CALLER, CompiledRow, Engine, Ever, Found, Grants, NONE, Node, ROOT, SHORT, STAR, first,
};
use crate::policy::decision::Effect;
use crate::policy::engine::VerbId;
use crate::policy::pattern::{Extent, Segment};
use crate::policy::people::SubjectId;

#[derive(Default)]
pub(super) struct Builder<'p> {
    segments: HashMap<&'p str, u32>,
    /// The segments in the order of their numbers.
    texts: Vec<&'p str>,
    edges: HashMap<(u32, u32), u32>,
    /// The parent and the edge of each node but the root; a child has a higher number.
    parents: Vec<(u32, u32)>,
    /// The node of each row.
    ends: Vec<u32>,
}

impl<'p> Builder<'p> {
    pub(super) fn add(&mut self, row: &CompiledRow<'p>) {
        let mut node = ROOT;
        for segment in &row.object.segments {
            let edge = match segment {
                Segment::Any => STAR,
                Segment::Caller => CALLER,
                Segment::Literal(text) => self.intern(text),
            };
            let next = number(self.parents.len() + 1);
            node = *self.edges.entry((node, edge)).or_insert_with(|| {
                self.parents.push((node, edge));
                next
            });
        }
        self.ends.push(node);
    }

    fn intern(&mut self, text: &'p str) -> u32 {
        let next = number(self.texts.len());
        *self.segments.entry(text).or_insert_with(|| {
            self.texts.push(text);
            next
        })
    }

    /// An upper bound for the nodes that any one request can visit: at each node a segment follows
    /// at most one literal edge, and the two wildcards.
    pub(super) fn worst_visits(&self) -> u64 {
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

    pub(super) fn finish(self, rows: &[CompiledRow<'_>]) -> Engine {
        let mut nodes = vec![Node::default(); self.parents.len() + 1];
        let mut literal = Vec::new();
        for ((parent, edge), child) in self.edges {
            match edge {
                STAR => nodes[parent as usize].star = child,
                CALLER => nodes[parent as usize].caller = child,
                segment => literal.push((parent, segment, child)),
            }
        }
        literal.sort_unstable();
        for (at, (parent, ..)) in literal.iter().enumerate() {
            extend(&mut nodes[*parent as usize].edges, at);
        }
        let edges: Vec<_> =
            literal.into_iter().map(|(_, segment, child)| (segment, child)).collect();
        let many_edges =
            index(nodes.iter().map(|node| node.edges), |key, from, at| key.pair(from, edges[at].0));

        let mut keyed: Vec<_> = rows.iter().zip(&self.ends).collect();
        keyed.sort_by_key(|(row, node)| {
            (**node, row.object.extent, row.verb, row.subject, row.line)
        });
        let mut grants: Vec<Grants> = Vec::with_capacity(keyed.len());
        let mut last = None;
        for (row, node) in keyed {
            let key = (*node, row.object.extent, row.verb, row.subject);
            if last != Some(key) {
                last = Some(key);
                let node = &mut nodes[*node as usize];
                let range = match row.object.extent {
                    Extent::Exact => &mut node.exact,
                    Extent::Below => &mut node.below,
                };
                extend(range, grants.len());
                grants.push(Grants {
                    verb: row.verb,
                    subject: row.subject,
                    deny: NONE,
                    allow: NONE,
                });
            }
            let at = grants.len() - 1;
            let (deny, allow) = row.lines();
            grants[at].deny = first(grants[at].deny, deny);
            grants[at].allow = first(grants[at].allow, allow);
        }
        let ranges = nodes.iter().flat_map(|node| [node.exact, node.below]);
        let many_grants =
            index(ranges, |key, from, at| key.triple([from, grants[at].verb, grants[at].subject]));
        let segments = Interner::of(&self.texts);
        Engine { segments, nodes, edges, many_edges, grants, many_grants, ever: ever(rows) }
    }
}

/// A table of what lies in the long ranges; `hash` hashes a range's begin and one of its places.
fn index(
    ranges: impl Iterator<Item = (u32, u32)>,
    hash: impl Fn(Key, u32, usize) -> Hashed,
) -> Table {
    let long = ranges.filter(|(from, to)| to - from > SHORT);
    let (entries, begins): (Vec<_>, Vec<_>) =
        long.flat_map(|(from, to)| (from..to).map(move |at| (at, from))).unzip();
    Table::of(&entries, |key, nth| hash(key, begins[nth], entries[nth] as usize))
}

fn ever(rows: &[CompiledRow<'_>]) -> Vec<Ever> {
    let mut found: HashMap<(VerbId, SubjectId), Found> = HashMap::new();
    for row in rows {
        let (deny, allow) = row.lines();
        let is_everything = row.object.segments.is_empty();
        let entry = found.entry((row.verb, row.subject)).or_default();
        entry.add(if is_everything { deny } else { NONE }, allow);
    }
    let mut ever: Vec<_> = found
        .into_iter()
        .map(|((verb, subject), found)| Ever {
            verb,
            subject,
            deny_all: found.deny,
            allow: found.allow,
        })
        .collect();
    ever.sort_unstable_by_key(|ever| (ever.verb, ever.subject));
    ever
}

impl CompiledRow<'_> {
    /// The row's line as a denying and as an allowing one.
    const fn lines(&self) -> (u32, u32) {
        match self.effect {
            Effect::Deny => (self.line, NONE),
            Effect::Allow => (NONE, self.line),
        }
    }
}

/// Makes a range that ends before `at`, or is empty, end after it.
fn extend(range: &mut (u32, u32), at: usize) {
    let at = number(at);
    if range.0 == range.1 {
        range.0 = at;
    }
    range.1 = at + 1;
}

/// A file of 2^32 segments would not have fitted in memory before.
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(CALLER - 1)
}
