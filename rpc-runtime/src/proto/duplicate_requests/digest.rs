//! What a request's method and arguments are known by, so that a call's number is not used for another call.

use std::hash::{BuildHasher, RandomState};

#[cfg(feature = "aws-lc")]
use bailiwick_crypto::gmac::Gmac;
use serde::{Deserialize, Serialize};

use crate::id::MethodId;

/// 128 bits that a request's method and arguments are known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest([u8; 16]);

impl Digest {
    /// One that a log keeps, and that the next process compares: BLAKE3.
    pub(crate) fn of(method: MethodId, arguments: &[u8]) -> Self {
        // The method stands in the key, so that the arguments are hashed where they lie.
        let mut key = [0; 32];
        key[..8].copy_from_slice(&method.get().to_be_bytes());
        Self::under(&key, arguments)
    }

    fn under(key: &[u8; 32], arguments: &[u8]) -> Self {
        let hash = blake3::keyed_hash(key, arguments);
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *hash.as_bytes();
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

/// Makes digests that no other process compares, in a fraction of the time, under keys that no peer sees a value
/// of: NH for short arguments; for long ones GMAC, or BLAKE3 where there is no AWS-LC.
pub(crate) struct DigestKey {
    short: Nh,
    #[cfg(feature = "aws-lc")]
    long: Gmac,
    #[cfg(not(feature = "aws-lc"))]
    long: [u8; 32],
}

impl DigestKey {
    /// Keys from the randomness that std's hash maps have theirs from.
    pub(crate) fn draw() -> Self {
        let random = RandomState::new();
        let mut drawn = 0_u64;
        let mut word = || {
            drawn += 1;
            random.hash_one(drawn)
        };
        Self {
            short: Nh(std::array::from_fn(|_| [word(), word()])),
            #[cfg(feature = "aws-lc")]
            long: Gmac::new(&std::array::from_fn(|_| word().to_le_bytes()[0])),
            #[cfg(not(feature = "aws-lc"))]
            long: std::array::from_fn(|_| word().to_le_bytes()[0]),
        }
    }

    #[inline]
    pub(crate) fn digest(&self, method: MethodId, arguments: &[u8]) -> Digest {
        if arguments.len() > SHORT {
            return self.of_long(method, arguments);
        }
        Digest(self.short.hash(method.get(), arguments).to_le_bytes())
    }

    #[cfg(feature = "aws-lc")]
    fn of_long(&self, method: MethodId, arguments: &[u8]) -> Digest {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&method.get().to_be_bytes());
        Digest(self.long.hash(nonce, arguments))
    }

    #[cfg(not(feature = "aws-lc"))]
    fn of_long(&self, method: MethodId, arguments: &[u8]) -> Digest {
        let mut key = self.long;
        let method = method.get().to_be_bytes();
        key.iter_mut().zip(method).for_each(|(byte, of_method)| *byte ^= of_method);
        Digest::under(&key, arguments)
    }
}

/// The longest arguments that are short, in bytes.
const SHORT: usize = 1_024;

/// NH of UMAC (Black, Halevi, Krawczyk, Krovetz and Rogaway, "UMAC: Fast and Secure Message Authentication",
/// 1999, section 4), with words of 64 bits: the sum, modulo 2^128, of the products of two words each, to which
/// two words of the key were added.
///
/// Two texts agree with a probability of at most 2^-64, whatever they are, for whoever does not know the key: so the
/// 128 bits are as good as 64 of a hash that may be seen. Each that is tried in vain is a false retry, and on record. The proof is of texts of one length: here the length is a
/// word of the text, beside the method. Where these differ the rest is a constant to whoever picks their two
/// words of the key, and the proof bounds the probability of any difference, not only of 0.
struct Nh([[u64; 2]; SHORT / 16 + 1]);

impl Nh {
    #[inline]
    fn hash(&self, method: u64, text: &[u8]) -> u128 {
        let [first, key @ ..] = &self.0;
        let mut sum = product([method, text.len() as u64], *first);
        let (pairs, rest) = text.as_chunks();
        for (pair, key) in pairs.iter().zip(key) {
            sum = sum.wrapping_add(product(words(pair), *key));
        }
        if let (false, Some(key)) = (rest.is_empty(), key.get(pairs.len())) {
            let mut last = [0; 16];
            last[..rest.len()].copy_from_slice(rest);
            sum = sum.wrapping_add(product(words(&last), *key));
        }
        sum
    }
}

#[inline]
fn product(words: [u64; 2], key: [u64; 2]) -> u128 {
    let [a, b] = [words[0].wrapping_add(key[0]), words[1].wrapping_add(key[1])];
    u128::from(a) * u128::from(b)
}

#[inline]
fn words(pair: &[u8; 16]) -> [u64; 2] {
    let [first, second] = [0, 8].map(|at| std::array::from_fn(|index| pair[at + index]));
    [u64::from_le_bytes(first), u64::from_le_bytes(second)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in numbers that fit on paper.
    #[test]
    fn the_hash_is_the_sum_of_products_of_pairs() {
        let mut key = [[0; 2]; SHORT / 16 + 1];
        key[0] = [3, 5];
        key[1] = [7, u64::MAX];
        key[2] = [11, 13];
        let mut text = [0; 17];
        (text[0], text[8], text[16]) = (2, 3, 4);
        // The second key wraps around to 2.
        let sum = (10 + 3) * (17 + 5) + (2 + 7) * 2 + (4 + 11) * 13;
        assert_eq!(Nh(key).hash(10, &text), sum);
    }

    #[test]
    fn the_sum_wraps_around_at_128_bits() {
        let mut key = [[0; 2]; SHORT / 16 + 1];
        key[0] = [u64::MAX, u64::MAX - 16];
        key[1] = [u64::MAX; 2];
        let most = u128::from(u64::MAX) * u128::from(u64::MAX);
        assert_eq!(Nh(key).hash(0, &[0; 16]), most.wrapping_add(most));
    }

    #[test]
    fn the_longest_short_text_has_a_key_for_each_word() {
        let key = DigestKey::draw().short;
        let mut text = [0; SHORT];
        let before = key.hash(1, &text);
        for at in [0, SHORT - 17, SHORT - 16, SHORT - 9, SHORT - 1] {
            text[at] = 1;
            assert_ne!(key.hash(1, &text), before, "byte {at}");
            text[at] = 0;
        }
    }
}
