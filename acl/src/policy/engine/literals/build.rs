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
