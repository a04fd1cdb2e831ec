//! Every mixture of faults that a network can have, and messages of the lengths that matter on it.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use bailiwick::Limits;

use super::{Kind, Lab, Plan, lab_limits};
use crate::sim::LinkConfig;

/// Chances in percent.
const LOSSES: [u8; 5] = [0, 1, 10, 30, 50];
const DUPLICATES: [u8; 3] = [0, 10, 50];
const REORDERS: [u8; 3] = [0, 10, 50];
const SIZES: [Size; 6] = [
    Size::Bytes(0),
    Size::Bytes(1),
    Size::Mtu(-1),
    Size::Mtu(0),
    Size::Mtu(1),
    Size::Bytes(65_536),
];
const MTUS: [usize; 4] = [1_280, 1_500, 9_000, 65_535];

/// Calls of each kind in a cell.
const CALLS: usize = 8;

/// How long a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many bytes.
    Bytes(usize),
    /// The path's MTU, and so many bytes more.
    Mtu(isize),
}

/// One mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// In percent.
    pub loss: u8,
    /// In percent.
    pub duplicate: u8,
    /// In percent.
    pub reorder: u8,
    /// The length of arguments, and of answers.
    pub size: Size,
    /// Of the path, in bytes.
    pub mtu: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loss, duplicate, reorder, mtu, .. } = self;
        let size = self.length();
        write!(
            f,
            "loss {loss} %, duplicates {duplicate} %, reordering {reorder} %, {size} bytes, MTU {mtu}"
        )
    }
}

impl Cell {
    fn length(&self) -> usize {
        match self.size {
            Size::Bytes(length) => length,
            Size::Mtu(more) => self.mtu.saturating_add_signed(more),
        }
    }

    /// Has two clients call over such a network, and holds what they are told against what ran. The
    /// virtual time that it took.
    ///
    /// # Panics
    ///
    /// If a call is not answered, or anything is not exact.
    #[must_use]
    pub fn run(&self, seed: u64) -> Duration {
        let limits = Limits { max_message_udp: 1 << 17, ..lab_limits() };
        let mut calls = vec![Kind::Echo(self.length()); CALLS];
        calls.extend([Kind::Increment; CALLS]);
        let plan = Plan { deadline: Duration::from_secs(3_000), ..Plan::calls(calls, 4) };
        let mut lab = Lab::new(seed, &limits, vec![plan; 2]);
        let chance = |percent: u8| f64::from(percent) / 100.0;
        lab.set_links(&LinkConfig {
            loss: chance(self.loss),
            duplicate: chance(self.duplicate),
            reorder: chance(self.reorder),
            corrupt: 0.01,
            delay: Duration::from_millis(1)..Duration::from_millis(3),
            mtu: self.mtu,
            ..LinkConfig::default()
        });
        let done = lab.run(Duration::from_secs(3_600));
        assert!(done.is_ok(), "calls are open after an hour: {self}, seed {seed}");
        let tally = lab.verify();
        assert_eq!(tally.answered, 4 * CALLS, "{self}, seed {seed}: {tally:?}");
        assert_eq!(lab.ledger.counter(), 2 * CALLS as u64, "{self}, seed {seed}");
        assert_eq!(lab.ledger.all_runs(), 4 * CALLS as u64, "{self}, seed {seed}");
        lab.world.elapsed()
    }

    fn values(&self) -> [String; 5] {
        let Self { loss, duplicate, reorder, size, mtu } = self;
        [
            loss.to_string(),
            duplicate.to_string(),
            reorder.to_string(),
            format!("{size:?}"),
            mtu.to_string(),
        ]
    }

    /// Each two of its values, as the factors and the values.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize, String, String)> {
        let values = self.values();
        let pairs = (0..5).flat_map(|one| (one + 1..5).map(move |other| (one, other)));
        pairs.map(move |(one, other)| (one, other, values[one].clone(), values[other].clone()))
    }
}

/// Every mixture.
#[must_use]
pub fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for loss in LOSSES {
        for duplicate in DUPLICATES {
            for reorder in REORDERS {
                for size in SIZES {
                    for mtu in MTUS {
                        cells.push(Cell { loss, duplicate, reorder, size, mtu });
                    }
                }
            }
        }
    }
    cells
}

/// Few mixtures that have every two values of different factors together at least once.
#[must_use]
pub fn pairwise() -> Vec<Cell> {
    let all = all();
    let mut missing: HashSet<_> = all.iter().flat_map(Cell::pairs).collect();
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        let new = |cell: &&Cell| cell.pairs().filter(|pair| missing.contains(pair)).count();
        let Some(best) = all.iter().max_by_key(new).copied() else { break };
        best.pairs().for_each(|pair| {
            missing.remove(&pair);
        });
        chosen.push(best);
    }
    chosen
}
