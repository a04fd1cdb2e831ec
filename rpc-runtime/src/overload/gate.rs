//! The calls of one service that are at work, and those that wait for one of them to end.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    parked::{Mailbox, Summons, Verdict, Waiting},
    queue::{Newcomer, Queue, Ticket},
};
use crate::{config::Limits, error::Executed, observe::meters::QueueMeter, reply::Refusal};

/// This part of the places at work is kept for methods that are marked `reserve`, and their queue is
/// this part as long as that of the others.
const RESERVE_PARTS: usize = 16;

/// A request takes a place in the queue for each begun piece of so many bytes.
const PLACE: usize = 1024;

/// Tells the time.
pub(crate) type Now = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Which places a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Ordinary,
    /// Also those that are kept for such calls.
    Reserve,
}

impl Class {
    /// What a method's description says.
    pub(crate) fn of(reserve: bool) -> Self {
        if reserve { Self::Reserve } else { Self::Ordinary }
    }
}

/// The way to one service's handlers.
///
/// A handler that is ready at once counts nowhere: it is over before another can begin on its thread.
/// While nobody waits a call costs one load, and one that is not ready at once two additions beside.
pub(crate) struct Gate {
    /// Handlers at work, of both classes.
    at_work: AtomicUsize,
    /// Up to how many ordinary ones begin, and up to how many others.
    ordinary: usize,
    most: usize,
    queues: Mutex<Queues>,
    now: Now,
    meter: QueueMeter,
}

struct Queues {
    ordinary: Line,
    reserve: Line,
}

/// By the client's key.
type Line = Queue<[u8; 32], (Waiting, Arc<Mailbox>)>;

/// A place at work; free again when this is dropped.
pub(crate) struct Slot(Arc<Gate>);

/// What to tell whom, once the queues are not locked any more.
type Told = Vec<(Arc<Mailbox>, Summons)>;

impl Gate {
    pub(crate) fn new(service: &'static str, limits: &Limits, now: Now) -> Self {
        let most = limits.max_concurrent_calls;
        let places = limits.max_queued_calls;
        let queues = Queues {
            ordinary: Queue::new(places),
            reserve: Queue::new((places / RESERVE_PARTS).max(1)),
        };
        Self {
            at_work: AtomicUsize::new(0),
            // A service that runs one call at a time has nothing to keep.
            ordinary: if most > 1 { most - (most / RESERVE_PARTS).max(1) } else { most },
            most,
            queues: Mutex::new(queues),
            now,
            meter: QueueMeter::of(service),
        }
    }

    /// Whether a call may begin.
    pub(crate) fn is_open(&self, class: Class) -> bool {
        self.at_work.load(Ordering::Relaxed) < self.limit(class)
    }

    /// Counts a handler that has begun and was not ready at once.
    pub(crate) fn enter(self: &Arc<Self>) -> Slot {
        self.at_work.fetch_add(1, Ordering::AcqRel);
        Slot(Arc::clone(self))
    }

    /// Has a call wait for a place; it is told through the mailbox.
    ///
    /// # Errors
    ///
    /// The call, if there is no room for it.
    pub(crate) fn wait(
        self: &Arc<Self>,
        class: Class,
        waiting: Waiting,
        mailbox: Arc<Mailbox>,
    ) -> Result<Ticket, Waiting> {
        let newcomer = Newcomer {
            client: *waiting.client.as_bytes(),
            places: waiting.size().div_ceil(PLACE).max(1),
            deadline: waiting.deadline,
        };
        let (mut crowded_out, mut told) = (Vec::new(), Told::new());
        let pushed = {
            let mut queues = self.lock();
            let line = queues.line(class);
            let retry_after = line.retry_after();
            let item = (waiting, mailbox);
            let pushed = line.push(newcomer, item, (self.now)(), &mut crowded_out);
            let overloaded = Refusal::Overloaded { retry_after };
            told.extend(crowded_out.into_iter().map(|out| refused(out, &overloaded)));
            // The last that was at work may have ended just now.
            self.call_in(&mut queues, &mut told);
            self.meter.waiting(queues.len());
            pushed
        };
        deliver(told);
        pushed.map_err(|(waiting, _)| waiting)
    }

    /// Takes a call back out of the queue, unless it has left it.
    pub(crate) fn withdraw(&self, class: Class, ticket: Ticket) -> Option<Waiting> {
        let mut queues = self.lock();
        let taken = queues.line(class).remove(ticket, (self.now)());
        self.meter.waiting(queues.len());
        drop(queues);
        taken.map(|(waiting, _)| waiting)
    }

    /// When it is worth asking again.
    pub(crate) fn retry_after(&self) -> Duration {
        self.lock().ordinary.retry_after()
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn limit(&self, class: Class) -> usize {
        match class {
            Class::Ordinary => self.ordinary,
            Class::Reserve => self.most,
        }
    }

    /// A place is free.
    fn leave(self: &Arc<Self>) {
        let before = self.at_work.fetch_sub(1, Ordering::AcqRel);
        if before < self.ordinary {
            // Whoever waits found all places taken, and is called in by those who leave one of them.
            return;
        }
        let mut told = Told::new();
        {
            let mut queues = self.lock();
            self.call_in(&mut queues, &mut told);
            self.meter.waiting(queues.len());
        }
        deliver(told);
    }

    /// Gives the places that are free to those who are next.
    fn call_in(self: &Arc<Self>, queues: &mut Queues, told: &mut Told) {
        let (mut late, too_late) = (Vec::new(), Refusal::DeadlineExceeded(Executed::No));
        loop {
            let line = if !queues.reserve.is_empty() && self.is_open(Class::Reserve) {
                &mut queues.reserve
            } else if !queues.ordinary.is_empty() && self.is_open(Class::Ordinary) {
                &mut queues.ordinary
            } else {
                return;
            };
            let next = line.pop((self.now)(), &mut late);
            told.extend(late.drain(..).map(|late| refused(late, &too_late)));
            if let Some(next) = next {
                self.meter.waited(next.waited);
                let (waiting, mailbox) = next.item;
                told.push((mailbox, Summons { waiting, verdict: Verdict::Run(self.enter()) }));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn line(&mut self, class: Class) -> &mut Line {
        match class {
            Class::Ordinary => &mut self.ordinary,
            Class::Reserve => &mut self.reserve,
        }
    }

    fn len(&self) -> usize {
        self.ordinary.len() + self.reserve.len()
    }
}

fn refused(
    (waiting, mailbox): (Waiting, Arc<Mailbox>),
    refusal: &Refusal,
) -> (Arc<Mailbox>, Summons) {
    (mailbox, Summons { waiting, verdict: Verdict::Refuse(refusal.clone()) })
}

/// Each is told by the connection that it came over. If that is gone, its call is refused as it is
/// dropped, and the place is free again.
fn deliver(told: Told) {
    for (mailbox, summons) in told {
        mailbox.put(summons);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("at_work", &self.at_work).finish_non_exhaustive()
    }
}
