//! What became of the calls, as their callers were told.
//!
//! A table in memory begins anew with its server, so the sums of each of its lives are kept apart.
//! Nobody says when one begins: it shows, since an increment that begins after a sum was answered
//! gives a greater one, as long as the table is the same.

use std::collections::BTreeMap;

use bailiwick::Outcome;

/// Counts of calls, and the sums that they answered.
#[derive(Debug)]
pub(super) struct Tally {
    begun: u64,
    /// Calls that did not run, by the reason.
    pub(super) did_not_run: BTreeMap<&'static str, u64>,
    /// Calls that ended without an answer, whether they ran or not.
    pub(super) unknown: u64,
    pub(super) found_executed: u64,
    pub(super) found_not_executed: u64,
    pub(super) still_unknown: u64,
    /// The table's lives, oldest first. There is always one.
    lives: Vec<Life>,
    /// Acknowledged calls that may belong to the life in which they began, or to a later one.
    pub(super) straddling: u64,
}

/// From one beginning of the table to the next.
#[derive(Debug)]
pub(super) struct Life {
    /// What was answered, in the order of arrival.
    pub(super) sums: Vec<i64>,
    /// Calls that began in it, and whose server then was another: they ran in it, or not at all.
    pub(super) lost: u64,
    /// The greatest value that was seen.
    highest: i64,
}

/// What was known of the value at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    life: usize,
    highest: i64,
}

impl Tally {
    pub(super) fn new(initial: i64) -> Self {
        Self {
            begun: 0,
            did_not_run: BTreeMap::new(),
            unknown: 0,
            found_executed: 0,
            found_not_executed: 0,
            still_unknown: 0,
            lives: vec![Life::beginning_at(initial)],
            straddling: 0,
        }
    }

    /// A call begins.
    pub(super) fn begin(&mut self) -> Mark {
        self.begun += 1;
        self.mark()
    }

    /// What is known of the value now.
    pub(super) fn mark(&self) -> Mark {
        let life = self.lives.len() - 1;
        Mark { life, highest: self.lives[life].highest }
    }

    /// A call that began at `mark` was answered.
    pub(super) fn acknowledged(&mut self, mark: Mark, sum: i64) {
        if sum <= mark.highest {
            // Not in the life that it began in.
            self.later_than(mark.life).add(sum);
        } else if mark.life + 1 == self.lives.len() {
            self.last().add(sum);
        } else {
            self.straddling += 1;
        }
    }

    /// The value was read, by somebody who asked for it at `mark`.
    pub(super) fn observed(&mut self, mark: Mark, value: i64) {
        if value < mark.highest {
            self.later_than(mark.life);
        }
    }

    pub(super) fn did_not_run(&mut self, reason: &'static str) {
        *self.did_not_run.entry(reason).or_default() += 1;
    }

    /// A call ended without an answer.
    pub(super) fn ended_unknown(&mut self) {
        self.unknown += 1;
    }

    /// What is known in the end of a call that ended without an answer.
    pub(super) fn found(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Ran => self.found_executed += 1,
            Outcome::DidNotRun => self.found_not_executed += 1,
            _ => self.still_unknown += 1,
        }
    }

    /// A call that began at `mark` was lost with the server that may have run it.
    pub(super) fn lost(&mut self, mark: Mark) {
        self.still_unknown += 1;
        self.lives[mark.life].lost += 1;
    }

    /// Calls that were answered with a sum.
    pub(super) fn total_acknowledged(&self) -> u64 {
        self.straddling + self.lives.iter().map(|life| life.sums.len() as u64).sum::<u64>()
    }

    pub(super) fn total_did_not_run(&self) -> u64 {
        self.did_not_run.values().sum()
    }

    /// Calls made.
    pub(super) fn total_begun(&self) -> u64 {
        self.begun
    }

    /// Calls that have begun and not ended.
    pub(super) fn waiting(&self) -> u64 {
        self.begun - self.total_acknowledged() - self.total_did_not_run() - self.unknown
    }

    pub(super) fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// The last life, which is not the one at `life`.
    fn later_than(&mut self, life: usize) -> &mut Life {
        if life + 1 == self.lives.len() {
            self.lives.push(Life::beginning_at(0));
        }
        self.last()
    }

    fn last(&mut self) -> &mut Life {
        let last = self.lives.len() - 1;
        &mut self.lives[last]
    }
}

impl Life {
    fn beginning_at(value: i64) -> Self {
        Self { sums: Vec::new(), lost: 0, highest: value }
    }

    fn add(&mut self, sum: i64) {
        self.highest = self.highest.max(sum);
        self.sums.push(sum);
    }

    /// How many different sums there are.
    pub(super) fn distinct(&self) -> u64 {
        let mut sums = self.sums.clone();
        sums.sort_unstable();
        sums.dedup();
        sums.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(tally: &Tally) -> Vec<&[i64]> {
        tally.lives().iter().map(|life| &life.sums[..]).collect()
    }

    #[test]
    fn answers_out_of_order_are_of_one_life() {
        let mut tally = Tally::new(10);
        let (one, other) = (tally.begin(), tally.begin());
        tally.acknowledged(other, 12);
        tally.acknowledged(one, 11);
        assert_eq!(sums(&tally), [[12, 11]]);
    }

    #[test]
    fn a_sum_below_one_that_was_known_before_shows_that_the_table_began_anew() {
        let mut tally = Tally::new(0);
        for sum in 1..=3 {
            let mark = tally.begin();
            tally.acknowledged(mark, sum);
        }
        let (early, late) = (tally.begin(), tally.begin());
        tally.acknowledged(late, 2);
        assert_eq!(sums(&tally), [&[1, 2, 3][..], &[2]]);
        // It began in the first life, and may have run there.
        tally.acknowledged(early, 4);
        assert_eq!((tally.straddling, tally.total_acknowledged()), (1, 5));
        // It did begin in the first life, and cannot have run there.
        let mark = Mark { life: 0, highest: 3 };
        tally.begin();
        tally.acknowledged(mark, 1);
        assert_eq!(sums(&tally), [&[1, 2, 3][..], &[2, 1]]);
        assert_eq!(tally.waiting(), 0);
    }

    #[test]
    fn the_same_sum_to_a_later_call_shows_it_too() {
        let mut tally = Tally::new(0);
        for _ in 0..2 {
            let mark = tally.begin();
            tally.acknowledged(mark, 1);
        }
        assert_eq!(sums(&tally), [[1], [1]]);
    }

    #[test]
    fn a_value_read_shows_it_too() {
        let mut tally = Tally::new(5);
        let mark = tally.mark();
        tally.observed(mark, 5);
        assert_eq!(tally.lives().len(), 1);
        tally.observed(mark, 0);
        assert_eq!(tally.lives().len(), 2);
        tally.observed(mark, 1);
        assert_eq!(tally.lives().len(), 2);
    }
}
