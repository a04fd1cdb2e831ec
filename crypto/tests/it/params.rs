//! Parameters that a peer may, and may not, announce: the initiator's attempt ends at once, the
//! responder refuses with `protocol_error`.

use std::time::{Duration, Instant};

use bailiwick_crypto::{HandshakeError, Params, ParamsError, RecordError, initiator, responder};

use crate::raw::{Peer, Traffic};
use crate::support::{SIDE_I, SIDE_R, entropy, initiator_config, responder_config, server};

const SERVER_SEED: [u8; 32] = [0x5e; 32];
const ALICE_SEED: [u8; 32] = [0xa1; 32];
const INCARNATION: (u16, &[u8]) = (5, &[0xcc; 16]);

#[test]
fn absent_parameters_have_their_defaults() {
    let expected = Params {
        max_frame: 65_536,
        idle_timeout: Duration::from_secs(30),
        max_reassembly: 65_536,
        replay_slots: 1_024,
        incarnation: [0xcc; 16],
        lease: Duration::from_secs(60),
    };
    assert_eq!(from_initiator(&list(&[INCARNATION])), Ok(expected));
    assert_eq!(from_responder(&list(&[INCARNATION])), Ok(expected));
}

#[test]
fn every_parameter_is_taken_at_both_ends_of_its_range_and_refused_beyond() {
    for (kind, least, most) in [
        (1, 1_024, 1 << 24),
        (2, 1_000, 3_600_000),
        (3, 0, 1 << 20),
        (4, 64, 8_192),
        (6, 1_000, 3_600_000_u32),
    ] {
        for inside in [least, most] {
            let params = from_responder(&with(kind, &inside.to_be_bytes())).unwrap();
            assert_eq!(value(&params, kind), inside);
        }
        let below = (least > 0).then(|| least - 1);
        for outside in below.into_iter().chain([most + 1, u32::MAX]) {
            let refused = Err(ParamsError::OutOfRange(kind));
            assert_eq!(from_responder(&with(kind, &outside.to_be_bytes())), refused);
            if kind != 6 {
                assert_eq!(from_initiator(&with(kind, &outside.to_be_bytes())), refused);
            }
        }
    }
}

#[test]
fn an_initiators_lease_is_ignored_whatever_it_says() {
    for lease in [&[0; 4][..], &[0xff; 4], b"", b"five!"] {
        let params = from_initiator(&with(6, lease)).unwrap();
        assert_eq!(params.lease, Duration::from_secs(60));
    }
}

#[test]
fn unknown_parameters_are_skipped() {
    let strange = list(&[(0, b"zero"), INCARNATION, (7, b""), (0xffff, &[1; 300])]);
    assert_eq!(from_initiator(&strange).unwrap(), Params::new([0xcc; 16]));
    assert_eq!(from_responder(&strange).unwrap(), Params::new([0xcc; 16]));
}

#[test]
fn types_that_repeat_or_descend_are_refused() {
    let frame: (u16, &[u8]) = (1, &[0, 1, 0, 0]);
    for (parts, kind) in [
        (vec![frame, frame, INCARNATION], 1),
        (vec![INCARNATION, INCARNATION], 5),
        (vec![INCARNATION, frame], 1),
        (vec![INCARNATION, (9, b""), (9, b"")], 9),
        (vec![INCARNATION, (9, b""), (8, b"")], 8),
        (vec![(0, b""), (0, b""), INCARNATION], 0),
    ] {
        refused_by_both(&list(&parts), ParamsError::NotAscending(kind));
    }
}

#[test]
fn lists_that_do_not_fill_their_length_are_refused() {
    let whole = with(1, &[0, 1, 0, 0]);
    for end in 1..whole.len() {
        // Cut between two parameters it is well formed, but for the incarnation.
        let expected = if end == 8 { ParamsError::NoIncarnation } else { ParamsError::Malformed };
        refused_by_both(&whole[..end], expected);
    }
    refused_by_both(&[&whole[..], &[0]].concat(), ParamsError::Malformed);
    refused_by_both(&[&whole[..], &[0, 9, 0xff, 0xff]].concat(), ParamsError::Malformed);
}

#[test]
fn known_types_of_another_length_are_refused() {
    for kind in 1..=4 {
        for len in [0, 3, 5, 8] {
            refused_by_both(&with(kind, &vec![0; len]), ParamsError::Malformed);
        }
    }
    assert_eq!(from_responder(&with(6, &[0; 3])), Err(ParamsError::Malformed));
    for len in [0, 15, 17] {
        refused_by_both(&list(&[(5, &vec![1; len])]), ParamsError::Malformed);
    }
}

#[test]
fn the_incarnation_is_compulsory() {
    refused_by_both(b"", ParamsError::NoIncarnation);
    refused_by_both(&list(&[(1, &[0, 1, 0, 0])]), ParamsError::NoIncarnation);
}

#[test]
fn a_message_of_4096_bytes_is_read_and_a_longer_one_is_not() {
    // RESP: 56 clear bytes, 130 and the tag around the parameters; 24 of them are not filling.
    let fill = 4_096 - 56 - 130 - 16 - 24;
    let filled = |len| list(&[INCARNATION, (9, &vec![7; len])]);
    assert!(from_responder(&filled(fill)).is_ok());
    assert_eq!(read_resp(&filled(fill + 1)).unwrap_err(), HandshakeError::TooLong);
}

fn refused_by_both(params: &[u8], expected: ParamsError) {
    assert_eq!(from_responder(params), Err(expected), "{params:02x?}");
    assert_eq!(from_initiator(params), Err(expected), "{params:02x?}");
}

/// What our initiator makes of a responder's parameters.
fn from_responder(params: &[u8]) -> Result<Params, ParamsError> {
    read_resp(params).map_err(|error| match error {
        HandshakeError::Params(error) => error,
        other => panic!("not for the parameters: {other:?}"),
    })
}

fn read_resp(params: &[u8]) -> Result<Params, HandshakeError> {
    let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    let responder = Peer::honest(SERVER_SEED, SIDE_R, params.to_vec());
    let resp = responder.resp(awaiting.init()).resp;
    awaiting.read_resp(&resp, Instant::now()).map(|(_, session)| session.peer_params)
}

/// What our responder makes of an initiator's parameters; a refusal must be told by an alert.
fn from_initiator(params: &[u8]) -> Result<Params, ParamsError> {
    let now = Instant::now();
    let initiator = Peer::honest(ALICE_SEED, SIDE_I, params.to_vec());
    let init = initiator.init(server().public_key().as_bytes());
    let config = responder_config();
    let answering = responder::accept(&config, &init, &mut entropy(SIDE_R)).unwrap();
    let exchange = initiator.fin(initiator.read_resp(&init, answering.resp()));
    match answering.read_fin(&exchange.fin, now).unwrap().admit() {
        Ok(session) => Ok(session.peer_params),
        Err(mut refusal) => {
            let mut wire = Vec::new();
            refusal.records.poll_transmit(now, &mut wire).unwrap();
            let opened = Traffic::new(exchange.ts_r).open(&wire);
            assert_eq!(opened.as_deref(), Some(&[2, 4][..]), "protocol_error as record 0");
            let mut record = Traffic::new(exchange.ts_i).seal(b"behind FIN\x01");
            let unopened = refusal.records.open(&mut record, now);
            assert_eq!(unopened.unwrap_err(), RecordError::Closed);
            Err(refusal.error)
        }
    }
}

/// One parameter beside the compulsory one, in order.
fn with(kind: u16, value: &[u8]) -> Vec<u8> {
    if kind < 5 { list(&[(kind, value), INCARNATION]) } else { list(&[INCARNATION, (kind, value)]) }
}

fn list(parts: &[(u16, &[u8])]) -> Vec<u8> {
    let part = |(kind, value): &(u16, &[u8])| {
        let len = u16::try_from(value.len()).unwrap();
        [&kind.to_be_bytes()[..], &len.to_be_bytes(), value].concat()
    };
    parts.iter().flat_map(part).collect()
}

fn value(params: &Params, kind: u16) -> u32 {
    let ms = |duration: Duration| u32::try_from(duration.as_millis()).unwrap();
    match kind {
        1 => params.max_frame,
        2 => ms(params.idle_timeout),
        3 => params.max_reassembly,
        4 => params.replay_slots,
        _ => ms(params.lease),
    }
}
