//! A world moves datagrams, times and addresses as it says, and always alike.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::link::LinkConfig;
use super::node::Node;
use super::world::{Elapsed, SOCKET_BUFFER, World};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Sends a numbered datagram whenever its timer fires, and notes what comes.
struct Ticker {
    to: SocketAddr,
    outgoing: Vec<Vec<u8>>,
    left: u32,
    next: Option<Instant>,
    heard: Vec<(Instant, SocketAddr, Vec<u8>)>,
    too_big: Vec<usize>,
}

impl Ticker {
    fn new(to: SocketAddr, ticks: u32, first: Instant) -> Self {
        let next = (ticks > 0).then_some(first);
        Self { to, outgoing: Vec::new(), left: ticks, next, heard: Vec::new(), too_big: Vec::new() }
    }

    fn silent() -> Self {
        Self::new(at(9), 0, Instant::now())
    }

    fn texts(&self) -> Vec<&[u8]> {
        self.heard.iter().map(|(_, _, datagram)| datagram.as_slice()).collect()
    }
}

impl Node for Ticker {
    fn handle_datagram(&mut self, from: SocketAddr, datagram: &mut [u8], now: Instant) {
        self.heard.push((now, from, datagram.to_vec()));
    }

    fn poll_transmit(&mut self, _: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        Some((self.to, self.outgoing.pop()?))
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.left -= 1;
        self.next = (self.left > 0).then_some(now + MS * 10);
        self.outgoing.push(self.left.to_be_bytes().to_vec());
    }

    fn handle_too_big(&mut self, _: SocketAddr, length: usize, _: Instant) {
        self.too_big.push(length);
    }
}

fn at(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 1000))
}

/// A world where node 1 ticks towards node 2.
fn ticking(seed: u64, ticks: u32) -> (World<Ticker>, super::NodeId, super::NodeId) {
    let mut world = World::seeded(seed);
    let ticker = Ticker::new(at(2), ticks, world.now() + MS * 10);
    let from = world.add(at(1), ticker);
    let to = world.add(at(2), Ticker::silent());
    (world, from, to)
}

fn bad_link() -> LinkConfig {
    LinkConfig {
        loss: 0.3,
        duplicate: 0.1,
        reorder: 0.2,
        corrupt: 0.1,
        delay: MS..MS * 30,
        hold: MS * 50,
        ..LinkConfig::default()
    }
}

#[test]
fn the_clock_moves_only_from_event_to_event() {
    let (mut world, from, to) = ticking(1, 3);
    world.set_link(from, to, LinkConfig { delay: MS * 13..MS * 13, ..LinkConfig::default() });
    let began = Instant::now();
    let start = world.now();
    world.run_until_idle(SECOND).unwrap();
    assert_eq!(world.elapsed(), MS * 43);
    let times: Vec<_> = world.node(to).heard.iter().map(|(at, ..)| *at - start).collect();
    assert_eq!(times, [MS * 23, MS * 33, MS * 43]);

    world.run_for(SECOND * 3_600);
    assert_eq!(world.elapsed(), MS * 43 + SECOND * 3_600);
    assert!(began.elapsed() < SECOND * 60, "an hour is no hour here");
}

#[test]
fn waiting_ends_when_it_has_happened_or_cannot_in_time() {
    let (mut world, _, to) = ticking(1, 100);
    world.run_until(SECOND, |world| world.node(to).heard.len() == 5).unwrap();
    assert_eq!(world.elapsed(), MS * 50);
    let refused = world.run_until(MS * 100, |world| world.node(to).heard.len() == 50);
    assert_eq!(refused, Err(Elapsed(MS * 100)));
    assert_eq!(world.elapsed(), MS * 150);
    assert_eq!(world.run_until_idle(MS), Err(Elapsed(MS)));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let (mut world, from, to) = ticking(seed, 500);
        world.set_all_links(&bad_link());
        world.run_until_idle(SECOND * 60).unwrap();
        let heard = world.node(to).texts().iter().map(|text| text.to_vec()).collect::<Vec<_>>();
        (world.trace_hash(), world.counts(from, to), world.elapsed(), heard)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}

#[test]
fn the_trace_hash_knows_every_byte_and_every_time() {
    let hash = |text: &[u8], delay| {
        let mut world = World::seeded(1);
        let id = world.add(at(1), Ticker::silent());
        world.run_for(delay);
        world.inject(at(2), at(1), text.to_vec());
        assert!(world.step());
        assert_eq!(world.node(id).heard.len(), 1);
        world.trace_hash()
    };
    assert_eq!(hash(b"a", MS), hash(b"a", MS));
    assert_ne!(hash(b"a", MS), hash(b"b", MS));
    assert_ne!(hash(b"a", MS), hash(b"a", MS * 2));
}

#[test]
fn a_link_changes_during_a_run_and_each_direction_on_its_own() {
    let (mut world, from, to) = ticking(1, 30);
    world.run_for(MS * 100);
    world.set_link(from, to, LinkConfig { loss: 1.0, ..LinkConfig::default() });
    world.run_for(MS * 100);
    world.node_mut(to).to = at(1);
    world.node_mut(to).outgoing.push(b"back".to_vec());
    world.set_link(from, to, LinkConfig::default());
    world.run_until_idle(SECOND).unwrap();
    assert_eq!(world.counts(from, to).lost, 10);
    assert_eq!(world.node(to).heard.len(), 20);
    assert_eq!(world.node(from).texts(), [b"back"]);
    assert_eq!(world.counts(to, from).arriving, 1);
    assert_eq!(world.total().sent, 31);
}

#[test]
fn what_waits_to_be_sent_meets_the_link_as_it_is_when_it_leaves() {
    let (mut world, from, to) = ticking(1, 0);
    world.node_mut(from).outgoing.push(b"first".to_vec());
    world.set_link(from, to, LinkConfig { duplicate: 1.0, ..LinkConfig::default() });
    world.run_until_idle(SECOND).unwrap();
    assert_eq!(world.node(to).texts(), [b"first", b"first"]);
}

#[test]
fn what_happens_on_one_link_changes_no_other() {
    let fates = |also: bool| {
        let (mut world, from, to) = ticking(3, 200);
        if also {
            let other = Ticker::new(at(2), 200, world.now() + MS * 5);
            world.add(at(3), other);
        }
        world.set_all_links(&bad_link());
        world.run_until_idle(SECOND * 60).unwrap();
        world.counts(from, to)
    };
    assert_eq!(fates(false), fates(true));
}

#[test]
fn a_corrupted_copy_differs_by_one_bit_and_the_other_by_another() {
    let (mut world, from, to) = ticking(1, 0);
    let config = LinkConfig { corrupt: 1.0, duplicate: 1.0, ..LinkConfig::default() };
    world.set_link(from, to, config);
    world.node_mut(from).outgoing.push(vec![0; 100]);
    world.run_until_idle(SECOND).unwrap();
    let texts = world.node(to).texts();
    let ones = |text: &[u8]| text.iter().map(|byte| byte.count_ones()).sum::<u32>();
    assert_eq!((ones(texts[0]), ones(texts[1])), (1, 1));
    assert_ne!(texts[0], texts[1]);
}

#[test]
fn the_sender_is_told_of_what_its_first_hop_does_not_take() {
    let (mut world, from, to) = ticking(1, 0);
    let config = LinkConfig { mtu: 1_280, first_hop_mtu: 1_500, ..LinkConfig::default() };
    world.set_link(from, to, config);
    for length in [1_252, 1_253, 1_472, 1_473] {
        world.node_mut(from).outgoing.push(vec![0; length]);
    }
    world.run_until_idle(SECOND).unwrap();
    assert_eq!(world.node(from).too_big, [1_473]);
    assert_eq!(world.counts(from, to).over_mtu, 2);
    assert_eq!(world.node(to).texts(), [vec![0; 1_252]]);
}

#[test]
fn a_nat_that_rebinds_changes_the_source_and_loses_what_is_under_way() {
    let (mut world, from, to) = ticking(1, 2);
    world.set_all_links(&LinkConfig { delay: MS..MS, ..LinkConfig::default() });
    world.run_until(SECOND, |world| world.node(to).heard.len() == 1).unwrap();
    world.node_mut(to).to = at(1);
    world.node_mut(to).outgoing.push(b"to the old port".to_vec());
    let seen_as = world.rebind(from);
    assert_eq!(seen_as, SocketAddr::from(([10, 0, 0, 1], 1001)));
    world.run_until_idle(SECOND).unwrap();
    let sources: Vec<_> = world.node(to).heard.iter().map(|(_, from, _)| *from).collect();
    assert_eq!(sources, [at(1), seen_as]);
    assert!(world.node(from).heard.is_empty());
    assert_eq!(world.unroutable(), 1);

    world.node_mut(to).to = seen_as;
    world.node_mut(to).outgoing.push(b"to the new port".to_vec());
    world.run_until_idle(SECOND).unwrap();
    assert_eq!(world.node(from).texts(), [b"to the new port"]);
}

#[test]
fn a_world_that_is_cut_loses_everything_from_one_datagram_on() {
    let (mut world, from, to) = ticking(1, 10);
    world.cut_after(4);
    world.run_for(MS * 70);
    assert_eq!((world.sent(), world.node(to).heard.len()), (7, 4));
    world.mend();
    world.run_until_idle(SECOND).unwrap();
    assert_eq!((world.sent(), world.node(to).heard.len()), (10, 7));
    assert_eq!(world.counts(from, to).sent, 7, "the links never saw the others");
}

#[test]
fn what_was_captured_can_be_injected_again_from_anywhere() {
    let (mut world, _, to) = ticking(1, 2);
    world.set_all_links(&LinkConfig { loss: 1.0, ..LinkConfig::default() });
    world.start_capture();
    world.run_until_idle(SECOND).unwrap();
    let captured = world.take_captured();
    assert_eq!(captured.len(), 2, "what is lost is captured too");
    assert_eq!((captured[0].from, captured[0].to, captured[0].at), (at(1), at(2), MS * 10));
    assert!(world.take_captured().is_empty());

    world.inject(at(77), captured[1].to, captured[1].datagram.clone());
    world.run_until_idle(SECOND).unwrap();
    let (_, from, datagram) = &world.node(to).heard[0];
    assert_eq!((*from, datagram), (at(77), &captured[1].datagram));
}

#[test]
fn a_node_that_is_stopped_meets_what_it_missed_when_it_goes_on() {
    let (mut world, from, to) = ticking(1, 3);
    world.stop(from);
    world.stop(to);
    for number in 0..SOCKET_BUFFER + 10 {
        world.inject(at(7), at(2), number.to_be_bytes().to_vec());
    }
    world.run_for(SECOND);
    assert!(world.node(to).heard.is_empty());

    world.resume(to);
    assert_eq!(world.node(to).heard.len(), SOCKET_BUFFER, "a socket keeps so many");
    world.resume(from);
    world.run_until_idle(SECOND).unwrap();
    assert_eq!(world.node(to).heard.len(), SOCKET_BUFFER + 3);
    assert_eq!(world.elapsed(), SECOND + MS * 20, "the first timeout was due long ago");
}

#[test]
fn a_node_that_is_replaced_starts_anew_at_its_address() {
    let (mut world, from, to) = ticking(1, 2);
    world.set_link(from, to, LinkConfig { delay: MS * 5..MS * 5, ..LinkConfig::default() });
    world.run_until(SECOND, |world| world.counts(from, to).sent == 1).unwrap();
    let old = world.replace(to, Ticker::silent());
    assert!(old.heard.is_empty());
    world.run_until_idle(SECOND).unwrap();
    assert_eq!(world.node(to).heard.len(), 2);
}

#[test]
#[should_panic(expected = "asks for timeouts that have passed, for ever")]
fn a_node_that_never_stops_asking_for_the_past_is_found_out() {
    struct Stuck(Instant);
    impl Node for Stuck {
        fn handle_datagram(&mut self, _: SocketAddr, _: &mut [u8], _: Instant) {}
        fn poll_transmit(&mut self, _: Instant) -> Option<(SocketAddr, Vec<u8>)> {
            None
        }
        fn next_timeout(&self) -> Option<Instant> {
            Some(self.0)
        }
        fn handle_timeout(&mut self, _: Instant) {}
    }
    let mut world = World::seeded(1);
    let now = world.now();
    world.add(at(1), Stuck(now));
    let _ = world.run_until_idle(SECOND);
}
