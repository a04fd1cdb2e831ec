//! What stands for an object in the tables of [`literals`](super::literals): its hashes at two
//! secret points.
//!
//! A segment is some words, the last of which says that it is the last; so an object, and what of it
//! lies before any `/`, is one sequence of words and no other's. Its words are a polynomial over
//! the field of 2^61 - 1, as for the longer texts of [`key`](super::key). Two that differ have 179
//! words at most, so they agree at both points with probability (179 / 2^61)^2 < 2^-107, whatever
//! they are, for whoever does not know the points. A request is looked up at 33 depths at the most: among
//! 2^20 rows, 2^60 requests meet a row that does not mean them with probability below 2^-21. Therefore
//! the fingerprint is all there is to compare, and the objects' texts are not kept.

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

#[cfg(test)]
impl Points {
    /// Points at which all objects have the same first hash, or the same second one, or neither.
    pub(super) fn half_blind(first: bool, second: bool) -> Self {
        let point = |blind| if blind { 0 } else { secret_point() };
        Self([point(first), point(second)])
    }

    pub(super) fn of(self, name: &str) -> Prefix {
        name.split('/').fold(Prefix::ROOT, |above, segment| self.below(above, segment.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects of the same bytes that are cut in all ways, and those that zeros could hide.
    fn alike() -> Vec<String> {
        // As `abc/defg`, if a mark were all that ends a segment.
        let mut names = vec!["abc\u{1}\0\0\0defg".to_owned()];
        for length in 1..26 {
            let text = &"abcdefghijklmnopqrstuvwxyz"[..length];
            names.push(text.to_owned());
            names.push("\0".repeat(length));
            names.push(format!("{}\u{1}", "\0".repeat(length)));
            names.extend((1..length).map(|at| format!("{}/{}", &text[..at], &text[at..])));
            names.extend((1..length).map(|at| format!("{}/{text}", &text[..at])));
        }
        names
    }

    #[test]
    fn each_hash_alone_tells_objects_apart_that_are_cut_in_another_way() {
        for (first, second) in [(true, false), (false, true)] {
            let points = Points::half_blind(first, second);
            let mut seen = Vec::new();
            for name in alike() {
                for extent in [Extent::Exact, Extent::Below] {
                    seen.push((points.of(&name).with(extent).0, name.clone(), extent));
                }
            }
            seen.sort();
            for pair in seen.windows(2) {
                assert_ne!(pair[0].0, pair[1].0, "{:?} {:?}", pair[0], pair[1]);
            }
        }
    }

    #[test]
    fn a_prefix_is_hashed_the_same_by_itself_and_on_the_way_to_what_is_below() {
        let points = Points::random();
        let above = points.of("tenant/lecture notes");
        assert!(points.below(above, b"d7") == points.of("tenant/lecture notes/d7"));
        assert!(Prefix::ROOT.with(Extent::Below) == Fingerprint::EVERYTHING);
        assert!(!Fingerprint::default().is_present() && Fingerprint::EVERYTHING.is_present());
    }

    #[test]
    fn points_differ_between_policies_and_are_not_shown() {
        let (one, other) = (Points::random(), Points::random());
        assert!(one.of("exam.txt") != other.of("exam.txt"));
        assert_ne!(one.0[0], one.0[1]);
        assert_eq!(format!("{one:?}"), "Points { .. }");
    }
}
