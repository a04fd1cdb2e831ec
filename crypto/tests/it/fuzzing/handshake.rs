//! The handshake's messages: raw, altered on the way, and from a peer who holds keys and keeps no
//! rule.

use std::time::Instant;

use bailiwick_crypto::{
    HandshakeError, RetryKeys, Transport,
    handshake::{MAX_MESSAGE, MessageKind, message_len},
    initiator, responder, retry,
};

use super::super::raw::{self, Peer};
use super::super::support::{self, FixedRng, SIDE_I, SIDE_R, entropy};
use super::Reader;

const ALICE: [u8; 32] = [0xa1; 32];
const SERVER: [u8; 32] = [0x5e; 32];

/// Parameters of nothing but an incarnation.
const PARAMS: [u8; 20] = *b"\x00\x05\x00\x10incarnation 1234";

fn server_key() -> [u8; 32] {
    *support::server().public_key().as_bytes()
}

fn peer(seed: [u8; 32], side: u8, transport: Transport) -> Peer {
    let transport = match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    Peer { transport, ..Peer::honest(seed, side, PARAMS.to_vec()) }
}

fn init_of(peer: &Peer, transport: Transport) -> Vec<u8> {
    match transport {
        Transport::Tcp => peer.init(&server_key()),
        Transport::Udp => peer.datagram_init(&server_key(), &[]),
    }
}

fn initiator(transport: Transport) -> initiator::AwaitingResp {
    let config = initiator::Config { transport, ..support::initiator_config() };
    initiator::start(config, &mut entropy(SIDE_I))
}

fn responder(transport: Transport) -> responder::Config {
    responder::Config { transport, ..support::responder_config() }
}

/// INIT at a responder: bytes as they come, or with a mac1 that holds.
pub(crate) fn init(input: &[u8]) {
    let mut reader = Reader(input);
    let (transport, mode) = (reader.transport(), reader.byte());
    let key = server_key();
    let message =
        if mode.is_multiple_of(2) { reader.0.to_vec() } else { raw::mac1(&key, reader.0) };
    // On a stream no more is read than the message's own length.
    if let Ok(Some(length)) = message_len(MessageKind::Init, &message) {
        assert!(length <= MAX_MESSAGE);
    }
    let config = responder(transport);
    let from = "192.0.2.1:40000".parse().unwrap();
    let tokens = RetryKeys::new(1_800_000_000, &mut FixedRng::new(&[7; 64]));
    assert!(!tokens.is_valid(&message, from, 1_800_000_000), "a token that nobody made");
    let judged = retry::check_init(&config, &message).map(|_| ());
    let accepted = responder::accept(&config, &message, &mut entropy(SIDE_R));
    match &accepted {
        // Only the share is looked at later.
        Err(HandshakeError::LowOrderShare) => assert_eq!(judged, Ok(())),
        Err(error) => assert_eq!(judged, Err(*error)),
        Ok(_) => assert_eq!(judged, Ok(())),
    }
    let Ok(accepted) = accepted else { return };
    let (covered, _) = message.split_at(message.len() - 16);
    assert_eq!(raw::mac1(&key, covered), message, "the sender knows our key");
    assert_eq!(message[..4], [1, 1, 0, 1]);
    let lengths = [&message[4..6], &message[6..8]];
    let [token, padding] = lengths.map(|it| usize::from(u16::from_be_bytes([it[0], it[1]])));
    assert_eq!(message.len(), 64 + token + padding);
    assert!(message.len() <= MAX_MESSAGE);
    assert!(message[48 + token..48 + token + padding].iter().all(|byte| *byte == 0));
    match transport {
        Transport::Tcp => assert_eq!(token + padding, 0),
        Transport::Udp => assert!(accepted.resp().len() <= 1200),
    }
}

/// RETRY at an initiator: any bytes, or an honest one that was altered.
pub(crate) fn retry(input: &[u8]) {
    let mut reader = Reader(input);
    let mode = reader.byte();
    let mut waiting = initiator(Transport::Udp);
    let before = waiting.init().to_vec();
    let honest = raw::datagram::retry(&server_key(), &before, &[9; 24]);
    let message = if mode.is_multiple_of(2) {
        reader.0.to_vec()
    } else {
        let mut message = honest.clone();
        reader.spoil(&mut message);
        message
    };
    let followed = waiting.handle_retry(&message);
    assert_eq!(followed.is_ok(), message == honest);
    if followed.is_err() {
        assert_eq!(waiting.init(), before, "nothing has changed");
        waiting.handle_retry(&honest).expect("the honest one still counts");
    }
    assert_ne!(waiting.init(), before);
}

/// RESP at an initiator.
pub(crate) fn resp(input: &[u8]) {
    let mut reader = Reader(input);
    let (transport, mode) = (reader.transport(), reader.byte());
    let now = Instant::now();
    let mut server = peer(SERVER, SIDE_R, transport);
    let mut waiting = initiator(transport);
    let honest = server.resp(waiting.init()).resp;
    let mut says = Says::WhatHolds;
    let message = match mode % 3 {
        0 => reader.0.to_vec(),
        1 => {
            let mut message = honest.clone();
            reader.spoil(&mut message);
            message
        }
        _ => {
            says = misbehave(&mut server, &mut reader, 56);
            server.resp(waiting.init()).resp
        }
    };
    let _ = message_len(MessageKind::Resp, &message);
    let is_honest_or_insider = message == honest || mode % 3 == 2;
    let params = match transport {
        Transport::Tcp => waiting.read_resp(&message, now).map(|(_, session)| session.peer_params),
        Transport::Udp => {
            let read = waiting.handle_resp(&message, now).map(|(_, it)| it.peer_params);
            // What ends the attempt was said by the server itself.
            let ends = read.as_ref().is_err_and(HandshakeError::ends_attempt);
            assert!(is_honest_or_insider || !ends);
            if read.is_err() {
                waiting.handle_resp(&honest, now).expect("the honest one still counts");
            }
            let again = waiting.handle_resp(&honest, now);
            assert!(matches!(again, Err(HandshakeError::Complete)), "FIN is built once");
            read
        }
    };
    assert!(params.is_err() || is_honest_or_insider, "a stranger is believed");
    assert!(params.is_err() || says == Says::WhatHolds, "a proof that does not hold is believed");
    assert!(params.is_ok() || message != honest);
    if let Ok(params) = params {
        assert_eq!(params.check(), Ok(()));
    }
}

/// FIN at a responder.
pub(crate) fn fin(input: &[u8]) {
    let mut reader = Reader(input);
    let (transport, mode) = (reader.transport(), reader.byte());
    let now = Instant::now();
    let mut alice = peer(ALICE, SIDE_I, transport);
    let init = init_of(&alice, transport);
    let accepted = responder::accept(&responder(transport), &init, &mut entropy(SIDE_R));
    let mut waiting = accepted.expect("INIT is honest");
    let keys = alice.read_resp(&init, waiting.resp());
    let honest = alice.fin(keys.clone()).fin;
    let mut says = Says::WhatHolds;
    let message = match mode % 3 {
        0 => reader.0.to_vec(),
        1 => {
            let mut message = honest.clone();
            reader.spoil(&mut message);
            message
        }
        _ => {
            says = misbehave(&mut alice, &mut reader, 16);
            alice.fin(keys).fin
        }
    };
    let _ = message_len(MessageKind::Fin, &message);
    let is_honest_or_insider = message == honest || mode % 3 == 2;
    let admitted = match transport {
        Transport::Tcp => waiting.read_fin(&message, now).map(|peer| {
            assert_eq!(peer.peer(), support::alice().public_key());
            peer.admit().map(|session| session.peer_params).map_err(|refusal| refusal.error)
        }),
        Transport::Udp => {
            let read = waiting.handle_fin(&message, now).map(|peer| {
                assert_eq!(peer.peer(), support::alice().public_key());
                peer.admit().map(|session| session.peer_params).map_err(|refusal| refusal.error)
            });
            if read.is_err() {
                let _ = waiting.handle_fin(&honest, now).expect("the honest one still counts");
            }
            let again = waiting.handle_fin(&honest, now);
            assert!(matches!(again, Err(HandshakeError::Complete)), "one FIN is accepted");
            read
        }
    };
    assert!(admitted.is_err() || is_honest_or_insider, "a stranger is believed");
    assert!(admitted.is_err() || says == Says::WhatHolds, "a proof that does not hold is believed");
    assert!(admitted.is_ok() || message != honest);
    if let Ok(Ok(params)) = admitted {
        assert_eq!(params.check(), Ok(()));
    }
}

/// Whether somebody who holds keys proves what it says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    WhatHolds,
    WhatDoesNot,
}

/// What somebody who holds keys may say all the same, in the clear bytes too.
fn misbehave(peer: &mut Peer, reader: &mut Reader<'_>, clear: u8) -> Says {
    let before = peer.clone();
    // As long as a message may be, and a little longer.
    let params = reader.bytes();
    peer.params = params[..params.len().min(MAX_MESSAGE)].to_vec();
    let knobs = reader.byte();
    if knobs & 1 != 0 {
        peer.plen = Some(reader.short());
    }
    if knobs & 2 != 0 {
        peer.signature_error = reader.byte();
    }
    if knobs & 4 != 0 {
        peer.finished_error = reader.byte();
    }
    if knobs & 8 != 0 {
        peer.label = Some(b"bailiwick/1 another signature");
    }
    if knobs & 16 != 0 {
        peer.id[usize::from(reader.byte() % 32)] ^= reader.byte();
    }
    while !reader.is_empty() && peer.clear.len() < 8 {
        peer.clear.push((usize::from(reader.byte() % clear), reader.byte()));
    }
    let holds = peer.id == before.id
        && peer.label.is_none()
        && (peer.signature_error, peer.finished_error) == (0, 0)
        && peer.plen.is_none_or(|plen| usize::from(plen) == peer.params.len());
    if holds { Says::WhatHolds } else { Says::WhatDoesNot }
}
