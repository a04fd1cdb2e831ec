//! Who a principal is: an Ed25519 key pair, its public half, and the fingerprint people compare.

mod proven;
mod signer;

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};
use ed25519_dalek::{Signature, SigningKey, Verifier as _, VerifyingKey};
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

pub use proven::ProvenKeys;
pub(crate) use proven::dialled;
use signer::Signer;

/// A principal's secret: an Ed25519 key pair made from a 32-byte seed (RFC 8032, 5.1.5).
///
/// Erased when dropped. `Debug` shows the fingerprint of the public half only.
#[derive(Clone)]
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    public: PublicKey,
    signer: Signer,
}

impl Identity {
    /// Makes a new identity from 32 bytes of `rng`.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(&seed)
    }

    /// The identity that belongs to a seed. The caller erases its own copy of the seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let public = PublicKey { bytes: SigningKey::from_bytes(seed).verifying_key().to_bytes() };
        Self { seed: Zeroizing::new(*seed), public, signer: Signer::new(seed) }
    }

    /// The half that others know this principal by.
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    /// Signs `message` (Ed25519, RFC 8032).
    ///
    /// A caller that signs bytes somebody else chose must put its own context in front, as the
    /// handshake does with its 64 spaces and role label (as TLS 1.3, RFC 8446, 4.4.3).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signer.sign(message)
    }

    pub(crate) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public_key().fingerprint())
    }
}

/// The public half of an [`Identity`], known to be a point of prime order in its one encoding.
///
/// Text form: `ed25519:` and 64 hexadecimal digits, written in lower case and read in either.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey {
    bytes: [u8; 32],
}

impl PublicKey {
    /// Loads a key from its 32 bytes.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotOnCurve`], [`KeyError::NotCanonical`], [`KeyError::Weak`] or
    /// [`KeyError::Torsion`] if the bytes are not a key that an honest generator can produce.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        load(bytes).map(|(key, _)| key)
    }

    /// The 32 bytes of the compressed point.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// What people compare over the telephone: `SHA256:` and unpadded base64.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.bytes)
    }

    /// Checks a signature strictly: canonical `R` and `s`, no point of small order.
    ///
    /// # Errors
    ///
    /// [`KeyError::BadSignature`] if this key did not sign `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), KeyError> {
        let point = VerifyingKey::from_bytes(&self.bytes).map_err(|_| KeyError::NotOnCurve)?;
        verify_with(&point, message, signature)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = text.strip_prefix(PREFIX).ok_or(KeyError::Text)?;
        Self::from_bytes(&decode_hex(digits).ok_or(KeyError::Text)?)
    }
}

/// SHA-256 over a public key's 32 bytes, as OpenSSH shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of 32 bytes that may or may not be a valid key.
    pub(crate) fn of(key: &[u8; 32]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", BASE64_STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a public key or a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not `ed25519:` and 64 hexadecimal digits.
    #[error("not a public key: write `ed25519:` and 64 hexadecimal digits")]
    Text,
    /// No point of the curve has this encoding.
    #[error("not a point of the curve: copy the key again from its owner")]
    NotOnCurve,
    /// The same point has another, shorter encoding, so one principal could have two names.
    #[error("not the canonical encoding of its point: copy the key again from its owner")]
    NotCanonical,
    /// A point of small order, for which anyone can make signatures.
    #[error("a weak key, under which anyone can sign: do not trust whoever sent it")]
    Weak,
    /// A point with a component of small order, on which verifiers disagree.
    #[error("a key outside the prime-order group: do not trust whoever sent it")]
    Torsion,
    /// The signature does not hold.
    #[error("the signature is not this key's over this message")]
    BadSignature,
}

const PREFIX: &str = "ed25519:";

/// Loads a key and keeps the point, so that a signature can be checked without decoding it again.
pub(crate) fn load(bytes: &[u8; 32]) -> Result<(PublicKey, VerifyingKey), KeyError> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotOnCurve)?;
    let point = key.to_edwards();
    // Decoding takes y modulo p and a sign for x = 0; encoding again shows whether it had to.
    if point.compress().to_bytes() != *bytes {
        return Err(KeyError::NotCanonical);
    }
    if point.is_small_order() {
        return Err(KeyError::Weak);
    }
    if !point.is_torsion_free() {
        return Err(KeyError::Torsion);
    }
    Ok((PublicKey { bytes: *bytes }, key))
}

/// The neutral element's one encoding.
const IDENTITY: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
};

/// The one place that verifies, so that nothing verifies less than strictly. The key is one that
/// [`load`] has passed.
pub(crate) fn verify_with(
    key: &VerifyingKey,
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), KeyError> {
    // The equation is checked without the cofactor and R by its bytes. With a key of prime order the point
    // computed for R is in that group too: the identity is all of small order that it can be.
    if signature.starts_with(&IDENTITY) {
        return Err(KeyError::BadSignature);
    }
    key.verify(message, &Signature::from_bytes(signature)).map_err(|_| KeyError::BadSignature)
}

/// Decodes exactly `2 * N` hexadecimal digits.
pub(crate) fn decode_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
