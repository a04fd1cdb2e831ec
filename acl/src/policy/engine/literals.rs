//! The rows that spell their object out, with or without a `/**` at the end: one table from the
//! object's fingerprint to what rows say of it.
//!
//! A look-up reads one line of memory, seldom two, and all that one decision needs are known as soon
//! as the object is hashed, so that none waits for another. Only where rows about one object differ
//! in subject or verbs, it leads on to a range of grants. A depth at which none of the caller's
//! subjects has a row is not looked up: other people's rows cost nothing there.

mod build;

use std::fmt;

use super::fingerprint::{Fingerprint, Prefix};
use super::grants::{Grants, includes};
use super::record::{Asked, Verbs};
use super::{Found, VerbId};
use crate::policy::pattern::Extent;
use crate::policy::people::SubjectId;

pub(super) struct Literals {
    /// By subject.
    reaches: Vec<Reach>,
    /// Wherever a look-up begins, an empty slot follows.
    slots: Vec<Slot>,
    /// Where a look-up may begin: this many slots from the first one.
    begins: u32,
    /// Of the hash by which slots are found.
    factor: u64,
    /// What rows say where a slot cannot hold it.
    shared: Grants,
}

/// What a subject has rows about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reach {
    /// Bit n: an object of n + 1 segments.
    exact: u32,
    /// Bit n: what lies below an object of n segments; of 32 segments, nothing does.
    below: u32,
    /// Objects with a wildcard inside.
    pub(super) wild: bool,
}

/// What rows say of one object. Two to a line of the cache.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    object: Fingerprint,
    subject: SubjectId,
    /// None if there are [`shared`](Literals::shared) grants, from `found.deny` to `found.allow`.
    verbs: Verbs,
    found: Found,
}

/// What is asked of an object.
struct Question<'q> {
    subjects: &'q [SubjectId],
    verb: VerbId,
    asked: Asked,
}

impl Literals {
    /// What these subjects together have rows about.
    #[inline]
    pub(super) fn reach(&self, subjects: &[SubjectId]) -> Reach {
        let mut reach = Reach::default();
        for subject in subjects {
            if let Some(one) = self.reaches.get(*subject as usize) {
                reach.add(*one);
            }
        }
        reach
    }

    /// Adds what the rows say of an object to subjects of this `reach`. `prefixes` are those of its
    /// first segments: none, one, up to all of them.
    #[inline]
    pub(super) fn collect(
        &self,
        (subjects, reach): (&[SubjectId], Reach),
        verb: VerbId,
        prefixes: &[Prefix],
        found: &mut Found,
    ) {
        let Some((whole, above)) = prefixes.split_last() else { return };
        let question = Question { subjects, verb, asked: Asked::of(verb) };
        if reach.has_exact(above.len()) {
            self.look_up(whole.with(Extent::Exact), &question, found);
        }
        let mut depths = reach.below;
        while let Some(prefix) = above.get(depths.trailing_zeros() as usize) {
            self.look_up(prefix.with(Extent::Below), &question, found);
            depths &= depths - 1;
        }
    }

    #[inline]
    fn look_up(&self, object: Fingerprint, question: &Question<'_>, found: &mut Found) {
        let begin = object.place(self.factor, self.begins);
        for slot in self.slots.get(begin..).unwrap_or_default() {
            if slot.object == object {
                if let Some(range) = slot.shared() {
                    self.shared.collect(range, question.subjects, question.verb, found);
                } else if slot.verbs.include(question.asked)
                    && includes(question.subjects, slot.subject)
                {
                    found.add(slot.found);
                }
                return;
            }
            if !slot.object.is_present() {
                return;
            }
        }
    }
}

impl Slot {
    /// Where its shared grants are.
    #[inline]
    fn shared(&self) -> Option<(u32, u32)> {
        let is_shared = self.object.is_present() && self.verbs == Verbs::NONE;
        is_shared.then_some((self.found.deny, self.found.allow))
    }
}

impl Reach {
    /// An object of this depth with this extent.
    pub(super) fn literal(depth: usize, extent: Extent) -> Self {
        let bit = |at: usize| u32::try_from(at).ok().and_then(|at| 1_u32.checked_shl(at));
        let mut reach = Self::default();
        match extent {
            Extent::Exact => reach.exact = depth.checked_sub(1).and_then(bit).unwrap_or(0),
            Extent::Below => reach.below = bit(depth).unwrap_or(0),
        }
        reach
    }

    pub(super) const WILD: Self = Self { exact: 0, below: 0, wild: true };

    #[inline]
    pub(super) fn add(&mut self, other: Self) {
        self.exact |= other.exact;
        self.below |= other.below;
        self.wild |= other.wild;
    }

    /// Whether there is anything but wildcards.
    #[inline]
    pub(super) fn has_literals(self) -> bool {
        self.exact | self.below != 0
    }

    /// Whether there is an object of so many segments.
    #[inline]
    fn has_exact(self, segments: usize) -> bool {
        (u64::from(self.exact) << 1) >> segments & 1 != 0
    }

    /// Most places where one request may have to look.
    pub(super) fn places(self) -> u64 {
        u64::from(self.below.count_ones()) + u64::from(self.exact != 0)
    }
}

/// Keeps the hashes to itself: one of a known object tells the secret points.
impl fmt::Debug for Literals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Literals").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}
