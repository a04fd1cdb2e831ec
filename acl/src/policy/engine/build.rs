//! Lays the rows out as the engine wants them, and bounds what a request can cost.

use std::collections::HashMap;

use super::{CALLER, CompiledRow, Engine, Ever, Found, Grants, NONE, Node, ROOT, STAR, first};
use crate::policy::decision::Effect;
use crate::policy::engine::VerbId;
use crate::policy::pattern::{Extent, Segment};
use crate::policy::people::SubjectId;

#[derive(Default)]
pub(super) struct Builder {
    segments: HashMap<Box<str>, u32>,
    edges: HashMap<(u32, u32), u32>,
    /// The parent and the edge of each node but the root; a child has a higher number.
    parents: Vec<(u32, u32)>,
    /// The node of each row.
    ends: Vec<u32>,
}

impl Builder {
    pub(super) fn add(&mut self, row: &CompiledRow<'_>) {
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

    fn intern(&mut self, text: &str) -> u32 {
        if let Some(id) = self.segments.get(text) {
            return *id;
        }
        let id = number(self.segments.len());
        self.segments.insert(text.into(), id);
        id
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
        let edges = literal.into_iter().map(|(_, segment, child)| (segment, child)).collect();

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
        Engine { segments: self.segments, nodes, edges, grants, ever: ever(rows) }
    }
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
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(CALLER - 1)
}
