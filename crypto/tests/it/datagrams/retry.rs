//! RETRY: what an initiator follows, and which tokens a responder takes.

use std::net::SocketAddr;
use std::time::Instant;

use bailiwick_crypto::retry::{KEY_LIFE, TOKEN_LIFE, check_init};
use bailiwick_crypto::{HandshakeError, RetryKeys, initiator, responder};

use super::{accepted, begun, completes, flipped, flips};
use crate::raw::{self, Peer};
use crate::support::{
    FixedRng, SIDE_I, alice, datagram_initiator, datagram_responder, entropy, server,
};

const THEN: u64 = 1_800_000_000;

#[test]
fn a_retry_is_followed_with_the_same_id_and_share_and_the_handshake_completes() {
    let mut initiator = begun();
    let first = initiator.init().to_vec();
    let keys = keys();
    let retry = keys.retry(&datagram_responder(), &first, from(), THEN).unwrap();
    assert_eq!(retry.len(), 56);
    assert!(!keys.is_valid(&first, from(), THEN));
    initiator.handle_retry(&retry).unwrap();

    let second = initiator.init().to_vec();
    assert_eq!((second.len(), &second[8..48]), (1_200, &first[8..48]));
    assert_eq!(second[48..72], retry[16..40]);
    let summary = check_init(&datagram_responder(), &second).unwrap();
    assert_eq!((summary.scid, summary.has_token), ([SIDE_I; 8], true));
    assert!(keys.is_valid(&second, from(), THEN));

    let mut responder = accepted(&initiator);
    completes(&mut initiator, &mut responder);
}

#[test]
fn the_first_init_is_forgotten_after_a_retry() {
    let mut initiator = begun();
    let answering = accepted(&initiator);
    follow(&mut initiator);
    let error = initiator.handle_resp(answering.resp(), Instant::now()).unwrap_err();
    assert_eq!(error, HandshakeError::Box);
    let mut responder = accepted(&initiator);
    completes(&mut initiator, &mut responder);
}

#[test]
fn every_byte_of_a_retry_counts_and_the_honest_one_is_still_followed() {
    let mut initiator = begun();
    let init = initiator.init().to_vec();
    let retry = keys().retry(&datagram_responder(), &init, from(), THEN).unwrap();
    for (at, flip) in flips(&retry) {
        let error = initiator.handle_retry(&flipped(&retry, at, flip)).unwrap_err();
        match at {
            0 => assert_eq!(error, HandshakeError::WrongType),
            1 => assert_eq!(error, HandshakeError::UnsupportedVersion(1 ^ flip)),
            2..8 => assert_eq!(error, HandshakeError::Reserved),
            8..16 => assert_eq!(error, HandshakeError::WrongConnection),
            _ => assert_eq!(error, HandshakeError::Retry, "byte {at}"),
        }
        assert!(!error.ends_attempt());
        assert_eq!(initiator.init(), init);
    }
    for end in 0..retry.len() {
        assert_eq!(initiator.handle_retry(&retry[..end]), Err(HandshakeError::Length));
    }
    let extended = [&retry[..], &[0]].concat();
    assert_eq!(initiator.handle_retry(&extended), Err(HandshakeError::Length));
    assert_eq!(initiator.init(), init);
    assert_eq!(initiator.handle_retry(&retry), Ok(()));
}

#[test]
fn a_retry_counts_only_from_the_server_dialled_and_for_the_last_init() {
    let mut initiator = begun();
    let init = initiator.init().to_vec();
    let stranger = raw::datagram::retry(alice().public_key().as_bytes(), &init, &[7; 24]);
    assert_eq!(initiator.handle_retry(&stranger), Err(HandshakeError::Retry));

    let retry = keys().retry(&datagram_responder(), &init, from(), THEN).unwrap();
    initiator.handle_retry(&retry).unwrap();
    // The network repeats it: it answers an INIT that is forgotten.
    let init = initiator.init().to_vec();
    assert_eq!(initiator.handle_retry(&retry), Err(HandshakeError::Retry));
    assert_eq!(initiator.init(), init);
}

#[test]
fn four_retries_are_followed_and_no_fifth() {
    let mut initiator = begun();
    for _ in 0..4 {
        follow(&mut initiator);
    }
    let init = initiator.init().to_vec();
    let retry = keys().retry(&datagram_responder(), &init, from(), THEN).unwrap();
    let error = initiator.handle_retry(&retry).unwrap_err();
    assert_eq!(error, HandshakeError::TooManyRetries);
    // Its fourth INIT may still be answered.
    assert!(!error.ends_attempt());
    assert_eq!(initiator.init(), init);
    let mut responder = accepted(&initiator);
    completes(&mut initiator, &mut responder);
}

#[test]
fn a_retry_answers_only_an_init_that_a_responder_would_take() {
    let (keys, config) = (keys(), datagram_responder());
    let init = begun().init().to_vec();
    let refused = |init: &[u8]| keys.retry(&config, init, from(), THEN).unwrap_err();
    assert_eq!(refused(&flipped(&init, 1_199, 1)), HandshakeError::NotAddressed);
    assert_eq!(refused(&flipped(&init, 100, 1)), HandshakeError::Reserved);
    assert_eq!(refused(&init[..1_199]), HandshakeError::Length);
    let elsewhere = responder::Config { identities: vec![(alice(), None)], ..config.clone() };
    let refused = keys.retry(&elsewhere, &init, from(), THEN).unwrap_err();
    assert_eq!(refused, HandshakeError::NotAddressed);
}

#[test]
fn each_of_several_server_keys_asks_for_a_retry_in_its_own_name() {
    let config = responder::Config {
        identities: vec![(alice(), None), (server(), None)],
        ..datagram_responder()
    };
    for identity in [alice(), server()] {
        let dial = initiator::Config { server: identity.public_key(), ..datagram_initiator() };
        let mut initiator = initiator::start(dial, &mut entropy(SIDE_I));
        let retry = keys().retry(&config, initiator.init(), from(), THEN).unwrap();
        assert_eq!(initiator.handle_retry(&retry), Ok(()));
    }
}

#[test]
fn a_token_is_good_for_one_address_port_id_and_share() {
    let keys = keys();
    let token = token(&keys, THEN);
    assert!(keys.is_valid(&carrying(SIDE_I, SIDE_I, &token), from(), THEN));
    for elsewhere in ["192.0.2.2:40000", "192.0.2.1:40001", "[2001:db8::1]:40000"] {
        let elsewhere = elsewhere.parse().unwrap();
        assert!(!keys.is_valid(&carrying(SIDE_I, SIDE_I, &token), elsewhere, THEN));
    }
    assert!(!keys.is_valid(&carrying(0x77, SIDE_I, &token), from(), THEN));
    assert!(!keys.is_valid(&carrying(SIDE_I, 0x77, &token), from(), THEN));
    // A socket for both families shows IPv4 addresses mapped: the same address.
    let mapped = "[::ffff:192.0.2.1]:40000".parse().unwrap();
    assert!(keys.is_valid(&carrying(SIDE_I, SIDE_I, &token), mapped, THEN));
}

#[test]
fn every_byte_of_a_token_counts_and_none_is_none() {
    let keys = keys();
    let token = token(&keys, THEN);
    for (at, flip) in flips(&token) {
        let forged = flipped(&token, at, flip).try_into().unwrap();
        assert!(!keys.is_valid(&carrying(SIDE_I, SIDE_I, &forged), from(), THEN), "byte {at}");
    }
    assert!(!keys.is_valid(begun().init(), from(), THEN));
    assert!(!keys.is_valid(&[], from(), THEN));
    // No key that nobody drew opens anything: not even zeros.
    let forged = raw::datagram::token(&[0; 32], 2 * THEN, &ip16(), 40_000, begun().init());
    assert!(!keys.is_valid(&carrying(SIDE_I, SIDE_I, &forged), from(), THEN));
}

#[test]
fn a_token_is_good_for_15_seconds_and_not_before_it_was_given() {
    let keys = keys();
    let init = carrying(SIDE_I, SIDE_I, &token(&keys, THEN));
    assert!(keys.is_valid(&init, from(), THEN + TOKEN_LIFE));
    assert!(!keys.is_valid(&init, from(), THEN + TOKEN_LIFE + 1));
    assert!(!keys.is_valid(&init, from(), THEN - 1));
    assert_eq!((TOKEN_LIFE, KEY_LIFE), (15, 60));
}

#[test]
fn a_token_outlives_one_change_of_keys_and_not_two() {
    let mut keys = keys();
    keys.rotate(THEN + KEY_LIFE - 1, &mut entropy(1));
    let given = THEN + KEY_LIFE - 1;
    let init = carrying(SIDE_I, SIDE_I, &token(&keys, given));
    keys.rotate(THEN + KEY_LIFE, &mut entropy(2));
    assert!(keys.is_valid(&init, from(), given + 1));
    // Under the new key too.
    let newer = carrying(SIDE_I, SIDE_I, &token(&keys, given + 1));
    assert!(keys.is_valid(&newer, from(), given + 1));
    assert_ne!(newer[55] & 1, init[55] & 1, "tokens name their key by its parity");
    // Were the clock to stand still, a second change would take the key away.
    keys.rotate(THEN + 2 * KEY_LIFE, &mut entropy(3));
    assert!(!keys.is_valid(&init, from(), given + 1));
    assert!(keys.is_valid(&newer, from(), given + 1));
}

#[test]
fn keys_do_not_change_before_they_are_due() {
    let mut keys = keys();
    let init = carrying(SIDE_I, SIDE_I, &token(&keys, THEN));
    for _ in 0..5 {
        // Nothing is drawn: there is nothing to draw from.
        keys.rotate(THEN + KEY_LIFE - 1, &mut FixedRng::new(&[]));
    }
    assert!(keys.is_valid(&init, from(), THEN));
    assert!(!format!("{keys:?}").contains("153"), "{keys:?}");
}

fn follow(initiator: &mut initiator::AwaitingResp) {
    let retry = keys().retry(&datagram_responder(), initiator.init(), from(), THEN).unwrap();
    initiator.handle_retry(&retry).unwrap();
}

fn keys() -> RetryKeys {
    RetryKeys::new(THEN, &mut FixedRng::new(&[[0x99; 32], [0x98; 32]].concat()))
}

fn from() -> SocketAddr {
    "192.0.2.1:40000".parse().unwrap()
}

fn ip16() -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]
}

/// The token that these keys give to the usual INIT.
fn token(keys: &RetryKeys, unix_seconds: u64) -> [u8; 24] {
    let retry = keys.retry(&datagram_responder(), begun().init(), from(), unix_seconds).unwrap();
    retry[16..40].try_into().unwrap()
}

/// An INIT to our server with the id and share of these sides, and a token.
fn carrying(id: u8, share: u8, token: &[u8; 24]) -> Vec<u8> {
    let peer = Peer { scid: [id; 8], ..Peer::honest([0xa1; 32], share, Vec::new()) };
    peer.datagram_init(server().public_key().as_bytes(), token)
}
