//! The AEAD behind its trait: what any implementation must do, and, with the feature `aws-lc`, that
//! both implementations do the same.

use bailiwick_crypto::aead::{Aead, AeadError, RustCrypto, Selected};

#[test]
fn what_is_sealed_opens_under_the_same_key_nonce_and_aad_only() {
    opens_only_as_sealed::<RustCrypto>();
    opens_only_as_sealed::<Selected>();
}

fn opens_only_as_sealed<A: Aead<12>>() {
    let mut sealed = b"content".to_vec();
    let tag = A::new(&[1; 32]).seal(&[2; 12], b"aad", &mut sealed).unwrap();
    assert_ne!(sealed, b"content");
    let open = |key: u8, nonce: u8, aad: &[u8], tag| {
        let mut buffer = sealed.clone();
        A::new(&[key; 32]).open(&[nonce; 12], aad, &mut buffer, tag).map(|()| buffer)
    };
    assert_eq!(open(1, 2, b"aad", &tag), Ok(b"content".to_vec()));
    assert_eq!(open(9, 2, b"aad", &tag), Err(AeadError));
    assert_eq!(open(1, 9, b"aad", &tag), Err(AeadError));
    assert_eq!(open(1, 2, b"dad", &tag), Err(AeadError));
    assert_eq!(open(1, 2, b"aad", &[0; 16]), Err(AeadError));
}

#[cfg(feature = "aws-lc")]
mod differential {
    use bailiwick_crypto::aead::{Aead as _, AwsLc, RustCrypto};
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn aws_lc_and_rustcrypto_seal_alike_and_open_each_other(
            key in any::<[u8; 32]>(),
            nonce in any::<[u8; 12]>(),
            aad in vec(any::<u8>(), 0..48),
            content in vec(any::<u8>(), 0..2_100),
            damage in any::<(prop::sample::Index, u8)>(),
        ) {
            let (lc, rust) = (AwsLc::new(&key), RustCrypto::new(&key));
            let (mut by_lc, mut by_rust) = (content.clone(), content.clone());
            let lc_tag = lc.seal(&nonce, &aad, &mut by_lc).unwrap();
            let rust_tag = rust.seal(&nonce, &aad, &mut by_rust).unwrap();
            prop_assert_eq!(lc_tag, rust_tag);
            prop_assert_eq!(&by_lc, &by_rust);

            let mut damaged = [&by_lc[..], &lc_tag].concat();
            damaged[damage.0.index(content.len() + 16)] ^= damage.1;
            let (body, tag) = damaged.split_last_chunk().unwrap();
            let (mut for_lc, mut for_rust) = (body.to_vec(), body.to_vec());
            let lc_opened = lc.open(&nonce, &aad, &mut for_lc, tag);
            let rust_opened = rust.open(&nonce, &aad, &mut for_rust, tag);
            prop_assert_eq!(lc_opened, rust_opened);
            prop_assert_eq!(lc_opened.is_ok(), damage.1 == 0);

            rust.open(&nonce, &aad, &mut by_lc, &lc_tag).unwrap();
            lc.open(&nonce, &aad, &mut by_rust, &rust_tag).unwrap();
            prop_assert_eq!(&by_lc, &content);
            prop_assert_eq!(&by_rust, &content);
        }
    }

    /// Every length around the block sizes of both implementations, and the longest record.
    #[test]
    fn aws_lc_and_rustcrypto_agree_at_every_length() {
        let (lc, rust) = (AwsLc::new(&[7; 32]), RustCrypto::new(&[7; 32]));
        for len in (0..=1_100).chain([16_401, 65_536]) {
            let (mut by_lc, mut by_rust) = (vec![3; len], vec![3; len]);
            let lc_tag = lc.seal(&[9; 12], &[1; 4], &mut by_lc).unwrap();
            let rust_tag = rust.seal(&[9; 12], &[1; 4], &mut by_rust).unwrap();
            assert_eq!((lc_tag, by_lc), (rust_tag, by_rust), "{len} bytes");
        }
    }
}
