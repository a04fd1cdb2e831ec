//! Making signatures (Ed25519, RFC 8032): by AWS-LC with the feature `aws-lc`, in half of dalek's time.

#[cfg(feature = "aws-lc")]
pub(super) use aws_lc::Signer;
#[cfg(not(feature = "aws-lc"))]
pub(super) use dalek::Signer;

#[cfg(feature = "aws-lc")]
mod aws_lc {
    use std::sync::Arc;

    use aws_lc_rs::signature::Ed25519KeyPair;

    #[derive(Clone)]
    pub(in super::super) struct Signer(Arc<Ed25519KeyPair>);

    impl Signer {
        pub(in super::super) fn new(seed: &[u8; 32]) -> Self {
            let pair = Ed25519KeyPair::from_seed_unchecked(seed);
            Self(Arc::new(pair.expect("any 32 bytes are a seed")))
        }

        pub(in super::super) fn sign(&self, message: &[u8]) -> [u8; 64] {
            self.0.sign(message).as_ref().try_into().expect("a signature has 64 bytes")
        }
    }
}

#[cfg(not(feature = "aws-lc"))]
mod dalek {
    use ed25519_dalek::{Signer as _, SigningKey};

    #[derive(Clone)]
    pub(in super::super) struct Signer(SigningKey);

    impl Signer {
        pub(in super::super) fn new(seed: &[u8; 32]) -> Self {
            Self(SigningKey::from_bytes(seed))
        }

        pub(in super::super) fn sign(&self, message: &[u8]) -> [u8; 64] {
            self.0.sign(message).to_bytes()
        }
    }
}
