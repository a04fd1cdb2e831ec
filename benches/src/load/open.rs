//! An open loop: calls are due at times that do not depend on replies, and latency counts from then.
//!
//! A closed loop waits for a slow server and so asks it less; its latencies leave out the calls that
//! it would have made meanwhile ("coordinated omission"). Here a call that could not begin in time
//! has waited all the same. So many callers share the schedule: who is free takes the next call, at
//! once if it is due already. No task and no queue entry is made for a call, so that an overload
//! costs the client nothing but time.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{task, task::JoinSet, time};

use super::{Latency, LoadError, arrivals::Arrivals, echo_once, payload};
use crate::peer::{Caller, PAYLOAD};

/// Callers who share the schedule: the most calls outstanding on the connection.
pub(crate) const CALLERS: u32 = 1024;

/// With less time than this to the next call, the clock is watched: timers are this coarse.
const TIMER: Duration = Duration::from_millis(2);

/// How many calls to offer, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// Calls a second, on average.
    pub(crate) per_second: f64,
    /// Time before the window whose calls do not count.
    pub(crate) warm_up: Duration,
    /// Time during which calls count.
    pub(crate) window: Duration,
}

/// What became of one offered load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Served {
    /// Calls that were due within the window, a second.
    pub(crate) offered_per_second: f64,
    /// Calls that were answered within the window, a second.
    pub(crate) achieved_per_second: f64,
    /// From when a call was due until it was answered, of all calls that were due in the window.
    pub(crate) latency: Latency,
}

/// Offers calls through `connection` and waits until all of them are answered.
///
/// # Errors
///
/// The first failed or wrong reply ends the run with that error.
pub(crate) async fn run<C: Caller>(connection: C, offer: Offer) -> Result<Served, LoadError> {
    let schedule = Arc::new(Schedule::begin(offer));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let payload = payload(number, PAYLOAD);
        callers.spawn(call(connection.clone(), payload, Arc::clone(&schedule), offer));
    }
    drop(connection);
    let announcer = tokio::spawn(announce(Arc::clone(&schedule)));
    let mut seen = Seen::default();
    while let Some(ended) = callers.join_next().await {
        seen.add(ended??);
    }
    announcer.await?;
    let seconds = offer.window.as_secs_f64();
    Ok(Served {
        offered_per_second: seen.nanoseconds.len() as f64 / seconds,
        achieved_per_second: seen.answered as f64 / seconds,
        latency: Latency::of(seen.nanoseconds).ok_or(LoadError::NoCalls)?,
    })
}

/// What a caller saw of the window.
#[derive(Default)]
struct Seen {
    /// Of each call that was due in it, how long it took.
    nanoseconds: Vec<u64>,
    /// Calls that were answered in it.
    answered: u64,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.nanoseconds.extend(other.nanoseconds);
        self.answered += other.answered;
    }
}

async fn call<C: Caller>(
    connection: C,
    payload: Bytes,
    schedule: Arc<Schedule>,
    offer: Offer,
) -> Result<Seen, LoadError> {
    let window = offer.warm_up..offer.warm_up + offer.window;
    let mut seen = Seen::default();
    let mut now = schedule.now();
    while let Some(due) = poll_fn(|cx| schedule.poll_due(now, cx)).await {
        echo_once(&connection, &payload).await?;
        now = schedule.now();
        seen.answered += u64::from(window.contains(&now));
        if window.contains(&due) {
            seen.nanoseconds.push(u64::try_from((now - due).as_nanos()).unwrap_or(u64::MAX));
        }
    }
    Ok(seen)
}

/// Wakes idle callers when calls are due, until there are no more.
async fn announce(schedule: Arc<Schedule>) {
    while let Some(due) = schedule.announce_due() {
        let pause = due.saturating_sub(schedule.now());
        if pause > TIMER {
            time::sleep(pause - TIMER).await;
        } else {
            task::yield_now().await;
        }
    }
}

/// The calls that are to be made, and the callers who have nothing to do.
struct Schedule {
    start: Instant,
    state: Mutex<State>,
}

struct State {
    arrivals: Arrivals,
    /// Due calls for which an idle caller was woken.
    announced: VecDeque<Duration>,
    idle: Vec<Waker>,
}

impl Schedule {
    fn begin(offer: Offer) -> Self {
        /// Any; all systems get the same arrivals in the same order.
        const SEED: u64 = 1;
        let arrivals = Arrivals::new(offer.per_second, offer.warm_up + offer.window, SEED);
        let state = State { arrivals, announced: VecDeque::new(), idle: Vec::new() };
        Self { start: Instant::now(), state: Mutex::new(state) }
    }

    /// Time since the beginning.
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that is due, with the time it was due at; `None` when there are no more.
    fn poll_due(&self, now: Duration, cx: &mut Context<'_>) -> Poll<Option<Duration>> {
        let mut state = self.lock();
        if let Some(due) = state.announced.pop_front().or_else(|| state.arrivals.take(now)) {
            return Poll::Ready(Some(due));
        }
        if state.arrivals.next_due().is_none() {
            return Poll::Ready(None);
        }
        state.idle.push(cx.waker().clone());
        Poll::Pending
    }

    /// Gives idle callers what is due now. Says when the next call is due, or nothing at the end,
    /// and then all idle callers are woken to see it.
    fn announce_due(&self) -> Option<Duration> {
        let now = self.now();
        let mut state = self.lock();
        while !state.idle.is_empty()
            && let Some(due) = state.arrivals.take(now)
        {
            state.announced.push_back(due);
            state.idle.pop().into_iter().for_each(Waker::wake);
        }
        let next = state.arrivals.next_due();
        if next.is_none() {
            state.idle.drain(..).for_each(Waker::wake);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::*;
    use crate::peer::PeerError;

    /// Blocks the only thread once, on the call with this number.
    #[derive(Clone)]
    struct Stalling {
        on: u64,
        stall: Duration,
        calls: Arc<AtomicU64>,
    }

    impl Caller for Stalling {
        async fn echo(&self, payload: &Bytes) -> Result<Bytes, PeerError> {
            if self.calls.fetch_add(1, Ordering::Relaxed) == self.on {
                thread::sleep(self.stall);
            }
            Ok(payload.clone())
        }
    }

    fn offer(per_second: f64) -> Offer {
        Offer { per_second, warm_up: Duration::from_millis(20), window: Duration::from_millis(200) }
    }

    fn stalling(milliseconds: u64) -> Stalling {
        Stalling { on: 60, stall: Duration::from_millis(milliseconds), calls: Arc::default() }
    }

    #[tokio::test]
    async fn calls_that_a_stall_kept_from_beginning_have_waited() {
        // A closed loop would see one slow call of hundreds. Here half the window's calls were due
        // during the stall, and waited half of it on average.
        let served = run(stalling(100), offer(2_000.0)).await.unwrap();
        assert!(served.latency.p99 > 80_000.0, "{served:?}");
        let without = run(stalling(0), offer(2_000.0)).await.unwrap();
        assert!(without.latency.p99 < served.latency.p99, "{without:?}");
    }

    #[tokio::test]
    async fn what_is_offered_is_what_was_asked_for_and_none_is_left_out() {
        let caller = stalling(0);
        let calls = Arc::clone(&caller.calls);
        let served = run(caller, offer(2_000.0)).await.unwrap();
        // 400 calls, with a standard deviation of 20.
        assert!((1_500.0..2_500.0).contains(&served.offered_per_second), "{served:?}");
        let mut due = Arrivals::new(2_000.0, Duration::from_millis(220), 1);
        let due = std::iter::from_fn(|| due.take(Duration::MAX));
        assert_eq!(calls.load(Ordering::Relaxed), due.count() as u64);
    }

    #[tokio::test]
    async fn an_overload_shows_as_less_achieved_than_offered() {
        /// One call at a time, each of which takes a millisecond of the only thread.
        #[derive(Clone)]
        struct Slow;

        impl Caller for Slow {
            async fn echo(&self, payload: &Bytes) -> Result<Bytes, PeerError> {
                thread::sleep(Duration::from_millis(1));
                Ok(payload.clone())
            }
        }

        let served = run(Slow, offer(2_000.0)).await.unwrap();
        assert!(served.achieved_per_second < 0.7 * served.offered_per_second, "{served:?}");
        assert!(served.latency.p99 > 50_000.0, "{served:?}");
    }
}
