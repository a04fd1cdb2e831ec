//! An endpoint in virtual time: who gets in, who does not, and what it costs.

use bailiwick_crypto::{Alert, DatagramKind, PacketType, initiator};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::{
    endpoint::NotAdmitted,
    testing::{LookUp, Server, at, caller, kinds, millis, rng, server_identity, source_number},
};
use crate::{config::Limits, error::Disconnected};

fn server() -> Server {
    Server::new(Limits::default())
}

#[test]
fn a_handshake_becomes_a_session_and_is_confirmed_at_once() {
    let mut server = server();
    let mut begun = server.begin(&caller(2), at(1, 1)).unwrap();
    let (fin, mut packets) = begun.finish(server.now);

    let mut answers = server.answers(&fin, at(1, 1));
    assert_eq!(kinds(&answers), [DatagramKind::Packet]);
    let opened = packets.open(&mut answers[0], server.now).unwrap();
    assert_eq!((opened.number, opened.kind), (0, PacketType::Ping));
    assert_eq!(server.applicants[0].key, caller(2).identity.public_key());
    assert_eq!(server.applicants[0].from, at(1, 1));

    let mut packet = Vec::new();
    packets.seal(PacketType::Data, &[0, 0, 0, 2, 9, 9], 0, server.now, &mut packet).unwrap();
    server.handle(&packet, at(1, 1));
    assert_eq!(server.frames, [(server.admitted[0], vec![9, 9])]);
}

#[test]
fn an_init_below_1_200_bytes_is_dropped() {
    let mut server = server();
    let init = initiator::start(caller(2), &mut rng(1)).init().to_vec();
    for length in [0, 1, 63, 64, 1199] {
        assert!(server.answers(&init[..length], at(1, 1)).is_empty(), "{length} bytes");
    }
    assert_eq!(server.endpoint.connections(), 0);
    assert_eq!(server.refused("malformed_handshake"), 4);
    assert_eq!(kinds(&server.answers(&init, at(1, 1))), [DatagramKind::Resp]);
}

#[test]
fn who_does_not_know_the_servers_key_is_met_by_silence_and_keeps_nothing_here() {
    let mut server = server();
    let mut config = caller(2);
    config.server = caller(3).identity.public_key();
    for seed in 0..100 {
        let init = initiator::start(config.clone(), &mut rng(seed)).init().to_vec();
        assert!(server.answers(&init, at(1, 1)).is_empty());
    }
    assert_eq!(server.endpoint.connections(), 0);
    assert_eq!(server.endpoint.next_timeout(), None);
    assert_eq!(server.refused("wrong_server_key"), 100);
    // They did not count towards the rate of those who do know it.
    let begun = server.begin(&caller(2), at(1, 1)).unwrap();
    assert_eq!(kinds(&[begun.resp]), [DatagramKind::Resp]);
}

#[test]
fn a_resp_is_built_once_and_answers_the_same_init_from_the_same_port_only() {
    let mut server = server();
    let begun = server.begin(&caller(2), at(1, 1)).unwrap();
    assert_eq!(server.answers(begun.init(), at(1, 1)), [&begun.resp[..]]);
    server.set_time(4_999);
    assert_eq!(server.answers(begun.init(), at(1, 1)), [&begun.resp[..]]);
    assert_eq!(server.endpoint.connections(), 1);

    let elsewhere = server.answers(begun.init(), at(1, 2));
    assert_eq!(kinds(&elsewhere), [DatagramKind::Resp]);
    assert_ne!(elsewhere, [&begun.resp[..]]);
    assert_eq!(server.endpoint.connections(), 2);
}

#[test]
fn a_handshake_has_five_seconds_from_its_first_init() {
    for (ms, admitted) in [(4_999, 1), (5_000, 0)] {
        let mut server = server();
        let mut begun = server.begin(&caller(2), at(1, 1)).unwrap();
        let first = server.now;
        server.set_time(3_000);
        server.handle(begun.init(), at(1, 1));
        assert_eq!(server.endpoint.next_timeout(), Some(first + millis(5_000)));
        let (fin, _) = begun.finish(server.now);
        server.now = first + millis(ms);
        server.handle(&fin, at(1, 1));
        assert_eq!(server.admitted.len(), admitted, "FIN after {ms} ms");
        assert_eq!(server.refused("handshake_timeout"), 1 - admitted as u64);
        assert_eq!(server.endpoint.connections(), admitted);
    }
}

#[test]
fn fin_counts_only_from_the_address_and_port_of_its_init() {
    let mut server = server();
    let mut begun = server.begin(&caller(2), at(1, 1)).unwrap();
    let (fin, _) = begun.finish(server.now);
    for elsewhere in [at(1, 2), at(2, 1)] {
        assert!(server.answers(&fin, elsewhere).is_empty());
    }
    assert_eq!(server.refused("fin_from_another_address"), 2);
    assert_eq!(kinds(&server.answers(&fin, at(1, 1))), [DatagramKind::Packet]);
}

#[test]
fn a_fin_that_is_not_as_it_must_be_changes_nothing() {
    let mut server = server();
    let mut begun = server.begin(&caller(2), at(1, 1)).unwrap();
    let (fin, _) = begun.finish(server.now);
    for byte in 0..fin.len() {
        let mut forged = fin.clone();
        forged[byte] ^= 1;
        assert!(server.answers(&forged, at(1, 1)).is_empty(), "byte {byte}");
    }
    assert!(server.refused("box_does_not_open") > 100);
    assert_eq!(kinds(&server.answers(&fin, at(1, 1))), [DatagramKind::Packet]);
}

#[test]
fn the_sixth_init_at_once_is_asked_for_a_token_and_gets_its_resp_with_it() {
    let mut server = server();
    for port in 1..=5 {
        let handshake = initiator::start(caller(2), &mut rng(u64::from(port)));
        let answers = server.answers(handshake.init(), at(1, port));
        assert_eq!(kinds(&answers), [DatagramKind::Resp], "{port}");
    }
    let mut sixth = initiator::start(caller(2), &mut rng(6));
    let answers = server.answers(sixth.init(), at(1, 6));
    assert_eq!(kinds(&answers), [DatagramKind::Retry]);
    assert_eq!(server.endpoint.connections(), 5);
    sixth.handle_retry(&answers[0]).unwrap();
    assert_eq!(kinds(&server.answers(sixth.init(), at(1, 6))), [DatagramKind::Resp]);
    // Another source has a rate of its own.
    let other = initiator::start(caller(2), &mut rng(7));
    assert_eq!(kinds(&server.answers(other.init(), at(2, 1))), [DatagramKind::Resp]);
}

#[test]
fn a_bad_or_stale_token_counts_as_none_and_is_no_reason_for_silence() {
    let mut server = server();
    server.exhaust_rate(at(1, 1));
    let mut handshake = initiator::start(caller(2), &mut rng(99));
    let retry = server.answers(handshake.init(), at(1, 9));
    assert_eq!(kinds(&retry), [DatagramKind::Retry]);
    handshake.handle_retry(&retry[0]).unwrap();
    assert_eq!(kinds(&server.answers(handshake.init(), at(1, 8))), [DatagramKind::Retry], "port");
    server.set_time(16_000);
    server.exhaust_rate(at(1, 1));
    assert_eq!(kinds(&server.answers(handshake.init(), at(1, 9))), [DatagramKind::Retry], "age");
    server.set_time(60_000);
    // Without haste no token is needed, and a bad one does no harm.
    assert_eq!(kinds(&server.answers(handshake.init(), at(1, 9))), [DatagramKind::Resp]);
}

#[test]
fn sixteen_of_one_source_are_half_open_at_the_most_tokens_or_not() {
    let mut server = server();
    let begun = (0..20).filter(|port| server.begin(&caller(2), at(1, *port)).is_some());
    assert_eq!(begun.count(), 16);
    assert_eq!(server.refused("too_many_half_open_from_source"), 4);
    assert!(server.begin(&caller(2), at(2, 1)).is_some());
    server.set_time(5_000);
    assert_eq!(server.endpoint.connections(), 0);
    assert!(server.begin(&caller(2), at(1, 30)).is_some());
}

#[test]
fn who_has_connected_is_half_open_no_more() {
    let mut server = server();
    for port in 1..=40 {
        server.connect(at(1, port));
    }
    assert_eq!(server.endpoint.connections(), 40);
}

#[test]
fn half_open_handshakes_are_bounded_in_all() {
    let mut server = Server::new(Limits { max_half_open: 40, ..Limits::default() });
    let begun = (0..50).filter(|n| server.begin(&caller(2), source_number(*n)).is_some());
    assert_eq!(begun.count(), 40);
    assert_eq!(server.refused("too_many_half_open"), 10);
}

#[test]
fn with_more_than_256_half_open_everybody_is_asked_for_a_token() {
    let mut server = server();
    let asked_from = (0..1_000).find(|number| {
        let init = initiator::start(caller(2), &mut rng(u64::from(*number))).init().to_vec();
        let answers = server.answers(&init, source_number(*number));
        kinds(&answers) == [DatagramKind::Retry]
    });
    assert_eq!(asked_from, Some(257));
    assert!(server.begin(&caller(2), at(1, 1)).is_some());
    assert_eq!(server.endpoint.connections(), 258);
}

#[test]
fn connections_are_bounded_in_all_and_by_source() {
    let limits = Limits { max_connections: 4, max_connections_per_source: 2, ..Limits::default() };
    let mut server = Server::new(limits);
    for port in 1..=2 {
        server.connect(at(1, port));
    }
    assert_eq!(server.admitted.len(), 2);
    assert!(server.begin(&caller(2), at(1, 3)).is_none());
    assert_eq!(server.refused("too_many_connections_from_source"), 1);
    assert!(server.begin(&caller(2), at(2, 1)).is_some());
    assert!(server.begin(&caller(2), at(3, 1)).is_some());
    assert!(server.begin(&caller(2), at(4, 1)).is_none());
    assert_eq!(server.refused("too_many_connections"), 1);
}

#[test]
fn a_repeat_of_a_completed_init_begins_nothing_for_a_minute() {
    let mut server = server();
    let mut begun = server.begin(&caller(2), at(1, 1)).unwrap();
    let (fin, _) = begun.finish(server.now);
    server.handle(&fin, at(1, 1));
    server.sends();
    for from in [at(1, 1), at(2, 2)] {
        assert!(server.answers(begun.init(), from).is_empty(), "{from}");
    }
    server.now += millis(59_999);
    assert!(server.answers(begun.init(), at(2, 2)).is_empty());
    server.now += millis(1);
    assert_eq!(kinds(&server.answers(begun.init(), at(2, 2))), [DatagramKind::Resp]);
}

#[test]
fn the_same_fin_is_answered_by_a_new_ping_at_most_four_times_a_second() {
    let mut server = server();
    let mut begun = server.begin(&caller(2), at(1, 1)).unwrap();
    let (fin, mut packets) = begun.finish(server.now);
    server.handle(&fin, at(1, 1));
    server.sends();

    let mut pings = Vec::new();
    for ms in 1..=1_000 {
        server.set_time(ms);
        pings.extend(server.answers(&fin, at(1, 1)));
    }
    assert_eq!(pings.len(), 4);
    let numbers = pings.iter_mut().map(|ping| packets.open(ping, server.now).unwrap().number);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(server.applicants.len(), 1);

    server.set_time(2_000);
    assert!(server.answers(&fin, at(1, 2)).is_empty(), "another port");
    let mut altered = fin.clone();
    *altered.last_mut().unwrap() ^= 1;
    assert!(server.answers(&altered, at(1, 1)).is_empty(), "another FIN");
    assert_eq!(server.answers(&fin, at(1, 1)).len(), 1);
}

#[test]
fn a_stranger_is_told_so_for_five_seconds_and_keeps_a_half_open_place_until_then() {
    let mut server = server();
    server.look_up = LookUp::Refuses(Alert::AccessDenied);
    let mut begun = server.begin(&caller(2), at(1, 1)).unwrap();
    let (fin, mut packets) = begun.finish(server.now);
    let mut alerts = server.answers(&fin, at(1, 1));
    let mut altered = fin.clone();
    *altered.last_mut().unwrap() ^= 1;
    for ms in 1..5_000 {
        server.set_time(ms);
        assert!(server.answers(&altered, at(1, 1)).is_empty(), "another FIN");
        alerts.extend(server.answers(&fin, at(1, 1)));
    }
    assert_eq!(alerts.len(), 20);
    for alert in &mut alerts {
        let opened = packets.open(alert, server.now).unwrap();
        assert_eq!((opened.kind, &*opened.content), (PacketType::Alert, &[1][..]));
    }
    assert_eq!(server.applicants.len(), 1, "looked up once");
    assert_eq!(server.endpoint.connections(), 1);
    // What the stranger sends behind FIN is discarded.
    let mut packet = Vec::new();
    packets.seal(PacketType::Data, &[0, 0, 0, 1, 1], 0, server.now, &mut packet).unwrap();
    assert!(server.answers(&packet, at(1, 1)).is_empty());
    assert!(server.frames.is_empty());

    server.set_time(5_000);
    assert!(server.answers(&fin, at(1, 1)).is_empty());
    assert_eq!(server.endpoint.connections(), 0);
    assert_eq!(server.refused("handshake_timeout"), 0);
    assert!(server.answers(begun.init(), at(1, 1)).is_empty(), "its INIT was completed");
}

#[test]
fn strangers_of_one_source_get_no_more_keys_computed_than_its_half_open_places() {
    let mut server = server();
    server.look_up = LookUp::Refuses(Alert::AccessDenied);
    let mut keys = 0;
    for port in 0..100 {
        if let Some(mut begun) = server.begin(&caller(2), at(1, port)) {
            let (fin, _) = begun.finish(server.now);
            server.handle(&fin, at(1, port));
            keys += 1;
        }
        server.sends();
    }
    assert_eq!(keys, 16);
}

/// An INIT with a share of low order: its mac1 holds, and no shared secret comes of it.
fn worthless_init(token: Option<&[u8]>, padding: u16) -> Vec<u8> {
    let mut init = vec![1, 1, 0, 1];
    let token = token.unwrap_or_default();
    init.extend_from_slice(&u16::try_from(token.len()).unwrap().to_be_bytes());
    init.extend_from_slice(&padding.to_be_bytes());
    init.extend_from_slice(&[5; 8]);
    init.extend_from_slice(&[0; 32]);
    init.extend_from_slice(token);
    init.resize(init.len() + usize::from(padding), 0);
    let key = Sha256::new_with_prefix(b"bailiwick/1 mac1");
    let key = key.chain_update(server_identity().public_key().as_bytes()).finalize();
    let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(&init).finalize();
    init.extend_from_slice(&mac.into_bytes()[..16]);
    init
}

#[test]
fn worthless_inits_cost_no_more_keys_than_there_are_half_open_places() {
    let mut server = server();
    server.exhaust_rate(at(1, 1));
    server.refused("");
    let [retry] = &server.answers(&worthless_init(None, 1_136), at(1, 2))[..] else { panic!() };
    let token = retry[16..40].to_vec();
    for padding in 1_200..1_300 {
        let init = worthless_init(Some(&token), padding);
        for _ in 0..3 {
            assert!(server.answers(&init, at(1, 2)).is_empty());
        }
        let places = usize::from(padding - 1_200 + 6).min(16);
        assert_eq!(server.endpoint.connections(), places, "one for all repeats");
    }
    assert_eq!(server.refused("low_order_share"), 11);
    assert_eq!(server.endpoint.connections(), 16);
    server.set_time(5_000);
    assert_eq!(server.endpoint.connections(), 0);
}

#[test]
fn an_applicant_is_decided_on_once_and_in_time() {
    let mut server = server();
    server.look_up = LookUp::Waits;
    for port in [1, 2] {
        let (fin, _) = server.begin(&caller(2), at(1, port)).unwrap().finish(server.now);
        server.handle(&fin, at(1, port));
        server.handle(&fin, at(1, port));
    }
    let [first, second] = server.applicants[..] else { panic!("{:?}", server.applicants) };
    assert!(server.endpoint.admit(first.id, server.now).is_ok());
    assert_eq!(server.endpoint.admit(first.id, server.now).unwrap_err(), NotAdmitted::Gone);
    server.endpoint.refuse(first.id, Alert::AccessDenied, server.now);
    server.set_time(5_000);
    assert_eq!(server.endpoint.admit(second.id, server.now).unwrap_err(), NotAdmitted::Gone);
    assert_eq!(server.endpoint.connections(), 1);
}

#[test]
fn a_session_that_ends_gives_its_place_back_once_the_peer_has_had_time_to_hear_it() {
    let mut server = server();
    for (port, end) in [(1, "idle"), (2, "close"), (3, "abort"), (4, "closed by the peer")] {
        let began = u64::from(port) * 100_000;
        server.set_time(began);
        let mut begun = server.begin(&caller(2), at(1, port)).unwrap();
        let (fin, mut packets) = begun.finish(server.now);
        server.handle(&fin, at(1, port));
        server.sends();
        assert_eq!(server.endpoint.connections(), 1, "{end}");
        let id = *server.admitted.last().unwrap();
        server.ended.clear();
        match end {
            "close" => server.endpoint.close(id, server.now),
            "abort" => server.endpoint.abort(id, Alert::LimitExceeded, server.now),
            "closed by the peer" => {
                let mut close = Vec::new();
                packets.seal(PacketType::Close, &[], 0, server.now, &mut close).unwrap();
                server.handle(&close, at(1, port));
            }
            _ => {}
        }
        if end != "idle" {
            assert!(server.endpoint.link(id).is_none(), "{end}");
        }
        let told = server.sends();
        for second in 0..=40 {
            server.set_time(began + second * 1_000);
            server.sends();
            let is_over = end != "idle" && second > 1;
            assert!(!is_over || server.endpoint.connections() == 0, "{end}, {second} s later");
        }
        let heard: Vec<_> = server.ended.iter().map(|(_, failure)| failure.why.clone()).collect();
        let idle = Disconnected::Idle(Limits::default().idle_timeout);
        match end {
            "idle" => assert_eq!((heard, told.len()), (vec![idle], 0)),
            "closed by the peer" => assert_eq!(heard, [Disconnected::Closed]),
            _ => assert_eq!((heard, told.len()), (vec![], 1), "{end}"),
        }
        assert_eq!(server.endpoint.connections(), 0, "{end}");
        assert_eq!(server.endpoint.next_timeout(), None, "{end}");
    }
}

#[test]
fn nothing_is_sent_for_what_belongs_to_nobody() {
    let mut server = server();
    let mut begun = server.begin(&caller(2), at(1, 1)).unwrap();
    let (fin, mut packets) = begun.finish(server.now);
    let mut early = Vec::new();
    packets.seal(PacketType::Ping, &[], 0, server.now, &mut early).unwrap();
    assert!(server.answers(&early, at(1, 1)).is_empty(), "a packet that overtook FIN");
    let resp = begun.resp.clone();
    assert!(server.answers(&resp, at(1, 1)).is_empty(), "our own RESP");
    for first_byte in 0..=255 {
        for length in [0, 1, 8, 9, 16, 17, 40, 178, 1_200, 65_507] {
            let mut datagram = vec![0x5a; length];
            if let Some(first) = datagram.first_mut() {
                *first = first_byte;
            }
            assert!(server.answers(&datagram, at(1, 1)).is_empty(), "{first_byte} {length}");
        }
    }
    assert_eq!(server.answers(&fin, at(1, 1)).len(), 1);
}

#[test]
fn no_address_gets_more_than_it_sent_before_it_answers() {
    let mut server = server();
    let (mut received, mut sent) = (0, 0);
    for seed in 0..50 {
        let init = initiator::start(caller(2), &mut rng(seed)).init().to_vec();
        for _ in 0..3 {
            received += init.len();
            sent += server.answers(&init, at(1, 1)).iter().map(Vec::len).sum::<usize>();
        }
    }
    assert!(sent > 0 && sent <= received, "{sent} bytes for {received}");
    // And nothing without being asked again.
    for ms in 0..6_000 {
        server.set_time(ms);
        assert!(server.sends().is_empty());
    }
}

#[test]
fn links_take_turns() {
    let mut server = server();
    for port in 1..=3 {
        server.connect(at(1, port));
    }
    for id in server.admitted.clone() {
        for _ in 0..3 {
            let large = [&1_100_u32.to_be_bytes()[..], &[0; 1_100]].concat();
            server.endpoint.link(id).unwrap().send(&large, None).unwrap();
        }
    }
    let ports: Vec<_> = server.sends().iter().map(|(to, _)| to.port()).take(9).collect();
    assert_eq!(ports, [1, 2, 3, 1, 2, 3, 1, 2, 3]);
}

/// 100,000 INITs a second for a tenth of one, all from one address, each with work of its own.
#[test]
fn while_one_source_floods_another_connects() {
    let mut server = server();
    let flooder = at(66, 6);
    let mut flood_rng = rng(66);
    let mut client = initiator::start(caller(2), &mut rng(2));
    let (mut resps, mut client_resp) = (0, None);
    for tenth_of_a_ms in 0..1_000_u64 {
        if tenth_of_a_ms % 10 == 0 {
            server.set_time(tenth_of_a_ms / 10);
        }
        for _ in 0..10 {
            server.handle(initiator::start(caller(66), &mut flood_rng).init(), flooder);
        }
        // The client's first message arrives in the midst, its answer to a RETRY 10 ms later.
        if tenth_of_a_ms == 500 || (tenth_of_a_ms == 600 && client_resp.is_none()) {
            server.handle(client.init(), at(1, 1));
        }
        for (to, answer) in server.sends() {
            let is_resp = kinds(std::slice::from_ref(&answer)) == [DatagramKind::Resp];
            assert!(answer.len() <= 1_200);
            match to {
                to if to == flooder => resps += usize::from(is_resp),
                _ if is_resp => client_resp = Some(answer),
                _ => client.handle_retry(&answer).unwrap(),
            }
        }
    }
    assert!(resps <= 8, "{resps} keys were computed for the flood");
    let (fin, _) =
        client.handle_resp(&client_resp.expect("the client has its RESP"), server.now).unwrap();
    assert_eq!(kinds(&server.answers(&fin, at(1, 1))), [DatagramKind::Packet]);
    assert!(server.endpoint.connections() <= 9);
}

#[test]
fn who_floods_in_anothers_name_does_not_keep_it_out() {
    let mut server = server();
    let victim = at(1, 1);
    let mut flood_rng = rng(66);
    for ms in 0..4_000 {
        server.set_time(ms);
        if ms % 10 == 0 {
            server.handle(initiator::start(caller(66), &mut flood_rng).init(), victim);
            server.sends();
        }
    }
    let mut begun = server.begin(&caller(2), victim).expect("half of the places are left");
    let (fin, _) = begun.finish(server.now);
    assert_eq!(server.answers(&fin, victim).len(), 1);
}

#[test]
fn answers_that_the_socket_does_not_take_are_bounded_and_no_key_is_computed_meanwhile() {
    let mut server = server();
    for number in 0..2_000 {
        let from = source_number(number);
        server.handle(initiator::start(caller(2), &mut rng(u64::from(number))).init(), from);
    }
    assert_eq!(server.endpoint.connections(), 256);
    assert_eq!(server.sends().len(), 256);
}
