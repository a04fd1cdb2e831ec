//! Edge cases of Ed25519 on which implementations disagree: C2SP/CCTV and ed25519-speccheck.
//!
//! Our rule, for keys from disk and from the wire alike: the key is the canonical encoding of a
//! point of prime order; R is canonical and not of small order; s < L; and the equation holds
//! without the cofactor. [`expected`] computes it with bare curve arithmetic, apart from the code
//! under test; for CCTV the flags must say the same.

use bailiwick_crypto::PublicKey;
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use serde::Deserialize;
use sha2::{Digest as _, Sha512};

use super::{Hex, load, ran};

#[derive(Deserialize)]
struct Cctv {
    vectors: Vec<CctvVector>,
}

#[derive(Deserialize)]
struct CctvVector {
    number: u32,
    key: Hex,
    sig: Hex,
    msg: String,
    flags: Option<Vec<String>>,
}

/// The flags that make a key or a signature one that we refuse.
///
/// `low_order_component_R` is not among them: beside a key of prime order such an R leaves a
/// `low_order_residue`, and beside any other key that key is refused.
const REFUSED: [&str; 7] = [
    "low_order_A",
    "low_order_component_A",
    "non_canonical_A",
    "low_order_R",
    "non_canonical_R",
    "low_order_residue",
    "reencoded_k",
];

#[test]
fn cctv_edge_cases_are_judged_by_our_rule() {
    const FILE: &str = "cctv_ed25519_edge.json";
    let file: Cctv = load(FILE);
    for vector in &file.vectors {
        let flags = vector.flags.as_deref().unwrap_or_default();
        let by_flags = !flags.iter().any(|flag| REFUSED.contains(&flag.as_str()));
        let message = vector.msg.as_bytes();
        let by_arithmetic = expected(&vector.key, message, &vector.sig);
        let accepted = ours(&vector.key, message, &vector.sig);
        assert_eq!(by_arithmetic, by_flags, "{FILE}: number {}, {flags:?}", vector.number);
        assert_eq!(accepted, by_flags, "{FILE}: number {}, {flags:?}", vector.number);
    }
    ran(FILE, file.vectors.len());
}

#[derive(Deserialize)]
struct Speccheck {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    message: Hex,
    pub_key: Hex,
    signature: Hex,
}

#[test]
fn speccheck_cases_are_judged_by_our_rule() {
    const FILE: &str = "speccheck_ed25519.json";
    let file: Speccheck = load(FILE);
    for (number, case) in file.cases.iter().enumerate() {
        let by_arithmetic = expected(&case.pub_key, &case.message, &case.signature);
        let accepted = ours(&case.pub_key, &case.message, &case.signature);
        assert_eq!(accepted, by_arithmetic, "{FILE}: case {number}");
    }
    ran(FILE, file.cases.len());
}

fn ours(key: &Hex, message: &[u8], signature: &Hex) -> bool {
    let (Some(key), Some(signature)) = (key.array(), signature.array()) else { return false };
    PublicKey::from_bytes(&key).is_ok_and(|key| key.verify(message, &signature).is_ok())
}

/// Whether our rule accepts, from curve arithmetic alone.
fn expected(key: &Hex, message: &[u8], signature: &Hex) -> bool {
    let (Some(key), Some(signature)) = (key.array::<32>(), signature.array::<64>()) else {
        return false;
    };
    let (r, s) = signature.split_at(32);
    let (r, s): ([u8; 32], [u8; 32]) = (r.try_into().unwrap(), s.try_into().unwrap());
    let (Some(a), Some(r_point)) = (canonical(key), canonical(r)) else { return false };
    let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else { return false };
    let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize();
    let k = Scalar::from_bytes_mod_order_wide(&hash.into());
    a.is_torsion_free()
        && !a.is_small_order()
        && !r_point.is_small_order()
        && ED25519_BASEPOINT_POINT * s == r_point + a * k
}

fn canonical(bytes: [u8; 32]) -> Option<EdwardsPoint> {
    let point = CompressedEdwardsY(bytes).decompress()?;
    (point.compress().to_bytes() == bytes).then_some(point)
}
