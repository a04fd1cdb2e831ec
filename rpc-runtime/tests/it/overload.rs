//! More calls than a server can run, on a virtual clock: what it does is worth doing, and none of its
//! clients is pushed out.
//!
//! The work behind a handler goes on when its caller has left, as a query to a database does. So a
//! server that takes all that comes works for those who have left.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bailiwick::{
    CallError, Context, Executed, Limits, Outcome, rpc_service,
    testing::{InMemory, test_identity},
};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, yield_now},
    time::{self, Instant},
};

use crate::{
    probe::{Probe, ProbeClient, method},
    raw::{Raw, request, varint},
    world::{Beside, World, cx, eventually},
};

#[rpc_service(verb = "use", object = "mill")]
trait Mill {
    /// Takes so many microseconds of one of the mill's stones.
    async fn grind(&self, cx: &Context, micros: u32) -> Result<(), CallError>;

    /// Has the thread for so many milliseconds.
    async fn block(&self, cx: &Context, millis: u32) -> Result<(), CallError>;

    /// Is over at once.
    async fn knock(&self, cx: &Context) -> Result<(), CallError>;

    /// Runs until a test lets it go.
    async fn hang(&self, cx: &Context) -> Result<(), CallError>;

    /// The same, by the reserve.
    #[rpc(reserve)]
    async fn settle(&self, cx: &Context) -> Result<(), CallError>;
}

/// What a test sees of the mill.
struct State {
    stones: Arc<Semaphore>,
    begun: AtomicUsize,
    at_work: AtomicUsize,
    most_at_work: AtomicUsize,
    go: Semaphore,
}

#[derive(Clone)]
struct Windmill(Arc<State>);

/// Counts a handler while it is at work.
struct AtWork(Arc<State>);

impl AtWork {
    fn begin(state: &Arc<State>) -> Self {
        state.begun.fetch_add(1, Ordering::SeqCst);
        let at_work = state.at_work.fetch_add(1, Ordering::SeqCst) + 1;
        state.most_at_work.fetch_max(at_work, Ordering::SeqCst);
        Self(Arc::clone(state))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Windmill {
    fn with_stones(stones: usize) -> Self {
        Self(Arc::new(State {
            stones: Arc::new(Semaphore::new(stones)),
            begun: AtomicUsize::new(0),
            at_work: AtomicUsize::new(0),
            most_at_work: AtomicUsize::new(0),
            go: Semaphore::new(0),
        }))
    }

    async fn wait(&self) {
        let _at_work = AtWork::begin(&self.0);
        self.0.go.acquire().await.unwrap().forget();
    }

    fn at_work(&self) -> usize {
        self.0.at_work.load(Ordering::SeqCst)
    }
}

impl Mill for Windmill {
    async fn grind(&self, _: &Context, micros: u32) -> Result<(), CallError> {
        let _at_work = AtWork::begin(&self.0);
        let stone = Arc::clone(&self.0.stones).acquire_owned().await.unwrap();
        let work = tokio::spawn(async move {
            time::sleep(Duration::from_micros(micros.into())).await;
            drop(stone);
        });
        work.await.map_err(|_| CallError::Internal)
    }

    async fn block(&self, _: &Context, millis: u32) -> Result<(), CallError> {
        let _at_work = AtWork::begin(&self.0);
        std::thread::sleep(Duration::from_millis(millis.into()));
        Ok(())
    }

    async fn knock(&self, _: &Context) -> Result<(), CallError> {
        Ok(())
    }

    async fn hang(&self, _: &Context) -> Result<(), CallError> {
        self.wait().await;
        Ok(())
    }

    async fn settle(&self, _: &Context) -> Result<(), CallError> {
        self.wait().await;
        Ok(())
    }
}

const CLIENTS: usize = 20;

fn served(mill: &Windmill, limits: Limits) -> InMemory<MillClient> {
    let rows: String = (0..CLIENTS).map(|n| format!("client{n} | mill | use | allow\n")).collect();
    MillClient::in_memory(mill.clone()).policy(&rows).limits(limits)
}

async fn client(mill: &InMemory<MillClient>, number: usize) -> MillClient {
    mill.as_principal(&format!("client{number}")).await
}

/// How the calls of one client ended.
#[derive(Clone, Debug, Default)]
struct Ended {
    /// When each that was answered in time was made, and how long it took.
    good: Vec<(Instant, Duration)>,
    overloaded: usize,
    /// The longest time that the server told anybody to stay away.
    longest: Duration,
    late: usize,
}

impl Ended {
    fn between(&self, from: Instant, until: Instant) -> usize {
        self.good.iter().filter(|(at, _)| (from..until).contains(at)).count()
    }

    fn p99(&self) -> Duration {
        let mut took: Vec<_> = self.good.iter().map(|(_, took)| *took).collect();
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }
}

/// Calls that come whether or not the ones before are answered, `rate` a second, at times and of
/// lengths that the seed decides.
struct Load {
    rate: f64,
    until: Instant,
    deadline: Duration,
    micros: std::ops::Range<u32>,
    seed: u64,
}

async fn load(client: MillClient, load: Load) -> Ended {
    let mut rng = StdRng::seed_from_u64(load.seed);
    let ended = Arc::new(Mutex::new(Ended::default()));
    let (mut at, mut calls) = (Instant::now(), JoinSet::new());
    while at < load.until {
        time::sleep_until(at).await;
        let pause: f64 = -(1.0 - rng.random::<f64>()).ln() / load.rate;
        at += Duration::from_secs_f64(pause);
        let micros = rng.random_range(load.micros.clone());
        let (client, ended) = (client.clone(), Arc::clone(&ended));
        calls.spawn(async move {
            let made = Instant::now();
            let answer = client.grind(&Context::within(load.deadline), micros).await;
            let mut ended = ended.lock().unwrap();
            match answer {
                Ok(()) => ended.good.push((made, made.elapsed())),
                Err(CallError::Overloaded { retry_after }) => {
                    ended.overloaded += 1;
                    ended.longest = ended.longest.max(retry_after);
                }
                Err(CallError::DeadlineExceeded { .. }) => ended.late += 1,
                Err(other) => panic!("{other:?}"),
            }
        });
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
    let ended = ended.lock().unwrap();
    ended.clone()
}

fn seed() -> u64 {
    let seed = rand::rng().next_u64();
    println!("seed {seed}");
    seed
}

const STONES: usize = 16;
const TAKES: std::ops::Range<u32> = 10_000..30_000;
/// Of all stones, calls a second.
const PEAK: f64 = STONES as f64 / 0.02;
const DEADLINE: Duration = Duration::from_millis(200);
/// How long the load lasts that is looked at.
const WINDOW: Duration = Duration::from_secs(1);

/// As many at work as there are stones, beside the one of the reserve. Who comes to a full queue and
/// has the oldest leave first does not leave before its deadline.
fn protected() -> Limits {
    Limits { max_concurrent_calls: STONES + 1, max_queued_calls: 512, ..Limits::default() }
}

fn unprotected() -> Limits {
    Limits { max_concurrent_calls: usize::MAX, ..Limits::default() }
}

struct Run {
    /// Answered in time, a second, under the load and once it is over.
    goodput: f64,
    /// How much of what was asked for 5 s after the load.
    recovered: f64,
    all: Ended,
    most_at_work: usize,
}

/// So many times what the mill can grind for a while, then half of it.
async fn overload(limits: Limits, times: f64, seed: u64) -> Run {
    let windmill = Windmill::with_stones(STONES);
    let mill = served(&windmill, limits);
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(client(&mill, number).await);
    }
    let began = Instant::now();
    let end = began + Duration::from_secs(1) + WINDOW;
    let runs = |rate: f64, until| {
        clients.iter().enumerate().map(move |(number, client)| {
            let seed = seed.wrapping_add(number as u64);
            let rate = rate / CLIENTS as f64;
            load(client.clone(), Load { rate, until, deadline: DEADLINE, micros: TAKES, seed })
        })
    };
    let mut all = Ended::default();
    for ended in futures_util::future::join_all(runs(times * PEAK, end)).await {
        all.good.extend(ended.good);
        all.overloaded += ended.overloaded;
        all.late += ended.late;
        all.longest = all.longest.max(ended.longest);
    }
    let good = all.between(began + Duration::from_secs(1), end);
    time::sleep_until(end + Duration::from_secs(5)).await;
    let after = Instant::now() + Duration::from_secs(1);
    let (mut asked, mut answered) = (0, 0);
    for ended in futures_util::future::join_all(runs(PEAK / 2.0, after)).await {
        asked += ended.good.len() + ended.overloaded + ended.late;
        answered += ended.good.len();
    }
    Run {
        goodput: good as f64 / WINDOW.as_secs_f64(),
        recovered: answered as f64 / asked as f64,
        all,
        most_at_work: windmill.0.most_at_work.load(Ordering::SeqCst),
    }
}

#[tokio::test(start_paused = true)]
async fn under_ten_times_the_load_a_server_does_what_it_can_and_recovers() {
    let seed = seed();
    let peak = overload(protected(), 1.0, seed).await.goodput;
    let run = overload(protected(), 10.0, seed).await;
    println!("peak {peak}, under ten times the load {}", run.goodput);
    assert!(peak > 0.8 * PEAK, "seed {seed}: {peak} of {PEAK}");
    assert!(run.goodput >= 0.9 * peak, "seed {seed}: {} of {peak}", run.goodput);
    assert!(run.all.p99() <= DEADLINE, "seed {seed}: {:?}", run.all.p99());
    assert!(run.most_at_work <= STONES, "seed {seed}: {}", run.most_at_work);
    assert!(run.recovered > 0.99, "seed {seed}: {}", run.recovered);
    // 512 wait, 800 a second leave.
    let told = run.all.longest;
    assert!(
        (Duration::from_millis(400)..Duration::from_millis(1200)).contains(&told),
        "seed {seed}: {told:?}"
    );
}

/// The control: the same mill behind a server that takes all that comes.
#[tokio::test(start_paused = true)]
async fn under_ten_times_the_load_a_server_without_bounds_works_for_those_who_have_left() {
    let seed = seed();
    let run = overload(unprotected(), 10.0, seed).await;
    println!("under ten times the load {}", run.goodput);
    assert!(run.goodput < 0.2 * PEAK, "seed {seed}: {}", run.goodput);
    assert!(run.most_at_work > 1000, "seed {seed}: {}", run.most_at_work);
}

/// What eight clients ask for together, calls a second: an eighth of what there is.
const OTHERS: f64 = 200.0;

/// The p99 of all clients but the first, whose own load is this.
async fn p99_beside(greedy: f64, seed: u64) -> Duration {
    const STONES: usize = 32;
    let windmill = Windmill::with_stones(STONES);
    let limits = Limits { max_concurrent_calls: STONES + 2, ..protected() };
    let mill = served(&windmill, limits);
    let until = Instant::now() + Duration::from_secs(8);
    let mut clients = JoinSet::new();
    for number in 0..9 {
        let rate = if number == 0 { greedy } else { OTHERS / 8.0 };
        let client = client(&mill, number).await;
        let seed = seed.wrapping_add(number as u64);
        let micros = TAKES;
        let ended = load(client, Load { rate, until, deadline: DEADLINE, micros, seed });
        clients.spawn(async move { (number, ended.await) });
    }
    let mut others = Ended::default();
    while let Some(ended) = clients.join_next().await {
        let (number, ended) = ended.unwrap();
        if number > 0 {
            assert_eq!((ended.overloaded, ended.late), (0, 0), "seed {seed}");
            others.good.extend(ended.good);
        }
    }
    others.p99()
}

#[tokio::test(start_paused = true)]
async fn one_client_with_ten_times_the_load_of_all_others_does_not_push_them_out() {
    let seed = seed();
    let alone = p99_beside(0.01, seed).await;
    let beside = p99_beside(10.0 * OTHERS, seed).await;
    println!("alone {alone:?}, beside a greedy client {beside:?}");
    assert!(beside <= alone.mul_f64(1.2), "seed {seed}: {alone:?}, then {beside:?}");
}

/// A server of which every ordinary place is taken, and so many calls wait.
async fn full(
    windmill: &Windmill,
    limits: Limits,
    waiting: usize,
) -> (InMemory<MillClient>, JoinSet<()>) {
    let at_work = limits.max_concurrent_calls - 1;
    let mill = served(windmill, limits);
    let client = client(&mill, 0).await;
    let mut calls = JoinSet::new();
    for _ in 0..at_work + waiting {
        let client = client.clone();
        calls.spawn(async move { assert_eq!(client.hang(&cx()).await, Ok(())) });
    }
    settle().await;
    assert_eq!(windmill.at_work(), at_work);
    (mill, calls)
}

/// Lets all go on that can without the clock.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

fn few() -> Limits {
    Limits { max_concurrent_calls: 3, max_queued_calls: 2, ..Limits::default() }
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_are_run_when_one_at_work_ends_and_beyond_them_all_are_refused() {
    let windmill = Windmill::with_stones(0);
    let (mill, mut calls) = full(&windmill, few(), 2).await;
    let other = client(&mill, 0).await;
    let error = other.hang(&cx()).await.unwrap_err();
    assert!(matches!(error, CallError::Overloaded { .. }), "{error:?}");
    assert_eq!(other.knock(&cx()).await, Err(error), "its handler would have been ready at once");
    for ended in 1..=4 {
        windmill.0.go.add_permits(1);
        calls.join_next().await.unwrap().unwrap();
        settle().await;
        assert_eq!(windmill.at_work(), 2.min(4 - ended));
    }
    assert_eq!(windmill.0.begun.load(Ordering::SeqCst), 4);
    assert_eq!(other.knock(&cx()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_method_of_the_reserve_runs_when_all_other_places_are_taken() {
    let windmill = Windmill::with_stones(0);
    let (mill, mut calls) = full(&windmill, few(), 2).await;
    let other = client(&mill, 1).await;
    let (first, second) = (other.clone(), other.clone());
    let first = tokio::spawn(async move { first.settle(&cx()).await });
    settle().await;
    assert_eq!(windmill.at_work(), 3);
    let second = tokio::spawn(async move { second.settle(&cx()).await });
    settle().await;
    assert_eq!(windmill.at_work(), 3, "the reserve is small");
    // The next place is for the reserve, though others have waited longer.
    windmill.0.go.add_permits(1);
    settle().await;
    assert_eq!((windmill.at_work(), windmill.0.begun.load(Ordering::SeqCst)), (3, 4));
    windmill.0.go.add_permits(5);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(()), Ok(())));
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_leaves_the_queue_or_its_place_at_work() {
    let windmill = Windmill::with_stones(0);
    let (mill, mut calls) = full(&windmill, few(), 0).await;
    let other = client(&mill, 1).await;
    for _ in 0..100 {
        let waits = time::timeout(Duration::from_millis(1), other.hang(&cx())).await;
        assert!(waits.is_err(), "it is not refused: the one before has left the queue");
        settle().await;
    }
    assert_eq!(windmill.0.begun.load(Ordering::SeqCst), 2, "none of them ran");
    calls.abort_all();
    while calls.join_next().await.is_some() {}
    settle().await;
    assert_eq!(other.knock(&cx()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn pings_do_not_wait_however_long_all_places_are_taken() {
    let limits =
        Limits { idle_timeout: Duration::from_secs(3), keepalive: Duration::from_secs(1), ..few() };
    let windmill = Windmill::with_stones(0);
    let (_mill, mut calls) = full(&windmill, limits, 1).await;
    time::sleep(Duration::from_secs(15)).await;
    windmill.0.go.add_permits(3);
    for _ in 0..3 {
        calls.join_next().await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_deadline_passes_in_the_queue_did_not_run() {
    let windmill = Windmill::with_stones(0);
    let (mill, _calls) = full(&windmill, few(), 0).await;
    let channel = mill.connect(test_identity("client1")).await.unwrap();
    let other = MillClient::new(channel.clone());
    let brief = Context::within(Duration::from_millis(50));
    let error = other.hang(&brief).await.unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded { .. }), "{error:?}");
    if let Some(call) = error.unknown_call() {
        assert_eq!(channel.outcome(&cx(), call).await, Outcome::DidNotRun);
    }
    assert_eq!(windmill.at_work(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_connection_has_waiting_leaves_the_queue_with_it() {
    let windmill = Windmill::with_stones(0);
    let (mill, _calls) = full(&windmill, few(), 0).await;
    for number in 1..10 {
        let channel = mill.connect(test_identity(&format!("client{number}"))).await.unwrap();
        let other = MillClient::new(channel);
        let calls: Vec<_> = (0..2)
            .map(|_| {
                let other = other.clone();
                tokio::spawn(async move { other.hang(&cx()).await })
            })
            .collect();
        settle().await;
        assert!(calls.iter().all(|call| !call.is_finished()), "{number}: there was room");
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        drop(other);
        settle().await;
    }
    assert_eq!(windmill.0.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn over_udp_calls_wait_and_are_refused_beyond_the_queue_too() {
    let limits = Limits { max_concurrent_calls: 2, max_queued_calls: 1, ..Limits::default() };
    let world = World::over_udp(limits, Beside::Nothing).await;
    let alice = world.client("alice").await;
    let hanging = alice.clone();
    let hanging = tokio::spawn(async move { hanging.hang(&cx()).await });
    eventually("one hangs", || world.state.hanging() == 1).await;
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        let alice = alice.clone();
        calls.spawn(async move { alice.increment(&cx(), "k".into()).await });
    }
    let refused = calls.join_next().await.unwrap().unwrap();
    assert!(matches!(refused, Err(CallError::Overloaded { .. })), "{refused:?}");
    assert_eq!(world.state.counter(), 0);
    world.state.go.add_permits(1);
    assert_eq!(hanging.await.unwrap(), Ok(()));
    assert_eq!(calls.join_next().await.unwrap().unwrap(), Ok(1));
    assert_eq!(alice.increment(&cx(), "k".into()).await, Ok(2));
}

/// Its handlers are not run on, and must not have the places of others meanwhile.
#[tokio::test]
async fn a_client_that_reads_nothing_holds_no_places_at_work() {
    const SIZE: u64 = 256 * 1024;
    let limits = Limits { max_concurrent_calls: 4, max_unsent: 1 << 20, ..Limits::default() };
    let world = World::with_limits(limits).await;
    let mut greedy = Raw::client(&world, test_identity("alice")).await;
    let mut size = Vec::new();
    varint(SIZE, &mut size);
    let frames: Vec<_> =
        (0..200).flat_map(|call| request(call, method("produce_later"), &size)).collect();
    greedy.send(&frames).await;
    let hangs: Vec<_> = (200..300).flat_map(|call| request(call, method("hang"), &[])).collect();
    greedy.send(&hangs).await;
    let other = ProbeClient::new(world.channel("alice", Limits::default()).await.unwrap());
    for _ in 0..10 {
        let brief = Context::within(Duration::from_secs(5));
        let answer = other.produce_later(&brief, 8).await;
        assert_eq!(answer.map(|bytes| bytes.len()), Ok(8));
        time::sleep(Duration::from_millis(20)).await;
    }
}

/// By the clock of the machine: the handlers have the thread that the requests behind them wait for.
#[tokio::test]
async fn a_request_that_waits_behind_slow_handlers_until_its_caller_has_left_does_not_run() {
    let windmill = Windmill::with_stones(0);
    let mill = served(&windmill, Limits::default());
    let channel = mill.connect(test_identity("client0")).await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..6 {
        let client = MillClient::new(channel.clone());
        calls.spawn(async move {
            client.block(&Context::within(Duration::from_millis(250)), 100).await
        });
    }
    let mut did_not_run = 0;
    while let Some(ended) = calls.join_next().await {
        let Err(error) = ended.unwrap() else { continue };
        let outcome = match error.unknown_call() {
            Some(call) => channel.outcome(&cx(), call).await.executed(),
            None => error.executed(),
        };
        did_not_run += usize::from(outcome == Executed::No);
    }
    let begun = windmill.0.begun.load(Ordering::SeqCst);
    assert_eq!((begun, did_not_run), (3, 3));
}
