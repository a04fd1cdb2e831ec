//! Lays out each subject's table, in the order of its slots, and bounds what a look-up in it costs.

use super::super::build::number;
use super::super::key::secret_factor;
use super::super::record::{BySubject, Record, Verbs};
use super::super::table::MAX_RUN;
use super::super::{Found, VerbId};
use super::{Head, Literals, Reach, Slot};

/// Slots for each object; at most half of them are full.
const ROOM: usize = 2;

/// How often a table's room may be doubled where look-ups would be long.
const MAX_SPREAD: u32 = 3;

impl Literals {
    /// The tables of the records that have an object; `reaches` are those of the subjects.
    pub(in crate::policy::engine) fn of(reaches: &[Reach], records: &mut BySubject) -> Self {
        let mut literals = Self {
            heads: Vec::with_capacity(reaches.len()),
            // Memory that is not written to is not taken.
            slots: Vec::with_capacity(records.len() * ROOM + reaches.len()),
            several: Vec::new(),
        };
        records.each(|subject, records| {
            let reach = reaches.get(subject as usize).copied().unwrap_or_default();
            let head = literals.add_table(reach, records);
            literals.heads.push(head);
        });
        if literals.slots.len() < literals.slots.capacity() / 2 {
            literals.slots.shrink_to_fit();
        }
        literals.several.shrink_to_fit();
        literals
    }

    fn add_table(&mut self, reach: Reach, records: &mut [Record]) -> Head {
        if !reach.has_literals() {
            return Head { reach, ..Head::default() };
        }
        let (start, several) = (self.slots.len(), self.several.len());
        let mut spread = 0;
        loop {
            let factor = secret_factor();
            records.sort_unstable_by_key(|record| record.object.order(factor));
            let slots = number((objects(records).count() * ROOM) << spread);
            let head = Head { factor, start: number(start), slots, reach };
            if self.fill(head, records) {
                return head;
            }
            self.slots.truncate(start);
            self.several.truncate(several);
            spread = (spread + 1).min(MAX_SPREAD);
        }
    }

    /// Fills a table, which comes last, from sorted records. `false` if a run of full slots is longer
    /// than [`MAX_RUN`].
    fn fill(&mut self, head: Head, records: &[Record]) -> bool {
        let start = head.start as usize;
        let mut run = 0;
        for records in objects(records) {
            let object = records[0].object;
            let begin = start + object.place(head.factor, head.slots);
            if begin > self.slots.len() {
                self.slots.resize(begin, Slot::default());
                run = 0;
            }
            run += 1;
            if run > MAX_RUN {
                return false;
            }
            let (verbs, found) = self.sum(records);
            self.slots.push(Slot { object, verbs, found });
        }
        let end = (start + head.slots as usize).max(self.slots.len() + 1);
        self.slots.resize(end, Slot::default());
        true
    }

    /// What the rows of one subject about one object say, as a slot holds it.
    fn sum(&mut self, records: &[Record]) -> (Verbs, Found) {
        let verbs = records[0].verbs;
        if records.iter().all(|record| record.verbs == verbs) {
            let mut found = Found::default();
            records.iter().for_each(|record| found.add(record.found()));
            return (verbs, found);
        }
        let each = |record: &Record| {
            let found = record.found();
            record.verbs.iter().map(move |verb| (verb, found))
        };
        let mut several: Vec<(VerbId, Found)> = records.iter().flat_map(each).collect();
        several.sort_unstable_by_key(|(verb, _)| *verb);
        several.dedup_by(|later, sum| {
            let is_same = later.0 == sum.0;
            if is_same {
                sum.1.add(later.1);
            }
            is_same
        });
        let from = number(self.several.len());
        self.several.append(&mut several);
        (Verbs::NONE, Found { deny: from, allow: number(self.several.len()) })
    }
}

/// The records of each object.
fn objects(records: &[Record]) -> impl Iterator<Item = &[Record]> {
    let same = |left: &Record, right: &Record| left.object == right.object;
    records.chunk_by(same).filter(|records| records[0].object.is_present())
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

    fn table(records: &mut [Record]) -> Literals {
        let mut literals = Literals { heads: Vec::new(), slots: Vec::new(), several: Vec::new() };
        let head = literals.add_table(Reach::literal(1, Extent::Exact), records);
        literals.heads.push(head);
        literals
    }

    fn line_of(literals: &Literals, points: Points, name: &str) -> u32 {
        let prefixes = [super::super::Prefix::ROOT, points.of(name)];
        let mut found = Found::default();
        literals.collect(&[0], 1, &prefixes, &mut found);
        found.allow
    }

    #[test]
    fn objects_that_agree_in_one_of_the_two_hashes_are_not_confused() {
        for (first, second) in [(true, false), (false, true)] {
            let points = Points::half_blind(first, second);
            let mut records: Vec<_> =
                (1..=100).map(|line| record(points, &format!("d{line}"), line)).collect();
            let literals = table(&mut records);
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
        let head = Head { factor: 1, start: 0, slots: 2 * count, reach: Reach::default() };
        records.sort_unstable_by_key(|record| record.object.order(1));
        assert!(!table(&mut []).fill(head, &records));
        assert!(table(&mut []).fill(head, &records[1..]));
    }

    #[test]
    fn no_look_up_in_a_large_table_passes_many_slots_or_the_end() {
        let points = Points::random();
        let mut records: Vec<_> =
            (1..=50_000).map(|line| record(points, &format!("d{line}"), line)).collect();
        let literals = table(&mut records);
        let runs = literals.slots.split(|slot| !slot.object.is_present());
        assert!(runs.map(<[Slot]>::len).max().unwrap() <= MAX_RUN);
        assert!(literals.slots.last().is_some_and(|slot| !slot.object.is_present()));
        for line in (1..=50_000).step_by(7) {
            assert_eq!(line_of(&literals, points, &format!("d{line}")), line);
            assert_eq!(line_of(&literals, points, &format!("e{line}")), 0);
        }
    }
}
