//! Authenticated encryption behind a small trait, so that its implementation can be exchanged.
//!
//! With the feature `ring`, which `bailiwick` has by default, `Ring` seals and opens records; without
//! it, [`RustCrypto`] does.
//! Both are ChaCha20-Poly1305 (RFC 8439) with a 12-byte nonce; [`XChaCha`] has 24 bytes and is for
//! key files only.

use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _, XChaCha20Poly1305};
use thiserror::Error;

/// Bytes of a Poly1305 tag.
pub const TAG: usize = 16;

/// The implementation that records use in this build.
#[cfg(not(feature = "ring"))]
pub type Selected = RustCrypto;
/// The implementation that records use in this build.
#[cfg(feature = "ring")]
pub type Selected = Ring;

/// A key made ready to seal and open in place with nonces of `NONCE` bytes.
///
/// The caller never seals twice with one nonce.
pub trait Aead<const NONCE: usize>: Sized {
    /// Prepares a key.
    fn new(key: &[u8; 32]) -> Self;

    /// Encrypts `buffer` in place and returns the tag over it and `aad`.
    ///
    /// # Errors
    ///
    /// [`AeadError`] if `buffer` is longer than the cipher permits (RFC 8439, 2.8: 256 GiB).
    fn seal(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG], AeadError>;

    /// Checks the tag in constant time, then decrypts `buffer` in place.
    ///
    /// # Errors
    ///
    /// [`AeadError`] if the tag does not hold; `buffer` then has no meaning.
    fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), AeadError>;
}

/// Sealing or opening failed. It says no more, so that an attacker learns no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the authenticated encryption does not hold")]
pub struct AeadError;

/// ChaCha20-Poly1305 of the RustCrypto project. The key is erased when dropped.
#[derive(Clone)]
pub struct RustCrypto(ChaCha20Poly1305);

impl Aead<12> for RustCrypto {
    fn new(key: &[u8; 32]) -> Self {
        Self(ChaCha20Poly1305::new(key.into()))
    }

    #[inline]
    fn seal(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG], AeadError> {
        let tag = self.0.encrypt_inout_detached(nonce.into(), aad, buffer.into());
        tag.map(Into::into).map_err(|_| AeadError)
    }

    #[inline]
    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), AeadError> {
        let opened = self.0.decrypt_inout_detached(nonce.into(), aad, buffer.into(), tag.into());
        opened.map_err(|_| AeadError)
    }
}

/// XChaCha20-Poly1305, whose long nonce may be drawn at random. The key is erased when dropped.
#[derive(Clone)]
pub struct XChaCha(XChaCha20Poly1305);

impl Aead<24> for XChaCha {
    fn new(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(key.into()))
    }

    fn seal(
        &self,
        nonce: &[u8; 24],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG], AeadError> {
        let tag = self.0.encrypt_inout_detached(nonce.into(), aad, buffer.into());
        tag.map(Into::into).map_err(|_| AeadError)
    }

    fn open(
        &self,
        nonce: &[u8; 24],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), AeadError> {
        let opened = self.0.decrypt_inout_detached(nonce.into(), aad, buffer.into(), tag.into());
        opened.map_err(|_| AeadError)
    }
}

/// ChaCha20-Poly1305 of ring, in assembly. The key is erased when dropped, where it is kept: it does not
/// move from there. Copies on the stack while it is made are not erased.
#[cfg(feature = "ring")]
pub struct Ring(Box<ring::aead::LessSafeKey>);

#[cfg(feature = "ring")]
impl Ring {
    fn ready(cipher: &'static ring::aead::Algorithm, key: &[u8; 32]) -> ring::aead::LessSafeKey {
        let key = ring::aead::UnboundKey::new(cipher, key);
        ring::aead::LessSafeKey::new(key.expect("the key has the cipher's 32 bytes"))
    }
}

/// Ring leaves a dropped key where it lay, so one that is no secret is written over it: that of the
/// cipher whose keys are largest, so that nothing of the room for a key keeps what it held.
#[cfg(feature = "ring")]
impl Drop for Ring {
    fn drop(&mut self) {
        *self.0 = Self::ready(&ring::aead::AES_256_GCM, &[0; 32]);
        zeroize::optimization_barrier(&*self.0);
    }
}

#[cfg(feature = "ring")]
impl Aead<12> for Ring {
    fn new(key: &[u8; 32]) -> Self {
        Self(Box::new(Self::ready(&ring::aead::CHACHA20_POLY1305, key)))
    }

    #[inline]
    fn seal(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG], AeadError> {
        use ring::aead::{Aad, Nonce};
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), buffer);
        tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).ok_or(AeadError)
    }

    #[inline]
    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), AeadError> {
        use ring::aead::{Aad, Nonce, Tag};
        let (nonce, tag) = (Nonce::assume_unique_for_key(*nonce), Tag::from(*tag));
        let opened = self.0.open_in_place_separate_tag(nonce, Aad::from(aad), tag, buffer, 0..);
        opened.map(|_| ()).map_err(|_| AeadError)
    }
}

#[cfg(all(test, feature = "ring", target_os = "linux"))]
mod tests {
    use std::{fs::File, io, os::unix::fs::FileExt};

    use super::*;

    /// What lies at an address of this process, whoever owns it.
    fn memory_at(address: usize, bytes: usize) -> io::Result<Vec<u8>> {
        let mut memory = vec![0; bytes];
        File::open("/proc/self/mem")?.read_exact_at(&mut memory, address as u64)?;
        Ok(memory)
    }

    #[test]
    fn a_key_of_ring_is_not_in_memory_once_it_is_dropped() {
        let secret: [u8; 32] = *b"thirty-two bytes that are secret";
        let size = size_of::<ring::aead::LessSafeKey>();
        let key = Ring::new(&secret);
        let address = &raw const *key.0 as usize;
        // The allocator writes into what is freed, so any half of the key counts as the key.
        let found = |memory: &[u8]| {
            memory.windows(16).any(|part| part == &secret[..16] || part == &secret[16..])
        };
        assert!(found(&memory_at(address, size).unwrap()), "the test looks in the wrong place");
        drop(key);
        assert!(!found(&memory_at(address, size).unwrap()));
    }
}
