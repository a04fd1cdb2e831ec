//! What tests of this folder share: seeded randomness and a clock that stands still.

use std::time::Instant;

use rand::{SeedableRng as _, rngs::StdRng};

pub(crate) fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Where virtual time begins: only differences matter.
pub(crate) fn start() -> Instant {
    Instant::now()
}
