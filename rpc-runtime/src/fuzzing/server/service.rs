//! A service that counts what it runs.

use std::{
    collections::HashMap,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Instant,
};

use super::ledger::Ledger;
use crate::{
    Bytes, CallError, CallKey, Context, MethodId,
    service::{
        Delivery, Handled, MethodDescription, ObjectDescription, Recorded, Request, Service,
        ServiceDescription,
    },
};

/// What the world and the handlers share.
#[derive(Default)]
pub(super) struct State {
    pub(super) ledger: Ledger,
    /// Handlers that have begun and have neither ended nor been dropped.
    pub(super) live: HashMap<u64, Live>,
    begun: u64,
    /// How often slow handlers were let go, and who waits for the next time.
    released: u64,
    waiting: Vec<Waker>,
}

#[derive(Clone, Copy)]
pub(super) struct Live {
    pub(super) deadline: Instant,
    pub(super) is_readonly: bool,
}

pub(super) type Shared = Arc<Mutex<State>>;

pub(super) fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Lets all slow handlers go.
    pub(super) fn release(&mut self) -> Vec<Waker> {
        self.released += 1;
        mem::take(&mut self.waiting)
    }
}

/// What handlers of a method do, beside counting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    AtOnce,
    /// Not before the world lets them go.
    Slow,
}

pub(super) struct Counting(pub(super) Shared);

const fn method(number: u64, name: &'static str, delivery: Delivery) -> MethodDescription {
    MethodDescription {
        service: "Counting",
        name,
        id: MethodId::new(number),
        verb: if matches!(delivery, Delivery::Readonly) { "read" } else { "write" },
        object: ObjectDescription::Template("table/{key}"),
        delivery,
        recorded: Recorded::AsTheServerSays,
        timeout: None,
        reserve: false,
        arguments: &[],
        result: "Bytes",
        error: "String",
    }
}

/// Their ids on the wire are their places.
pub(super) static METHODS: [MethodDescription; 6] = [
    method(0, "run", Delivery::AtMostOnce),
    method(1, "run_slowly", Delivery::AtMostOnce),
    method(2, "peek", Delivery::Readonly),
    method(3, "peek_slowly", Delivery::Readonly),
    method(4, "touch", Delivery::Idempotent),
    method(5, "touch_slowly", Delivery::Idempotent),
];

pub(super) static DESCRIPTION: ServiceDescription =
    ServiceDescription { name: "Counting", methods: &METHODS };

impl Service for Counting {
    fn description(&self) -> &'static ServiceDescription {
        &DESCRIPTION
    }

    fn handle(&self, method: usize, request: Request<'_>) -> Handled {
        let pace = if method.is_multiple_of(2) { Pace::AtOnce } else { Pace::Slow };
        let is_readonly = METHODS[method].delivery == Delivery::Readonly;
        let state = Arc::clone(&self.0);
        request
            .authorize::<(String, u16)>(|objects, (key, _)| {
                objects.literal("table").segment(key);
            })
            .dispatch(move |cx, (key, size)| run(state, cx, pace, is_readonly, key, size))
    }
}

/// The answer has `size` bytes at least, and no other run gives the same.
async fn run(
    state: Shared,
    cx: Context,
    pace: Pace,
    is_readonly: bool,
    key: String,
    size: u16,
) -> Result<Bytes, CallError<String>> {
    let call = cx.call_key().expect("a handler's call has a key");
    let running = Running::begin(&state, call, &Live { deadline: cx.deadline(), is_readonly });
    if pace == Pace::Slow {
        let since = lock(&state).released;
        poll_fn(|cx| {
            let mut state = lock(&state);
            if state.released > since {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
    if key == "full" {
        return Err(CallError::App(running.run.to_string()));
    }
    let mut answer = running.run.to_be_bytes().to_vec();
    answer.resize(answer.len().max(size.into()), 7);
    Ok(answer.into())
}

/// Counts a handler as live until it is dropped, however that comes about.
struct Running {
    state: Shared,
    run: u64,
}

impl Running {
    fn begin(state: &Shared, call: CallKey, live: &Live) -> Self {
        let mut locked = lock(state);
        locked.begun += 1;
        let run = locked.begun;
        locked.ledger.runs(call, live.is_readonly);
        locked.live.insert(run, *live);
        Self { state: Arc::clone(state), run }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.state).live.remove(&self.run);
    }
}
