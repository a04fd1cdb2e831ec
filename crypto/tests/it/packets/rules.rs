//! What a peer that holds the right keys may say, and how far numbers and forgeries go.

use std::time::{Duration, Instant};

use bailiwick_crypto::{
    Alert, PacketError, PacketType, Params, RecordLimits, initiator, responder,
};

use super::{Heard, Raw, data, opened, pair, pair_with};
use crate::support::{
    SIDE_I, SIDE_R, connect_datagrams, datagram_initiator, datagram_responder, entropy,
};

const LIMIT: u64 = 1 << 60;

#[test]
fn each_type_comes_through_with_the_content_that_fits_it() {
    let mut raw = Raw::new();
    let fits: [(u8, PacketType, &[u8]); 10] = [
        (1, PacketType::Data, b"frames"),
        (1, PacketType::Data, b""),
        (3, PacketType::Close, b""),
        (4, PacketType::Alert, &[9]),
        (5, PacketType::Ping, b""),
        (6, PacketType::Fragment, b"piece"),
        (7, PacketType::PathChallenge, b"8 random"),
        (8, PacketType::PathResponse, b"8 random"),
        (9, PacketType::FragmentAck, b"\0\0\0\x01\0\0"),
        (9, PacketType::FragmentAck, b""),
    ];
    for (number, (byte, kind, content)) in (0..).zip(fits) {
        let heard = raw.says(0, number, &[content, &[byte], &[0; 9]].concat());
        assert_eq!(heard, Ok(Heard { kind, content: content.to_vec() }));
    }
}

#[test]
fn what_a_peer_sealed_against_the_rules_ends_the_connection_with_an_alert() {
    let cases: [(&[u8], PacketError); 11] = [
        (&[0], PacketError::NoType),
        (&[0; 40], PacketError::NoType),
        (b"key update\x02", PacketError::UnknownType(2)),
        (b"\x0a", PacketError::UnknownType(10)),
        (b"\xff", PacketError::UnknownType(255)),
        (b"x\x03", PacketError::Content),
        (b"\x04", PacketError::Content),
        (b"\x01\x02\x04", PacketError::Content),
        (b"x\x05", PacketError::Content),
        (b"7 bytes\x07\0\0", PacketError::Content),
        (b"9 bytes..\x08", PacketError::Content),
    ];
    for (inner, expected) in cases {
        let mut raw = Raw::new();
        let error = raw.says(0, 0, inner).unwrap_err();
        assert_eq!(error, expected);
        assert!(error.ends_connection());
        assert_eq!(error.alert(), Some(Alert::ProtocolError));
        // It was authentic, so its number is used.
        assert_eq!(raw.says(0, 0, inner), Err(PacketError::Replayed));
    }
}

#[test]
fn the_window_tells_1024_numbers_apart_unless_told_otherwise() {
    for slots in [64, 100, 1_024, 8_192] {
        let params = Params { replay_slots: slots, ..Params::new([0xbb; 16]) };
        let config = responder::Config { params, ..datagram_responder() };
        let now = Instant::now();
        let mut alice = initiator::start(datagram_initiator(), &mut entropy(SIDE_I));
        let mut server = responder::accept(&config, alice.init(), &mut entropy(SIDE_R)).unwrap();
        let (fin, mut alice) = alice.handle_resp(server.resp(), now).unwrap();
        let mut server = server.handle_fin(&fin, now).unwrap().admit().unwrap();
        let sent: Vec<_> = (0..=slots).map(|_| data(&mut alice.packets, b"x", now)).collect();
        let (too_old, oldest, newest) = (&sent[0], &sent[1], sent.last().unwrap());
        opened(&mut server.packets, newest, now).unwrap();
        assert_eq!(opened(&mut server.packets, too_old, now), Err(PacketError::TooOld));
        opened(&mut server.packets, oldest, now).unwrap();
        assert_eq!(opened(&mut server.packets, oldest, now), Err(PacketError::Replayed));
    }
    assert_eq!(Params::new([0; 16]).replay_slots, 1_024);
}

#[test]
fn numbers_end_below_2_to_the_60_and_none_wraps() {
    let mut raw = Raw::new();
    assert_eq!(raw.data(0, 0), Ok(()));
    for beyond in [LIMIT, LIMIT + 1, u64::MAX - 1, u64::MAX] {
        assert_eq!(raw.data(0, beyond), Err(PacketError::Malformed));
    }
    assert_eq!(raw.data(0, 1), Ok(()));
    assert_eq!(raw.data(0, LIMIT - 1), Ok(()));
    assert_eq!(raw.data(0, LIMIT - 1), Err(PacketError::Replayed));
    assert_eq!(raw.data(0, LIMIT - 1_024), Ok(()));
    assert_eq!(raw.data(0, LIMIT - 1_025), Err(PacketError::TooOld));
    assert_eq!(raw.data(0, 2), Err(PacketError::TooOld));
    assert_eq!(raw.data(0, LIMIT), Err(PacketError::Malformed));
    // No key is left for numbers above these, whatever the epoch.
    assert_eq!(raw.data(1, LIMIT - 2), Err(PacketError::NotAuthentic));
}

#[test]
fn a_sender_stops_when_its_numbers_are_used_and_a_receiver_takes_no_more() {
    let (mut alice, mut server, now) = pair_with(|limits| limits.hard_stop = 4);
    for number in 0..4 {
        let mut packet = Vec::new();
        assert_eq!(alice.seal(PacketType::Data, b"x", 0, now, &mut packet), Ok(number));
        opened(&mut server, &packet, now).unwrap();
    }
    let mut none = Vec::new();
    for kind in [PacketType::Data, PacketType::Close] {
        let error = alice.seal(kind, b"", 0, now, &mut none).unwrap_err();
        assert_eq!(error, PacketError::Exhausted);
        assert!(error.ends_connection() && error.alert().is_none());
    }
    assert!(none.is_empty());

    let mut raw = Raw::with(RecordLimits { hard_stop: 4, ..RecordLimits::default() });
    assert_eq!(raw.data(0, 4), Err(PacketError::Malformed));
    assert_eq!(raw.data(0, 3), Ok(()));
}

#[test]
fn forged_packets_end_the_connection_without_a_word_once_they_are_too_many() {
    let mut raw = Raw::with(RecordLimits { failures: 3, ..RecordLimits::default() });
    let id = raw.id;
    let forged = |raw: &mut Raw, number| {
        let mut packet = raw.to_server[0].packet(0, &id, number, b"x\x01");
        *packet.last_mut().unwrap() ^= 1;
        opened(&mut raw.packets, &packet, raw.now).unwrap_err()
    };
    assert_eq!(forged(&mut raw, 0), PacketError::NotAuthentic);
    // What costs the attacker a guess at a tag is counted, and nothing else.
    assert_eq!(raw.data(2, 0), Err(PacketError::NotAuthentic));
    assert_eq!(raw.data(0, 0), Ok(()));
    assert_eq!(raw.data(0, 0), Err(PacketError::Replayed));
    assert_eq!(opened(&mut raw.packets, &[0x40; 60], raw.now), Err(PacketError::NotOurs));
    assert_eq!(forged(&mut raw, 1), PacketError::NotAuthentic);
    assert_eq!(raw.data(0, 1), Ok(()));

    let error = forged(&mut raw, 2);
    assert_eq!(error, PacketError::TooManyFailures);
    assert!(error.ends_connection() && error.alert().is_none());
    assert_eq!(raw.data(0, 2), Err(PacketError::TooManyFailures));
    let mut none = Vec::new();
    let sealed = raw.packets.seal(PacketType::Data, b"x", 0, raw.now, &mut none);
    assert_eq!((sealed, none.len()), (Err(PacketError::TooManyFailures), 0));
    assert_eq!(RecordLimits::default().failures, 1 << 36);
}

#[test]
fn a_refused_peer_gets_the_alert_as_packet_0_and_nothing_else_can_be_done() {
    let now = Instant::now();
    let mut alice = initiator::start(datagram_initiator(), &mut entropy(SIDE_I));
    let mut server =
        responder::accept(&datagram_responder(), alice.init(), &mut entropy(SIDE_R)).unwrap();
    let (fin, mut alice) = alice.handle_resp(server.resp(), now).unwrap();
    let behind = data(&mut alice.packets, b"behind FIN", now);
    let mut refused = server.handle_fin(&fin, now).unwrap().refuse(Alert::AccessDenied);

    assert_eq!(opened(&mut refused, &behind, now), Err(PacketError::Refused));
    let mut wire = Vec::new();
    for (kind, content) in [
        (PacketType::Data, &b"secret"[..]),
        (PacketType::Ping, b""),
        (PacketType::Close, b""),
        (PacketType::Alert, &[Alert::InternalError.code()]),
    ] {
        assert_eq!(refused.seal(kind, content, 0, now, &mut wire), Err(PacketError::Refused));
    }
    assert!(wire.is_empty());
    // For each FIN that is repeated the alert is sealed anew.
    for number in 0..3 {
        let mut alert = Vec::new();
        assert_eq!(refused.seal_refusal(now, &mut alert), Ok(number));
        let heard = opened(&mut alice.packets, &alert, now).unwrap();
        assert_eq!((heard.kind, &heard.content[..]), (PacketType::Alert, &[1][..]));
    }
    assert_eq!(refused.refusal(), Some(Alert::AccessDenied));

    let (mut alice, ..) = pair();
    assert_eq!(alice.refusal(), None);
    assert_eq!(alice.seal_refusal(now, &mut wire), Err(PacketError::NotRefused));
}

#[test]
fn only_what_a_peer_or_its_numbers_did_ends_a_connection() {
    for error in [
        PacketError::Malformed,
        PacketError::NotOurs,
        PacketError::Replayed,
        PacketError::TooOld,
        PacketError::NotAuthentic,
        PacketError::ContentTooLong,
        PacketError::Refused,
        PacketError::NotRefused,
    ] {
        assert!(!error.ends_connection() && error.alert().is_none(), "{error:?}");
    }
}

#[test]
fn a_clock_that_goes_back_harms_nothing() {
    let start = Instant::now();
    let later = start + Duration::from_secs(3_600);
    let (alice, server) = connect_datagrams(RecordLimits::default(), later);
    let (mut alice, mut server) = (alice.packets, server.packets);
    let packet = data(&mut alice, b"earlier", start);
    assert_eq!(opened(&mut server, &packet, start).unwrap().content, b"earlier");
}
