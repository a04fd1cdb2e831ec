//! Authenticated encryption behind a small trait, so that its implementation can be exchanged.
//!
//! With the feature `aws-lc`, which `bailiwick` has by default, `AwsLc` seals and opens records; without
//! it, [`RustCrypto`] does.
//! Both are ChaCha20-Poly1305 (RFC 8439) with a 12-byte nonce; [`XChaCha`] has 24 bytes and is for
//! key files only.

use chacha20poly1305::{AeadInOut as _, ChaCha20Poly1305, KeyInit as _, XChaCha20Poly1305};
use thiserror::Error;

/// Bytes of a Poly1305 tag.
pub const TAG: usize = 16;

/// The implementation that records use in this build.
#[cfg(not(feature = "aws-lc"))]
pub type Selected = RustCrypto;
/// The implementation that records use in this build.
#[cfg(feature = "aws-lc")]
pub type Selected = AwsLc;

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

/// ChaCha20-Poly1305 of AWS-LC, in assembly. The key is erased when dropped. Copies on the stack while it
/// is made are not.
#[cfg(feature = "aws-lc")]
pub struct AwsLc(aws_lc_rs::aead::LessSafeKey);

#[cfg(feature = "aws-lc")]
impl Aead<12> for AwsLc {
    fn new(key: &[u8; 32]) -> Self {
        use aws_lc_rs::aead::{CHACHA20_POLY1305, LessSafeKey, UnboundKey};
        let key = UnboundKey::new(&CHACHA20_POLY1305, key);
        Self(LessSafeKey::new(key.expect("the key has the cipher's 32 bytes")))
    }

    #[inline]
    fn seal(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG], AeadError> {
        use aws_lc_rs::aead::{Aad, Nonce};
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
        use aws_lc_rs::aead::{Aad, Nonce};
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place_separate_tag(nonce, Aad::from(aad), tag, buffer);
        opened.map(|_| ()).map_err(|_| AeadError)
    }
}

#[cfg(all(test, feature = "aws-lc", target_os = "linux"))]
mod tests {
    use std::{fs::File, io, os::unix::fs::FileExt};

    use super::*;

    /// AWS-LC keeps a key within so many bytes of where the value here points.
    const AROUND: usize = 640;

    /// What lies at an address of this process, whoever owns it.
    fn memory_at(address: usize, bytes: usize) -> io::Result<Vec<u8>> {
        let mut memory = vec![0; bytes];
        File::open("/proc/self/mem")?.read_exact_at(&mut memory, address as u64)?;
        Ok(memory)
    }

    #[test]
    fn a_key_of_aws_lc_is_not_in_memory_once_it_is_dropped() {
        let secret: [u8; 32] = *b"thirty-two bytes that are secret";
        let key = AwsLc::new(&secret);
        // The allocator writes into what is freed, so any half of the key counts as the key.
        let found = |address: &usize| {
            let memory = memory_at(*address, AROUND).unwrap_or_default();
            memory.windows(16).any(|part| part == &secret[..16] || part == &secret[16..])
        };
        let words = memory_at(&raw const key as usize, size_of::<AwsLc>()).unwrap();
        let mut words =
            words.chunks_exact(8).map(|word| usize::from_ne_bytes(word.try_into().unwrap()));
        let address = words.find(found).expect("the test looks in the wrong place");
        drop(key);
        assert!(!found(&address));
    }
}
