//! One that calls, and what it learns of each call.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bailiwick::{CallError, Context, Executed, Outcome};
use tokio::time;

use super::{
    PATIENCE,
    tally::{Mark, Tally},
};
use hashtable::service::{Table as _, TableClient, TableError};

use crate::{
    call,
    exit::{Exit, Failure},
};

/// After a call that nobody took, or between two questions about one that is at work.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// What all callers share: the calls that are left, and the count of what became of the others.
#[derive(Debug)]
pub(super) struct Work {
    left: AtomicU64,
    stopped: AtomicBool,
    tally: Mutex<Tally>,
}

impl Work {
    /// So many calls, or any number; the value is `initial` so far.
    pub(super) fn new(calls: Option<u64>, initial: i64) -> Self {
        Self {
            left: AtomicU64::new(calls.unwrap_or(u64::MAX)),
            stopped: AtomicBool::new(false),
            tally: Mutex::new(Tally::new(initial)),
        }
    }

    /// Lets no more calls begin; `false` if none did before.
    pub(super) fn stop(&self) -> bool {
        !self.stopped.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is one more call to make.
    fn take(&self) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        !self.is_stopped()
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

/// One that makes calls one after the other, each of them once.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) table: TableClient,
    pub(super) key: String,
    pub(super) work: Arc<Work>,
    /// Of each call.
    pub(super) deadline: Duration,
}

impl Caller {
    /// Calls until there is nothing left to do, or the service refuses.
    pub(super) async fn run(self) -> Result<(), Failure> {
        while self.work.take() {
            let mark = self.work.tally().begin();
            let cx = Context::within(self.deadline);
            match self.table.increment(&cx, self.key.clone(), 1).await {
                Ok(sum) => self.work.tally().acknowledged(mark, sum),
                Err(error) => self.unanswered(mark, &error).await?,
            }
        }
        Ok(())
    }

    async fn unanswered(&self, mark: Mark, error: &CallError<TableError>) -> Result<(), Failure> {
        if is_lasting(error) {
            return Err(call::failure(error, "increment", Some(&self.key)));
        }
        if error.executed() == Executed::No {
            self.work.tally().did_not_run(reason(error));
            time::sleep(pause(error).min(self.deadline)).await;
            return Ok(());
        }
        self.work.tally().ended_unknown();
        match (self.ask(error).await, error) {
            (Outcome::Unknown, CallError::OutcomeUnknown { .. }) => self.work.tally().lost(mark),
            (outcome, _) => self.work.tally().found(outcome),
        }
        Ok(())
    }

    /// What became of a call that ended without an answer.
    async fn ask(&self, error: &CallError<TableError>) -> Outcome {
        if error.executed() == Executed::Yes {
            return Outcome::Ran;
        }
        let Some(call) = error.unknown_call() else { return Outcome::Unknown };
        let cx = Context::within(PATIENCE);
        loop {
            match self.table.channel().outcome(&cx, call).await {
                Outcome::Running if !cx.remaining().is_zero() => time::sleep(PAUSE).await,
                outcome => return outcome,
            }
        }
    }
}

/// Whether the next call would fare no better.
fn is_lasting(error: &CallError<TableError>) -> bool {
    let lasting = matches!(
        error,
        CallError::App(_)
            | CallError::Denied(_)
            | CallError::Internal
            | CallError::Malformed
            | CallError::Unimplemented(_)
    );
    lasting || Exit::of_call(error) == Exit::Usage
}

/// Why a call did not run.
fn reason(error: &CallError<TableError>) -> &'static str {
    match error {
        CallError::Overloaded { .. } => "overloaded",
        CallError::Unavailable(_) => "unavailable",
        CallError::DeadlineExceeded { .. } => "too late",
        _ => "not sent",
    }
}

/// How long nobody would take the next call either.
fn pause(error: &CallError<TableError>) -> Duration {
    match error {
        CallError::Overloaded { retry_after } => *retry_after,
        _ => PAUSE,
    }
}

#[cfg(test)]
mod tests {
    use bailiwick::NotSent;

    use super::*;

    #[test]
    fn no_more_calls_are_made_than_were_asked_for() {
        let work = Work::new(Some(2), 0);
        assert_eq!(
            [work.take(), work.take(), work.take(), work.take()],
            [true, true, false, false]
        );
        let endless = Work::new(None, 0);
        assert!(endless.take());
        assert!(endless.stop() && !endless.take() && !endless.stop());
    }

    #[test]
    fn what_passes_is_counted_and_what_lasts_ends_the_run() {
        let overloaded = CallError::Overloaded { retry_after: PAUSE * 2 };
        assert!(!is_lasting(&overloaded));
        assert_eq!((reason(&overloaded), pause(&overloaded)), ("overloaded", PAUSE * 2));
        let draining = CallError::NotSent(NotSent::Draining);
        assert!(!is_lasting(&draining));
        assert_eq!((reason(&draining), pause(&draining)), ("not sent", PAUSE));
        assert!(is_lasting(&CallError::App(TableError::NotANumber)));
        assert!(is_lasting(&CallError::NotSent(NotSent::TooLarge { size: 2, limit: 1 })));
    }
}
