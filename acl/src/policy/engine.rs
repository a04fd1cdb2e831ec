//! The prepared policy: the rows that spell their object out, found by its fingerprint, and a trie of
//! those with a wildcard inside.
//!
//! The cost of a decision follows the length of the object and the number of wildcard branches
//! that fit it, times the caller's subjects; both are bounded at load ([`MAX_VISITS`],
//! [`MAX_SUBJECTS`](super::MAX_SUBJECTS)). It does not follow the number of rows. A decision allocates
//! nothing.

mod build;
mod ever;
mod fingerprint;
mod grants;
mod interner;
mod key;
mod literals;
mod record;
mod table;
mod trie;

use super::decision::{Decision, Effect, Reason};
use super::people::SubjectId;
use crate::object::{self, BadObject, MAX_SEGMENTS};
use ever::Ever;
use fingerprint::{Points, Prefix};
use literals::Literals;
use trie::{Names, Trie};

pub(super) use build::{Builder, Says};
pub(super) use interner::Interner;

/// Most places where one decision may look for rows, whatever the request; more than this refuses
/// the file.
pub const MAX_VISITS: u64 = 16_384;

/// The number of a verb.
pub(super) type VerbId = u32;

/// `*`, every verb.
pub(super) const EVERY_VERB: VerbId = 0;

/// No line: lines begin at 1.
const NONE: u32 = 0;

#[derive(Debug)]
pub(super) struct Engine {
    points: Points,
    /// The rows without a wildcard, but for a `/**` at the end.
    literals: Literals,
    /// The others.
    trie: Trie,
    ever: Ever,
}

/// The first denying and the first allowing line so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    deny: u32,
    allow: u32,
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
        let reach = self.literals.reach(subjects);
        let mut prefixes = [Prefix::ROOT; MAX_SEGMENTS + 1];
        let mut names = Names::new(subjects, verb);
        let mut count = 0;
        object::each_segment(object, |segment| {
            if reach.has_literals() {
                prefixes[count + 1] = self.points.below(prefixes[count], segment.as_bytes());
            }
            if reach.wild {
                names.push(self.trie.segment(segment), segment == principal);
            }
            count += 1;
        })?;
        let mut found = Found::default();
        if reach.has_literals() {
            let prefixes = &prefixes[..=count];
            self.literals.collect((subjects, reach), verb, prefixes, &mut found);
        }
        if reach.wild {
            self.trie.collect(&names, &mut found);
        }
        Ok(found.decision())
    }

    /// Judges a verb before the object is known: denied if no row can ever allow it.
    pub(super) fn gate(&self, subjects: &[SubjectId], verb: VerbId) -> Decision {
        let mut found = Found::default();
        for verb in both(verb) {
            for subject in subjects {
                found.add(self.ever.find(*subject, verb));
            }
        }
        found.decision()
    }
}

/// The rows' `*`, and the verb itself unless no row mentions it.
fn both(verb: VerbId) -> impl Iterator<Item = VerbId> {
    [EVERY_VERB, verb].into_iter().take(if verb == EVERY_VERB { 1 } else { 2 })
}

impl Found {
    /// What the row at `line` says.
    const fn row(effect: Effect, line: u32) -> Self {
        match effect {
            Effect::Deny => Self { deny: line, allow: NONE },
            Effect::Allow => Self { deny: NONE, allow: line },
        }
    }

    #[inline]
    fn add(&mut self, other: Self) {
        self.deny = first(self.deny, other.deny);
        self.allow = first(self.allow, other.allow);
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
