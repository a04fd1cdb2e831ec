//! A scripted adversary on the handshake: each attack ends in the right error, and no key.
//!
//! That there is no key is in the types: an error is all that comes back, the state is gone.

mod forgery;

use std::time::Instant;

use bailiwick_crypto::{HandshakeError, MessageKind, handshake, initiator, responder};
use proptest::prelude::*;

use crate::support::{FixedRng, SIDE_I, SIDE_R, entropy, initiator_config, responder_config};

pub(crate) use forgery::bad_keys;

const FLIPS: [u8; 4] = [0x01, 0x10, 0x80, 0xff];

#[test]
fn every_byte_of_init_counts() {
    let init = honest().init;
    for (at, flip) in flips(&init) {
        let error = accept(&flipped(&init, at, flip)).unwrap_err();
        match at {
            0 => assert_eq!(error, HandshakeError::WrongType),
            1 => assert_eq!(error, HandshakeError::UnsupportedVersion(1 ^ flip)),
            2..4 => assert!(matches!(error, HandshakeError::UnsupportedSuite(_))),
            4..8 => assert!(matches!(error, HandshakeError::Length | HandshakeError::TooLong)),
            _ => assert_eq!(error, HandshakeError::NotAddressed, "byte {at}"),
        }
    }
}

#[test]
fn every_byte_of_resp_counts() {
    let resp = honest().resp;
    for (at, flip) in flips(&resp) {
        let error = read_resp(&flipped(&resp, at, flip)).unwrap_err();
        match at {
            0 => assert_eq!(error, HandshakeError::WrongType),
            1 => assert_eq!(error, HandshakeError::UnsupportedVersion(1 ^ flip)),
            2..4 => assert!(matches!(error, HandshakeError::UnsupportedSuite(_))),
            4..6 => assert!(matches!(error, HandshakeError::Length | HandshakeError::TooLong)),
            6..8 => assert_eq!(error, HandshakeError::Reserved),
            8..16 => assert_eq!(error, HandshakeError::WrongConnection),
            _ => assert_eq!(error, HandshakeError::Box, "byte {at}"),
        }
    }
}

#[test]
fn every_byte_of_fin_counts() {
    let fin = honest().fin;
    for (at, flip) in flips(&fin) {
        let error = read_fin(&flipped(&fin, at, flip)).unwrap_err();
        match at {
            0 => assert_eq!(error, HandshakeError::WrongType),
            1 => assert_eq!(error, HandshakeError::UnsupportedVersion(1 ^ flip)),
            2..4 | 6..8 => assert_eq!(error, HandshakeError::Reserved),
            4..6 => assert!(matches!(error, HandshakeError::Length | HandshakeError::TooLong)),
            8..16 => assert_eq!(error, HandshakeError::WrongConnection),
            _ => assert_eq!(error, HandshakeError::Box, "byte {at}"),
        }
    }
}

#[test]
fn messages_cut_short_or_extended_are_refused() {
    let Honest { init, resp, fin } = honest();
    for end in 0..init.len() {
        assert_eq!(accept(&init[..end]).unwrap_err(), HandshakeError::Length);
    }
    for end in 0..resp.len() {
        assert_eq!(read_resp(&resp[..end]).unwrap_err(), HandshakeError::Length);
    }
    for end in 0..fin.len() {
        assert_eq!(read_fin(&fin[..end]).unwrap_err(), HandshakeError::Length);
    }
    for more in [1, 16, 4_096] {
        let extended = |message: &[u8]| [message, &vec![0; more]].concat();
        assert_eq!(accept(&extended(&init)).unwrap_err(), HandshakeError::Length);
        assert_eq!(read_resp(&extended(&resp)).unwrap_err(), HandshakeError::Length);
        assert_eq!(read_fin(&extended(&fin)).unwrap_err(), HandshakeError::Length);
    }
}

#[test]
fn messages_sent_back_to_their_sender_are_refused() {
    let Honest { init, resp, fin } = honest();
    assert_eq!(read_resp(&init).unwrap_err(), HandshakeError::WrongType);
    assert_eq!(read_resp(&fin).unwrap_err(), HandshakeError::WrongType);
    assert_eq!(read_fin(&resp).unwrap_err(), HandshakeError::WrongType);
    assert_eq!(read_fin(&init).unwrap_err(), HandshakeError::WrongType);
    assert_eq!(accept(&resp).unwrap_err(), HandshakeError::WrongType);

    // A FIN that carries RESP's box, under RESP's ids, does not open: other key, other AAD.
    let clear = [&[3, 1, 0, 0], &resp[4..6], &[0, 0], &resp[16..24]].concat();
    let reflected = [&clear, &resp[56..]].concat();
    assert_eq!(read_fin(&reflected).unwrap_err(), HandshakeError::Box);
    let clear = [&[2, 1, 0, 1], &fin[4..6], &[0, 0], &init[8..16], &resp[16..56]].concat();
    let reflected = [&clear, &fin[16..]].concat();
    assert_eq!(read_resp(&reflected).unwrap_err(), HandshakeError::Box);
}

#[test]
fn replayed_messages_open_nothing() {
    let Honest { init, resp, fin } = honest();
    // The same INIT again: the server answers with a fresh share, which the old FIN does not fit.
    let answering = responder::accept(&responder_config(), &init, &mut entropy(0x77)).unwrap();
    let error = answering.read_fin(&fin, Instant::now()).unwrap_err();
    assert_eq!(error, HandshakeError::WrongConnection);
    // Even if the id were drawn again.
    let again = [&[0x77; 32][..], &[SIDE_R; 8]].concat();
    let mut again = FixedRng::new(&again);
    let answering = responder::accept(&responder_config(), &init, &mut again).unwrap();
    let error = answering.read_fin(&fin, Instant::now()).unwrap_err();
    assert_eq!(error, HandshakeError::Box);

    let awaiting = initiator::start(initiator_config(), &mut entropy(0x77));
    let error = awaiting.read_resp(&resp, Instant::now()).unwrap_err();
    assert_eq!(error, HandshakeError::WrongConnection);
    let again = [&[0x77; 32][..], &[SIDE_I; 8]].concat();
    let mut again = FixedRng::new(&again);
    let awaiting = initiator::start(initiator_config(), &mut again);
    let error = awaiting.read_resp(&resp, Instant::now()).unwrap_err();
    assert_eq!(error, HandshakeError::Box);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_from_a_stranger_reach_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for kind in [MessageKind::Init, MessageKind::Resp, MessageKind::Fin] {
            let _ = handshake::message_len(kind, &bytes);
        }
        prop_assert!(accept(&bytes).is_err());
        prop_assert!(read_fin(&bytes).is_err());
    }
}

struct Honest {
    init: Vec<u8>,
    resp: Vec<u8>,
    fin: Vec<u8>,
}

/// The messages of the handshake that [`accept`], [`read_resp`] and [`read_fin`] expect.
fn honest() -> Honest {
    let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    let answering = accept(awaiting.init()).unwrap();
    let (init, resp) = (awaiting.init().to_vec(), answering.resp().to_vec());
    let (fin, _) = awaiting.read_resp(&resp, Instant::now()).unwrap();
    Honest { init, resp, fin }
}

fn accept(init: &[u8]) -> Result<responder::AwaitingFin, HandshakeError> {
    responder::accept(&responder_config(), init, &mut entropy(SIDE_R))
}

fn read_resp(resp: &[u8]) -> Result<(), HandshakeError> {
    let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    awaiting.read_resp(resp, Instant::now()).map(|_| ())
}

fn read_fin(fin: &[u8]) -> Result<responder::Authenticated, HandshakeError> {
    let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    accept(awaiting.init()).unwrap().read_fin(fin, Instant::now())
}

fn flips(message: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    (0..message.len()).flat_map(|at| FLIPS.map(|flip| (at, flip)))
}

fn flipped(message: &[u8], at: usize, flip: u8) -> Vec<u8> {
    let mut message = message.to_vec();
    message[at] ^= flip;
    message
}
