//! Project Wycheproof: known attacks on these primitives, as vectors.
//!
//! `valid` must be accepted and `invalid` refused. `acceptable` is decided by our own rule, stated
//! at each test. A size that our types do not have is a refusal.

use bailiwick_crypto::aead::{Aead, AeadError, RustCrypto, Selected, XChaCha};
use bailiwick_crypto::handshake::share::Ephemeral;
use bailiwick_crypto::{HandshakeError, PublicKey};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;

use super::{Hex, load, ran};
use crate::support::FixedRng;

#[derive(Deserialize)]
struct File<G> {
    #[serde(rename = "testGroups")]
    groups: Vec<G>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Valid,
    Invalid,
    Acceptable,
}

impl Verdict {
    fn agrees_with(self, accepted: bool) -> bool {
        match self {
            Self::Valid => accepted,
            Self::Invalid => !accepted,
            Self::Acceptable => true,
        }
    }
}

#[derive(Deserialize)]
struct AeadGroup {
    tests: Vec<AeadTest>,
}

#[derive(Deserialize)]
struct AeadTest {
    #[serde(rename = "tcId")]
    id: u32,
    key: Hex,
    iv: Hex,
    aad: Hex,
    msg: Hex,
    ct: Hex,
    tag: Hex,
    result: Verdict,
}

#[test]
fn chacha20_poly1305_resists_wycheproof() {
    const FILE: &str = "wycheproof_chacha20_poly1305_test.json";
    ran(FILE, aead::<12, RustCrypto>(FILE));
    ran(FILE, aead::<12, Selected>(FILE));
}

#[test]
fn xchacha20_poly1305_resists_wycheproof() {
    const FILE: &str = "wycheproof_xchacha20_poly1305_test.json";
    ran(FILE, aead::<24, XChaCha>(FILE));
}

fn aead<const NONCE: usize, A: Aead<NONCE>>(name: &str) -> usize {
    let file: File<AeadGroup> = load(name);
    let tests = file.groups.iter().flat_map(|group| &group.tests);
    tests
        .map(|test| {
            let opened = open::<NONCE, A>(test);
            assert!(test.result.agrees_with(opened.is_some()), "{name}: tcId {}", test.id);
            if let Some(opened) = opened {
                assert_eq!(opened, *test.msg, "{name}: tcId {}", test.id);
                let sealed = seal::<NONCE, A>(test).expect("what opens has our sizes").unwrap();
                assert_eq!(sealed, [&*test.ct, &*test.tag].concat(), "{name}: tcId {}", test.id);
            }
        })
        .count()
}

/// The plaintext, or `None` if a size is not ours or the tag does not hold.
fn open<const NONCE: usize, A: Aead<NONCE>>(test: &AeadTest) -> Option<Vec<u8>> {
    let (key, nonce, tag) = (test.key.array()?, test.iv.array()?, test.tag.array()?);
    let mut buffer = test.ct.0.clone();
    A::new(&key).open(&nonce, &test.aad, &mut buffer, &tag).ok().map(|()| buffer)
}

fn seal<const NONCE: usize, A: Aead<NONCE>>(test: &AeadTest) -> Option<Result<Vec<u8>, AeadError>> {
    let (key, nonce) = (test.key.array()?, test.iv.array()?);
    let mut buffer = test.msg.0.clone();
    let sealed = A::new(&key).seal(&nonce, &test.aad, &mut buffer);
    Some(sealed.map(|tag| [&buffer[..], &tag].concat()))
}

#[derive(Deserialize)]
struct SignatureGroup {
    #[serde(rename = "publicKey", alias = "key")]
    public: SignatureKey,
    tests: Vec<SignatureTest>,
}

#[derive(Deserialize)]
struct SignatureKey {
    pk: Hex,
}

#[derive(Deserialize)]
struct SignatureTest {
    #[serde(rename = "tcId")]
    id: u32,
    msg: Hex,
    sig: Hex,
    result: Verdict,
}

#[test]
fn ed25519_resists_wycheproof() {
    const FILE: &str = "wycheproof_ed25519_test.json";
    let file: File<SignatureGroup> = load(FILE);
    let mut count = 0;
    for group in &file.groups {
        let key = group.public.pk.array().and_then(|bytes| PublicKey::from_bytes(&bytes).ok());
        for test in &group.tests {
            let accepted = key
                .zip(test.sig.array())
                .is_some_and(|(key, signature)| key.verify(&test.msg, &signature).is_ok());
            assert!(test.result.agrees_with(accepted), "{FILE}: tcId {}", test.id);
            count += 1;
        }
    }
    ran(FILE, count);
}

#[derive(Deserialize)]
struct AgreementGroup {
    tests: Vec<AgreementTest>,
}

#[derive(Deserialize)]
struct AgreementTest {
    #[serde(rename = "tcId")]
    id: u32,
    public: Hex,
    private: Hex,
    shared: Hex,
    result: Verdict,
}

/// Our rule for `acceptable`: a share of low order, which makes the secret zero, is refused; all
/// other shares, non-canonical and on the twist, give what RFC 7748 gives.
#[test]
fn x25519_resists_wycheproof() {
    const FILE: &str = "wycheproof_x25519_test.json";
    let file: File<AgreementGroup> = load(FILE);
    let mut count = 0;
    for test in file.groups.iter().flat_map(|group| &group.tests) {
        let sized = test.private.array::<32>().zip(test.public.array());
        let agreed = sized.map(|(private, public)| {
            Ephemeral::draw(&mut FixedRng::new(&private)).agree(&public).map(|s| *s)
        });
        let low_order = test.shared.iter().all(|byte| *byte == 0);
        match agreed {
            Some(Ok(shared)) => {
                assert!(!low_order && test.result != Verdict::Invalid, "{FILE}: tcId {}", test.id);
                assert_eq!(shared, *test.shared, "{FILE}: tcId {}", test.id);
            }
            Some(Err(error)) => {
                assert_eq!(error, HandshakeError::LowOrderShare, "{FILE}: tcId {}", test.id);
                assert!(low_order && test.result != Verdict::Valid, "{FILE}: tcId {}", test.id);
            }
            None => assert_ne!(test.result, Verdict::Valid, "{FILE}: tcId {}", test.id),
        }
        count += 1;
    }
    ran(FILE, count);
}

#[derive(Deserialize)]
struct HkdfGroup {
    tests: Vec<HkdfTest>,
}

#[derive(Deserialize)]
struct HkdfTest {
    #[serde(rename = "tcId")]
    id: u32,
    ikm: Hex,
    salt: Hex,
    info: Hex,
    size: usize,
    okm: Hex,
    result: Verdict,
}

#[test]
fn hkdf_resists_wycheproof() {
    const FILE: &str = "wycheproof_hkdf_sha256_test.json";
    let file: File<HkdfGroup> = load(FILE);
    let mut count = 0;
    for test in file.groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let hkdf = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm);
        let made = hkdf.expand(&test.info, &mut okm).is_ok();
        let accepted = made && okm == *test.okm;
        assert!(test.result.agrees_with(accepted), "{FILE}: tcId {}", test.id);
        count += 1;
    }
    ran(FILE, count);
}

#[derive(Deserialize)]
struct MacGroup {
    #[serde(rename = "tagSize")]
    tag_bits: usize,
    tests: Vec<MacTest>,
}

#[derive(Deserialize)]
struct MacTest {
    #[serde(rename = "tcId")]
    id: u32,
    key: Hex,
    msg: Hex,
    tag: Hex,
    result: Verdict,
}

#[test]
fn hmac_resists_wycheproof() {
    const FILE: &str = "wycheproof_hmac_sha256_test.json";
    let file: File<MacGroup> = load(FILE);
    let mut count = 0;
    for group in &file.groups {
        for test in &group.tests {
            let mac = Hmac::<Sha256>::new_from_slice(&test.key).unwrap();
            let mac = mac.chain_update(&*test.msg);
            let whole = test.tag.len() * 8 == group.tag_bits;
            let accepted = whole && mac.verify_truncated_left(&test.tag).is_ok();
            assert!(test.result.agrees_with(accepted), "{FILE}: tcId {}", test.id);
            count += 1;
        }
    }
    ran(FILE, count);
}
