//! What a handshake between honest ends gives.

use std::time::{Duration, Instant};

use bailiwick_crypto::handshake::ZeroPsk;
use bailiwick_crypto::{
    Alert, HandshakeError, LabelTooLong, MessageKind, Opened, Params, ParamsError, Psk,
    RecordError, RecordLimits, Records, Transport, handshake, initiator, responder,
};

use crate::support::{
    FixedRng, SIDE_I, SIDE_R, alice, connect, entropy, initiator_config, mallory, psk,
    responder_config, server,
};

#[test]
fn both_ends_learn_the_others_key_params_and_the_same_channel() {
    let (alice_session, server_session) = connect(RecordLimits::default(), Instant::now());
    assert_eq!(alice_session.peer, server().public_key());
    assert_eq!(server_session.peer, alice().public_key());
    assert_eq!(alice_session.peer_params, Params::new([0xbb; 16]));
    assert_eq!(server_session.peer_params, Params::new([0xaa; 16]));
    assert_eq!(alice_session.channel_id, server_session.channel_id);
}

#[test]
fn both_ends_export_the_same_key_for_a_label_and_another_for_another() {
    let (alice, server) = connect(RecordLimits::default(), Instant::now());
    let exported = alice.exporter.export("one").unwrap();
    assert_eq!(server.exporter.export("one").unwrap(), exported);
    assert_ne!(alice.exporter.export("two").unwrap(), exported);
    assert!(alice.exporter.export([0; 255]).is_ok());
    assert_eq!(alice.exporter.export([0; 256]), Err(LabelTooLong));
}

#[test]
fn each_of_several_server_keys_answers_for_itself_and_under_its_own_psk() {
    let now = Instant::now();
    let config = responder::Config {
        identities: vec![(mallory(), None), (server(), Some(psk(7)))],
        ..responder_config()
    };
    for (identity, key) in [(mallory(), None), (server(), Some(psk(7)))] {
        let dial =
            initiator::Config { server: identity.public_key(), psk: key, ..initiator_config() };
        let awaiting = initiator::start(dial, &mut entropy(SIDE_I));
        let answering = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R)).unwrap();
        let (fin, session) = awaiting.read_resp(answering.resp(), now).unwrap();
        let authenticated = answering.read_fin(&fin, now).unwrap();
        assert_eq!(authenticated.local(), identity.public_key());
        assert_eq!(authenticated.peer(), alice().public_key());
        assert_eq!(authenticated.channel_id(), session.channel_id);
    }
}

#[test]
fn an_init_for_datagrams_is_padded_to_1200_bytes_and_its_handshake_ends() {
    let now = Instant::now();
    let dial = initiator::Config { transport: Transport::Udp, ..initiator_config() };
    let config = responder::Config { transport: Transport::Udp, ..responder_config() };
    let mut awaiting = initiator::start(dial, &mut entropy(SIDE_I));
    assert_eq!(awaiting.init().len(), 1_200);
    let mut answering = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R)).unwrap();
    let (fin, session) = awaiting.handle_resp(answering.resp(), now).unwrap();
    let authenticated = answering.handle_fin(&fin, now).unwrap();
    assert_eq!(authenticated.channel_id(), session.channel_id);
}

#[test]
fn the_first_record_may_follow_fin_in_the_same_write() {
    let now = Instant::now();
    let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    let config = responder_config();
    let answering = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R)).unwrap();
    let (mut wire, mut alice) = awaiting.read_resp(answering.resp(), now).unwrap();
    alice.records.seal_data(b"early", now, &mut wire).unwrap();

    let len = handshake::message_len(MessageKind::Fin, &wire).unwrap().unwrap();
    let (fin, record) = wire.split_at_mut(len);
    let mut server = answering.read_fin(fin, now).unwrap().admit().unwrap();
    assert_eq!(Records::record_len(record), Ok(Some(record.len())));
    assert_eq!(server.records.open(record, now), Ok(Opened::Data(&mut b"early".to_owned())));
}

#[test]
fn resp_in_two_parts_is_resp() {
    let now = Instant::now();
    let mut awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    let config = responder_config();
    let answering = responder::begin(&config, awaiting.init(), &mut entropy(SIDE_R)).unwrap();
    let clear = answering.clear().to_vec();
    assert_eq!(clear.len(), 56);
    let answering = answering.finish().unwrap();
    let at_once = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R)).unwrap();
    assert_eq!(answering.resp(), at_once.resp());
    assert!(answering.resp().starts_with(&clear));

    for end in 0..clear.len() {
        awaiting.read_ahead(&clear[..end]);
    }
    awaiting.read_ahead(&clear);
    let (fin, session) = awaiting.read_resp(answering.resp(), now).unwrap();
    assert_eq!(answering.read_fin(&fin, now).unwrap().channel_id(), session.channel_id);
}

#[test]
fn what_was_agreed_ahead_counts_for_no_other_share() {
    let now = Instant::now();
    let mut awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    let config = responder_config();
    let answering = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R)).unwrap();
    let mut other = answering.resp()[..56].to_vec();
    other[24..].fill(9);
    awaiting.read_ahead(&other);
    assert!(format!("{awaiting:?}").contains("Ephemeral(..)"), "and is never shown");
    let (fin, _) = awaiting.read_resp(answering.resp(), now).unwrap();
    assert!(answering.read_fin(&fin, now).is_ok());
}

#[test]
fn a_share_that_was_drawn_before_serves_one_handshake() {
    let config = responder_config();
    config.prepare(&mut entropy(0x51));
    config.prepare(&mut entropy(0x52));
    let shares: Vec<_> = (0..2)
        .map(|_| {
            let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
            let answering = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R));
            let answering = answering.unwrap();
            assert!(awaiting.read_resp(answering.resp(), Instant::now()).is_ok());
            answering.resp()[24..56].to_vec()
        })
        .collect();
    let drawn = |from: u8| {
        let config = responder_config();
        let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
        let answering = responder::accept(&config, awaiting.init(), &mut entropy(from)).unwrap();
        answering.resp()[24..56].to_vec()
    };
    assert_eq!(shares, [drawn(0x51), drawn(SIDE_R)]);
}

#[test]
fn lengths_on_a_stream_are_known_once_the_clear_bytes_are_there_and_not_before() {
    let now = Instant::now();
    let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    let config = responder_config();
    let answering = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R)).unwrap();
    let init = awaiting.init().to_vec();
    let resp = answering.resp().to_vec();
    let (fin, _) = awaiting.read_resp(&resp, now).unwrap();
    for (kind, message, clear) in [
        (MessageKind::Init, &init, 64),
        (MessageKind::Resp, &resp, 56),
        (MessageKind::Fin, &fin, 16),
    ] {
        for end in 0..=message.len() {
            let expected = (end >= clear).then_some(message.len());
            assert_eq!(handshake::message_len(kind, &message[..end]), Ok(expected), "{kind:?}");
        }
        // Not even a wrong first byte is judged early.
        assert_eq!(handshake::message_len(kind, &vec![0xff; clear - 1]), Ok(None));
        let judged = handshake::message_len(kind, &vec![0xff; clear]);
        assert_eq!(judged, Err(HandshakeError::WrongType));
    }
}

#[test]
fn a_refused_peer_gets_the_alert_as_record_0_and_nothing_else_can_be_done() {
    let now = Instant::now();
    let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    let config = responder_config();
    let answering = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R)).unwrap();
    let (fin, mut alice) = awaiting.read_resp(answering.resp(), now).unwrap();
    let mut behind = Vec::new();
    alice.records.seal_data(b"behind FIN", now, &mut behind).unwrap();

    let mut refused = answering.read_fin(&fin, now).unwrap().refuse(Alert::AccessDenied);
    assert_eq!(refused.open(&mut behind, now), Err(RecordError::Closed));
    let mut wire = Vec::new();
    assert_eq!(refused.seal_data(b"secret", now, &mut wire), Err(RecordError::Closed));
    assert_eq!(refused.seal_ping(now, &mut wire), Err(RecordError::Closed));
    assert_eq!(refused.seal_close(now, &mut wire), Err(RecordError::Closed));
    assert!(wire.is_empty());
    refused.poll_transmit(now, &mut wire).unwrap();
    assert_eq!(alice.records.open(&mut wire, now), Ok(Opened::Alert(Alert::AccessDenied)));
    let mut more = Vec::new();
    refused.poll_transmit(now, &mut more).unwrap();
    assert!(more.is_empty() && refused.sending_ended());
}

#[test]
fn the_key_of_a_peer_is_remembered_as_proven_once_it_is_let_in_and_not_before() {
    let (now, config) = (Instant::now(), responder_config());
    let authenticated = || {
        let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
        let answering = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R)).unwrap();
        let (fin, _) = awaiting.read_resp(answering.resp(), now).unwrap();
        answering.read_fin(&fin, now).unwrap()
    };
    let proven = || format!("{:?}", config.proven);
    let _refused = authenticated().refuse(Alert::AccessDenied);
    assert_eq!(proven(), "ProvenKeys(0)");
    let admitted = authenticated();
    assert_eq!(proven(), "ProvenKeys(0)");
    assert!(admitted.admit().is_ok());
    assert_eq!(proven(), "ProvenKeys(1)");
    // What was proven serves the next handshake, which is as strict about all else.
    assert_eq!(authenticated().admit().unwrap().peer, alice().public_key());
    assert_eq!(proven(), "ProvenKeys(1)");
}

#[test]
fn parameters_of_our_own_that_every_peer_would_refuse_do_not_leave() {
    let now = Instant::now();
    let params = Params { max_frame: 1_023, ..Params::new([0; 16]) };
    let config = responder::Config { params, ..responder_config() };
    let awaiting = initiator::start(initiator_config(), &mut entropy(SIDE_I));
    let refused = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R));
    let expected = HandshakeError::OwnParams(ParamsError::OutOfRange(1));
    assert_eq!(refused.unwrap_err(), expected);

    let params = Params { idle_timeout: Duration::from_millis(999), ..Params::new([0; 16]) };
    let dial = initiator::Config { params, ..initiator_config() };
    let awaiting = initiator::start(dial, &mut entropy(SIDE_I));
    let config = responder_config();
    let answering = responder::accept(&config, awaiting.init(), &mut entropy(SIDE_R)).unwrap();
    let refused = awaiting.read_resp(answering.resp(), now);
    let expected = HandshakeError::OwnParams(ParamsError::OutOfRange(2));
    assert_eq!(refused.unwrap_err(), expected);
}

#[test]
fn the_smaller_idle_timeout_counts() {
    let short = Params { idle_timeout: Duration::from_secs(5), ..Params::new([0; 16]) };
    let long = Params::new([0; 16]);
    assert_eq!(short.agreed_idle_timeout(&long), Duration::from_secs(5));
    assert_eq!(long.agreed_idle_timeout(&short), Duration::from_secs(5));
}

#[test]
fn a_psk_of_zeros_is_refused() {
    assert_eq!(Psk::from_bytes(&[0; 32]).unwrap_err(), ZeroPsk);
}

#[test]
fn nothing_that_is_printed_holds_a_secret() {
    // Every secret byte that goes in is 0x77, which prints as 77 or 119.
    let now = Instant::now();
    let dial = initiator::Config {
        identity: bailiwick_crypto::Identity::from_seed(&[0x77; 32]),
        psk: Some(psk(0x77)),
        ..initiator_config()
    };
    let config =
        responder::Config { identities: vec![(server(), Some(psk(0x77)))], ..responder_config() };
    let awaiting = initiator::start(dial.clone(), &mut FixedRng::new(&[0x77; 40]));
    let answering =
        responder::accept(&config, awaiting.init(), &mut FixedRng::new(&[0x66; 40])).unwrap();
    let mut printed = format!("{:?} {:?} {:?}", dial.identity, dial.psk, answering);
    printed += &format!("{:?}", initiator::start(dial.clone(), &mut FixedRng::new(&[0x77; 40])));
    let (_, session) = awaiting.read_resp(answering.resp(), now).unwrap();
    printed += &format!("{:?} {:?}", session.records, session.exporter);
    assert!(!printed.contains("7777777777"), "{printed}");
    // The id that was drawn beside the share is public and has 8 bytes; a share would have 32.
    assert!(!printed.contains(&["119"; 9].join(", ")), "{printed}");
}
