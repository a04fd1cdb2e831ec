//! Hashing with a key, for tables whose keys peers choose: nobody without the seed can make
//! their entries collide.

use std::hash::{BuildHasher, DefaultHasher, Hasher as _};

use rand_core::CryptoRng;

/// SipHash-1-3 over a random seed and what is hashed. Unlike the standard library's own keyed
/// state it draws nothing by itself.
#[derive(Clone)]
pub(crate) struct Seeded(DefaultHasher);

impl Seeded {
    /// Draws 16 bytes.
    pub(crate) fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut seed = [0; 16];
        rng.fill_bytes(&mut seed);
        let mut hasher = DefaultHasher::new();
        hasher.write(&seed);
        Self(hasher)
    }
}

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        self.0.clone()
    }
}

impl std::fmt::Debug for Seeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seeded(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::udp::testing::rng;

    #[test]
    fn hashes_follow_the_seed() {
        let (one, other) = (Seeded::draw(&mut rng(1)), Seeded::draw(&mut rng(2)));
        assert_eq!(one.hash_one(7), one.hash_one(7));
        assert_ne!(one.hash_one(7), other.hash_one(7));
    }
}
