//! Records on their way to the sinks: numbered, chained, and behind what the log owes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::checkpoint::{self, End, Totals};
use super::error::AuditError;
use super::lane::{Lane, Takes, Then};
use super::record::{Event, Position, Record};
use super::state::{Core, Gap, State};

impl State {
    /// Writes the records that must stand before any other, and the `gap` that is owed.
    pub(super) fn confess(&mut self, core: &Core, time: SystemTime) -> Result<(), AuditError> {
        self.begin(core, time)?;
        let gap = self.gap;
        // The reserve is for refusals; the gap is told when space returns.
        if gap == Gap::default() || self.is_tight() {
            return Ok(());
        }
        let mut detail = Vec::new();
        if gap.unclosed {
            detail.push("the log was not closed in order: what came after may be missing".into());
        }
        if gap.lost > 0 {
            detail.push(format!("{} records could not be written", gap.lost));
        }
        if gap.late > 0 {
            let late = gap.late;
            detail.push(format!("{late} records came too late: their calls were refused"));
        }
        if gap.torn > 0 {
            detail.push(format!("{} bytes of a torn record were cut off", gap.torn));
        }
        let detail = detail.join("; ");
        let record =
            Record { count: Some(gap.lost), detail: Some(&detail), ..Record::of(Event::Gap) };
        self.push(core, &record, time)?;
        self.gap = Gap::default();
        Ok(())
    }

    /// The first checkpoint of a new log, or the first record of a new file.
    fn begin(&mut self, core: &Core, time: SystemTime) -> Result<(), AuditError> {
        let Some(sealing) = &self.sealing else { return Ok(()) };
        if self.last == 0 {
            let next = sealing.anchor;
            let totals = Totals { denied: 0, next, end: End::Open };
            let sealed = checkpoint::seal(&sealing.current, &totals, &self.position(core)?, time);
            let line: Arc<str> = sealed.0.as_str().into();
            self.commit(&sealed, &Then::Sealed { line, rotate: None }, time)?;
            if let Some(sealing) = &mut self.sealing {
                sealing.sealed = Some(time);
            }
        } else if sealing.owes_rotate {
            self.push_rotate(core, time)?;
        }
        Ok(())
    }

    pub(super) fn push(
        &mut self,
        core: &Core,
        record: &Record<'_>,
        time: SystemTime,
    ) -> Result<u64, AuditError> {
        let line = record.seal(&self.position(core)?, time);
        self.commit(&line, &Then::Nothing, time)?;
        self.denied = self.denied.saturating_add(record.denials());
        self.count_unsealed(time);
        Ok(self.last)
    }

    /// Gives a line to the sinks. From then on it is part of the log.
    pub(super) fn commit(
        &mut self,
        (line, head): &(String, [u8; 32]),
        then: &Then,
        time: SystemTime,
    ) -> Result<(), AuditError> {
        let seq = self.last.checked_add(1).ok_or(AuditError::Full)?;
        if let Some(memory) = &mut self.memory {
            memory.take(line)?;
        } else {
            let has_room = |lane: &Lane| lane.is_good() && lane.has_room(line.len());
            if !self.records_lanes().any(has_room) {
                return Err(self.failure(Duration::ZERO));
            }
            for lane in self.lanes.iter_mut().filter(|lane| lane.takes == Takes::Everything) {
                lane.push(line, seq, then.clone());
            }
        }
        (self.last, self.head) = (seq, *head);
        if let Some(sealing) = &mut self.sealing {
            sealing.bytes += line.len() as u64;
        }
        self.time = Some(time);
        Ok(())
    }

    pub(super) fn position<'a>(&self, core: &'a Core) -> Result<Position<'a>, AuditError> {
        let seq = self.last.checked_add(1).ok_or(AuditError::Full)?;
        Ok(Position { seq, node: &core.node, stream: self.stream, prev: self.head })
    }
}
