//! The key schedule: which hash covers what, and which key comes from which secret.
//!
//! `LP(x)` = u32(len) ‖ x. `XL` is HKDF-Expand with a length, a label and a context. Hash and HKDF
//! are SHA-256 throughout (RFC 5869, RFC 6234).

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

use crate::handshake::{Psk, Transport};
use crate::secret::Secret;

/// One of TH0 to TH7: a hash of all that was said so far.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transcript([u8; 32]);

impl Transcript {
    /// TH0: the protocol and what carries it, so that no message means the same elsewhere.
    pub(crate) fn start(transport: Transport) -> Self {
        let name: &[u8] = match transport {
            Transport::Tcp => b"tcp",
            Transport::Udp => b"udp",
        };
        let mut hash = Sha256::new();
        length_prefixed(&mut hash, b"bailiwick/1/sigma-i");
        length_prefixed(&mut hash, name);
        Self(hash.finalize().into())
    }

    /// The next hash, over the last and two or three parts with their lengths (TH1, TH2, TH5).
    pub(crate) fn absorb(self, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new_with_prefix(self.0);
        for part in parts {
            length_prefixed(&mut hash, part);
        }
        Self(hash.finalize().into())
    }

    /// The next hash, over the last and a part of fixed length (TH3, TH4, TH6, TH7).
    pub(crate) fn append(self, part: &[u8]) -> Self {
        Self(Sha256::new_with_prefix(self.0).chain_update(part).finalize().into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What is signed: 64 spaces, the role's label, a zero byte and the transcript (RFC 8446, 4.4.3).
pub(crate) fn to_be_signed(label: &[u8; 31], transcript: &Transcript) -> [u8; 128] {
    let mut message = [0x20; 128];
    message[64..95].copy_from_slice(label);
    message[95] = 0;
    message[96..].copy_from_slice(&transcript.0);
    message
}

pub(crate) const RESPONDER_SIGNATURE: &[u8; 31] = b"bailiwick/1 responder signature";
pub(crate) const INITIATOR_SIGNATURE: &[u8; 31] = b"bailiwick/1 initiator signature";

/// The first 16 bytes of HMAC(H(label ‖ pk_R), message): who sends it knows whom it calls.
pub(crate) fn mac1(server: &[u8; 32], message: &[u8]) -> [u8; 16] {
    let key = Sha256::new_with_prefix(b"bailiwick/1 mac1").chain_update(server).finalize();
    let mac = hmac(&key.into(), message);
    *mac.first_chunk().expect("SHA-256 gives 32 bytes")
}

/// mac1' of a RETRY: HMAC(H(label ‖ pk_R), RETRY's bytes before it ‖ H(INIT))[0..16]; `init` is
/// H(INIT).
pub(crate) fn retry_mac1(server: &[u8; 32], retry: &[u8], init: &[u8; 32]) -> [u8; 16] {
    let key = Sha256::new_with_prefix(b"bailiwick/1 retry").chain_update(server).finalize();
    let mac = hmac_parts(&key.into(), &[retry, init]);
    *mac.first_chunk().expect("SHA-256 gives 32 bytes")
}

/// The MAC in a RETRY token over the parts of what it vouches for.
pub(crate) fn token_mac(key: &Secret, parts: &[&[u8]]) -> [u8; 16] {
    let mac = hmac_parts(key.as_bytes(), parts);
    *mac.first_chunk().expect("SHA-256 gives 32 bytes")
}

/// H(x).
pub(crate) fn hash(x: &[u8]) -> [u8; 32] {
    Sha256::digest(x).into()
}

/// A Finished MAC over a transcript.
pub(crate) fn finished(key: &Secret, transcript: &Transcript) -> [u8; 32] {
    hmac(key.as_bytes(), &transcript.0)
}

/// PRK, ready to be expanded into the handshake's keys and the master secret.
pub(crate) struct HandshakeSecret(Hkdf<Sha256>);

impl HandshakeSecret {
    /// HKDF-Extract over the shared secret, salted by the psk or 32 zero bytes.
    pub(crate) fn extract(psk: Option<&Psk>, shared: &[u8; 32]) -> Self {
        let salt = psk.map_or(&[0; 32], Psk::as_bytes);
        let (mut prk, hkdf) = Hkdf::extract(Some(salt), shared);
        prk.as_mut_slice().zeroize();
        Self(hkdf)
    }

    /// hk_r, hk_i, fk_r or fk_i.
    pub(crate) fn handshake_key(&self, label: &str, th1: &Transcript) -> Secret {
        let mut key = Secret::zero();
        expand_label(&self.0, label, &th1.0, key.as_mut_bytes());
        key
    }

    /// ts_i[0], ts_r[0] and es; the master secret they come from is erased on return.
    pub(crate) fn traffic(&self, th7: &Transcript) -> TrafficSecrets {
        let mut master = Secret::zero();
        expand_label(&self.0, "master", &th7.0, master.as_mut_bytes());
        TrafficSecrets {
            initiator: derive(&master, "traffic i"),
            responder: derive(&master, "traffic r"),
            exporter: derive(&master, "exporter"),
        }
    }
}

/// The first traffic secrets of both directions, and the exporter's.
pub(crate) struct TrafficSecrets {
    pub(crate) initiator: Secret,
    pub(crate) responder: Secret,
    pub(crate) exporter: Secret,
}

/// The secret of the next epoch of one direction.
pub(crate) fn next_traffic_secret(secret: &Secret) -> Secret {
    derive(secret, "update")
}

/// The key and the nonce base of an epoch.
pub(crate) fn record_keys(secret: &Secret) -> (Secret, [u8; 12]) {
    let hkdf = prepare(secret);
    let (mut key, mut iv) = (Secret::zero(), [0; 12]);
    expand_label(&hkdf, "key", b"", key.as_mut_bytes());
    expand_label(&hkdf, "iv", b"", &mut iv);
    (key, iv)
}

/// The nonce of a record or packet: iv XOR (0^4 ‖ be64(number)).
pub(crate) fn nonce(iv: &[u8; 12], number: u64) -> [u8; 12] {
    let mut nonce = *iv;
    for (byte, number) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
        *byte ^= number;
    }
    nonce
}

/// exporter(label); `label` has at most 255 bytes.
pub(crate) fn export(secret: &Secret, label: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    expand_label(&prepare(secret), "export", label, &mut out);
    out
}

fn derive(secret: &Secret, label: &str) -> Secret {
    let mut out = Secret::zero();
    expand_label(&prepare(secret), label, b"", out.as_mut_bytes());
    out
}

fn prepare(secret: &Secret) -> Hkdf<Sha256> {
    Hkdf::from_prk(secret.as_bytes()).expect("a secret is as long as SHA-256's output")
}

/// XL(k, l, ctx, n) into `out`, whose length is n.
fn expand_label(hkdf: &Hkdf<Sha256>, label: &str, context: &[u8], out: &mut [u8]) {
    const PREFIX: &[u8] = b"bailiwick/1 ";
    const SHORT: &str = "labels and contexts are constants, hashes or checked to 255 bytes";
    let length = u16::try_from(out.len()).expect(SHORT).to_be_bytes();
    let label_len = [u8::try_from(PREFIX.len() + label.len()).expect(SHORT)];
    let context_len = [u8::try_from(context.len()).expect(SHORT)];
    let info = [&length[..], &label_len, PREFIX, label.as_bytes(), &context_len, context];
    hkdf.expand_multi_info(&info, out).expect("32 bytes are far below HKDF's 255 blocks");
}

fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    hmac_parts(key, &[message])
}

fn hmac_parts(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn length_prefixed(hash: &mut Sha256, part: &[u8]) {
    let len = u32::try_from(part.len()).expect("no part is longer than a message's 4,096 bytes");
    hash.update(len.to_be_bytes());
    hash.update(part);
}
