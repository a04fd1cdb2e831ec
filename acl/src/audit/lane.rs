//! One sink with its ring of waiting records, the thread that writes them, and the one that syncs.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::sink::{Health, Sink, SinkError, SinkStatus, Space, Syncer};
use super::state::Core;

/// Most bytes that wait for a sink.
pub const RING: usize = 8 * 1_024 * 1_024;

/// Bytes that are written at once, about.
const BATCH: usize = 256 * 1_024;

/// What a sink is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// All records.
    Everything,
    /// Checkpoints, once they are on the disk.
    Checkpoints,
}

/// A sink as its log sees it.
pub(super) struct Lane {
    name: PathBuf,
    pub(super) takes: Takes,
    pub(super) health: Health,
    queue: VecDeque<Batch>,
    /// Bytes in the ring and in the hands of the writer.
    queued: usize,
    /// The last record that was written.
    pub(super) written: u64,
    /// The last record that was synced.
    pub(super) synced: u64,
    /// Whether somebody waits for an answer: try again, or look how much room there is.
    pub(super) asked: bool,
    syncs: VecDeque<Sync>,
    /// Set for good: after a sync that failed nobody knows what the disk holds, and the next one
    /// may succeed without it.
    sync_failed: bool,
    writer_ended: bool,
    /// Whether both threads have ended.
    pub(super) ended: bool,
}

/// A batch that is written and not yet on the disk.
struct Sync {
    syncer: Syncer,
    last: u64,
    /// The checkpoint that it ends with.
    sealed: Option<Arc<str>>,
}

/// Records that are written together, and what is done after.
#[derive(Debug)]
pub(super) struct Batch {
    lines: Vec<u8>,
    /// The number of the last of them.
    last: u64,
    then: Then,
}

/// What follows a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Sync,
    /// It ends with a checkpoint: sync, let witnesses have the line, erase the key that signed it.
    Sealed {
        line: Arc<str>,
        /// The present file becomes the rotated one of this number.
        rotate: Option<u32>,
    },
}

impl Lane {
    pub(super) fn new(name: PathBuf, takes: Takes, written: u64) -> Self {
        Self {
            name,
            takes,
            health: Health::Good(Space::Free),
            queue: VecDeque::new(),
            queued: 0,
            written,
            // Opening the log has seen to that.
            synced: written,
            asked: false,
            syncs: VecDeque::new(),
            sync_failed: false,
            writer_ended: false,
            ended: false,
        }
    }

    pub(super) fn status(&self) -> SinkStatus {
        SinkStatus { name: self.name.clone(), health: self.health.clone(), queued: self.queued }
    }

    pub(super) fn name(&self) -> &PathBuf {
        &self.name
    }

    pub(super) fn is_good(&self) -> bool {
        self.takes == Takes::Everything && self.health.is_good()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queued == 0 && self.queue.is_empty()
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.queued.saturating_add(bytes) <= RING
    }

    /// Gives it a record. One that has no room for it is lost, and written no more.
    pub(super) fn push(&mut self, line: &str, last: u64, then: Then) {
        if matches!(self.health, Health::Lost) {
            return;
        }
        if !self.has_room(line.len()) {
            self.health = Health::Lost;
            self.queued -= self.queue.drain(..).map(|batch| batch.lines.len()).sum::<usize>();
            return;
        }
        self.queued += line.len();
        match self.queue.back_mut() {
            Some(batch) if batch.then == Then::Nothing && batch.lines.len() < BATCH => {
                batch.lines.extend_from_slice(line.as_bytes());
                (batch.last, batch.then) = (last, then);
            }
            _ => self.queue.push_back(Batch { lines: line.into(), last, then }),
        }
    }

    /// What its writer is to do now.
    fn work(&mut self, closing: bool) -> Option<Work> {
        let retry = std::mem::take(&mut self.asked);
        match &self.health {
            Health::Lost => return closing.then_some(Work::End),
            Health::Failed(_) if self.sync_failed => return closing.then_some(Work::End),
            Health::Failed(_) if !retry => return closing.then_some(Work::End),
            _ => {}
        }
        match self.queue.pop_front() {
            Some(batch) => {
                self.asked = retry;
                Some(Work::Write(batch))
            }
            None if retry => {
                self.asked = true;
                Some(Work::Look)
            }
            None => closing.then_some(Work::End),
        }
    }
}

enum Work {
    Write(Batch),
    /// Look how much room there is.
    Look,
    End,
}

/// The writer's thread.
pub(super) fn run(core: &Core, nth: usize, mut sink: Box<dyn Sink>) {
    loop {
        let mut state = core.lock();
        let work = loop {
            let closing = state.may_end(nth);
            match state.lanes[nth].work(closing) {
                Some(work) => break work,
                None => state = core.wait_for_work(state),
            }
        };
        drop(state);
        match work {
            Work::Write(batch) => write(core, nth, &mut *sink, batch),
            Work::Look => {
                let looked = sink.space();
                core.report(nth, |lane| match looked {
                    Ok(space) if !lane.sync_failed && !matches!(lane.health, Health::Lost) => {
                        lane.health = Health::Good(space);
                    }
                    Ok(_) => {}
                    Err(error) => lane.health = Health::Failed(error),
                });
            }
            Work::End => {
                core.report(nth, |lane| lane.writer_ended = true);
                core.wake_writers();
                return;
            }
        }
    }
}

fn write(core: &Core, nth: usize, sink: &mut dyn Sink, mut batch: Batch) {
    // A batch whose sync or rotation failed comes again without its lines.
    let written = if batch.lines.is_empty() { sink.space() } else { sink.write(&batch.lines) };
    let space = match written {
        Ok(space) => space,
        Err(error) => return core.report(nth, |lane| lane.take_back(batch, error)),
    };
    core.report(nth, |lane| {
        lane.queued -= batch.lines.len();
        lane.written = batch.last;
        lane.settle(space);
    });
    batch.lines.clear();
    if let Err(error) = follow(core, nth, sink, &batch) {
        core.report(nth, |lane| lane.take_back(batch, error));
    }
}

fn follow(core: &Core, nth: usize, sink: &mut dyn Sink, batch: &Batch) -> Result<(), SinkError> {
    let Batch { then, last, .. } = batch;
    let (sealed, rotate) = match then {
        Then::Nothing => return Ok(()),
        Then::Sync => (None, None),
        Then::Sealed { line, rotate } => (Some(Arc::clone(line)), *rotate),
    };
    let sync = Sync { syncer: sink.syncer()?, last: *last, sealed };
    core.report(nth, |lane| lane.syncs.push_back(sync));
    core.wake_writers();
    rotate.map_or(Ok(()), |number| sink.rotate(number))
}

/// The thread that syncs.
pub(super) fn run_syncs(core: &Core, nth: usize) {
    loop {
        let mut state = core.lock();
        let sync = loop {
            let closing = state.closing;
            let lane = &mut state.lanes[nth];
            if lane.sync_failed {
                lane.syncs.clear();
            }
            if let Some(sync) = lane.syncs.pop_front() {
                break sync;
            }
            if closing && lane.writer_ended {
                drop(state);
                core.report(nth, |lane| lane.ended = true);
                return;
            }
            state = core.wait_for_work(state);
        };
        drop(state);
        let Sync { mut syncer, last, sealed } = sync;
        let synced = syncer();
        let sealed = sealed.filter(|_| synced.is_ok());
        core.report(nth, |lane| match synced {
            Ok(()) => lane.synced = last,
            Err(error) => {
                lane.sync_failed = true;
                if !matches!(lane.health, Health::Lost) {
                    lane.health = Health::Failed(error);
                }
            }
        });
        if let Some(line) = sealed {
            core.sealed(&line, last);
        }
    }
}

impl Lane {
    /// After a write: it is good again once nothing waits.
    fn settle(&mut self, space: Space) {
        let late = matches!(self.health, Health::Late) && !self.is_idle();
        if !late && !self.sync_failed && !matches!(self.health, Health::Lost) {
            self.health = Health::Good(space);
        }
    }

    fn take_back(&mut self, batch: Batch, error: SinkError) {
        if matches!(self.health, Health::Lost) {
            self.queued -= batch.lines.len();
        } else {
            self.queue.push_front(batch);
            self.health = Health::Failed(error);
        }
    }
}
