//! Who the principals and groups of a policy are, and who belongs to which group.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::KeysRequired;
use super::fault::{Fault, Span};
use super::row::Row;
use super::suggest::nearest;
use super::syntax::{GroupLine, Name, Syntax, Who};

/// Deepest nesting of groups.
pub const MAX_GROUP_DEPTH: usize = 8;

/// Most subjects that one principal is: itself, everyone, and each group that it is in, directly or
/// through others. A decision asks for each of them wherever a row may be.
pub const MAX_SUBJECTS: usize = 1_024;

/// How much work a load may put into guessing what unknown names were meant to be: a fraction of a
/// second. Each guess looks at every name, so that a large file with many errors would take hours;
/// the names beyond are refused all the same, without a guess.
const MAX_GUESS_STEPS: usize = 1 << 26;

/// Most groups of a cycle that are named.
const MAX_CYCLE_SHOWN: usize = 16;

/// The number of a principal, of a group or of everyone.
pub(super) type SubjectId = u32;

/// `*`, every principal with a bound key.
pub(super) const EVERYONE: SubjectId = 0;

/// The principals and groups of one load, numbered.
#[derive(Debug, Default)]
pub(super) struct People<'a> {
    /// Names; a principal's number is its place here, plus one.
    pub(super) principals: Vec<&'a str>,
    /// Every bound key and its principal.
    pub(super) keys: HashMap<[u8; 32], SubjectId>,
    ids: HashMap<&'a str, SubjectId>,
    /// For each principal and group, the groups that name it as a member.
    parents: HashMap<SubjectId, Vec<SubjectId>>,
    /// For each principal, itself with its groups and everyone, in ascending order.
    subjects: Vec<Box<[SubjectId]>>,
    /// Whether no principal but those with a key exists.
    pub(super) closed: bool,
}

impl<'a> People<'a> {
    /// Finds everyone that `syntax` speaks of; the unknown go to `faults`, and the known without a
    /// key, where that is allowed, to `warnings`.
    pub(super) fn of(
        syntax: &Syntax<'a>,
        required: KeysRequired,
        faults: &mut Vec<Fault>,
        warnings: &mut Vec<Fault>,
    ) -> Self {
        let closed = required == KeysRequired::Server || !syntax.keys.is_empty();
        let mut people = Self { closed, ..Self::default() };
        people.bind_keys(syntax, faults);
        if !closed {
            people.take_mentioned(syntax, warnings);
        }
        people.number_groups(&syntax.groups, faults);
        let mut steps = MAX_GUESS_STEPS;
        for who in mentions(syntax) {
            people.check(who, &mut steps, faults);
        }
        people.join_groups(&syntax.groups, faults);
        people.find_subjects(syntax, faults);
        people
    }

    /// The number of whom a row speaks of; `None` if it is unknown.
    pub(super) fn id(&self, who: &Who<'_>) -> Option<SubjectId> {
        match who {
            Who::Everyone => Some(EVERYONE),
            Who::Group(name) | Who::Principal(name) => self.ids.get(name.text).copied(),
        }
    }

    /// The principal with its groups and everyone, in ascending order.
    pub(super) fn subjects_of(&self, principal: SubjectId) -> &[SubjectId] {
        let place = (principal as usize).checked_sub(1);
        place.and_then(|place| self.subjects.get(place)).map_or(&[], |subjects| subjects)
    }

    fn bind_keys(&mut self, syntax: &Syntax<'a>, faults: &mut Vec<Fault>) {
        let mut lines: HashMap<(&str, u8), Span> = HashMap::new();
        let mut owners: HashMap<[u8; 32], (&str, Span)> = HashMap::new();
        for line in &syntax.keys {
            if let Some(first) = lines.insert((line.name.text, line.name.span.file), line.name.span)
            {
                let message = format!("principal `{}` is given twice", line.name.text);
                let help = "put all its keys on one line, with commas between";
                let fault = Fault::new(line.name.span, message, help);
                faults.push(fault.with_related(first, "first here"));
            }
            let id = self.number(line.name.text);
            for (key, span) in &line.keys {
                match owners.entry(*key) {
                    Entry::Occupied(first) if first.get().0 != line.name.text => {
                        let (owner, at) = *first.get();
                        let message = format!("this key is already bound to `{owner}`");
                        let help = "a key belongs to one principal: make another key";
                        faults.push(Fault::new(*span, message, help).with_related(at, "here"));
                    }
                    Entry::Occupied(_) => {}
                    Entry::Vacant(free) => {
                        free.insert((line.name.text, *span));
                        self.keys.insert(*key, id);
                    }
                }
            }
        }
    }

    /// Without any keys, whoever is mentioned exists.
    fn take_mentioned(&mut self, syntax: &Syntax<'a>, warnings: &mut Vec<Fault>) {
        for who in mentions(syntax) {
            if let Who::Principal(name) = who
                && !self.ids.contains_key(name.text)
            {
                self.number(name.text);
                let message = format!("principal `{}` has no key", name.text);
                let help = format!(
                    "a server will want a line `principal {} = ed25519:<64 hex digits>`",
                    name.text
                );
                warnings.push(Fault::new(name.span, message, help).with_code("acl::no-key"));
            }
        }
    }

    fn number(&mut self, name: &'a str) -> SubjectId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        self.principals.push(name);
        // A file holds fewer lines than 2^32, and a line fewer names than that.
        let id = SubjectId::try_from(self.principals.len()).unwrap_or(SubjectId::MAX);
        self.ids.insert(name, id);
        id
    }

    fn number_groups(&mut self, groups: &[GroupLine<'a>], faults: &mut Vec<Fault>) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        let mut next = SubjectId::try_from(self.principals.len()).unwrap_or(SubjectId::MAX);
        for name in groups.iter().filter_map(|group| group.name) {
            if let Some(first) = seen.insert(name.text, name.span) {
                let message = format!("group `{}` is given twice", name.text);
                let help = "put all its members on one line, or nest a second group in it";
                faults.push(Fault::new(name.span, message, help).with_related(first, "first here"));
                continue;
            }
            next = next.saturating_add(1);
            self.ids.insert(name.text, next);
        }
    }

    /// `steps` are those left for guesses.
    fn check(&self, who: Who<'a>, steps: &mut usize, faults: &mut Vec<Fault>) {
        let (Who::Group(name) | Who::Principal(name)) = who else { return };
        if self.ids.contains_key(name.text) {
            return;
        }
        let is_group = name.text.starts_with('@');
        let guess = steps.checked_sub(self.ids.len() * name.text.len().pow(2)).and_then(|left| {
            *steps = left;
            nearest(
                name.text,
                self.ids.keys().copied().filter(|id| id.starts_with('@') == is_group),
            )
        });
        let help = match (guess, is_group) {
            (Some(known), _) => format!("did you mean `{known}`?"),
            (None, true) => format!("add a line `group {} = member, member`", name.text),
            (None, false) => {
                format!("add a line `principal {} = ed25519:<64 hex digits>`", name.text)
            }
        };
        let what = if is_group { "group" } else { "principal" };
        let message = match is_group {
            true => format!("unknown {what} `{}`", name.text),
            false => format!("unknown {what} `{}`: no key is bound to it", name.text),
        };
        let code = if is_group { "acl::unknown-group" } else { "acl::unknown-principal" };
        faults.push(Fault::new(name.span, message, help).with_code(code));
    }

    fn join_groups(&mut self, groups: &[GroupLine<'a>], faults: &mut Vec<Fault>) {
        let nest = Nest::of(groups);
        nest.check(faults);
        for group in groups {
            let Some(id) = group.name.and_then(|name| self.ids.get(name.text).copied()) else {
                continue;
            };
            for member in &group.members {
                if let Some(member) = self.id(member) {
                    self.parents.entry(member).or_default().push(id);
                }
            }
        }
        // A group may name a member more than once.
        for parents in self.parents.values_mut() {
            parents.sort_unstable();
            parents.dedup();
        }
    }

    fn find_subjects(&mut self, syntax: &Syntax<'a>, faults: &mut Vec<Fault>) {
        let mut crowded = HashSet::new();
        for (name, id) in self.principals.iter().zip(1..) {
            let subjects = self.closure(id);
            if subjects.len() > MAX_SUBJECTS {
                crowded.insert(*name);
            }
            self.subjects.push(subjects.into());
        }
        let keys = syntax.keys.iter().map(|line| Who::Principal(line.name));
        for who in keys.chain(mentions(syntax)) {
            if let Who::Principal(name) = who
                && crowded.remove(name.text)
            {
                // Two of its subjects are no groups: itself and everyone.
                let most = MAX_SUBJECTS - 2;
                let message = format!("principal `{}` is in more than {most} groups", name.text);
                let help = "put what many of these groups are for into one group, and take it out \
                            of the others";
                faults.push(Fault::new(name.span, message, help).with_code("acl::too-many-groups"));
            }
        }
    }

    /// The subjects of a principal; of too many, one more than there may be.
    fn closure(&self, principal: SubjectId) -> Vec<SubjectId> {
        let mut found = vec![EVERYONE, principal];
        let mut seen = HashSet::new();
        let mut next = 1;
        while let Some(id) = found.get(next) {
            next += 1;
            for parent in self.parents.get(id).into_iter().flatten() {
                if found.len() > MAX_SUBJECTS {
                    break;
                }
                if seen.insert(*parent) {
                    found.push(*parent);
                }
            }
        }
        found.sort_unstable();
        found
    }
}

/// Every principal and group that the rows, groups, expectations and invariants speak of.
fn mentions<'s, 'a>(syntax: &'s Syntax<'a>) -> impl Iterator<Item = Who<'a>> + use<'s, 'a> {
    let rows = syntax.rows.iter().filter_map(Row::who);
    let members = syntax.groups.iter().flat_map(|group| group.members.iter().copied());
    let expects = syntax.expects.iter().filter_map(|line| line.principal.map(Who::Principal));
    let nevers = syntax
        .nevers
        .iter()
        .flat_map(|line| line.row.who().into_iter().chain(line.except.iter().copied()));
    rows.chain(members).chain(expects).chain(nevers)
}

/// Which group names which, for finding cycles and depth.
struct Nest<'g, 'a> {
    names: Vec<Name<'a>>,
    members: HashMap<&'a str, &'g [Who<'a>]>,
}

impl<'g, 'a> Nest<'g, 'a> {
    fn of(groups: &'g [GroupLine<'a>]) -> Self {
        let named = groups.iter().filter_map(|group| group.name.map(|name| (name, group)));
        let members = named.clone().map(|(name, group)| (name.text, &group.members[..])).collect();
        Self { names: named.map(|(name, _)| name).collect(), members }
    }

    /// A walk with its own stack: the nesting in a file may be deeper than ours.
    fn check(&self, faults: &mut Vec<Fault>) {
        let mut depths: HashMap<&str, usize> = HashMap::new();
        for root in &self.names {
            if depths.contains_key(root.text) {
                continue;
            }
            let mut path: Vec<(Name<'a>, usize, usize)> = vec![(*root, 0, 0)];
            let mut on_path = HashMap::from([(root.text, 0)]);
            while let Some((name, next, deepest)) = path.last_mut() {
                let members = self.members.get(name.text).copied().unwrap_or_default();
                let Some(member) = members.get(*next) else {
                    let (name, depth) = (*name, *deepest + 1);
                    depths.insert(name.text, depth);
                    on_path.remove(name.text);
                    path.pop();
                    if let Some((_, _, above)) = path.last_mut() {
                        *above = depth.max(*above);
                    }
                    if depth == MAX_GROUP_DEPTH + 1 {
                        let message = format!("groups nest deeper than {MAX_GROUP_DEPTH}");
                        faults.push(Fault::new(name.span, message, "flatten the innermost groups"));
                    }
                    continue;
                };
                *next += 1;
                let Who::Group(member) = *member else { continue };
                if let Some(depth) = depths.get(member.text) {
                    *deepest = (*deepest).max(*depth);
                } else if let Some(at) = on_path.get(member.text) {
                    faults.push(cycle(&path[*at..], member));
                } else if self.members.contains_key(member.text) {
                    on_path.insert(member.text, path.len());
                    path.push((member, 0, 0));
                }
            }
        }
    }
}

fn cycle(path: &[(Name<'_>, usize, usize)], closing: Name<'_>) -> Fault {
    let shown = path.iter().take(MAX_CYCLE_SHOWN).map(|(name, ..)| name.text);
    let more = (path.len() > MAX_CYCLE_SHOWN).then_some("…");
    let names: Vec<_> = shown.chain(more).collect();
    let message = format!("group cycle {} → {}", names.join(" → "), closing.text);
    Fault::new(closing.span, message, format!("remove `{}` from this line", closing.text))
        .with_code("acl::group-cycle")
}
