//! Who waits for a place at work, who is next, and who must go when there is no room: a line for each
//! client, and turns among them, so that none has more of the server than its share.
//!
//! A client that begins to wait is before all that have had a turn while they waited (RFC 8290, section
//! 4.2), so one that asks for little does not notice one that asks for much. While the queue is short
//! the oldest of a line is next, and the client that has come first. Once its delay is a standing one it is
//! the other way round ("adaptive LIFO"): those who have just come are served in time, and those who have
//! waited longest may have been given up already.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

use super::{
    rate::DrainRate,
    standing::{Order, StandingDelay},
};

/// Where newest come first, every 32nd turn is that of the client who has waited longest for
/// one: others that come anew all the time do not starve it.
const OLD_TURN: u64 = 32;

/// A queue of `T`, each of a client `C`.
#[derive(Debug)]
pub(crate) struct Queue<C, T> {
    /// By arrival.
    waiting: BTreeMap<u64, Waiting<C, T>>,
    lines: HashMap<C, Line>,
    /// Whose turn it is, in order. Each client with a line has one.
    turns: BTreeMap<Turn, C>,
    /// The clients by the places that their lines take.
    longest: BTreeSet<(usize, C)>,
    places: usize,
    max_places: usize,
    next: u64,
    served: u64,
    standing: StandingDelay,
    rate: DrainRate,
}

#[derive(Debug)]
struct Waiting<C, T> {
    client: C,
    places: usize,
    since: Instant,
    deadline: Instant,
    item: T,
}

/// A client's calls that wait, the oldest in front.
#[derive(Debug)]
struct Line {
    calls: VecDeque<u64>,
    places: usize,
    turn: Turn,
}

/// In the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// The first of a client that has begun to wait.
    First(i64),
    Next(i64),
}

/// Names one that waits; no other ever has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What one that comes brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer<C> {
    pub(crate) client: C,
    /// How much room it takes. At least 1.
    pub(crate) places: usize,
    pub(crate) deadline: Instant,
}

/// One that has left the queue in time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next<T> {
    pub(crate) item: T,
    pub(crate) waited: Duration,
}

/// Who goes when there is no room.
enum Victim {
    Newcomer,
    Waiting(u64),
}

impl<C: Copy + Eq + Ord + Hash, T> Queue<C, T> {
    pub(crate) fn new(max_places: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            lines: HashMap::new(),
            turns: BTreeMap::new(),
            longest: BTreeSet::new(),
            places: 0,
            max_places,
            next: 0,
            served: 0,
            standing: StandingDelay::default(),
            rate: DrainRate::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How long those who wait now will take to leave, about.
    pub(crate) fn retry_after(&self) -> Duration {
        self.rate.time_for(self.waiting.len())
    }

    /// Has `item` wait. Where there is no room, the client with the longest line makes some: what goes
    /// for it is appended to `crowded_out`.
    ///
    /// # Errors
    ///
    /// The newcomer itself, if it is its own client that has the most.
    pub(crate) fn push(
        &mut self,
        newcomer: Newcomer<C>,
        item: T,
        now: Instant,
        crowded_out: &mut Vec<T>,
    ) -> Result<Ticket, T> {
        self.look(now);
        while self.places.saturating_add(newcomer.places) > self.max_places {
            match self.victim(&newcomer) {
                Victim::Newcomer => return Err(item),
                Victim::Waiting(call) => match self.take(call) {
                    Some(out) => crowded_out.push(out.item),
                    None => return Err(item),
                },
            }
        }
        Ok(self.insert(newcomer, item, now))
    }

    /// The next whose deadline has not passed; those before it whose deadline has are appended to
    /// `late`.
    pub(crate) fn pop(&mut self, now: Instant, late: &mut Vec<T>) -> Option<Next<T>> {
        self.look(now);
        let order = self.standing.order();
        loop {
            let (call, client) = self.next_call(order)?;
            let waiting = self.take(call)?;
            if waiting.deadline <= now {
                late.push(waiting.item);
                continue;
            }
            self.served += 1;
            self.go_to_the_back(&client);
            self.rate.left(now, !self.is_empty());
            self.look(now);
            let waited = now.saturating_duration_since(waiting.since);
            return Some(Next { item: waiting.item, waited });
        }
    }

    /// Takes one out that nobody waits for any more.
    pub(crate) fn remove(&mut self, ticket: Ticket, now: Instant) -> Option<T> {
        let item = self.take(ticket.0).map(|waiting| waiting.item);
        self.look(now);
        item
    }

    fn look(&mut self, now: Instant) {
        let oldest = self.waiting.first_key_value();
        let waited = oldest.map(|(_, oldest)| now.saturating_duration_since(oldest.since));
        self.standing.look(waited, now);
    }

    fn insert(&mut self, newcomer: Newcomer<C>, item: T, now: Instant) -> Ticket {
        let Newcomer { client, places, deadline } = newcomer;
        let call = self.next;
        self.next += 1;
        self.waiting.insert(call, Waiting { client, places, since: now, deadline, item });
        self.places += places;
        let turn = self.first_turn();
        let line = self.lines.entry(client).or_insert_with(|| {
            self.turns.insert(turn, client);
            Line { calls: VecDeque::new(), places: 0, turn }
        });
        self.longest.remove(&(line.places, client));
        line.calls.push_back(call);
        line.places += places;
        self.longest.insert((line.places, client));
        Ticket(call)
    }

    /// That of a client which begins to wait.
    fn first_turn(&self) -> Turn {
        let mut firsts = self.turns.range(..Turn::Next(i64::MIN)).map(|(turn, _)| *turn);
        Turn::First(match self.standing.order() {
            Order::OldestFirst => firsts.next_back().map_or(0, |last| last.number() + 1),
            Order::NewestFirst => firsts.next().map_or(0, |first| first.number() - 1),
        })
    }

    fn next_call(&self, order: Order) -> Option<(u64, C)> {
        let old_turn = order == Order::NewestFirst && self.served % OLD_TURN == OLD_TURN - 1;
        let turn =
            if old_turn { self.turns.last_key_value() } else { self.turns.first_key_value() };
        let client = *turn?.1;
        let calls = &self.lines.get(&client)?.calls;
        let call = match order {
            Order::OldestFirst => calls.front(),
            Order::NewestFirst => calls.back(),
        };
        Some((*call?, client))
    }

    /// Its client has had its turn.
    fn go_to_the_back(&mut self, client: &C) {
        let last = self.turns.last_key_value().map_or(0, |(turn, _)| turn.number());
        if let Some(line) = self.lines.get_mut(client) {
            self.turns.remove(&line.turn);
            line.turn = Turn::Next(last + 1);
            self.turns.insert(line.turn, *client);
        }
    }

    fn victim(&self, newcomer: &Newcomer<C>) -> Victim {
        let own = self.lines.get(&newcomer.client);
        let wanted = own.map_or(0, |line| line.places).saturating_add(newcomer.places);
        let Some((most, client)) = self.longest.last() else { return Victim::Newcomer };
        let call = match self.standing.order() {
            Order::OldestFirst if wanted >= *most => None,
            Order::OldestFirst => self.lines.get(client).and_then(|line| line.calls.back()),
            Order::NewestFirst if wanted > *most => own.and_then(|line| line.calls.front()),
            Order::NewestFirst => self.oldest_of_the_longest(*most, client),
        };
        call.map_or(Victim::Newcomer, |call| Victim::Waiting(*call))
    }

    /// Of several lines that are as long, the one with the oldest call, if that is the oldest of all.
    fn oldest_of_the_longest(&self, most: usize, client: &C) -> Option<&u64> {
        let (oldest, waiting) = self.waiting.first_key_value()?;
        let line = self.lines.get(&waiting.client)?;
        if line.places == most { Some(oldest) } else { self.lines.get(client)?.calls.front() }
    }

    /// Takes one out of the queue and of its client's line.
    fn take(&mut self, call: u64) -> Option<Waiting<C, T>> {
        let waiting = self.waiting.remove(&call)?;
        self.places -= waiting.places;
        let client = waiting.client;
        let line = self.lines.get_mut(&client)?;
        self.longest.remove(&(line.places, client));
        line.places -= waiting.places;
        match (line.calls.front(), line.calls.back()) {
            (Some(front), _) if *front == call => drop(line.calls.pop_front()),
            (_, Some(back)) if *back == call => drop(line.calls.pop_back()),
            _ => {
                if let Ok(at) = line.calls.binary_search(&call) {
                    line.calls.remove(at);
                }
            }
        }
        if line.calls.is_empty() {
            self.turns.remove(&line.turn);
            self.lines.remove(&client);
        } else {
            self.longest.insert((line.places, client));
        }
        Some(waiting)
    }
}

impl Turn {
    fn number(self) -> i64 {
        match self {
            Self::First(number) | Self::Next(number) => number,
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
