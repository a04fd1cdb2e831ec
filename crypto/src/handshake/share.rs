//! One side's X25519 share, for one handshake (RFC 7748).
//!
//! On datagrams a forged RESP must not use it up, so it agrees as often as it is asked, and is erased
//! with the state that holds it. With the feature `aws-lc` the arithmetic is AWS-LC's, which takes half
//! the time; without it, it is dalek's.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::HandshakeError;

#[cfg(feature = "aws-lc")]
use aws_lc::Secret;
#[cfg(not(feature = "aws-lc"))]
use dalek::Secret;

/// The secret shared with the peer; `None` if it would not depend on ours.
type Agreed = Option<Zeroizing<[u8; 32]>>;

/// An ephemeral secret and its public share. Erased when dropped.
pub struct Ephemeral {
    secret: Secret,
    public: [u8; 32],
    /// A share of the peer's, and what was agreed on with it ahead of need, if anything could be.
    ahead: Option<([u8; 32], Agreed)>,
}

impl Ephemeral {
    /// Draws 32 bytes from `rng`.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        let secret = Secret::new(&seed);
        let public = secret.public();
        Self { secret, public, ahead: None }
    }

    /// What the peer is sent.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The secret shared with the owner of `theirs`, taken as RFC 7748 takes it: the top bit
    /// ignored and the number reduced.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::LowOrderShare`] if the result would not depend on our secret.
    pub fn agree(&self, theirs: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, HandshakeError> {
        match &self.ahead {
            Some((share, shared)) if share == theirs => shared.clone(),
            _ => self.secret.agree(theirs),
        }
        .ok_or(HandshakeError::LowOrderShare)
    }

    /// Does the work of [`agree`](Self::agree) before it is asked for, once.
    pub fn agree_ahead(&mut self, theirs: &[u8; 32]) {
        if self.ahead.is_none() {
            self.ahead = Some((*theirs, self.secret.agree(theirs)));
        }
    }
}

/// The two u of order 8 on the curve; those of order 1, 2 and 4, and of its twist, are 0, 1 and -1.
const ORDER_8: [[u8; 32]; 2] = [
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
];

/// Whether nothing could be agreed on with this share, whatever the secret: known without one (RFC 7748,
/// section 6.1; the list is that of Bernstein's page on Curve25519).
pub(crate) fn is_low_order(share: &[u8; 32]) -> bool {
    let mut u = *share;
    u[31] &= 0x7f;
    let [first, middle @ .., last] = &u;
    let all = |byte| middle.iter().all(|it| *it == byte);
    let zero_or_one = all(0) && *last == 0 && *first <= 1;
    // p - 1, p and p + 1, that is -1, and 0 and 1 once more.
    let around_p = all(0xff) && *last == 0x7f && (0xec..=0xee).contains(first);
    zero_or_one || around_p || ORDER_8.contains(&u)
}

/// A share that was drawn ahead of the handshake that will use it, and only one will.
#[derive(Debug, Default)]
pub struct Spare(Mutex<Option<Ephemeral>>);

impl Spare {
    /// Draws one if there is none.
    pub(crate) fn prepare(&self, rng: &mut impl CryptoRng) {
        self.slot().get_or_insert_with(|| Ephemeral::draw(rng));
    }

    /// The one that is there, if any: it is gone from here.
    pub(crate) fn take(&self) -> Option<Ephemeral> {
        self.slot().take()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Ephemeral>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ephemeral(..)")
    }
}

#[cfg(feature = "aws-lc")]
mod aws_lc {
    use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
    use zeroize::Zeroizing;

    pub(super) struct Secret(PrivateKey);

    impl Secret {
        pub(super) fn new(bytes: &[u8; 32]) -> Self {
            let key = PrivateKey::from_private_key(&X25519, bytes);
            Self(key.expect("any 32 bytes are a secret"))
        }

        pub(super) fn public(&self) -> [u8; 32] {
            let public = self.0.compute_public_key().expect("a secret has its share");
            public.as_ref().try_into().expect("a share has 32 bytes")
        }

        /// `None` if the result is zero, which is looked at in constant time.
        pub(super) fn agree(&self, theirs: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
            let mut shared = Zeroizing::new([0; 32]);
            let theirs = UnparsedPublicKey::new(&X25519, theirs);
            agree(&self.0, theirs, (), |secret| {
                shared.copy_from_slice(secret);
                Ok(())
            })
            .ok()
            .map(|()| shared)
        }
    }
}

#[cfg(not(feature = "aws-lc"))]
mod dalek {
    use x25519_dalek::{PublicKey, StaticSecret};
    use zeroize::Zeroizing;

    pub(super) struct Secret(StaticSecret);

    impl Secret {
        pub(super) fn new(bytes: &[u8; 32]) -> Self {
            Self(StaticSecret::from(*bytes))
        }

        pub(super) fn public(&self) -> [u8; 32] {
            PublicKey::from(&self.0).to_bytes()
        }

        /// `None` if the result is zero, which is looked at in constant time.
        pub(super) fn agree(&self, theirs: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
            let shared = self.0.diffie_hellman(&PublicKey::from(*theirs));
            shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_agrees_on_nothing_is_tried_once() {
        let mut ephemeral =
            Ephemeral { secret: Secret::new(&[7; 32]), public: [0; 32], ahead: None };
        ephemeral.agree_ahead(&[0; 32]);
        assert!(matches!(ephemeral.ahead, Some((_, None))));
        assert_eq!(ephemeral.agree(&[0; 32]), Err(HandshakeError::LowOrderShare));
        assert!(ephemeral.agree(&[9; 32]).is_ok());
    }
}
