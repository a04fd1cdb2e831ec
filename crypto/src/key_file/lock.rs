//! The passphrase on a key: Argon2id (RFC 9106) makes a key, XChaCha20-Poly1305 seals the seed.

use std::fmt;
use std::ops::RangeInclusive;

use argon2::{Algorithm, Argon2, Version};
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::format::Fault;
use crate::aead::{Aead as _, TAG, XChaCha};

/// What a person types to use a key. Erased when dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Passphrase(String);

impl Passphrase {
    /// Takes the passphrase as typed, without its line end.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// How dear it is to try a passphrase (Argon2id, RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB: 8 a lane, to 262,144. Default: 65,536 (64 MiB; RFC 9106, 4, second choice).
    pub memory: u32,
    /// Passes over the memory: 1 to 16. Default: 3.
    pub passes: u32,
    /// Lanes: 1 to 4. Default: 4.
    pub lanes: u32,
}

impl Default for Cost {
    fn default() -> Self {
        Self { memory: 65_536, passes: 3, lanes: 4 }
    }
}

impl Cost {
    /// Whether a file may ask for this much: a damaged one must not take all memory or all day.
    pub(super) fn is_bounded(self) -> bool {
        const MEMORY: RangeInclusive<u32> = 8..=262_144;
        MEMORY.contains(&self.memory)
            && (1..=16).contains(&self.passes)
            && (1..=4).contains(&self.lanes)
            && self.memory / 8 >= self.lanes
    }
}

/// What a new key file is to be locked with.
#[derive(Debug, Clone)]
pub struct Lock<'a> {
    /// What opens it again.
    pub passphrase: &'a Passphrase,
    /// How dear a try is.
    pub cost: Cost,
    pub(super) salt: [u8; 16],
    pub(super) nonce: [u8; 24],
}

impl<'a> Lock<'a> {
    /// A lock of the default cost. Draws 16 bytes of salt and 24 of nonce from `rng`.
    pub fn new(passphrase: &'a Passphrase, rng: &mut impl CryptoRng) -> Self {
        let mut lock = Self { passphrase, cost: Cost::default(), salt: [0; 16], nonce: [0; 24] };
        rng.fill_bytes(&mut lock.salt);
        rng.fill_bytes(&mut lock.nonce);
        lock
    }

    /// The same lock with another cost, within the bounds given at [`Cost`].
    #[must_use]
    pub fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    /// Seals a seed; `aad` is all that stands before the box.
    pub(super) fn seal(&self, seed: &[u8; 32], aad: &str) -> Result<[u8; 32 + TAG], Fault> {
        if self.passphrase.0.is_empty() {
            return Err(Fault::EmptyPassphrase);
        }
        let key = derive(self.passphrase, &self.salt, self.cost)?;
        let mut sealed = [0; 32 + TAG];
        let (plain, tag) = sealed.split_at_mut(32);
        plain.copy_from_slice(seed);
        let made = XChaCha::new(&key).seal(&self.nonce, aad.as_bytes(), plain);
        tag.copy_from_slice(&made.map_err(|_| Fault::Memory)?);
        Ok(sealed)
    }
}

/// A locked seed as read from a file.
pub(super) struct Locked<'t> {
    pub(super) cost: Cost,
    pub(super) salt: [u8; 16],
    pub(super) nonce: [u8; 24],
    pub(super) sealed: [u8; 32 + TAG],
    pub(super) aad: &'t str,
}

impl Locked<'_> {
    pub(super) fn open(&self, passphrase: &Passphrase) -> Result<Zeroizing<[u8; 32]>, Fault> {
        let key = derive(passphrase, &self.salt, self.cost)?;
        let mut seed = Zeroizing::new([0; 32]);
        let mut tag = [0; TAG];
        let (sealed, sealed_tag) = self.sealed.split_at(32);
        seed.copy_from_slice(sealed);
        tag.copy_from_slice(sealed_tag);
        XChaCha::new(&key)
            .open(&self.nonce, self.aad.as_bytes(), seed.as_mut_slice(), &tag)
            .map_err(|_| Fault::WrongPassphrase)?;
        Ok(seed)
    }
}

fn derive(
    passphrase: &Passphrase,
    salt: &[u8; 16],
    cost: Cost,
) -> Result<Zeroizing<[u8; 32]>, Fault> {
    if !cost.is_bounded() {
        return Err(Fault::Cost);
    }
    let params = argon2::Params::new(cost.memory, cost.passes, cost.lanes, Some(32))
        .map_err(|_| Fault::Cost)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.0.as_bytes(), salt, key.as_mut_slice())
        .map_err(|_| Fault::Memory)?;
    Ok(key)
}
