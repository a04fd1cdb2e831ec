//! The keyed hashes of the tables.
//!
//! What fits 64 bits, a short text or a pair of numbers, is multiplied by a random odd number, of
//! which the upper half is taken (Dietzfelbinger and others, 1997): for any two, a chance of about
//! one in the number of slots to begin at the same one. Longer texts go through a polynomial over
//! the field of 2^61 - 1, at a random point. Two different texts are two different polynomials, and those of n words agree at n points at
//! most; whoever does not know the point finds texts that collide with probability n / 2^61
//! (Carter and Wegman, 1979). That is proven for every pair of texts, which faster hashes without
//! a key schedule do not offer. It hides no key from someone who sees hashes, and nobody does:
//! the tables are built at load, never grow, and bound what any look-up costs.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

const PRIME: u64 = (1 << 61) - 1;

/// Bytes of text in a word: below the prime with a bit to spare, for the mark at the end.
pub(super) const WORD: usize = 7;

/// The secret point and the secret factor.
#[derive(Clone, Copy)]
pub(super) struct Key {
    point: u64,
    factor: u64,
}

/// A hash: where to begin in a table, and what to compare there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hashed {
    /// A share of all places, of which the upper bits count most.
    pub(super) place: u32,
    pub(super) tag: u64,
}

/// The bit of the tags that are no more than a hash. A text of up to [`WORD`] bytes is its own tag,
/// without this bit, so it is never taken for a longer one.
const VAGUE: u64 = 1 << 63;

impl Key {
    /// Another key at each call, from the operating system's randomness by way of the standard
    /// library.
    pub(super) fn random() -> Self {
        Self { point: secret_point(), factor: secret_factor() }
    }

    pub(super) fn text(self, text: &[u8]) -> Hashed {
        if is_short(text) { self.short_text(text) } else { self.long_text(text) }
    }

    /// The hash of a text that [`is_short`]; its tag is the text.
    #[inline]
    pub(super) fn short_text(self, text: &[u8]) -> Hashed {
        self.word(last_word(text))
    }

    /// The hash of any other; texts with the same tag may differ.
    pub(super) fn long_text(self, text: &[u8]) -> Hashed {
        let mut rest = text;
        // Begins at 1 so that a first word of zeros counts.
        let mut sum = 1;
        while let Some(word) = rest.first_chunk::<8>() {
            sum = self.step(sum, u64::from_le_bytes(*word) & (u64::MAX >> 8));
            rest = &rest[WORD..];
        }
        vague(self.step(sum, last_word(rest)))
    }

    /// The hash of two numbers, which are the tag.
    #[inline]
    pub(super) fn pair(self, one: u32, two: u32) -> Hashed {
        self.word(u64::from(one) << 32 | u64::from(two))
    }

    /// The hash of what is its own tag.
    #[inline]
    fn word(self, word: u64) -> Hashed {
        Hashed { place: (word.wrapping_mul(self.factor) >> 32) as u32, tag: word }
    }

    /// The hash of three numbers; others may have the same tag.
    pub(super) fn triple(self, numbers: [u32; 3]) -> Hashed {
        vague(numbers.into_iter().fold(1, |sum, number| self.step(sum, u64::from(number))))
    }

    #[inline]
    fn step(self, sum: u64, word: u64) -> u64 {
        step(self.point, sum, word)
    }
}

/// A point of the field; 0 and 1 would make every polynomial a constant or a sum.
pub(super) fn secret_point() -> u64 {
    RandomState::new().hash_one(0) % (PRIME - 2) + 2
}

/// A factor, which must be odd.
pub(super) fn secret_factor() -> u64 {
    RandomState::new().hash_one(1) | 1
}

/// `(sum + word) * point`, below 2^61 + 8, which is the remainder or little more. A word is below
/// 2^58.
#[inline]
pub(super) fn step(point: u64, sum: u64, word: u64) -> u64 {
    let product = u128::from(sum + word) * u128::from(point);
    // 2^61 is 1 in this field, so the upper bits are simply added; twice, for the carry.
    let low = product & u128::from(PRIME);
    let sum = u64::try_from(low + (product >> 61)).unwrap_or(0);
    (sum & PRIME) + (sum >> 61)
}

/// Whether a text fits a tag.
#[inline]
pub(super) const fn is_short(text: &[u8]) -> bool {
    text.len() <= WORD
}

/// The last 0 to 7 bytes, and a mark where they end.
#[inline]
pub(super) fn last_word(bytes: &[u8]) -> u64 {
    let mark = 1 << (8 * bytes.len());
    let word = match (bytes, bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (_, Some(first), Some(last)) => {
            let shift = 8 * (bytes.len() - 4);
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << shift
        }
        ([a, b, c], ..) => u64::from(u32::from_le_bytes([*a, *b, *c, 0])),
        ([a, b], ..) => u64::from(u16::from_le_bytes([*a, *b])),
        ([a], ..) => u64::from(*a),
        _ => 0,
    };
    word | mark
}

#[inline]
fn vague(sum: u64) -> Hashed {
    let (place, rest) = spread(sum);
    Hashed { place, tag: rest | VAGUE }
}

/// A place and further bits, spread one to one so that rows of numbers do not stay rows.
#[inline]
fn spread(sum: u64) -> (u32, u64) {
    let spread = (sum ^ (sum >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((spread >> 32) as u32, spread)
}

/// Keeps the point to itself.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_step_is_the_field_s_own_arithmetic() {
        let key = Key { point: PRIME - 1, factor: 1 };
        for (sum, word) in [(1, 0), (PRIME + 7, (1 << 58) - 1), (12_345, 1 << 56)] {
            let exact = u128::from(sum + word) * u128::from(key.point) % u128::from(PRIME);
            let got = key.step(sum, word);
            assert_eq!(u128::from(got % PRIME), exact);
            assert!(got < PRIME + 8);
        }
    }

    #[test]
    fn texts_that_differ_in_length_or_in_zeros_only_differ_in_hash() {
        let key = Key::random();
        let mut seen = HashSet::new();
        for length in 0..40 {
            let zeros = "\0".repeat(length);
            let mut texts = vec![zeros.clone()];
            texts.extend((0..length).map(|at| format!("{}a{}", &zeros[..at], &zeros[at + 1..])));
            for text in texts {
                let hash = key.text(text.as_bytes());
                assert_eq!(hash.tag & VAGUE != 0, length > WORD);
                assert!(seen.insert(hash), "{text:?}");
            }
        }
    }

    #[test]
    fn another_key_gives_another_hash() {
        assert_ne!(Key::random().text(b"exam.txt"), Key::random().text(b"exam.txt"));
        assert_eq!(format!("{:?}", Key::random()), "Key { .. }");
    }
}
