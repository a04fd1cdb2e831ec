//! What a network and a hostile peer can send: nothing of it runs anything, grows beyond its bound, or
//! brings anybody down.

use std::net::SocketAddr;
use std::time::Duration;

use bailiwick::simulation::SimStanding;
use bailiwick_crypto::{DatagramKind, PacketType, datagram_kind};
use bailiwick_tests::lab::{Kind, Lab, Plan, lab_limits, server_address};
use bailiwick_tests::sim::{Captured, LinkConfig};

use super::raw::{FILL, INCREMENT, Raw, fragment, handshake, request, varint};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn raw_address() -> SocketAddr {
    SocketAddr::from(([10, 9, 0, 1], 5000))
}

fn quiet_lab(seed: u64, plans: Vec<Plan>) -> Lab {
    println!("seed {seed}");
    let mut lab = Lab::new(seed, &lab_limits(), plans);
    lab.set_links(&LinkConfig { delay: MS / 10..MS / 10, ..LinkConfig::default() });
    lab
}

/// A session with calls of many kinds, all of its datagrams, and how often handlers ran.
fn captured(seed: u64) -> (Lab, Vec<Captured>, u64) {
    let kinds = [
        Kind::Increment,
        Kind::Fill(4_000),
        Kind::Echo(2_000),
        Kind::Forbidden,
        Kind::Set,
        Kind::Read,
    ];
    let calls = kinds.iter().copied().cycle().take(120).collect();
    let mut lab = quiet_lab(seed, vec![Plan::calls(calls, 4)]);
    lab.world.start_capture();
    lab.run(60 * SECOND).unwrap();
    lab.run_for(SECOND);
    let _ = lab.verify();
    let (captured, runs) = (lab.world.take_captured(), lab.ledger.all_runs());
    assert!(captured.len() > 100 && runs >= 100);
    (lab, captured, runs)
}

fn is_packet(captured: &&Captured) -> bool {
    datagram_kind(&captured.datagram) == Some(DatagramKind::Packet)
}

#[test]
fn packets_replayed_to_the_same_processes_run_nothing_and_are_counted() {
    let (mut lab, captured, runs) = captured(51);
    let elsewhere = SocketAddr::from(([10, 66, 6, 6], 666));
    let before = lab.recorded("packets.refused", "packet_replayed");
    for round in 0..3 {
        for Captured { from, to, datagram, .. } in &captured {
            let from = if round == 2 { elsewhere } else { *from };
            lab.world.inject(from, *to, datagram.clone());
        }
        lab.run_for(2 * SECOND);
    }
    lab.run_for(2 * SECOND);
    assert_eq!(lab.ledger.all_runs(), runs);
    let to_server = captured.iter().filter(|it| it.to == server_address());
    let packets = to_server.filter(is_packet).count() as u64;
    let counted = lab.recorded("packets.refused", "packet_replayed") - before;
    assert_eq!(counted, 3 * packets);
    // The session has not noticed.
    lab.caller_mut(0).add([Kind::Increment]);
    lab.run(SECOND).unwrap();
    assert!(lab.caller(0).ended().last().unwrap().result.is_ok());
    assert_eq!(lab.ledger.all_runs(), runs + 1);
    assert!(lab.host_mut().usage().connections <= 2);
}

#[test]
fn packets_replayed_to_a_new_process_run_nothing() {
    let (mut lab, captured, runs) = captured(52);
    lab.kill_server();
    lab.start_server();
    for Captured { from, datagram, .. } in captured.iter().filter(|it| it.to == server_address()) {
        lab.world.inject(*from, server_address(), datagram.clone());
        lab.run_for(MS);
    }
    // An INIT of the life before begins a handshake that nobody can end.
    assert!(lab.host_mut().usage().connections <= 1);
    lab.run_for(10 * SECOND);
    assert_eq!(lab.ledger.all_runs(), runs);
    assert_eq!(lab.host_mut().usage(), bailiwick::simulation::Usage::default());
    assert_eq!(lab.recorded("handshake.refused", "handshake_timeout"), 1);
}

#[test]
fn numbers_at_the_windows_edges_open_once_and_those_beyond_all_bounds_never() {
    let mut lab = quiet_lab(53, vec![Plan::of(Kind::Increment, 0, 1)]);
    let mut raw = Raw::connect(&mut lab, raw_address());
    // Replay windows have 1,024 places.
    let packets: Vec<_> = (0..=1024)
        .map(|call| raw.seal(&lab, PacketType::Data, &request(call, 0, INCREMENT, &[])))
        .collect();
    let runs = |lab: &Lab| lab.ledger.all_runs();
    for (packet, expected) in [(1024, 1), (0, 1), (1, 2), (1, 2), (1024, 2), (1023, 3)] {
        raw.inject(&mut lab, packets[packet].clone());
        assert_eq!(runs(&lab), expected, "packet {packet}");
    }
    for number in [1 << 60, (1 << 60) - 1, u64::MAX] {
        let mut forged = packets[500].clone();
        forged[9..17].copy_from_slice(&u64::to_be_bytes(number));
        raw.inject(&mut lab, forged);
    }
    assert_eq!(runs(&lab), 3);
    // They have not moved the window.
    raw.inject(&mut lab, packets[500].clone());
    assert_eq!(runs(&lab), 4);
    lab.run_for(2 * SECOND);
    assert!(lab.recorded("packets.refused", "packet_replayed") >= 3);
    assert!(lab.recorded("packets.refused", "packet_not_authentic") >= 1);
}

#[test]
fn fragments_that_are_foreign_overlap_or_claim_too_much_run_nothing_and_take_nothing() {
    let mut lab = quiet_lab(54, vec![Plan::of(Kind::Increment, 0, 1)]);
    let whole = request(0, 0, INCREMENT, &[]);
    let (first, second) = whole.split_at(20);

    // Without the session's key a fragment is noise.
    let mut raw = Raw::connect(&mut lab, raw_address());
    let sealed = raw.seal(&lab, PacketType::Fragment, &fragment(0, 0, 2, first));
    let mut foreign = sealed.clone();
    *foreign.last_mut().unwrap() ^= 1;
    raw.inject(&mut lab, foreign);
    assert_eq!(lab.host_mut().usage().reassembly, 0);

    // Two that disagree about the count kill their message.
    raw.inject(&mut lab, sealed);
    assert!(lab.host_mut().usage().reassembly > 0);
    raw.send(&mut lab, PacketType::Fragment, &fragment(0, 1, 3, &[7; 20]));
    raw.send(&mut lab, PacketType::Fragment, &fragment(0, 1, 2, second));
    assert_eq!((lab.host_mut().usage().reassembly, lab.ledger.all_runs()), (0, 0));

    // The same place with other bytes: what came first counts, or nothing does.
    raw.send(&mut lab, PacketType::Fragment, &fragment(1, 0, 2, first));
    raw.send(&mut lab, PacketType::Fragment, &fragment(1, 0, 2, &[0xff; 20]));
    raw.send(&mut lab, PacketType::Fragment, &fragment(1, 1, 2, second));
    assert!(lab.ledger.all_runs() <= 1);

    // A count that no message has ends the session, and costs nothing.
    raw.send(&mut lab, PacketType::Fragment, &fragment(2, 0, u16::MAX, &[7; 1000]));
    assert!(lab.host_mut().usage().reassembly <= 1000);
    lab.run_for(40 * SECOND);
    let usage = lab.host_mut().usage();
    assert_eq!((usage.reassembly, usage.connections), (0, 0));
    assert!(lab.recorded("session.broken", "protocol_error") <= 1);
}

#[test]
fn inits_below_1_200_bytes_are_met_by_silence() {
    let mut lab = quiet_lab(55, vec![Plan::of(Kind::Increment, 0, 1)]);
    let mailbox = lab.add_mailbox(raw_address());
    let init = handshake(1).init().to_vec();
    for length in [0, 1, 64, 1_000, init.len() - 1] {
        lab.world.inject(raw_address(), server_address(), init[..length].to_vec());
    }
    lab.run_for(SECOND);
    assert!(lab.take_mail(mailbox).is_empty());
    assert_eq!(lab.host_mut().usage().connections, 1, "the caller's own");
    lab.world.inject(raw_address(), server_address(), init);
    lab.run_for(SECOND);
    assert_eq!(lab.take_mail(mailbox).len(), 1);
}

#[test]
fn while_one_source_sends_100_000_inits_a_second_another_client_connects_within_one() {
    let mut lab =
        quiet_lab(56, vec![Plan::of(Kind::Increment, 1, 1), Plan::of(Kind::Increment, 1, 1)]);
    // The second caller comes later, in the middle of the flood.
    let late = lab.callers()[1];
    lab.world.stop(late);
    let inits: Vec<_> = (0..64).map(|seed| handshake(seed).init().to_vec()).collect();
    let flooder = raw_address();
    lab.add_mailbox(flooder);
    for tick in 0..2_000_usize {
        for one in 0..50 {
            let from =
                SocketAddr::new(flooder.ip(), 5000 + u16::try_from((tick + one) % 1000).unwrap());
            lab.world.inject(from, server_address(), inits[(tick * 50 + one) % 64].clone());
        }
        lab.run_for(MS / 2);
        if tick == 200 {
            lab.world.resume(late);
        }
        if tick == 1_900 {
            let ended = lab.caller(1).ended();
            assert!(ended.len() == 1 && ended[0].result.is_ok(), "{:?}", lab.caller(1).under_way());
        }
        assert!(lab.host_mut().usage().connections <= 16 + 2);
    }
    lab.run_for(8 * SECOND);
    assert_eq!(lab.ledger.all_runs(), 2);
    assert!(matches!(lab.caller_mut(1).client().standing(), SimStanding::Connected));
    let counted = lab.recorded("handshake.refused", "handshake_timeout");
    println!("{counted} on record");
    // What begins a handshake and does not end it is counted; who is only asked for a token is not.
    assert!(counted >= 5, "{counted}");
}

#[test]
fn a_reply_that_nobody_waits_for_changes_nothing() {
    let (mut lab, captured, runs) = captured(57);
    // Calls that are cancelled are answered all the same.
    let calls = [Kind::Slow(5), Kind::Increment, Kind::Fill(3_000), Kind::Slow(5)];
    lab.caller_mut(0).add(calls);
    lab.run_for(MS / 20);
    for _ in 0..4 {
        lab.caller_mut(0).cancel_oldest();
    }
    lab.run_for(SECOND);
    assert_eq!(lab.caller(0).abandoned().len(), 4);
    for it in captured.iter().filter(|it| it.from == server_address()) {
        lab.world.inject(it.from, it.to, it.datagram.clone());
    }
    let sent = lab.world.sent();
    lab.run_for(SECOND);
    assert!(lab.world.sent() <= sent + 4, "a replayed reply makes nobody send");
    assert!(lab.ledger.all_runs() <= runs + 4);
    let _ = lab.verify();
    lab.caller_mut(0).add([Kind::Increment]);
    lab.run(SECOND).unwrap();
}

#[test]
fn a_window_full_of_long_answers_that_are_not_acknowledged_stays_within_its_quota() {
    let mut lab = quiet_lab(58, vec![Plan::of(Kind::Increment, 0, 1)]);
    let mut raw = Raw::connect(&mut lab, raw_address());
    let quota = lab_limits().max_kept_answers;
    let mut length = Vec::new();
    varint(60_000, &mut length);
    let mut refused = 0;
    for call in 0..600_u64 {
        raw.send(&mut lab, PacketType::Data, &request(call, 0, FILL, &length));
        let usage = lab.host_mut().usage();
        assert!(usage.kept_by_one <= quota, "call {call}: {usage:?}");
        refused += raw.replies(&mut lab).iter().filter(|(_, status)| *status == 3).count();
    }
    let kept = lab.host_mut().most();
    println!("{kept:?}, {refused} refused, {} ran", lab.ledger.all_runs());
    assert!(kept.kept_by_one > quota / 2, "the quota was reached for: {kept:?}");
    assert!(lab.ledger.all_runs() < 100, "what cannot be kept does not run");
    // Another client has all of its own.
    lab.caller_mut(0).add([Kind::Fill(60_000)]);
    lab.run(5 * SECOND).unwrap();
    assert!(lab.caller(0).ended()[0].result.is_ok());
}
