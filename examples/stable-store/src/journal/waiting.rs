//! Who waits for which record, and who waits for the journal to fail; no runtime is needed.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::JournalError;
use crate::Lsn;

/// How far the journal has come, and whom to tell.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The last record that is durable and applied. Written under the lock of `tasks`.
    applied: AtomicU64,
    /// Whether `tasks` has a failure. Written under its lock.
    failed: AtomicBool,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    failure: Option<JournalError>,
    next: TaskId,
    /// By the record each waits for, so that they are woken in the order of the log.
    for_record: BTreeMap<(Lsn, TaskId), Waker>,
    for_failure: BTreeMap<TaskId, Waker>,
}

/// Tells apart the futures that wait for the same.
type TaskId = u64;

impl Waiting {
    /// Nothing behind `applied` is durable yet.
    pub(super) fn new(applied: Lsn) -> Self {
        let tasks = Mutex::new(Tasks::default());
        Self { applied: AtomicU64::new(applied.0), failed: AtomicBool::new(false), tasks }
    }

    /// All up to `applied` is durable and applied: wakes who waited for it, in order.
    pub(super) fn advance(&self, applied: Lsn) {
        let mut tasks = self.lock();
        self.applied.store(applied.0, Ordering::Release);
        let later = match applied.next() {
            Some(next) => tasks.for_record.split_off(&(next, 0)),
            None => BTreeMap::new(),
        };
        let ready = mem::replace(&mut tasks.for_record, later);
        // A waker may run anything, so not under the lock.
        drop(tasks);
        ready.into_values().for_each(Waker::wake);
    }

    /// Nothing more will be durable. The first failure is the one that is told.
    pub(super) fn fail(&self, error: JournalError) {
        let mut tasks = self.lock();
        tasks.failure.get_or_insert(error);
        self.failed.store(true, Ordering::Release);
        let wakers = mem::take(&mut tasks.for_failure);
        drop(tasks);
        wakers.into_values().for_each(Waker::wake);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn has_applied(&self, lsn: Lsn) -> bool {
        self.applied.load(Ordering::Acquire) >= lsn.0
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        // Nothing under this lock can leave it half changed; only memory that runs out panics.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    fn new_id(&mut self) -> TaskId {
        self.next += 1;
        self.next
    }
}

/// Ready once all that a decision appended, and all that it could have looked at, is durable and
/// applied.
///
/// Never ready if the journal fails before: nobody may be answered then. It needs no runtime.
#[must_use = "an answer before this is ready may be lost in a crash"]
pub struct Committed {
    waiting: Arc<Waiting>,
    lsn: Lsn,
    registered: Option<TaskId>,
}

impl Committed {
    pub(super) fn new(waiting: Arc<Waiting>, lsn: Lsn) -> Self {
        Self { waiting, lsn, registered: None }
    }

    /// The last record that it waits for.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }
}

impl Future for Committed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.waiting.has_applied(this.lsn) {
            return Poll::Ready(());
        }
        let mut tasks = this.waiting.lock();
        // It may have come between the look above and the lock; behind the lock it wakes us.
        if this.waiting.has_applied(this.lsn) {
            return Poll::Ready(());
        }
        let id = *this.registered.get_or_insert_with(|| tasks.new_id());
        let replaced = tasks.for_record.insert((this.lsn, id), cx.waker().clone());
        drop(tasks);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Committed {
    fn drop(&mut self) {
        if let Some(id) = self.registered {
            let waker = self.waiting.lock().for_record.remove(&(self.lsn, id));
            drop(waker);
        }
    }
}

impl fmt::Debug for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committed").field("lsn", &self.lsn).finish_non_exhaustive()
    }
}

/// Ready when the journal has failed.
pub(super) struct Failed {
    waiting: Arc<Waiting>,
    registered: Option<TaskId>,
}

impl Failed {
    pub(super) fn new(waiting: Arc<Waiting>) -> Self {
        Self { waiting, registered: None }
    }
}

impl Future for Failed {
    type Output = JournalError;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut tasks = this.waiting.lock();
        if let Some(failure) = &tasks.failure {
            return Poll::Ready(failure.clone());
        }
        let id = *this.registered.get_or_insert_with(|| tasks.new_id());
        let replaced = tasks.for_failure.insert(id, cx.waker().clone());
        drop(tasks);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Failed {
    fn drop(&mut self) {
        if let Some(id) = self.registered {
            let waker = self.waiting.lock().for_failure.remove(&id);
            drop(waker);
        }
    }
}
