//! Names of principals: their text, their fingerprint, and what is refused as a key.

use bailiwick_crypto::{Identity, KeyError, PublicKey};
use rand::SeedableRng as _;

use crate::adversary::bad_keys;
use crate::support::{alice, mallory};

const TEXT: &str = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

#[test]
fn a_public_key_is_read_as_it_is_written() {
    let key: PublicKey = TEXT.parse().unwrap();
    assert_eq!(key.to_string(), TEXT);
    assert_eq!(PublicKey::from_bytes(key.as_bytes()), Ok(key));
    assert_eq!(format!("{key:?}"), format!("PublicKey({TEXT})"));
    let upper = TEXT.to_uppercase().replace("ED25519", "ed25519");
    assert_eq!(upper.parse(), Ok(key));
}

#[test]
fn text_that_is_not_a_public_key_is_refused() {
    let digits = &TEXT[8..];
    for text in [
        "",
        "ed25519:",
        digits,
        &TEXT[..TEXT.len() - 1],
        &format!("{TEXT}0"),
        &format!(" {TEXT}"),
        &format!("{TEXT}\n"),
        &format!("Ed25519:{digits}"),
        &format!("ed25519:+{}", &digits[1..]),
        &format!("ed25519:{}é", &digits[2..]),
    ] {
        assert_eq!(text.parse::<PublicKey>(), Err(KeyError::Text), "{text:?}");
    }
}

#[test]
fn a_fingerprint_is_sha256_over_the_32_bytes_in_unpadded_base64() {
    // printf 'd75a…511a' | xxd -r -p | openssl dgst -sha256 -binary | base64
    let key: PublicKey = TEXT.parse().unwrap();
    let expected = "SHA256:If4x36FUomFia/hUBG/SJxt77UtqvkWqWId+9H+XIbk";
    assert_eq!(key.fingerprint().to_string(), expected);
}

#[test]
fn an_identity_prints_its_fingerprint_only() {
    let printed = format!("{:?}", alice());
    assert_eq!(printed, format!("Identity({})", alice().public_key().fingerprint()));
}

#[test]
fn keys_that_no_honest_generator_makes_are_refused_from_bytes_and_text() {
    for (bytes, expected) in bad_keys() {
        assert_eq!(PublicKey::from_bytes(&bytes), Err(expected));
        let digits = crate::support::hex(&bytes);
        assert_eq!(format!("ed25519:{digits}").parse::<PublicKey>(), Err(expected));
    }
}

#[test]
fn a_generated_identity_is_its_own_and_its_key_is_accepted() {
    let mut rng = rand::rngs::StdRng::seed_from_u64(7);
    let (one, two) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
    assert_ne!(one.public_key(), two.public_key());
    assert_eq!(PublicKey::from_bytes(one.public_key().as_bytes()), Ok(one.public_key()));
}

#[test]
fn a_signature_holds_for_its_key_and_message_only() {
    let signature = alice().sign(b"message");
    assert_eq!(alice().public_key().verify(b"message", &signature), Ok(()));
    let refused = Err(KeyError::BadSignature);
    assert_eq!(alice().public_key().verify(b"massage", &signature), refused);
    assert_eq!(mallory().public_key().verify(b"message", &signature), refused);
}
