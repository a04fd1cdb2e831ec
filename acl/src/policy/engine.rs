//! The prepared policy: a trie over interned segments, with the grants of each node side by side.
//!
//! The cost of a decision follows the length of the object and the number of wildcard branches
//! that fit it, which is bounded at load, and not the number of rows. A decision allocates nothing.

use std::collections::HashMap;

use super::decision::{Decision, Effect, Reason};
use super::pattern::{Extent, Pattern, Segment};
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
        let mut builder = Builder::default();
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

#[derive(Default)]
struct Builder {
    segments: HashMap<Box<str>, u32>,
    edges: HashMap<(u32, u32), u32>,
    /// The parent and the edge of each node but the root; a child has a higher number.
    parents: Vec<(u32, u32)>,
    /// The node of each row.
    ends: Vec<u32>,
}

impl Builder {
    fn add(&mut self, row: &CompiledRow<'_>) {
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
    fn worst_visits(&self) -> u64 {
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

    fn finish(self, rows: &[CompiledRow<'_>]) -> Engine {
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
