//! The handshake over datagrams: what fails changes nothing, and the honest message still completes.

mod retry;

use std::time::Instant;

use bailiwick_crypto::initiator::AwaitingResp;
use bailiwick_crypto::responder::AwaitingFin;
use bailiwick_crypto::retry::check_init;
use bailiwick_crypto::{
    Alert, DatagramKind, DatagramSession, HandshakeError, PacketType, Params, ParamsError,
    RecordLimits, datagram_kind, destination, initiator, responder,
};
use proptest::prelude::*;

use crate::raw::Peer;
use crate::support::{
    SIDE_I, SIDE_R, alice, connect_datagrams, datagram_initiator, datagram_responder, entropy,
    initiator_config, psk, responder_config, server,
};

const FLIPS: [u8; 2] = [0x01, 0x80];

#[test]
fn both_ends_learn_the_others_key_params_and_the_same_channel() {
    let (at_alice, at_server) = connect_datagrams(RecordLimits::default(), Instant::now());
    assert_eq!(at_alice.peer, server().public_key());
    assert_eq!(at_server.peer, alice().public_key());
    assert_eq!(at_alice.peer_params, Params::new([0xbb; 16]));
    assert_eq!(at_server.peer_params, Params::new([0xaa; 16]));
    assert_eq!(at_alice.channel_id, at_server.channel_id);
    let exported = at_alice.exporter.export("one").unwrap();
    assert_eq!(at_server.exporter.export("one").unwrap(), exported);
}

#[test]
fn every_byte_of_an_init_counts() {
    let init = begun().init().to_vec();
    let config = datagram_responder();
    for (at, flip) in flips(&init) {
        let forged = flipped(&init, at, flip);
        let error = responder::accept(&config, &forged, &mut entropy(SIDE_R)).unwrap_err();
        match at {
            0 => assert_eq!(error, HandshakeError::WrongType),
            1 => assert_eq!(error, HandshakeError::UnsupportedVersion(1 ^ flip)),
            2..4 => assert!(matches!(error, HandshakeError::UnsupportedSuite(_))),
            4..8 => assert!(matches!(error, HandshakeError::Length | HandshakeError::TooLong)),
            // Padding is judged before the MAC over it.
            48..1_184 => assert_eq!(error, HandshakeError::Reserved),
            _ => assert_eq!(error, HandshakeError::NotAddressed, "byte {at}"),
        }
        assert_eq!(check_init(&config, &forged), Err(error));
    }
    for end in 0..init.len() {
        assert_eq!(check_init(&config, &init[..end]), Err(HandshakeError::Length));
    }
    let summary = check_init(&config, &init).unwrap();
    assert_eq!((summary.scid, summary.has_token), ([SIDE_I; 8], false));
}

#[test]
fn a_resp_that_fails_changes_nothing_and_the_honest_one_still_completes() {
    let mut initiator = begun();
    let mut responder = accepted(&initiator);
    let resp = responder.resp().to_vec();
    let mut refused = |forged: &[u8]| initiator.handle_resp(forged, Instant::now()).unwrap_err();
    for (at, flip) in flips(&resp) {
        let error = refused(&flipped(&resp, at, flip));
        match at {
            0 => assert_eq!(error, HandshakeError::WrongType),
            1 => assert_eq!(error, HandshakeError::UnsupportedVersion(1 ^ flip)),
            2..4 => assert!(matches!(error, HandshakeError::UnsupportedSuite(_))),
            4..6 => assert!(matches!(error, HandshakeError::Length | HandshakeError::TooLong)),
            6..8 => assert_eq!(error, HandshakeError::Reserved),
            8..16 => assert_eq!(error, HandshakeError::WrongConnection),
            _ => assert_eq!(error, HandshakeError::Box, "byte {at}"),
        }
        assert!(!error.ends_attempt());
    }
    for end in 0..resp.len() {
        assert_eq!(refused(&resp[..end]), HandshakeError::Length);
    }
    let mut low_order = resp.clone();
    low_order[24..56].fill(0);
    assert_eq!(refused(&low_order), HandshakeError::LowOrderShare);
    completes(&mut initiator, &mut responder);
}

#[test]
fn a_fin_that_fails_changes_nothing_and_the_honest_one_still_completes() {
    let mut initiator = begun();
    let mut responder = accepted(&initiator);
    let now = Instant::now();
    let (fin, at_alice) = initiator.handle_resp(responder.resp(), now).unwrap();
    for (at, flip) in flips(&fin) {
        let error = responder.handle_fin(&flipped(&fin, at, flip), now).unwrap_err();
        match at {
            0 => assert_eq!(error, HandshakeError::WrongType),
            1 => assert_eq!(error, HandshakeError::UnsupportedVersion(1 ^ flip)),
            2..4 | 6..8 => assert_eq!(error, HandshakeError::Reserved),
            4..6 => assert!(matches!(error, HandshakeError::Length | HandshakeError::TooLong)),
            8..16 => assert_eq!(error, HandshakeError::WrongConnection),
            _ => assert_eq!(error, HandshakeError::Box, "byte {at}"),
        }
    }
    for end in 0..fin.len() {
        let error = responder.handle_fin(&fin[..end], now).unwrap_err();
        assert_eq!(error, HandshakeError::Length);
    }
    let at_server = responder.handle_fin(&fin, now).unwrap().admit().unwrap();
    talk(at_alice, at_server);
}

#[test]
fn fin_and_keys_are_made_once_whatever_comes_again() {
    let mut initiator = begun();
    let mut first = accepted(&initiator);
    // A server that lost its memory answers the same INIT by another RESP.
    let config = datagram_responder();
    let second = responder::accept(&config, initiator.init(), &mut entropy(0x77)).unwrap();
    let now = Instant::now();
    let (fin, at_alice) = initiator.handle_resp(first.resp(), now).unwrap();
    for again in [first.resp(), second.resp()] {
        let error = initiator.handle_resp(again, now).unwrap_err();
        assert_eq!(error, HandshakeError::Complete);
        assert!(!error.ends_attempt());
    }
    assert_eq!(initiator.handle_retry(&[0; 56]), Err(HandshakeError::Complete));
    let at_server = first.handle_fin(&fin, now).unwrap().admit().unwrap();
    assert_eq!(first.handle_fin(&fin, now).unwrap_err(), HandshakeError::Complete);
    talk(at_alice, at_server);
}

#[test]
fn resp_is_the_same_bytes_however_often_it_is_sent() {
    let mut initiator = begun();
    let mut responder = accepted(&initiator);
    let resp = responder.resp().to_vec();
    completes(&mut initiator, &mut responder);
    assert_eq!(responder.resp(), resp);
}

#[test]
fn the_keys_of_one_transport_never_serve_the_other() {
    let now = Instant::now();
    let mut stream = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    let mut answering =
        responder::accept(&responder_config(), stream.init(), &mut entropy(SIDE_R)).unwrap();
    let error = stream.handle_resp(answering.resp(), now).unwrap_err();
    assert_eq!(error, HandshakeError::WrongTransport);
    assert_eq!(stream.handle_retry(&[0; 56]), Err(HandshakeError::WrongTransport));
    let (fin, _) = stream.read_resp(answering.resp(), now).unwrap();
    let error = answering.handle_fin(&fin, now).unwrap_err();
    assert_eq!(error, HandshakeError::WrongTransport);

    let mut datagram = begun();
    let mut answering = accepted(&datagram);
    let (fin, _) = datagram.handle_resp(answering.resp(), now).unwrap();
    let error = begun().read_resp(answering.resp(), now).unwrap_err();
    assert_eq!(error, HandshakeError::WrongTransport);
    assert!(answering.handle_fin(&fin, now).is_ok());
    let error = answering.read_fin(&fin, now).unwrap_err();
    assert_eq!(error, HandshakeError::WrongTransport);
}

#[test]
fn resp_and_fin_fit_a_datagram_of_1200_bytes() {
    // Parameters of a type that nobody knows fill the message to its limit, and one byte beyond.
    let padded = |total: usize, clear: usize, lease: bool| {
        let mut list = [&[0, 5, 0, 16][..], &[0xcc; 16]].concat();
        if lease {
            list.extend([0, 6, 0, 4, 0, 0, 0xea, 0x60]);
        }
        let len = total - clear - 130 - 16 - list.len() - 4;
        list.extend([0, 99]);
        list.extend(u16::try_from(len).unwrap().to_be_bytes());
        list.extend(vec![1; len]);
        list
    };
    let now = Instant::now();
    for (total, fits) in [(1_200, true), (1_201, false)] {
        let mut initiator = begun();
        let params = padded(total, 56, true);
        let raw = Peer { transport: "udp", ..Peer::honest([0x5e; 32], SIDE_R, params) };
        let answered = initiator.handle_resp(&raw.resp(initiator.init()).resp, now).map(|_| ());
        assert_eq!(answered, if fits { Ok(()) } else { Err(HandshakeError::TooLong) });

        let params = padded(total, 16, false);
        let raw = Peer { transport: "udp", ..Peer::honest([0xa1; 32], SIDE_I, params) };
        let init = raw.datagram_init(server().public_key().as_bytes(), &[]);
        let mut responder =
            responder::accept(&datagram_responder(), &init, &mut entropy(SIDE_R)).unwrap();
        let fin = raw.fin(raw.read_resp(&init, responder.resp())).fin;
        let answered = responder.handle_fin(&fin, now).map(|_| ());
        assert_eq!(answered, if fits { Ok(()) } else { Err(HandshakeError::TooLong) });
    }
}

#[test]
fn a_server_whose_parameters_fail_ends_the_attempt() {
    let mut initiator = begun();
    let raw = Peer { transport: "udp", ..Peer::honest([0x5e; 32], SIDE_R, Vec::new()) };
    let resp = raw.resp(initiator.init()).resp;
    let error = initiator.handle_resp(&resp, Instant::now()).unwrap_err();
    assert_eq!(error, HandshakeError::Params(ParamsError::NoIncarnation));
    assert!(error.ends_attempt());
}

#[test]
fn a_client_whose_parameters_fail_is_told_so_and_nothing_else() {
    let now = Instant::now();
    let raw = Peer { transport: "udp", ..Peer::honest([0xa1; 32], SIDE_I, vec![0]) };
    let init = raw.datagram_init(server().public_key().as_bytes(), &[]);
    let mut responder =
        responder::accept(&datagram_responder(), &init, &mut entropy(SIDE_R)).unwrap();
    let keys = raw.fin(raw.read_resp(&init, responder.resp()));
    let refusal = responder.handle_fin(&keys.fin, now).unwrap().admit().unwrap_err();
    assert_eq!(refusal.error, ParamsError::Malformed);
    let mut packets = refusal.packets;
    let mut alert = Vec::new();
    packets.seal_refusal(now, &mut alert).unwrap();
    let traffic = crate::raw::Traffic::new(keys.ts_r);
    let inner = vec![Alert::ProtocolError.code(), PacketType::Alert as u8];
    assert_eq!(traffic.open_packet(&alert), Some((0, inner)));
}

#[test]
fn another_pre_shared_key_or_another_server_meets_silence() {
    let mut initiator = begun();
    let config =
        responder::Config { identities: vec![(server(), Some(psk(7)))], ..datagram_responder() };
    let responder = responder::accept(&config, initiator.init(), &mut entropy(SIDE_R)).unwrap();
    let error = initiator.handle_resp(responder.resp(), Instant::now()).unwrap_err();
    assert_eq!(error, HandshakeError::Box);
    assert!(!error.ends_attempt());
    let elsewhere = responder::Config { identities: vec![(alice(), None)], ..config };
    assert_eq!(check_init(&elsewhere, initiator.init()), Err(HandshakeError::NotAddressed));
}

#[test]
fn a_datagram_tells_what_it_is_and_whose() {
    let mut initiator = begun();
    let mut responder = accepted(&initiator);
    assert_eq!((initiator.scid(), responder.peer_id()), ([SIDE_I; 8], [SIDE_I; 8]));
    assert_eq!(responder.scid(), [SIDE_R; 8]);
    let (fin, mut at_alice) = initiator.handle_resp(responder.resp(), Instant::now()).unwrap();
    let mut packet = Vec::new();
    at_alice.packets.seal(PacketType::Ping, b"", 0, Instant::now(), &mut packet).unwrap();
    let retry = [&[4, 1, 0, 0, 0, 0, 0, 0][..], &[SIDE_I; 8], &[0; 40]].concat();
    for (datagram, kind, id) in [
        (initiator.init(), DatagramKind::Init, None),
        (responder.resp(), DatagramKind::Resp, Some([SIDE_I; 8])),
        (&fin, DatagramKind::Fin, Some([SIDE_R; 8])),
        (&retry, DatagramKind::Retry, Some([SIDE_I; 8])),
        (&packet, DatagramKind::Packet, Some([SIDE_R; 8])),
    ] {
        assert_eq!((datagram_kind(datagram), destination(datagram)), (Some(kind), id));
        let id_ends = if kind == DatagramKind::Packet { 9 } else { 16 };
        for end in 0..id_ends {
            assert_eq!(destination(&datagram[..end]), None);
        }
    }
    assert!(responder.handle_fin(&fin, Instant::now()).is_ok());
    for first in (0..=255).filter(|first| ![1, 2, 3, 4, 0x40, 0x50, 0x60, 0x70].contains(first)) {
        let datagram = [&[first][..], &[0; 99]].concat();
        assert_eq!((datagram_kind(&datagram), destination(&datagram)), (None, None));
    }
    assert_eq!(datagram_kind(&[]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_datagram_from_a_stranger_reaches_a_panic(
        first in prop::sample::select(vec![1_u8, 2, 3, 4, 0x40, 0x50, 0x60, 0x70]),
        rest in prop::collection::vec(any::<u8>(), 0..1_300),
    ) {
        let mut bytes = [vec![first], rest].concat();
        let _ = destination(&bytes);
        let mut initiator = begun();
        let mut responder = accepted(&initiator);
        let (mut at_alice, mut at_server) = session(&mut begun(), &mut accepted(&initiator));
        let now = Instant::now();
        prop_assert!(check_init(&datagram_responder(), &bytes).is_err());
        prop_assert!(initiator.handle_retry(&bytes).is_err());
        prop_assert!(initiator.handle_resp(&bytes, now).is_err());
        prop_assert!(responder.handle_fin(&bytes, now).is_err());
        prop_assert!(at_server.packets.open(&mut bytes, now).is_err());
        // Even with the right id in front.
        if let Some(id) = bytes.get_mut(1..9) {
            id.copy_from_slice(&at_alice.packets.local_id());
        }
        prop_assert!(at_alice.packets.open(&mut bytes, now).is_err());
    }
}

fn begun() -> AwaitingResp {
    initiator::start(datagram_initiator(), &mut entropy(SIDE_I))
}

fn accepted(initiator: &AwaitingResp) -> AwaitingFin {
    responder::accept(&datagram_responder(), initiator.init(), &mut entropy(SIDE_R)).unwrap()
}

/// The handshake goes through, and both ends hear each other.
fn completes(initiator: &mut AwaitingResp, responder: &mut AwaitingFin) {
    let (at_alice, at_server) = session(initiator, responder);
    talk(at_alice, at_server);
}

fn session(
    initiator: &mut AwaitingResp,
    responder: &mut AwaitingFin,
) -> (DatagramSession, DatagramSession) {
    let now = Instant::now();
    let (fin, at_alice) = initiator.handle_resp(responder.resp(), now).unwrap();
    (at_alice, responder.handle_fin(&fin, now).unwrap().admit().unwrap())
}

fn talk(mut at_alice: DatagramSession, mut at_server: DatagramSession) {
    let now = Instant::now();
    let mut packet = Vec::new();
    at_server.packets.seal(PacketType::Ping, b"", 0, now, &mut packet).unwrap();
    assert_eq!(at_alice.packets.open(&mut packet, now).unwrap().kind, PacketType::Ping);
    let mut packet = Vec::new();
    at_alice.packets.seal(PacketType::Data, b"hello", 0, now, &mut packet).unwrap();
    assert_eq!(at_server.packets.open(&mut packet, now).unwrap().content, b"hello");
}

fn flips(message: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    (0..message.len()).flat_map(|at| FLIPS.map(|flip| (at, flip)))
}

fn flipped(message: &[u8], at: usize, flip: u8) -> Vec<u8> {
    let mut message = message.to_vec();
    message[at] ^= flip;
    message
}
