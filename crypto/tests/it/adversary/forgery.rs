//! Messages that an adversary makes with keys of its own: well formed and sealed, and still refused.

use std::time::Instant;

use bailiwick_crypto::{
    HandshakeError, KeyError, MessageKind, Transport, handshake, initiator, responder,
};
use ed25519_dalek::SigningKey;

use super::{Honest, accept, honest, read_fin, read_resp};
use crate::raw::{self, Peer};
use crate::support::{
    SIDE_I, SIDE_R, alice, entropy, initiator_config, mallory, psk, responder_config, server, unhex,
};

const SERVER_SEED: [u8; 32] = [0x5e; 32];
const ALICE_SEED: [u8; 32] = [0xa1; 32];

#[test]
fn a_server_with_another_key_is_refused_before_its_signature_counts() {
    let impostor = Peer { signature_error: 1, ..Peer::honest([0x3a; 32], SIDE_R, params()) };
    let expected = HandshakeError::WrongServer {
        expected: server().public_key().fingerprint(),
        found: mallory().public_key().fingerprint(),
    };
    assert_eq!(answered_by(&impostor).unwrap_err(), expected);
}

#[test]
fn a_server_that_cannot_sign_for_the_key_it_names_is_refused() {
    let honest = Peer::honest(SERVER_SEED, SIDE_R, params());
    let resigned = Peer { signer: SigningKey::from_bytes(&[0x3a; 32]), ..honest.clone() };
    assert_eq!(answered_by(&resigned).unwrap_err(), HandshakeError::Signature);
    let broken = Peer { signature_error: 1, ..honest.clone() };
    assert_eq!(answered_by(&broken).unwrap_err(), HandshakeError::Signature);
    let broken = Peer { finished_error: 1, ..honest };
    assert_eq!(answered_by(&broken).unwrap_err(), HandshakeError::Finished);
}

#[test]
fn a_client_that_cannot_sign_for_the_key_it_names_is_refused() {
    let honest = Peer::honest(ALICE_SEED, SIDE_I, params());
    let resigned = Peer { signer: SigningKey::from_bytes(&[0x3a; 32]), ..honest.clone() };
    assert_eq!(finished_by(&resigned).unwrap_err(), HandshakeError::Signature);
    let broken = Peer { signature_error: 1, ..honest.clone() };
    assert_eq!(finished_by(&broken).unwrap_err(), HandshakeError::Signature);
    let broken = Peer { finished_error: 1, ..honest.clone() };
    assert_eq!(finished_by(&broken).unwrap_err(), HandshakeError::Finished);
    assert_eq!(finished_by(&honest).unwrap().peer(), alice().public_key());
}

#[test]
fn a_third_principal_who_signs_for_itself_is_itself_and_not_alice() {
    let third = Peer::honest([0x3a; 32], SIDE_I, params());
    assert_eq!(finished_by(&third).unwrap().peer(), mallory().public_key());
}

#[test]
fn a_signature_under_the_other_roles_label_is_no_signature() {
    let label = Some(&b"bailiwick/1 responder signature"[..]);
    let client = Peer { label, ..Peer::honest(ALICE_SEED, SIDE_I, params()) };
    assert_eq!(finished_by(&client).unwrap_err(), HandshakeError::Signature);
    let label = Some(&b"bailiwick/1 initiator signature"[..]);
    let responder = Peer { label, ..Peer::honest(SERVER_SEED, SIDE_R, params()) };
    assert_eq!(answered_by(&responder).unwrap_err(), HandshakeError::Signature);
}

#[test]
fn shares_of_low_order_are_refused_by_both() {
    for share in low_order_shares() {
        let client = Peer { share, ..Peer::honest(ALICE_SEED, SIDE_I, params()) };
        let init = client.init(server().public_key().as_bytes());
        // Nothing is there yet that could be sent.
        let begun = responder::begin(&responder_config(), &init, &mut entropy(SIDE_R));
        assert_eq!(begun.unwrap_err(), HandshakeError::LowOrderShare);
        let responder = Peer { share, ..Peer::honest(SERVER_SEED, SIDE_R, params()) };
        assert_eq!(answered_by(&responder).unwrap_err(), HandshakeError::LowOrderShare);
    }
}

#[test]
fn a_share_with_its_top_bit_set_is_taken_as_rfc_7748_has_it() {
    let mut client = Peer::honest(ALICE_SEED, SIDE_I, params());
    client.share[31] |= 0x80;
    assert_eq!(finished_by(&client).unwrap().peer(), alice().public_key());
    let mut responder = Peer::honest(SERVER_SEED, SIDE_R, params());
    responder.share[31] |= 0x80;
    assert!(answered_by(&responder).is_ok());
}

#[test]
fn keys_that_no_honest_generator_makes_are_refused_before_their_signature_counts() {
    for (id, expected) in bad_keys() {
        let client = Peer { id, ..Peer::honest(ALICE_SEED, SIDE_I, params()) };
        assert_eq!(finished_by(&client).unwrap_err(), HandshakeError::Key(expected));
    }
}

#[test]
fn another_version_or_suite_is_refused_although_its_mac_holds() {
    let offered = |clear: Vec<(usize, u8)>| {
        let client = Peer { clear, ..Peer::honest(ALICE_SEED, SIDE_I, params()) };
        accept(&client.init(server().public_key().as_bytes())).unwrap_err()
    };
    assert_eq!(offered(vec![(1, 0)]), HandshakeError::UnsupportedVersion(0));
    assert_eq!(offered(vec![(1, 2)]), HandshakeError::UnsupportedVersion(2));
    assert_eq!(offered(vec![(3, 0)]), HandshakeError::UnsupportedSuite(0));
    assert_eq!(offered(vec![(3, 2)]), HandshakeError::UnsupportedSuite(2));
    assert_eq!(offered(vec![(2, 1)]), HandshakeError::UnsupportedSuite(0x0101));

    let answered = |clear: Vec<(usize, u8)>| {
        let responder = Peer { clear, ..Peer::honest(SERVER_SEED, SIDE_R, params()) };
        answered_by(&responder).unwrap_err()
    };
    assert_eq!(answered(vec![(1, 2)]), HandshakeError::UnsupportedVersion(2));
    assert_eq!(answered(vec![(3, 2)]), HandshakeError::UnsupportedSuite(2));
}

#[test]
fn reserved_bytes_and_foreign_ids_are_refused_although_all_macs_hold() {
    for at in [6, 7] {
        let clear = vec![(at, 1)];
        let responder = Peer { clear, ..Peer::honest(SERVER_SEED, SIDE_R, params()) };
        assert_eq!(answered_by(&responder).unwrap_err(), HandshakeError::Reserved);
    }
    for at in [2, 3, 6, 7] {
        let client = Peer::honest(ALICE_SEED, SIDE_I, params());
        let error = finished_by_spoilt(&client, vec![(at, 1)]).unwrap_err();
        assert_eq!(error, HandshakeError::Reserved);
    }
    let clear = vec![(8, SIDE_I ^ 1)];
    let responder = Peer { clear, ..Peer::honest(SERVER_SEED, SIDE_R, params()) };
    assert_eq!(answered_by(&responder).unwrap_err(), HandshakeError::WrongConnection);
    let client = Peer::honest(ALICE_SEED, SIDE_I, params());
    let error = finished_by_spoilt(&client, vec![(8, SIDE_R ^ 1)]).unwrap_err();
    assert_eq!(error, HandshakeError::WrongConnection);
}

#[test]
fn tokens_and_padding_do_not_exist_on_a_stream() {
    let client = Peer::honest(ALICE_SEED, SIDE_I, params());
    let server = *server().public_key().as_bytes();
    for (at, more) in [(5, 24), (7, 24)] {
        let mut init = client.init(&server)[..48].to_vec();
        init[at] = 24;
        init.resize(48 + more, 0);
        let init = raw::mac1(&server, &init);
        assert_eq!(accept(&init).unwrap_err(), HandshakeError::Length);
        let judged = handshake::message_len(MessageKind::Init, &init);
        assert_eq!(judged, Err(HandshakeError::Length));
    }
}

#[test]
fn datagrams_take_a_token_and_zero_padding_and_nothing_else() {
    let config = responder::Config { transport: Transport::Udp, ..responder_config() };
    let key = *server().public_key().as_bytes();
    let client = Peer::honest(ALICE_SEED, SIDE_I, params());
    let datagram = |token: u16, padding: u16, fill: u8| {
        let mut init = client.init(&key)[..48].to_vec();
        init[4..6].copy_from_slice(&token.to_be_bytes());
        init[6..8].copy_from_slice(&padding.to_be_bytes());
        init.resize(48 + usize::from(token), 9);
        init.resize(48 + usize::from(token) + usize::from(padding), fill);
        let init = raw::mac1(&key, &init);
        responder::accept(&config, &init, &mut entropy(SIDE_R)).map(|_| ())
    };
    assert_eq!(datagram(0, 1_136, 0), Ok(()));
    assert_eq!(datagram(24, 1_112, 0), Ok(()));
    assert_eq!(datagram(0, 1_136, 1), Err(HandshakeError::Reserved));
    assert_eq!(datagram(0, 1_135, 0), Err(HandshakeError::Length));
    assert_eq!(datagram(23, 1_136, 0), Err(HandshakeError::Length));
    assert_eq!(datagram(0, 4_033, 0), Err(HandshakeError::TooLong));
}

#[test]
fn an_init_for_another_server_meets_silence() {
    let client = Peer::honest(ALICE_SEED, SIDE_I, params());
    let error = accept(&client.init(mallory().public_key().as_bytes())).unwrap_err();
    assert_eq!(error, HandshakeError::NotAddressed);
}

#[test]
fn boxes_whose_lengths_do_not_fit_are_refused() {
    for plen in [0, 19, 21, 0xffff] {
        let responder = Peer { plen: Some(plen), ..Peer::honest(SERVER_SEED, SIDE_R, params()) };
        assert_eq!(answered_by(&responder).unwrap_err(), HandshakeError::ParamsLength);
        let client = Peer { plen: Some(plen), ..Peer::honest(ALICE_SEED, SIDE_I, params()) };
        assert_eq!(finished_by(&client).unwrap_err(), HandshakeError::ParamsLength);
    }
    // box_len 129: one below the box without parameters.
    let Honest { resp, fin, .. } = honest();
    let short = [&resp[..4], &[0, 129], &resp[6..56 + 129 + 16]].concat();
    assert_eq!(read_resp(&short).unwrap_err(), HandshakeError::Length);
    let short = [&fin[..4], &[0, 129], &fin[6..16 + 129 + 16]].concat();
    assert_eq!(read_fin(&short).unwrap_err(), HandshakeError::Length);
}

#[test]
fn ends_with_different_pre_shared_keys_do_not_meet() {
    let now = Instant::now();
    for (dialled, answered) in
        [(None, Some(psk(1))), (Some(psk(1)), None), (Some(psk(1)), Some(psk(2)))]
    {
        let dial = initiator::Config { psk: dialled, ..initiator_config() };
        let config =
            responder::Config { identities: vec![(server(), answered)], ..responder_config() };
        let awaiting = initiator::start(dial, &mut entropy(SIDE_I));
        let answering = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R)).unwrap();
        let error = awaiting.read_resp(answering.resp(), now).unwrap_err();
        assert_eq!(error, HandshakeError::Box);
    }
}

#[test]
fn a_handshake_moved_to_another_transport_does_not_open() {
    let responder = Peer { transport: "udp", ..Peer::honest(SERVER_SEED, SIDE_R, params()) };
    assert_eq!(answered_by(&responder).unwrap_err(), HandshakeError::Box);

    let client = Peer::honest(ALICE_SEED, SIDE_I, params());
    let init = client.init(server().public_key().as_bytes());
    let answering = responder::accept(&responder_config(), &init, &mut entropy(SIDE_R)).unwrap();
    let udp = Peer { transport: "udp", ..client };
    // The adversary opens nothing either: it only tries the FIN it would have sent.
    let keys = Peer::honest(SERVER_SEED, SIDE_R, params());
    let exchange = udp.fin(Peer { transport: "udp", ..keys }.resp(&init));
    let error = answering.read_fin(&exchange.fin, Instant::now()).unwrap_err();
    assert_eq!(error, HandshakeError::Box);
}

/// What our initiator makes of this responder's answer.
fn answered_by(responder: &Peer) -> Result<(), HandshakeError> {
    let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    let resp = responder.resp(awaiting.init()).resp;
    awaiting.read_resp(&resp, Instant::now()).map(|_| ())
}

/// What our responder makes of this initiator.
fn finished_by(client: &Peer) -> Result<responder::Authenticated, HandshakeError> {
    finished_by_spoilt(client, Vec::new())
}

/// The same, with clear bytes of FIN changed before they are hashed.
fn finished_by_spoilt(
    client: &Peer,
    clear: Vec<(usize, u8)>,
) -> Result<responder::Authenticated, HandshakeError> {
    let init = client.init(server().public_key().as_bytes());
    let answering = accept(&init)?;
    let keys = client.read_resp(&init, answering.resp());
    let exchange = Peer { clear, ..client.clone() }.fin(keys);
    answering.read_fin(&exchange.fin, Instant::now())
}

fn params() -> Vec<u8> {
    [&[0, 5, 0, 16][..], &[0xcc; 16]].concat()
}

/// The points of order 1, 2, 4 and 8 on the curve and its twist, in every encoding (RFC 7748, 7).
fn low_order_shares() -> Vec<[u8; 32]> {
    let canonical = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let with_top_bit = |mut share: [u8; 32]| {
        share[31] |= 0x80;
        share
    };
    let shares = canonical.map(|digits| unhex(digits).unwrap().try_into().unwrap());
    shares.into_iter().chain(shares.map(with_top_bit)).collect()
}

pub(crate) fn bad_keys() -> Vec<([u8; 32], KeyError)> {
    use curve25519_dalek::constants::EIGHT_TORSION;
    let alice = *alice().public_key().as_bytes();
    let point = curve25519_dalek::edwards::CompressedEdwardsY(alice).decompress().unwrap();
    let mut keys: Vec<_> =
        EIGHT_TORSION.iter().map(|weak| (weak.compress().to_bytes(), KeyError::Weak)).collect();
    keys.extend(
        EIGHT_TORSION[1..]
            .iter()
            .map(|torsion| ((point + torsion).compress().to_bytes(), KeyError::Torsion)),
    );
    let p_plus_3 = "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";
    let minus_zero = "0100000000000000000000000000000000000000000000000000000000000080";
    for digits in [p_plus_3, minus_zero] {
        keys.push((unhex(digits).unwrap().try_into().unwrap(), KeyError::NotCanonical));
    }
    // y = 2 is on no point of the curve.
    let mut two = [0; 32];
    two[0] = 2;
    keys.push((two, KeyError::NotOnCurve));
    keys
}
