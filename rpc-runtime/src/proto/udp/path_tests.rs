//! What a link does about addresses, sizes of datagrams, the session's end, and forgeries.

use std::{net::SocketAddr, time::Duration};

use bailiwick_crypto::{Alert, DatagramSession, PacketType, packet::OVERHEAD};

use super::link_world::{
    Datagram, Initiator, MS, Responder, Setup, World, framed, initiator_address, responder_address,
    sessions,
};
use crate::{
    config::Limits,
    error::{Disconnected, ProtocolError},
};

const SECOND: Duration = Duration::from_secs(1);

fn elsewhere() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 9], 4000))
}

/// Both ends have sent and received.
fn settled() -> World {
    let mut world = World::new();
    world.mtu = 1200;
    world.send(Initiator, b"request", None);
    world.send(Responder, b"reply", None);
    world.run_for(SECOND);
    world
}

/// Nothing is measured yet, and three timeouts are 3 s.
fn far_apart() -> World {
    let limits = Limits { initial_rto: SECOND, ..Limits::default() };
    World::with(&Setup { limits, ..Setup::default() })
}

#[test]
fn the_peer_is_followed_once_it_answers_at_its_new_address() {
    for address in [elsewhere(), SocketAddr::new(initiator_address().ip(), 4000)] {
        let mut world = settled();
        let before = world.sent.len();
        world.initiator.address = address;
        world.send(Initiator, b"from elsewhere", None);
        world.step(world.now + SECOND);
        assert_eq!(world.responder.link.peer(), initiator_address(), "not yet");
        world.send(Responder, b"to the old address", None);
        world.run_for(SECOND);
        assert_eq!(world.responder.link.peer(), address);
        let first = world.sent_by(Responder, before)[0];
        assert_eq!((first.to, first.bytes.len()), (address, 3 * (OVERHEAD + 4 + 14)));
        world.send(Responder, b"after", None);
        world.run_for(SECOND);
        assert_eq!(world.initiator.frames.last().unwrap(), b"after");
    }
}

#[test]
fn packets_copied_and_sent_again_from_elsewhere_move_nothing() {
    let mut world = settled();
    world.send(Initiator, b"more", None);
    world.run_for(SECOND);
    // Probes of the path were too long to arrive.
    let arrived = world.sent.iter().filter(|sent| sent.bytes.len() <= world.mtu);
    let captured: Vec<Datagram> = arrived.cloned().collect();
    let (before, state) = (world.sent.len(), world.responder.link.counters());
    for datagram in captured.iter().filter(|datagram| datagram.by == Initiator) {
        world.arrive(elsewhere(), responder_address(), &datagram.bytes);
    }
    world.run_for(SECOND);
    assert_eq!(world.sent.len(), before, "nothing is sent");
    assert_eq!(world.responder.frames.len(), 2);
    assert_eq!(world.responder.link.peer(), initiator_address());
    let after = world.responder.link.counters();
    assert_eq!(after.opened, state.opened);
    assert!(after.replayed > state.replayed);
}

#[test]
fn whoever_only_forwards_packets_first_does_not_get_the_session() {
    let mut world = settled();
    let mut from_there = 0;
    for round in 0..20_u8 {
        world.send(Initiator, &[round], None);
        let before = world.sent.len();
        world.transmit();
        let copied = world.sent[before..].to_vec();
        for datagram in copied {
            from_there += datagram.bytes.len();
            world.arrive(elsewhere(), responder_address(), &datagram.bytes);
        }
        world.send(Responder, b"answer", None);
        world.run_for(100 * MS);
    }
    world.run_for(2 * SECOND);
    assert_eq!(world.responder.link.peer(), initiator_address());
    assert_eq!(world.initiator.frames.len(), 21);
    let to = |to: SocketAddr| -> usize {
        world.sent.iter().filter(|sent| sent.to == to).map(|sent| sent.bytes.len()).sum()
    };
    assert!(to(elsewhere()) > 0);
    assert!(to(elsewhere()) <= 3 * from_there, "{} of {from_there}", to(elsewhere()));
}

#[test]
fn datagrams_grow_to_what_the_path_carries() {
    for (mtu, found) in [(1200, 1200), (1472, 1472), (8990, 8972), (65_507, 65_507)] {
        let mut world = World::new();
        world.mtu = mtu;
        for number in 0..100_u8 {
            world.send(Initiator, &[number], None);
            world.run_for(10 * MS);
        }
        world.run_for(2 * SECOND);
        world.send(Initiator, b"x", None);
        world.run_for(SECOND);
        assert_eq!(world.initiator.link.mtu(), found, "{mtu}");
        assert_eq!(world.responder.frames.len(), 101);
    }
}

#[test]
fn a_refusal_of_the_operating_system_ends_the_search_without_loss_of_time() {
    let mut world = World::new();
    world.initiator.local_mtu = 1472;
    for number in 0..10_u8 {
        world.send(Initiator, &[number], None);
        world.run_for(10 * MS);
    }
    assert_eq!(world.initiator.link.mtu(), 1472);
}

/// A world whose initiator sends datagrams of 8,972 bytes.
fn with_jumbo_frames() -> World {
    let mut world = World::new();
    world.mtu = 8990;
    for number in 0..100_u8 {
        world.send(Initiator, &[number], None);
        world.run_for(10 * MS);
    }
    world.run_for(SECOND);
    assert_eq!(world.initiator.link.mtu(), 8972);
    world.responder.frames.clear();
    world
}

#[test]
fn messages_arrive_though_the_path_becomes_narrower_under_way() {
    let mut world = with_jumbo_frames();
    for number in 0..4 {
        world.send(Initiator, &[number; 60_000], Some(u64::from(number)));
    }
    world.transmit();
    world.mtu = 1300;
    world.run_until(10 * SECOND, |world| world.responder.frames.len() >= 4);
    assert!(world.initiator.link.mtu() < 1300);
    world.run_for(SECOND);
    assert_eq!(world.responder.frames.len(), 4);
}

#[test]
fn frames_that_wait_are_cut_when_the_path_has_become_narrower() {
    let mut world = with_jumbo_frames();
    world.initiator.link.too_big(5000, world.now);
    world.send(Initiator, &[1; 8000], Some(1));
    world.run_for(SECOND);
    assert_eq!(world.responder.frames, [[1; 8000]]);
}

#[test]
fn a_close_ends_both_sides_and_is_not_answered() {
    let mut world = settled();
    let before = world.sent.len();
    world.send(Initiator, b"last", None);
    world.initiator.link.close(world.now);
    world.initiator.link.close(world.now);
    assert!(!world.initiator.link.is_drained(world.now));
    world.run_for(SECOND);
    assert_eq!(world.responder.frames.last().unwrap(), b"last", "what waited left before");
    assert_eq!(world.responder.failure.as_ref().unwrap().why, Disconnected::Closed);
    assert!(world.responder.link.is_drained(world.now));
    assert!(world.initiator.link.is_drained(world.now));
    assert_eq!(world.sent.len(), before + 2);
    assert_eq!(world.initiator.failure, None);
    assert_eq!(world.initiator.link.next_timeout(), None);
}

#[test]
fn two_closes_that_cross_are_not_answered() {
    let mut world = far_apart();
    world.delay = 300 * MS;
    world.initiator.link.close(world.now);
    world.responder.link.close(world.now);
    world.run_for(2 * SECOND);
    assert_eq!(world.sent.len(), 2);
    assert!(world.initiator.link.is_drained(world.now));
    assert_eq!((world.initiator.failure, world.responder.failure), (None, None));
}

#[test]
fn who_has_not_heard_the_close_hears_it_again_four_times_a_second() {
    let mut world = far_apart();
    world.responder.link.close(world.now);
    world.transmit();
    for _ in 0..40 {
        // The initiator hears nothing of it.
        world.send(Initiator, b"still there?", None);
        let before = world.sent.len();
        world.transmit();
        let asked: Vec<_> = world.sent[before..].to_vec();
        world.now += 50 * MS;
        for datagram in asked.iter().filter(|datagram| datagram.by == Initiator) {
            world.arrive(datagram.from, datagram.to, &datagram.bytes);
        }
    }
    world.transmit();
    let closes = world.sent_by(Responder, 0).len();
    assert!((8..=9).contains(&closes), "{closes} in two seconds");
    world.now += SECOND;
    world.responder.link.handle_timeout(world.now).unwrap();
    assert!(world.responder.link.is_drained(world.now));
    world.send(Initiator, b"still there?", None);
    world.run_for(100 * MS);
    assert_eq!(world.sent_by(Responder, 0).len(), closes, "the period is over");
}

#[test]
fn a_peer_that_breaks_the_protocol_is_told_so() {
    let broken: [(&str, PacketType, Vec<u8>, ProtocolError); 9] = [
        ("a frame without length", PacketType::Data, vec![0; 3], ProtocolError::FrameLength),
        ("a frame of no bytes", PacketType::Data, vec![0; 4], ProtocolError::FrameLength),
        ("half a frame", PacketType::Data, framed(b"12")[..5].to_vec(), ProtocolError::FrameLength),
        ("a frame too long", PacketType::Data, vec![1, 0, 0, 0], ProtocolError::FrameLength),
        ("half a fragment", PacketType::Fragment, vec![0; 7], ProtocolError::RecordRule),
        (
            "a count of 65,535",
            PacketType::Fragment,
            vec![0, 0, 0, 0, 0, 0, 255, 255, 1],
            ProtocolError::RecordRule,
        ),
        (
            "a message that is no frame",
            PacketType::Fragment,
            [&[0, 0, 0, 0, 0, 0, 0, 1][..], &framed(b"frame"), b"and more"].concat(),
            ProtocolError::FrameLength,
        ),
        ("an ack of nothing", PacketType::FragmentAck, vec![0; 6], ProtocolError::RecordRule),
        ("half an ack", PacketType::FragmentAck, vec![0; 5], ProtocolError::RecordRule),
    ];
    for (name, kind, content, error) in broken {
        let (mut world, mut peer) = with_raw_initiator();
        world.responder.frames.clear();
        receive_raw(&mut world, &mut peer, kind, &content);
        let failure = world.responder.failure.clone().expect(name);
        assert_eq!(failure.why, Disconnected::Protocol(error), "{name}");
        world.transmit();
        let mut alert = world.sent.last().expect(name).bytes.clone();
        let opened = peer.packets.open(&mut alert, world.now).unwrap();
        assert_eq!((opened.kind, &*opened.content), (PacketType::Alert, &[2][..]), "{name}");
    }
}

#[test]
fn an_alert_ends_the_session_without_an_answer() {
    let (mut world, mut peer) = with_raw_initiator();
    receive_raw(&mut world, &mut peer, PacketType::Alert, &[3]);
    let why = world.responder.failure.clone().unwrap().why;
    assert_eq!(why, Disconnected::Alert(Alert::LimitExceeded));
    receive_raw(&mut world, &mut peer, PacketType::Ping, &[]);
    world.run_for(SECOND);
    assert_eq!(world.sent.len(), 0);
}

#[test]
fn an_abort_drops_what_waits_and_tells_the_peer() {
    let mut world = settled();
    world.send(Responder, b"waits", None);
    world.responder.link.abort(Alert::InternalError, world.now);
    assert_eq!(world.responder.link.unsent(), 0);
    world.run_for(SECOND);
    let why = world.initiator.failure.clone().unwrap().why;
    assert_eq!(why, Disconnected::Alert(Alert::InternalError));
    assert_eq!(world.initiator.frames.len(), 1);
}

#[test]
fn nothing_happens_for_a_datagram_that_does_not_open() {
    let mut world = settled();
    world.send(Initiator, b"request", None);
    let before = world.sent.len();
    world.transmit();
    let honest = world.sent[before].clone();
    let (sent, received) = (world.sent.len(), world.responder.link.last_received());
    for bit in 0..honest.bytes.len() * 8 {
        let mut forged = honest.bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        world.arrive(elsewhere(), responder_address(), &forged);
    }
    for length in 0..honest.bytes.len() {
        world.arrive(elsewhere(), responder_address(), &honest.bytes[..length]);
    }
    world.transmit();
    assert_eq!(world.sent.len(), sent);
    assert_eq!(world.responder.frames.len(), 1);
    assert_eq!(world.responder.link.last_received(), received);
    assert!(world.responder.link.counters().failed > 0);
    world.run_for(SECOND);
    assert_eq!(world.responder.frames.len(), 2, "the honest one still opens");
}

#[test]
fn too_many_forgeries_end_the_session_without_a_word() {
    let records = bailiwick_crypto::RecordLimits { failures: 4, ..Default::default() };
    let mut world = World::with(&Setup { records, ..Setup::default() });
    world.send(Initiator, b"request", None);
    world.transmit();
    let mut forged = world.sent[0].bytes.clone();
    *forged.last_mut().unwrap() ^= 1;
    let sent = world.sent.len();
    for _ in 0..4 {
        assert_eq!(world.responder.failure, None);
        world.arrive(initiator_address(), responder_address(), &forged);
    }
    let why = world.responder.failure.clone().unwrap().why;
    assert_eq!(why, Disconnected::Protocol(ProtocolError::Record));
    world.run_for(100 * MS);
    assert_eq!(world.sent_by(Responder, 0).len(), 0, "of {sent}");
}

#[test]
fn numbers_that_are_used_up_end_the_session() {
    let records = bailiwick_crypto::RecordLimits { hard_stop: 4, ..Default::default() };
    let mut world = World::with(&Setup { records, ..Setup::default() });
    for number in 0..10 {
        world.send(Responder, &[number], None);
        world.transmit();
    }
    world.run_for(MS);
    let why = world.responder.failure.clone().unwrap().why;
    assert_eq!(why, Disconnected::Protocol(ProtocolError::Record));
}

#[test]
fn challenges_are_answered_where_they_came_from_and_only_a_few_wait() {
    let (mut world, mut peer) = with_raw_initiator();
    for token in 0..10 {
        receive_raw(&mut world, &mut peer, PacketType::PathChallenge, &[token; 8]);
    }
    world.transmit();
    assert_eq!(world.sent.len(), 4);
    for (token, sent) in (0..).zip(world.sent.clone()) {
        let mut bytes = sent.bytes;
        assert_eq!((sent.to, bytes.len()), (initiator_address(), OVERHEAD + 8));
        let opened = peer.packets.open(&mut bytes, world.now).unwrap();
        assert_eq!((opened.kind, &*opened.content), (PacketType::PathResponse, &[token; 8][..]));
    }
}

/// A world whose initiator is played by the test, packet by packet.
fn with_raw_initiator() -> (World, DatagramSession) {
    let setup = Setup::default();
    let world = World::with(&setup);
    let (peer, _) = sessions(&setup, world.now);
    (world, peer)
}

fn receive_raw(world: &mut World, peer: &mut DatagramSession, kind: PacketType, content: &[u8]) {
    let mut packet = Vec::new();
    peer.packets.seal(kind, content, 0, world.now, &mut packet).unwrap();
    world.arrive(initiator_address(), responder_address(), &packet);
}
