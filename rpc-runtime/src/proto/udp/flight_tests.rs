use std::time::Duration;

use super::*;

const MS: Duration = Duration::from_millis(1);

struct World {
    flight: Flight,
    now: Instant,
    next: u64,
}

impl World {
    fn new() -> Self {
        Self { flight: Flight::new(1024), now: Instant::now(), next: 0 }
    }

    fn send(&mut self, size: usize) -> u64 {
        let number = self.next;
        self.next += 1;
        self.flight.sent(Packet { number, sent: self.now, size, carried: Carried::Frames });
        number
    }

    /// Sends packets until no more may leave.
    fn fill(&mut self) -> Vec<u64> {
        let mut numbers = Vec::new();
        while self.flight.has_room() {
            numbers.push(self.send(PACKET));
        }
        numbers
    }

    fn answer(&mut self, numbers: &[u64]) {
        for &number in numbers {
            self.flight.answered(number).unwrap();
            self.flight.reached(number);
        }
    }

    fn lost(&mut self) -> Vec<u64> {
        let now = self.now;
        std::iter::from_fn(|| self.flight.next_lost(now)).map(|packet| packet.number).collect()
    }
}

#[test]
fn it_starts_with_32_packets_and_doubles_each_round_trip() {
    let mut world = World::new();
    for packets in [32, 64, 128] {
        let sent = world.fill();
        assert_eq!(sent.len(), packets);
        world.now += MS;
        world.answer(&sent);
    }
}

#[test]
fn after_a_loss_it_grows_by_a_packet_a_round_trip() {
    let mut world = World::new();
    let sent = world.fill();
    world.now += MS;
    world.flight.lost(sent[0], world.now).unwrap();
    world.answer(&sent[1..]);
    for packets in [16, 16, 17, 18] {
        let sent = world.fill();
        assert!(sent.len().abs_diff(packets) <= 1, "{} and not {packets}", sent.len());
        world.now += MS;
        world.answer(&sent);
    }
}

#[test]
fn losses_of_one_round_trip_halve_it_once() {
    let mut world = World::new();
    let sent = world.fill();
    world.now += MS;
    for number in &sent[..10] {
        world.flight.lost(*number, world.now).unwrap();
    }
    assert_eq!(world.flight.window, INITIAL_WINDOW / 2);
    let later = world.send(PACKET);
    world.now += MS;
    world.flight.lost(later, world.now).unwrap();
    // It was sent at the instant of the first loss and not after it.
    assert_eq!(world.flight.window, INITIAL_WINDOW / 2);
    let later = world.send(PACKET);
    world.flight.lost(later, world.now).unwrap();
    assert_eq!(world.flight.window, INITIAL_WINDOW / 4);
}

#[test]
fn two_packets_may_always_leave_and_four_small_ones() {
    let mut world = World::new();
    for _ in 0..100 {
        world.now += MS;
        let number = world.send(65_507);
        world.flight.lost(number, world.now).unwrap();
    }
    for (size, packets) in [(65_507, 2), (PACKET, 4)] {
        let mut sent = Vec::new();
        while world.flight.has_room() {
            sent.push(world.send(size));
        }
        assert_eq!(sent.len(), packets, "of {size} bytes");
        sent.iter().for_each(|number| world.flight.forget(*number));
    }
}

#[test]
fn a_packet_is_lost_when_the_third_behind_it_is_answered() {
    let mut world = World::new();
    let sent = world.fill();
    world.answer(&[sent[2]]);
    assert!(world.lost().is_empty(), "two of them may have been overtaken");
    world.answer(&[sent[3]]);
    assert_eq!(world.lost(), [sent[0]]);
    world.answer(&[sent[7]]);
    assert_eq!(world.lost(), [sent[1], sent[4]]);
}

#[test]
fn an_answer_counts_once() {
    let mut world = World::new();
    let sent = world.fill();
    assert!(world.flight.answered(sent[1]).is_some());
    assert_eq!(world.flight.answered(sent[1]), None);
    assert_eq!(world.flight.lost(sent[1], world.now), None);
    assert_eq!(world.flight.answered(sent[0]).map(|packet| packet.number), Some(sent[0]));
    assert_eq!(world.flight.answered(sent[0]), None);
    assert_eq!(world.flight.answered(u64::MAX), None);
    assert_eq!(world.flight.count, sent.len() - 2);
    assert_eq!(world.flight.bytes, (sent.len() - 2) * PACKET);
}

#[test]
fn a_window_that_was_not_used_does_not_grow() {
    let mut world = World::new();
    for _ in 0..100 {
        let number = world.send(PACKET);
        world.answer(&[number]);
    }
    assert_eq!(world.flight.window, INITIAL_WINDOW);
}

#[test]
fn neither_bytes_nor_packets_under_way_grow_without_bound() {
    let mut world = World::new();
    for _ in 0..100 {
        let sent = world.fill();
        assert!(sent.len() <= 1024);
        world.answer(&sent);
    }
    while world.flight.has_room() {
        world.send(1);
    }
    assert_eq!(world.flight.count, 1024);
    let mut world = World::new();
    for _ in 0..10 {
        let mut sent = Vec::new();
        while world.flight.has_room() {
            sent.push(world.send(65_507));
        }
        assert!(sent.len() * 65_507 <= MAX_WINDOW + 65_507);
        world.answer(&sent);
    }
}

#[test]
fn a_front_that_is_never_answered_bounds_what_is_kept_behind_it() {
    let mut world = World::new();
    world.send(PACKET);
    for _ in 0..5000 {
        if world.flight.has_room() {
            let number = world.send(PACKET);
            world.flight.answered(number).unwrap();
        }
    }
    assert!(world.flight.packets.len() <= 1024);
    world.flight.lost(0, world.now).unwrap();
    assert!(world.flight.is_empty() && world.flight.packets.is_empty());
}

#[test]
fn an_idle_connection_gives_its_memory_back() {
    let mut world = World::new();
    let sent = world.fill();
    world.answer(&sent);
    world.flight.rest();
    assert_eq!(world.flight.packets.capacity(), 0);
}
