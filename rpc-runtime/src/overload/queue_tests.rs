use std::{collections::HashSet, ops::Range};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::overload::standing::{INTERVAL, TARGET};

const MS: Duration = Duration::from_millis(1);

/// A queue of numbers and its clock.
struct Scene {
    queue: Queue<u8, u32>,
    now: Instant,
    crowded_out: Vec<u32>,
    late: Vec<u32>,
}

impl Scene {
    fn with_places(places: usize) -> Self {
        let (crowded_out, late) = (Vec::new(), Vec::new());
        Self { queue: Queue::new(places), now: Instant::now(), crowded_out, late }
    }

    /// A queue that has been standing for so long that its order has turned.
    fn standing(places: usize) -> Self {
        let mut scene = Self::with_places(places);
        scene.push(255, 999).unwrap();
        scene.now += TARGET + MS;
        scene.look();
        scene.now += INTERVAL;
        scene.look();
        assert_eq!(scene.queue.standing.order(), Order::NewestFirst);
        scene
    }

    fn look(&mut self) {
        let now = self.now;
        self.queue.look(now);
    }

    fn push(&mut self, client: u8, item: u32) -> Result<Ticket, u32> {
        self.push_within(client, item, 1, Duration::from_secs(60))
    }

    fn push_all(&mut self, client: u8, items: Range<u32>) {
        for item in items {
            self.push(client, item).unwrap();
        }
    }

    fn push_within(
        &mut self,
        client: u8,
        item: u32,
        places: usize,
        within: Duration,
    ) -> Result<Ticket, u32> {
        let newcomer = Newcomer { client, places, deadline: self.now + within };
        self.queue.push(newcomer, item, self.now, &mut self.crowded_out)
    }

    fn pop(&mut self) -> Option<u32> {
        self.queue.pop(self.now, &mut self.late).map(|next| next.item)
    }

    fn all(&mut self) -> Vec<u32> {
        std::iter::from_fn(|| self.pop()).collect()
    }
}

#[test]
fn the_oldest_of_a_client_is_first() {
    let mut scene = Scene::with_places(8);
    scene.push_all(1, 0..5);
    assert_eq!(scene.all(), [0, 1, 2, 3, 4]);
    assert_eq!(scene.pop(), None);
}

#[test]
fn clients_have_turns_however_many_calls_each_has() {
    let mut scene = Scene::with_places(100);
    scene.push_all(1, 0..10);
    scene.push_all(2, 20..22);
    scene.push(3, 30).unwrap();
    assert_eq!(scene.all()[..6], [0, 20, 30, 1, 21, 2]);
}

#[test]
fn a_client_that_begins_to_wait_is_before_those_that_have_had_a_turn() {
    let mut scene = Scene::with_places(100);
    scene.push_all(1, 0..5);
    scene.push_all(2, 20..23);
    assert_eq!([scene.pop(), scene.pop(), scene.pop()], [Some(0), Some(20), Some(1)]);
    scene.push(3, 30).unwrap();
    scene.push(4, 40).unwrap();
    assert_eq!(scene.all(), [30, 40, 21, 2, 22, 3, 4]);
}

#[test]
fn a_standing_queue_turns_and_turns_back_once_it_is_short() {
    let mut scene = Scene::standing(100);
    scene.push_all(1, 0..3);
    scene.push(2, 20).unwrap();
    assert_eq!([scene.pop(), scene.pop()], [Some(20), Some(2)], "who came last is first");
    assert_eq!(scene.pop(), Some(999), "each has its turn");
    assert_eq!(scene.all(), [0, 1], "nobody has waited for long");
    scene.push_all(1, 0..3);
    assert_eq!(scene.all(), [0, 1, 2]);
}

#[test]
fn whoever_waits_longest_for_a_turn_has_one_now_and_then_while_others_come_anew() {
    let mut scene = Scene::standing(100);
    let served = (0..).find(|item| {
        scene.push((item % 200) as u8, *item).unwrap();
        scene.pop() == Some(999)
    });
    assert_eq!(served, Some(u32::try_from(OLD_TURN).unwrap() - 1));
}

#[test]
fn a_deadline_that_has_passed_is_seen_when_the_call_leaves() {
    let mut scene = Scene::with_places(8);
    scene.push_within(1, 0, 1, 2 * MS).unwrap();
    scene.push_within(1, 1, 1, 4 * MS).unwrap();
    scene.now += 2 * MS;
    assert_eq!(scene.pop(), Some(1));
    assert_eq!(scene.late, [0]);
}

#[test]
fn in_a_full_queue_the_longest_line_makes_room() {
    let mut scene = Scene::with_places(4);
    scene.push_all(1, 0..4);
    assert_eq!(scene.push(1, 4), Err(4), "the client has more than anybody");
    scene.push(2, 20).unwrap();
    scene.push(2, 21).unwrap();
    assert_eq!(scene.crowded_out, [3, 2], "the newest have the worst prospects");
    assert_eq!(scene.push(2, 22), Err(22), "both have as many");
    assert_eq!(scene.all(), [0, 20, 1, 21]);
}

#[test]
fn in_a_full_queue_that_stands_the_oldest_make_room() {
    let mut scene = Scene::standing(4);
    scene.push_all(1, 0..3);
    scene.push(1, 3).unwrap();
    assert_eq!(scene.crowded_out, [0], "its own");
    scene.push(2, 20).unwrap();
    assert_eq!(scene.crowded_out, [0, 1]);

    // Many clients with one call each: the one that has waited longest.
    let mut scene = Scene::standing(3);
    scene.push(1, 1).unwrap();
    scene.push(2, 2).unwrap();
    scene.push(3, 3).unwrap();
    assert_eq!(scene.crowded_out, [999]);
}

#[test]
fn a_long_request_takes_more_places_and_pushes_nobody_out_who_has_less() {
    let mut scene = Scene::with_places(10);
    scene.push_within(1, 0, 6, MS).unwrap();
    scene.push(2, 1).unwrap();
    assert_eq!(scene.push_within(3, 2, 6, MS), Err(2));
    assert_eq!(scene.push_within(3, 3, 11, MS), Err(3), "it never fits");
    scene.push_within(3, 4, 5, MS).unwrap();
    assert_eq!(scene.crowded_out, [0]);
}

#[test]
fn one_that_was_taken_out_is_not_next_and_its_ticket_names_no_other() {
    let mut scene = Scene::with_places(8);
    let tickets: Vec<_> = (0..3).map(|item| scene.push(1, item).unwrap()).collect();
    assert_eq!(scene.queue.remove(tickets[1], scene.now), Some(1));
    assert_eq!(scene.queue.remove(tickets[1], scene.now), None);
    scene.push(1, 3).unwrap();
    assert_eq!(scene.queue.remove(tickets[1], scene.now), None);
    assert_eq!(scene.all(), [0, 2, 3]);
}

impl Scene {
    /// What must hold whatever has happened.
    fn check(&self) {
        let queue = &self.queue;
        assert!(queue.places <= queue.max_places);
        let places: usize = queue.waiting.values().map(|waiting| waiting.places).sum();
        assert_eq!(queue.places, places);
        let lines: usize = queue.lines.values().map(|line| line.calls.len()).sum();
        assert_eq!(lines, queue.waiting.len());
        assert!(queue.lines.values().all(|line| !line.calls.is_empty()));
        assert_eq!(
            (queue.turns.len(), queue.longest.len()),
            (queue.lines.len(), queue.lines.len())
        );
        for (client, line) in &queue.lines {
            assert_eq!(queue.turns.get(&line.turn), Some(client));
            assert!(queue.longest.contains(&(line.places, *client)));
            let of = |call: &u64| queue.waiting.get(call).map(|waiting| waiting.client);
            assert!(line.calls.iter().all(|call| of(call) == Some(*client)));
            assert!(line.calls.iter().is_sorted());
        }
    }
}

/// Whatever comes and goes: each leaves once, none whose deadline has passed leaves for work, the
/// bound holds, and while it was oldest first all the time a client's calls keep their order.
#[test]
fn each_leaves_once_and_no_bound_is_exceeded() {
    for _ in 0..200 {
        let seed = rand::random();
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut scene = Scene::with_places(rng.random_range(1..40));
        let (mut tickets, mut came, mut gone) = (Vec::new(), 0, HashSet::new());
        let mut leave = |item: u32| assert!(gone.insert(item), "{item} leaves twice");
        let mut deadlines = Vec::new();
        for _ in 0..rng.random_range(1..600) {
            scene.now += Duration::from_micros(rng.random_range(0..3000));
            match rng.random_range(0..10) {
                0..6 => {
                    let within = Duration::from_micros(rng.random_range(0..200_000));
                    let places = if rng.random_ratio(1, 8) { rng.random_range(1..9) } else { 1 };
                    let client = (rng.next_u32() % 7) as u8;
                    deadlines.push(scene.now + within);
                    match scene.push_within(client, came, places, within) {
                        Ok(ticket) => tickets.push((ticket, came)),
                        Err(item) => leave(item),
                    }
                    came += 1;
                }
                6..9 => {
                    if let Some(item) = scene.pop() {
                        assert!(deadlines[item as usize] > scene.now);
                        leave(item);
                    }
                }
                _ if tickets.is_empty() => {}
                _ => {
                    let (ticket, item) = tickets[rng.random_range(0..tickets.len())];
                    if let Some(out) = scene.queue.remove(ticket, scene.now) {
                        assert_eq!(out, item);
                        leave(item);
                    }
                }
            }
            let late: Vec<_> = scene.late.drain(..).collect();
            assert!(late.iter().all(|item| deadlines[*item as usize] <= scene.now));
            late.into_iter().chain(scene.crowded_out.drain(..)).for_each(&mut leave);
            scene.check();
        }
        while let Some(item) = scene.pop() {
            leave(item);
        }
        scene.late.drain(..).for_each(&mut leave);
        assert_eq!(gone.len(), came as usize, "seed {seed}: each has left");
        assert!(scene.queue.is_empty());
    }
}

/// One client asks for ten times as much as each of the others: all that the others ask for is served,
/// as long as it is less than their share.
#[test]
fn a_greedy_client_takes_what_the_others_leave() {
    let mut scene = Scene::with_places(64);
    let (mut served, mut asked) = ([0; 4], [0; 4]);
    for round in 0..10_000_u32 {
        scene.now += MS;
        for client in 0..4_u8 {
            // The server does four in a round; a greedy client asks for twenty, others for less than one.
            let calls = if client == 0 { 20 } else { u32::from(round % 4 != u32::from(client)) };
            for _ in 0..calls {
                asked[usize::from(client)] += 1;
                let _ = scene.push_within(client, u32::from(client), 1, 50 * MS);
            }
        }
        for _ in 0..4 {
            served[scene.pop().unwrap() as usize] += 1;
        }
    }
    for client in 1..4 {
        assert!(served[client] >= asked[client] - 2, "{served:?} of {asked:?}");
    }
    assert!(served[0] > 10_000, "{served:?}");
}
