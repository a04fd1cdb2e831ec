//! The rows that spell their object out, with or without a `/**` at the end: for each subject a
//! table of its own, from the object's fingerprint to what the rows say.
//!
//! A look-up reads one line of memory, seldom two, and waits for no other: all that one decision
//! needs are known as soon as the object is hashed. A subject's table holds its own rows only, so
//! what it takes of the caches follows who calls and not who else is in the policy. A subject
//! without a row of some depth is not asked for that depth.

mod build;

use std::fmt;

use super::fingerprint::{Fingerprint, Prefix};
use super::record::{Asked, Verbs};
use super::{Found, VerbId, both};
use crate::policy::pattern::Extent;
use crate::policy::people::SubjectId;

pub(super) struct Literals {
    /// By subject.
    heads: Vec<Head>,
    /// The tables, one after the other. Wherever a look-up begins, an empty slot comes before
    /// the next table.
    slots: Vec<Slot>,
    /// For objects where verbs differ in what rows say of them, sorted by verb.
    several: Vec<(VerbId, Found)>,
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

/// A subject's table.
#[derive(Clone, Copy, Default)]
struct Head {
    /// Of the hash by which slots are found.
    factor: u64,
    start: u32,
    /// Where a look-up may begin, from `start`.
    slots: u32,
    reach: Reach,
}

/// What a subject's rows say of one object. Two to a line of the cache.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    object: Fingerprint,
    /// None if the object has [`several`](Literals::several), from `found.deny` to `found.allow`.
    verbs: Verbs,
    found: Found,
}

impl Literals {
    /// What these subjects together have rows about.
    #[inline]
    pub(super) fn reach(&self, subjects: &[SubjectId]) -> Reach {
        let mut reach = Reach::default();
        for subject in subjects {
            if let Some(head) = self.heads.get(*subject as usize) {
                reach.add(head.reach);
            }
        }
        reach
    }

    /// Adds what the subjects' rows say of an object. `prefixes` are those of its first segments:
    /// none, one, up to all of them.
    #[inline]
    pub(super) fn collect(
        &self,
        subjects: &[SubjectId],
        verb: VerbId,
        prefixes: &[Prefix],
        found: &mut Found,
    ) {
        let Some((whole, above)) = prefixes.split_last() else { return };
        let asked = Asked::of(verb);
        for subject in subjects {
            let Some(head) = self.heads.get(*subject as usize) else { continue };
            if head.reach.has_exact(above.len()) {
                self.look_up(head, whole.with(Extent::Exact), verb, asked, found);
            }
            let mut depths = head.reach.below;
            while let Some(prefix) = above.get(depths.trailing_zeros() as usize) {
                self.look_up(head, prefix.with(Extent::Below), verb, asked, found);
                depths &= depths - 1;
            }
        }
    }

    #[inline]
    fn look_up(
        &self,
        head: &Head,
        object: Fingerprint,
        verb: VerbId,
        asked: Asked,
        found: &mut Found,
    ) {
        let begin = head.start as usize + object.place(head.factor, head.slots);
        for slot in self.slots.get(begin..).unwrap_or_default() {
            if slot.object == object {
                if slot.verbs.include(asked) {
                    found.add(slot.found);
                } else if slot.verbs == Verbs::NONE {
                    self.look_up_several(slot, verb, found);
                }
                return;
            }
            if !slot.object.is_present() {
                return;
            }
        }
    }

    #[inline(never)] // so that `look_up` stays small
    fn look_up_several(&self, slot: &Slot, verb: VerbId, found: &mut Found) {
        let Found { deny: from, allow: to } = slot.found;
        let several = &self.several[from as usize..to as usize];
        for verb in both(verb) {
            if let Ok(at) = several.binary_search_by_key(&verb, |(verb, _)| *verb) {
                found.add(several[at].1);
            }
        }
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
