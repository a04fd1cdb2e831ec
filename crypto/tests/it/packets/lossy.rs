//! Both sides send through a network that loses, repeats and reorders, with keys that last four
//! packets: nothing opens twice, nothing is altered, and neither side goes deaf.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bailiwick_crypto::{PacketError, Packets};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{data, epoch, opened, pair_with};

const SEEDS: u64 = 24;
const STEPS: u32 = 600;

#[test]
fn epochs_come_through_loss_and_reordering_while_both_sides_send() {
    for seed in 0..SEEDS {
        let mut world = World::seeded(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.heals();
        assert!(world.epochs_begun >= 20, "seed {seed}: {} epochs", world.epochs_begun);
    }
}

/// One direction: the sender's messages count from 0, as its packets do.
#[derive(Default)]
struct Wire {
    flying: Vec<(u64, Vec<u8>)>,
    sent: u64,
    heard: HashSet<u64>,
}

struct World {
    seed: u64,
    rng: StdRng,
    now: Instant,
    ends: [Packets; 2],
    /// From the initiator, from the responder.
    wires: [Wire; 2],
    epoch: u8,
    epochs_begun: u32,
}

impl World {
    fn seeded(seed: u64) -> Self {
        let (alice, server, now) = pair_with(|limits| limits.records = 4);
        Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            now,
            ends: [alice, server],
            wires: [Wire::default(), Wire::default()],
            epoch: 0,
            epochs_begun: 0,
        }
    }

    /// A side sends, or a packet that flies arrives, is lost or is repeated.
    fn step(&mut self) {
        self.now += Duration::from_millis(self.rng.random_range(0..200));
        let side = self.rng.random_range(0..2);
        self.send(side);
        let side = self.rng.random_range(0..2);
        let flying = self.wires[side].flying.len();
        if flying == 0 {
            return;
        }
        let at = self.rng.random_range(0..flying);
        match self.rng.random_range(0..10) {
            0..3 => drop(self.wires[side].flying.swap_remove(at)),
            3 => {
                let (number, packet) = self.wires[side].flying[at].clone();
                self.arrive(side, number, &packet);
            }
            _ => {
                let (number, packet) = self.wires[side].flying.swap_remove(at);
                self.arrive(side, number, &packet);
            }
        }
    }

    fn send(&mut self, side: usize) {
        let wire = &mut self.wires[side];
        let number = wire.sent;
        let packet = data(&mut self.ends[side], &number.to_be_bytes(), self.now);
        if side == 0 && epoch(&packet) != self.epoch {
            assert_eq!(epoch(&packet), (self.epoch + 1) % 4, "seed {}", self.seed);
            self.epoch = epoch(&packet);
            self.epochs_begun += 1;
        }
        wire.flying.push((number, packet));
        wire.sent += 1;
    }

    fn arrive(&mut self, side: usize, number: u64, packet: &[u8]) {
        let (seed, wire) = (self.seed, &mut self.wires[side]);
        match opened(&mut self.ends[1 - side], packet, self.now) {
            Ok(heard) => {
                assert_eq!(heard.content, number.to_be_bytes(), "seed {seed}");
                assert!(wire.heard.insert(number), "seed {seed}: {number} opened twice");
            }
            Err(PacketError::Replayed) => {
                assert!(wire.heard.contains(&number), "seed {seed}: {number} never opened");
            }
            // Overtaken by two epochs, or by one for too long.
            Err(PacketError::NotAuthentic) => {}
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }

    /// The network carries everything at last: all of it is heard at once.
    fn heals(&mut self) {
        for wire in &mut self.wires {
            wire.flying.clear();
        }
        for _ in 0..40 {
            for side in [0, 1] {
                self.send(side);
                let (number, packet) = self.wires[side].flying.pop().unwrap();
                self.arrive(side, number, &packet);
                let heard = self.wires[side].heard.contains(&number);
                assert!(heard, "seed {}: side {} has gone deaf", self.seed, 1 - side);
            }
        }
    }
}
