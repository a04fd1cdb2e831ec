//! What stands for an object in the tables of [`literals`](super::literals): its hashes at two
//! secret points.
//!
//! A segment is some words, the last of which says that it is the last; so an object, and what of it
//! lies before any `/`, is one sequence of words and no other's. Its words are a polynomial over
//! the field of 2^61 - 1, as for the longer texts of [`key`](super::key). Two that differ have 179
//! words at most, so they agree at both points with probability (179 / 2^61)^2 < 2^-107, whatever
//! they are, for whoever does not know the points. Among 2^20 rows, 2^60 requests meet a row that
//! does not mean them with probability 2^-27. Therefore the fingerprint is all there is to compare,
//! and the objects' texts are not kept.

use std::fmt;

use super::key::{WORD, last_word, secret_point, step};
use crate::policy::pattern::Extent;

/// The bit of words after which a segment goes on; the last word's mark is below it.
const MORE: u64 = 1 << 57;

/// The bit that each fingerprint has and an empty slot has not.
const PRESENT: u64 = 1 << 63;

/// The two secret points.
#[derive(Clone, Copy)]
pub(super) struct Points([u64; 2]);

/// The hashes of some segments, from which those of what lies below follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix([u64; 2]);

/// An object, or what lies below one; all zeros is neither.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fingerprint([u64; 2]);

impl Points {
    /// Others at each call.
    pub(super) fn random() -> Self {
        Self([secret_point(), secret_point()])
    }

    /// The prefix one segment longer.
    #[inline]
    pub(super) fn below(self, above: Prefix, segment: &[u8]) -> Prefix {
        let (mut sums, mut rest) = (above.0, segment);
        while let Some(word) = rest.first_chunk::<8>() {
            sums = self.step(sums, u64::from_le_bytes(*word) & (u64::MAX >> 8) | MORE);
            rest = &rest[WORD..];
        }
        Prefix(self.step(sums, last_word(rest)))
    }

    /// Two products that do not wait for each other.
    #[inline]
    fn step(self, sums: [u64; 2], word: u64) -> [u64; 2] {
        [step(self.0[0], sums[0], word), step(self.0[1], sums[1], word)]
    }
}

impl Prefix {
    /// No segments. Not 0, so that a first word of zeros would count.
    pub(super) const ROOT: Self = Self([1, 1]);

    /// The fingerprint of these segments with this extent.
    #[inline]
    pub(super) const fn with(self, extent: Extent) -> Fingerprint {
        let [one, two] = self.0;
        // Sums are below 2^62.
        Fingerprint([one << 1 | matches!(extent, Extent::Below) as u64, two | PRESENT])
    }
}

impl Fingerprint {
    /// The fingerprint of `**`.
    pub(super) const EVERYTHING: Self = Prefix::ROOT.with(Extent::Below);

    #[inline]
    pub(super) const fn is_present(self) -> bool {
        self.0[1] != 0
    }

    /// An order in which equal ones are neighbours, and by place in a table with this factor, which
    /// must be odd (Dietzfelbinger and others, 1997).
    #[inline]
    pub(super) const fn order(self, factor: u64) -> (u64, u64) {
        (self.0[0].wrapping_mul(factor), self.0[1])
    }

    /// Where to begin among `slots` (Lemire, 2016).
    #[inline]
    pub(super) const fn place(self, factor: u64, slots: u32) -> usize {
        (((self.order(factor).0 >> 32) * slots as u64) >> 32) as usize
    }
}

/// Keeps the points to itself.
impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Points").finish_non_exhaustive()
    }
}
