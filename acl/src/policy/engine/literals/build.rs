//! Lays the table out in the order of its slots, and bounds what a look-up in it costs.

use super::super::Found;
use super::super::build::number;
use super::super::grants::{Grant, Grants, merge};
use super::super::key::secret_factor;
use super::super::record::{Record, Verbs};
use super::super::table::MAX_RUN;
use super::{Literals, Reach, Slot};

/// Slots for each object; at most half of them are full.
const ROOM: usize = 2;

/// How often the table's room may be doubled where look-ups would be long.
const MAX_SPREAD: u32 = 3;

/// A table that is being filled.
struct Filling {
    factor: u64,
    begins: u32,
    slots: Vec<Slot>,
    shared: Vec<Grant>,
}

impl Literals {
    /// The table of the records that have an object; `reaches` are those of the subjects.
    pub(in crate::policy::engine) fn of(reaches: Vec<Reach>, mut records: Vec<Record>) -> Self {
        records.retain(|record| record.object.is_present());
        let mut spread = 0;
        let Filling { factor, begins, slots, shared } = loop {
            let factor = secret_factor();
            records.sort_unstable_by_key(|record| record.object.order(factor));
            let begins = number((objects(&records).count() * ROOM).max(1) << spread);
            if let Some(filled) = Filling::new(factor, begins).filled(&records) {
                break filled;
            }
            spread = (spread + 1).min(MAX_SPREAD);
        };
        drop(records);
        let ranges = slots.iter().filter_map(Slot::shared);
        let shared = Grants::of(shared, ranges);
        Self { reaches, slots, begins, factor, shared }
    }
}

impl Filling {
    fn new(factor: u64, begins: u32) -> Self {
        // The last objects' run may end behind the last begin, with an empty slot.
        let slots = Vec::with_capacity(begins as usize + MAX_RUN + 1);
        Self { factor, begins, slots, shared: Vec::new() }
    }

    /// Takes all records in, which are sorted. `None` if a run of full slots is longer than
    /// [`MAX_RUN`].
    fn filled(mut self, records: &[Record]) -> Option<Self> {
        let mut run = 0;
        for records in objects(records) {
            let begin = records[0].object.place(self.factor, self.begins);
            if begin > self.slots.len() {
                self.slots.resize(begin, Slot::default());
                run = 0;
            }
            run += 1;
            if run > MAX_RUN {
                return None;
            }
            let slot = self.slot(records);
            self.slots.push(slot);
        }
        let end = (self.begins as usize).max(self.slots.len() + 1);
        self.slots.resize(end, Slot::default());
        self.shared.shrink_to_fit();
        Some(self)
    }

    /// What the rows about one object say.
    fn slot(&mut self, records: &[Record]) -> Slot {
        let Record { object, subject, verbs, .. } = records[0];
        if records.iter().all(|record| (record.subject, record.verbs) == (subject, verbs)) {
            let mut found = Found::default();
            records.iter().for_each(|record| found.add(record.found()));
            return Slot { object, subject, verbs, found };
        }
        let from = self.shared.len();
        for record in records {
            let (subject, found) = (record.subject, record.found());
            self.shared.extend(record.verbs.iter().map(|verb| Grant { verb, subject, found }));
        }
        let all = from..self.shared.len();
        let kept = merge(&mut self.shared, all, from);
        self.shared.truncate(kept);
        let found = Found { deny: number(from), allow: number(kept) };
        Slot { object, subject, verbs: Verbs::NONE, found }
    }
}

/// The records of each object.
fn objects(records: &[Record]) -> impl Iterator<Item = &[Record]> {
    records.chunk_by(|left, right| left.object == right.object)
}

#[cfg(test)]
mod tests {
    use super::super::super::fingerprint::Points;
    use super::*;
    use crate::policy::decision::Effect;
    use crate::policy::pattern::Extent;

    /// A record that allows verb 1 on `name`.
    fn record(points: Points, name: &str, line: u32) -> Record {
        let object = points.of(name).with(Extent::Exact);
        Record { object, subject: 0, verbs: Verbs::one(1), effect: Effect::Allow, line }
    }

    fn table(records: &[Record]) -> Literals {
        Literals::of(vec![Reach::literal(1, Extent::Exact)], records.to_vec())
    }

    fn line_of(literals: &Literals, points: Points, name: &str) -> u32 {
        let prefixes = [super::super::Prefix::ROOT, points.of(name)];
        let mut found = Found::default();
        literals.collect((&[0], literals.reach(&[0])), 1, &prefixes, &mut found);
        found.allow
    }

    #[test]
    fn objects_that_agree_in_one_of_the_two_hashes_are_not_confused() {
        for (first, second) in [(true, false), (false, true)] {
            let points = Points::half_blind(first, second);
            let records: Vec<_> =
                (1..=100).map(|line| record(points, &format!("d{line}"), line)).collect();
            let literals = table(&records);
            for line in 1..=100 {
                assert_eq!(line_of(&literals, points, &format!("d{line}")), line);
            }
            assert_eq!(line_of(&literals, points, "d101"), 0);
        }
    }

    #[test]
    fn a_table_with_a_long_run_is_given_up() {
        let points = Points::half_blind(true, false);
        let count = u32::try_from(MAX_RUN).unwrap() + 1;
        let mut records: Vec<_> =
            (1..=count).map(|line| record(points, &format!("d{line}"), line)).collect();
        records.sort_unstable_by_key(|record| record.object.order(1));
        assert!(Filling::new(1, 2 * count).filled(&records).is_none());
        assert!(Filling::new(1, 2 * count).filled(&records[1..]).is_some());
    }

    #[test]
    fn no_look_up_in_a_large_table_passes_many_slots_or_the_end() {
        let points = Points::random();
        let records: Vec<_> =
            (1..=50_000).map(|line| record(points, &format!("d{line}"), line)).collect();
        let literals = table(&records);
        let runs = literals.slots.split(|slot| !slot.object.is_present());
        assert!(runs.map(<[Slot]>::len).max().unwrap() <= MAX_RUN);
        assert!(literals.slots.last().is_some_and(|slot| !slot.object.is_present()));
        for line in (1..=50_000).step_by(7) {
            assert_eq!(line_of(&literals, points, &format!("d{line}")), line);
            assert_eq!(line_of(&literals, points, &format!("e{line}")), 0);
        }
    }
}
