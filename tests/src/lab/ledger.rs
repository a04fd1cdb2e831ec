//! What the handlers themselves did, over all lives of the server: the truth that answers are held
//! against.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bailiwick::{CallKey, Context};

/// The handlers' own record, a counter, and a clock for those that take their time.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    counter: u64,
    runs: HashMap<CallKey, u64>,
    now: Instant,
    sleepers: Vec<(Instant, Waker)>,
}

impl Ledger {
    pub(super) fn new(now: Instant) -> Self {
        let (runs, sleepers) = (HashMap::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { counter: 0, runs, now, sleepers })))
    }

    /// How often the handler of this call was run.
    #[must_use]
    pub fn runs(&self, call: CallKey) -> u64 {
        self.lock().runs.get(&call).copied().unwrap_or_default()
    }

    /// How often any handler was run.
    #[must_use]
    pub fn all_runs(&self) -> u64 {
        self.lock().runs.values().sum()
    }

    /// How many calls were run more than once, among these.
    #[must_use]
    pub fn counter(&self) -> u64 {
        self.lock().counter
    }

    pub(super) fn ran(&self, cx: &Context) {
        let call = cx.call_key().expect("a handler's context names the call");
        *self.lock().runs.entry(call).or_default() += 1;
    }

    pub(super) fn count(&self) -> u64 {
        let mut state = self.lock();
        state.counter += 1;
        state.counter
    }

    /// Ready once the virtual clock has gone on by so much.
    pub(super) async fn sleep(&self, millis: u64) {
        let until = self.lock().now + Duration::from_millis(millis);
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.now >= until {
                return Poll::Ready(());
            }
            state.sleepers.push((until, cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// The clock shows this; wakes those who waited for it.
    pub(super) fn tick(&self, now: Instant) {
        let mut state = self.lock();
        state.now = now;
        state.sleepers.extract_if(.., |(until, _)| *until <= now).for_each(|(_, it)| it.wake());
    }

    /// When somebody wants to be woken.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.lock().sleepers.iter().map(|(until, _)| *until).min()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
