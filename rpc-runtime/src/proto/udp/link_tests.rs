//! What a link promises its owner, on a network that behaves and on one that does not.

use std::{collections::HashSet, time::Duration};

use super::{
    link::{Link, MAX_BATCH, Report},
    link_world::{Initiator, MS, Responder, Setup, World, framed},
};
use crate::{config::Limits, error::Disconnected};

const SECOND: Duration = Duration::from_secs(1);

/// A frame of this size that is told apart from others by its number.
fn frame(number: usize, size: usize) -> Vec<u8> {
    let mut frame = (number as u64).to_be_bytes().to_vec();
    frame.extend((8..size).map(|at| (at * 31 + number).to_le_bytes()[0]));
    frame
}

#[test]
fn small_frames_share_packets_and_arrive_in_order() {
    let mut world = World::new();
    let frames: Vec<_> = (0..100).map(|number| frame(number, 60)).collect();
    for frame in &frames {
        world.send(Responder, frame, None);
    }
    world.transmit();
    let packets = 100_usize.div_ceil((1200 - 34) / 64);
    assert_eq!(world.sent.len(), packets + 1, "of 64 bytes each, and a probe");
    world.run_for(SECOND);
    assert_eq!(world.initiator.frames, frames);
}

#[test]
fn full_packets_of_a_batch_have_one_length() {
    let mut world = World::new();
    for number in 0..100 {
        world.send(Responder, &frame(number, 40 + number % 7), None);
    }
    let (now, mut out) = (world.now, Vec::new());
    let transmit = world.responder.link.poll_transmit(now, &mut out, 64).unwrap();
    assert_eq!(transmit.segment, 1200);
    assert!(out.len() > 4000, "one batch");
    let mut none = Vec::new();
    let again = world.responder.link.poll_transmit(now, &mut none, 64);
    assert_eq!(again.map(|probe| probe.segment), Some(1232), "a probe of the path");
    assert_eq!(world.responder.link.poll_transmit(now, &mut none, 64), None);
    world.send(Responder, b"few", None);
    out.clear();
    world.responder.link.poll_transmit(now, &mut out, 64).unwrap();
    assert_eq!(out.len(), 34 + 4 + 3, "a lone packet is not padded");
}

#[test]
fn no_batch_has_more_packets_than_the_socket_takes() {
    let mut world = World::new();
    for number in 0..100 {
        world.send(Responder, &frame(number, 1000), None);
    }
    let mut packets = 0;
    let mut out = Vec::new();
    while let Some(transmit) = world.responder.link.poll_transmit(world.now, &mut out, 8) {
        packets += out.len().div_ceil(transmit.segment);
        assert!(out.len().div_ceil(transmit.segment) <= 8);
        out.clear();
    }
    assert_eq!(packets, 101, "and a probe");
    for number in 0..100 {
        world.send(Responder, &frame(number, 1000), None);
    }
    while world.responder.link.poll_transmit(world.now, &mut out, 1000).is_some() {
        assert!(out.len() <= MAX_BATCH);
        out.clear();
    }
}

/// Sends messages of `size` bytes both ways. The share of fragments that were sent in vain.
fn messages_arrive_once(count: usize, size: usize, loss: f64, jitter: Duration, seed: u64) -> f64 {
    let mut world = World::with(&Setup { seed, ..Setup::default() });
    (world.loss, world.mtu, world.jitter) = (loss, 1200, jitter);
    for number in 0..count {
        world.send(Initiator, &frame(number, size), Some(number as u64));
        world.send(Responder, &frame(number, size), None);
    }
    world.run_until(60 * SECOND, |world| {
        world.initiator.frames.len() >= count
            && world.responder.frames.len() >= count
            && world.initiator.reports.len() >= count
    });
    world.run_for(10 * SECOND);
    let wanted: HashSet<_> = (0..count).map(|number| frame(number, size)).collect();
    for end in [&world.initiator, &world.responder] {
        assert_eq!(end.failure, None);
        assert_eq!(end.frames.len(), count, "each once");
        assert_eq!(end.frames.iter().cloned().collect::<HashSet<_>>(), wanted);
        assert_eq!(end.link.unsent(), 0);
    }
    let delivered: HashSet<_> = world.initiator.reports.iter().copied().collect();
    let wanted = (0..count as u64).map(|tag| Report::Delivered { tag }).collect();
    assert_eq!(delivered, wanted);
    let fragments = 2 * count * (size + 4).div_ceil(1200 - 42);
    let sent = world.sent.iter().filter(|datagram| datagram.bytes.len() > 500).count();
    sent as f64 / fragments as f64 - 1.0
}

#[test]
fn long_messages_arrive_once_over_a_path_without_loss() {
    assert!(messages_arrive_once(8, 65_000, 0.0, Duration::ZERO, 1) < 0.01);
}

#[test]
fn long_messages_arrive_once_though_a_tenth_is_lost() {
    // One in nine again for the fragments that were lost, and as many for lost answers.
    assert!(messages_arrive_once(10, 65_000, 0.1, Duration::ZERO, 2) < 0.35);
}

#[test]
fn long_messages_arrive_once_though_a_third_is_lost() {
    assert!(messages_arrive_once(6, 65_000, 0.3, Duration::ZERO, 3) < 1.2);
}

#[test]
fn long_messages_arrive_once_though_packets_overtake_each_other() {
    messages_arrive_once(6, 65_000, 0.1, 5 * MS, 4);
}

#[test]
fn messages_around_the_size_of_a_packet_arrive() {
    let mut world = World::new();
    world.mtu = 1200;
    // The length field is part of what has to fit.
    let fits = 1200 - 34 - 4;
    let sizes = [1, fits - 1, fits, fits + 1, 2 * (1200 - 42) - 4, 2 * (1200 - 42) - 3];
    for size in sizes {
        world.send(Initiator, &vec![5; size], None);
    }
    world.run_for(SECOND);
    let mut got: Vec<_> = world.responder.frames.iter().map(Vec::len).collect();
    got.sort_unstable();
    assert_eq!(got, sizes);
}

#[test]
fn fragments_leave_while_small_frames_do() {
    let mut world = World::new();
    world.mtu = 1200;
    world.send(Initiator, &frame(0, 60_000), Some(0));
    for number in 1..500 {
        world.send(Initiator, &frame(number, 1000), None);
    }
    world.transmit();
    // Only fragments fill their packets.
    let first = world.sent.iter().position(|sent| sent.bytes.len() == 1200).unwrap();
    assert!((1..100).contains(&first), "{first} of {}", world.sent.len());
    world.run_for(SECOND);
    assert_eq!(world.responder.frames.len(), 500);
}

#[test]
fn a_frame_that_the_peer_does_not_take_is_refused_at_once() {
    let mut world = World::new();
    let link = &mut world.initiator.link;
    assert_eq!(link.max_message(), 65_536 - 4);
    let too_long = framed(&vec![0; 65_533]);
    assert_eq!(link.send(&too_long, Some(1)).unwrap_err().limit, 65_532);
    assert!(!link.is_sending(1));
    world.send(Initiator, &vec![0; 65_532], Some(2));
    assert!(world.initiator.link.is_sending(2));
    world.transmit();
    assert!(world.initiator.link.is_sending(2), "until all of it is acknowledged");
    world.run_for(SECOND);
    assert!(!world.initiator.link.is_sending(2));
    assert_eq!(world.responder.frames[0].len(), 65_532);

    let limits = Limits { max_message_udp: 0, ..Limits::default() };
    let mut none = World::with(&Setup { limits, ..Setup::default() });
    none.mtu = 1200;
    assert_eq!(none.initiator.link.max_message(), 1200 - 34 - 4);
    none.send(Initiator, &vec![1; 1162], None);
    none.run_for(SECOND);
    assert_eq!(none.responder.frames[0].len(), 1162);
}

#[test]
fn requests_wait_for_the_window_and_answers_do_not() {
    let mut world = World::new();
    for number in 0..100 {
        world.send(Initiator, &frame(number, 1000), Some(number as u64));
        world.send(Responder, &frame(number, 1000), None);
    }
    world.run_for(SECOND);
    assert_eq!(world.responder.frames.len(), 37, "by bytes: 32 packets of 1,200");
    assert_eq!(world.initiator.frames.len(), 100);
    let packets: Vec<u64> = world.initiator.reports.iter().filter_map(sent_in).collect();
    assert_eq!(packets.len(), 37);
    world.initiator.link.answered(packets[0], world.now);
    world.initiator.link.answered(packets[1], world.now);
    world.run_for(SECOND);
    assert!(world.responder.frames.len() > 38);
    for _ in 0..10 {
        let packets: Vec<u64> = world.initiator.reports.iter().filter_map(sent_in).collect();
        for packet in packets {
            world.initiator.link.answered(packet, world.now);
        }
        world.run_for(SECOND);
    }
    assert_eq!(world.responder.frames.len(), 100);
}

fn sent_in(report: &Report) -> Option<u64> {
    match report {
        Report::Sent { packet, .. } => Some(*packet),
        _ => None,
    }
}

#[test]
fn an_answer_shows_which_packets_before_it_are_lost() {
    let mut world = World::new();
    for tag in 0..5 {
        world.send(Initiator, b"call", Some(tag));
        world.transmit();
    }
    let packets: Vec<u64> = world.initiator.reports.iter().filter_map(sent_in).collect();
    assert_eq!(packets.len(), 5);
    world.initiator.link.answered(packets[1], world.now);
    world.initiator.link.answered(packets[4], world.now);
    let reports: Vec<_> = std::iter::from_fn(|| world.initiator.link.poll_report()).collect();
    assert_eq!(reports, [Report::Lost { packet: packets[0] }]);
    world.initiator.link.timed_out(packets[2], world.now);
    world.initiator.link.answered(packets[2], world.now);
    assert_eq!(world.initiator.link.poll_report(), None);
}

#[test]
fn a_window_full_of_packets_that_are_never_answered_opens_again() {
    let mut world = World::new();
    world.loss = 1.0;
    for tag in 0..100 {
        world.send(Initiator, &frame(0, 1000), Some(tag));
    }
    world.run_for(10 * SECOND);
    world.loss = 0.0;
    world.run_for(10 * SECOND);
    assert!(!world.responder.frames.is_empty());
}

#[test]
fn a_message_that_never_arrives_is_reported() {
    let mut world = World::new();
    world.loss = 1.0;
    world.send(Initiator, &frame(0, 60_000), Some(3));
    world.run_for(11 * SECOND);
    assert_eq!(world.initiator.reports, [Report::Undelivered { tag: 3 }]);
    assert_eq!(world.initiator.link.unsent(), 0);
    // Four packets each time but at first, after 100, 200, 400 and then every 800 ms.
    assert!(world.sent.len() < 130, "{}", world.sent.len());
}

#[test]
fn the_window_halves_as_packets_are_lost_and_never_closes() {
    let mut world = World::new();
    world.mtu = 1200;
    world.loss = 0.5;
    for number in 0..4 {
        world.send(Initiator, &frame(number, 60_000), Some(number as u64));
    }
    world.run_until(60 * SECOND, |world| world.responder.frames.len() == 4);
    let times: Vec<_> =
        world.sent.iter().filter(|sent| sent.bytes.len() == 1200).map(|sent| sent.at).collect();
    let first = times.iter().filter(|at| **at == times[0]).count();
    assert_eq!(first, 32);
    let late = &times[times.len() / 2..];
    let most = late.iter().map(|at| late.iter().filter(|other| *other == at).count()).max();
    assert!(most.unwrap() <= 8, "{most:?} at once");
}

#[test]
fn keys_change_while_packets_are_lost_and_nothing_is() {
    let records = bailiwick_crypto::RecordLimits { records: 16, ..Default::default() };
    let mut world = World::with(&Setup { records, seed: 11, ..Setup::default() });
    (world.loss, world.mtu, world.jitter) = (0.2, 1200, 3 * MS);
    for number in 0..20 {
        world.send(Initiator, &frame(number, 30_000), Some(number as u64));
        world.send(Responder, &frame(number, 30_000), None);
    }
    world.run_until(60 * SECOND, |world| {
        world.initiator.frames.len() == 20 && world.responder.frames.len() == 20
    });
    let epochs: HashSet<u8> = world.sent.iter().map(|sent| sent.bytes[0] & 0x30).collect();
    assert_eq!(epochs.len(), 4, "all values of the epoch's two bits were seen");
    assert_eq!((world.initiator.failure, world.responder.failure), (None, None));
}

#[test]
fn silence_ends_the_session() {
    let mut world = World::new();
    world.loss = 1.0;
    world.run_for(29 * SECOND);
    assert_eq!(world.initiator.failure, None);
    world.run_for(SECOND);
    let idle = Disconnected::Idle(30 * SECOND);
    assert_eq!(world.initiator.failure.unwrap().why, idle);
    assert_eq!(world.responder.failure.unwrap().why, idle);
    assert!(world.initiator.link.is_drained(world.now));
    assert_eq!(world.sent.len(), 0);
}

#[test]
fn who_received_data_and_sent_nothing_pings_once() {
    let mut world = World::new();
    world.mtu = 1200;
    world.send(Initiator, b"request", None);
    world.run_for(9 * SECOND);
    assert_eq!(world.sent_by(Responder, 0).len(), 0);
    world.run_for(20 * SECOND);
    assert_eq!(world.sent_by(Responder, 0).len(), 1);
    world.run_for(20 * SECOND);
    // A ping is no data: it is not answered, and the session ends by silence.
    assert!(world.initiator.failure.is_some() && world.responder.failure.is_some());
}

#[test]
fn who_answers_does_not_ping() {
    let mut world = World::new();
    world.mtu = 1200;
    world.send(Initiator, b"request", None);
    world.run_for(SECOND);
    world.send(Responder, b"answer", None);
    world.run_for(20 * SECOND);
    assert_eq!(world.sent_by(Responder, 0).iter().filter(|sent| sent.bytes.len() < 100).count(), 1);
}

#[test]
fn long_answers_wait_for_the_window_however_long_datagrams_may_be() {
    let mut world = World::new();
    for number in 0..100_u8 {
        world.send(Responder, &[number], None);
        world.run_for(10 * MS);
    }
    assert_eq!(world.responder.link.mtu(), 65_507);
    let before = world.sent.len();
    for number in 0..20 {
        world.send(Responder, &frame(number, 60_000), None);
    }
    world.transmit();
    assert_eq!(world.sent_by(Responder, before).len(), 2);
    world.run_for(SECOND);
    assert_eq!(world.initiator.frames.len(), 120);
}

#[test]
fn an_idle_link_is_small() {
    let mut world = World::new();
    for number in 0..16 {
        world.send(Initiator, &frame(number, 30_000), Some(number as u64));
        world.send(Responder, &frame(number, 30_000), None);
    }
    world.run_until(60 * SECOND, |world| {
        world.initiator.link.unsent() == 0 && world.responder.link.unsent() == 0
    });
    world.run_for(SECOND);
    world.initiator.link.rest();
    // The replay window's blocks are the packet layer's: 17 of 8 bytes.
    let size = size_of::<Link>() + world.initiator.link.heap();
    assert!(size <= 2048, "{size} bytes");
}

#[test]
fn a_session_that_ends_gives_its_share_of_the_pool_back() {
    let mut world = World::new();
    (world.loss, world.mtu) = (0.5, 1200);
    world.send(Initiator, &frame(0, 60_000), None);
    world.run_for(2 * MS);
    assert!(world.pool.used() > 0);
    world.responder.link.close(world.now);
    assert_eq!(world.pool.used(), 0);
}
