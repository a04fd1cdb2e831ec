//! The AEAD behind its trait: what any implementation must do, and, with the feature `ring`, that
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

#[cfg(feature = "ring")]
mod differential {
    use bailiwick_crypto::aead::{Aead as _, Ring, RustCrypto};
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ring_and_rustcrypto_seal_alike_and_open_each_other(
            key in any::<[u8; 32]>(),
            nonce in any::<[u8; 12]>(),
            aad in vec(any::<u8>(), 0..48),
            content in vec(any::<u8>(), 0..2_100),
            damage in any::<(prop::sample::Index, u8)>(),
        ) {
            let (ring, rust) = (Ring::new(&key), RustCrypto::new(&key));
            let (mut by_ring, mut by_rust) = (content.clone(), content.clone());
            let ring_tag = ring.seal(&nonce, &aad, &mut by_ring).unwrap();
            let rust_tag = rust.seal(&nonce, &aad, &mut by_rust).unwrap();
            prop_assert_eq!(ring_tag, rust_tag);
            prop_assert_eq!(&by_ring, &by_rust);

            let mut damaged = [&by_ring[..], &ring_tag].concat();
            damaged[damage.0.index(content.len() + 16)] ^= damage.1;
            let (body, tag) = damaged.split_last_chunk().unwrap();
            let (mut for_ring, mut for_rust) = (body.to_vec(), body.to_vec());
            let ring_opened = ring.open(&nonce, &aad, &mut for_ring, tag);
            let rust_opened = rust.open(&nonce, &aad, &mut for_rust, tag);
            prop_assert_eq!(ring_opened, rust_opened);
            prop_assert_eq!(ring_opened.is_ok(), damage.1 == 0);

            rust.open(&nonce, &aad, &mut by_ring, &ring_tag).unwrap();
            ring.open(&nonce, &aad, &mut by_rust, &rust_tag).unwrap();
            prop_assert_eq!(&by_ring, &content);
            prop_assert_eq!(&by_rust, &content);
        }
    }

    /// Every length around the block sizes of both implementations, and the longest record.
    #[test]
    fn ring_and_rustcrypto_agree_at_every_length() {
        let (ring, rust) = (Ring::new(&[7; 32]), RustCrypto::new(&[7; 32]));
        for len in (0..=1_100).chain([16_401, 65_536]) {
            let (mut by_ring, mut by_rust) = (vec![3; len], vec![3; len]);
            let ring_tag = ring.seal(&[9; 12], &[1; 4], &mut by_ring).unwrap();
            let rust_tag = rust.seal(&[9; 12], &[1; 4], &mut by_rust).unwrap();
            assert_eq!((ring_tag, by_ring), (rust_tag, by_rust), "{len} bytes");
        }
    }
}
