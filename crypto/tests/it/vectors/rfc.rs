//! RFC 7748, 8032, 8439, 5869, 4231 and FIPS 180-4.

use bailiwick_crypto::aead::{Aead as _, RustCrypto, Selected};
use bailiwick_crypto::handshake::share::Ephemeral;
use bailiwick_crypto::{Identity, PublicKey};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Hex, load, ran};
use crate::support::FixedRng;

const FILE: &str = "rfc_vectors.json";

#[derive(Deserialize)]
struct Vectors {
    #[serde(default)]
    x25519: Vec<Agreement>,
    x25519_iterated: Option<Iterated>,
    #[serde(default)]
    ed25519: Vec<Signed>,
    #[serde(default)]
    chacha20poly1305: Vec<Sealed>,
    #[serde(default)]
    hkdf_sha256: Vec<Derived>,
    #[serde(default)]
    sha256: Vec<Hashed>,
    #[serde(default)]
    hmac_sha256: Vec<Authenticated>,
}

#[derive(Deserialize)]
struct Agreement {
    k: Hex,
    u: Hex,
    out: Hex,
}

#[derive(Deserialize)]
struct Iterated {
    start_k_and_u: Hex,
    after_1: Hex,
    after_1000: Hex,
}

#[derive(Deserialize)]
struct Signed {
    sk: Hex,
    pk: Hex,
    msg: Hex,
    sig: Hex,
}

#[derive(Deserialize)]
struct Sealed {
    key: Hex,
    nonce: Hex,
    aad: Hex,
    pt: Hex,
    ct_tag: Hex,
}

#[derive(Deserialize)]
struct Derived {
    ikm: Hex,
    salt: Hex,
    info: Hex,
    len: usize,
    okm: Hex,
}

#[derive(Deserialize)]
struct Hashed {
    msg: Hex,
    out: Hex,
}

#[derive(Deserialize)]
struct Authenticated {
    key: Hex,
    msg: Hex,
    out: Hex,
}

#[test]
fn x25519_agrees_with_rfc_7748() {
    let vectors: Vectors = load(FILE);
    for vector in &vectors.x25519 {
        assert_eq!(agree(vector.k.array().unwrap(), vector.u.array().unwrap()), *vector.out);
    }
    ran(FILE, vectors.x25519.len());

    let iterated = vectors.x25519_iterated.expect("section 5.2's iteration is in the file");
    let (mut k, mut u) =
        (iterated.start_k_and_u.array().unwrap(), iterated.start_k_and_u.array().unwrap());
    for round in 1..=1_000 {
        (k, u) = (agree(k, u), k);
        if round == 1 {
            assert_eq!(k, *iterated.after_1);
        }
    }
    assert_eq!(k, *iterated.after_1000);
}

#[test]
fn ed25519_agrees_with_rfc_8032() {
    let vectors: Vectors = load(FILE);
    for vector in &vectors.ed25519 {
        let identity = Identity::from_seed(&vector.sk.array().unwrap());
        assert_eq!(identity.public_key().as_bytes()[..], *vector.pk);
        assert_eq!(identity.sign(&vector.msg)[..], *vector.sig);
        let key = PublicKey::from_bytes(&vector.pk.array().unwrap()).unwrap();
        assert_eq!(key.verify(&vector.msg, &vector.sig.array().unwrap()), Ok(()));
    }
    ran(FILE, vectors.ed25519.len());
}

#[test]
fn chacha20_poly1305_agrees_with_rfc_8439() {
    let vectors: Vectors = load(FILE);
    for vector in &vectors.chacha20poly1305 {
        let (key, nonce) = (vector.key.array().unwrap(), vector.nonce.array().unwrap());
        let mut sealed = vector.pt.0.clone();
        let tag = RustCrypto::new(&key).seal(&nonce, &vector.aad, &mut sealed).unwrap();
        assert_eq!([&sealed[..], &tag].concat(), *vector.ct_tag);
        Selected::new(&key).open(&nonce, &vector.aad, &mut sealed, &tag).unwrap();
        assert_eq!(sealed, *vector.pt);
    }
    ran(FILE, vectors.chacha20poly1305.len());
}

#[test]
fn hkdf_agrees_with_rfc_5869() {
    let vectors: Vectors = load(FILE);
    for vector in &vectors.hkdf_sha256 {
        let mut okm = vec![0; vector.len];
        let hkdf = Hkdf::<Sha256>::new(Some(&vector.salt), &vector.ikm);
        hkdf.expand(&vector.info, &mut okm).unwrap();
        assert_eq!(okm, *vector.okm);
    }
    ran(FILE, vectors.hkdf_sha256.len());
}

#[test]
fn sha256_and_hmac_agree_with_fips_180_4_and_rfc_4231() {
    let vectors: Vectors = load(FILE);
    for vector in &vectors.sha256 {
        assert_eq!(Sha256::digest(&*vector.msg)[..], *vector.out);
    }
    for vector in &vectors.hmac_sha256 {
        let mac = Hmac::<Sha256>::new_from_slice(&vector.key).unwrap().chain_update(&*vector.msg);
        assert_eq!(mac.finalize().into_bytes()[..], *vector.out);
    }
    ran(FILE, vectors.sha256.len());
    ran(FILE, vectors.hmac_sha256.len());
}

fn agree(k: [u8; 32], u: [u8; 32]) -> [u8; 32] {
    *Ephemeral::draw(&mut FixedRng::new(&k)).agree(&u).unwrap()
}
