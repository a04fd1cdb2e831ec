//! Calls that must run once, over real sockets and a link that loses, doubles, reorders and
//! corrupts: the counter equals what was acknowledged.
//!
//! `cargo test` makes 10,000 of them. As many as one likes:
//!
//! ```text
//! BAILIWICK_INCREMENTS=100000 cargo test --release -p bailiwick-tests lossy_calls -- --nocapture
//! ```
//!
//! `BAILIWICK_SEED` repeats the fate of every datagram. Keys, jitter and the scheduler are not
//! repeated.

use std::{
    collections::HashSet,
    env,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bailiwick::{
    AuditLog, CallError, Channel, ChannelConfig, Context, Endpoint, Executed, Limits, Outcome,
    PolicyFile, Server, rpc_service, testing::test_identity,
};
use bailiwick_tests::{
    relay::{self, RelayConfig},
    sim::LinkConfig,
};
use tokio::task::JoinSet;

const CLIENTS: u64 = 64;

/// Calls of one client under way at once.
const OUTSTANDING: u64 = 8;

#[rpc_service(verb = "write", object = "counter")]
trait Counter {
    /// At most once.
    async fn increment(&self, cx: &Context) -> Result<u64, CallError>;
}

#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl Counter for Counting {
    async fn increment(&self, _: &Context) -> Result<u64, CallError> {
        Ok(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// What callers were told.
#[derive(Default)]
struct Told {
    answers: Vec<u64>,
    /// No answer came, and the server said afterwards that the call had run.
    found_executed: u64,
    not_executed: u64,
    unknown: u64,
    /// How long the slowest client took to connect.
    connected: Duration,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.answers.extend(other.answers);
        self.found_executed += other.found_executed;
        self.not_executed += other.not_executed;
        self.unknown += other.unknown;
        self.connected = self.connected.max(other.connected);
    }
}

fn limits() -> Limits {
    Limits {
        // At this loss most calls are sent more than once.
        retries_per_second: 100_000,
        // Clients behind one address whose handshakes all take long.
        max_half_open_per_source: 256,
        ..Limits::default()
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_is_exact_over_real_sockets_and_a_link_that_does_its_worst() {
    let increments = number("BAILIWICK_INCREMENTS").unwrap_or(10_000).max(CLIENTS * OUTSTANDING);
    let seed = number("BAILIWICK_SEED").unwrap_or_else(rand::random);
    println!("{increments} increments with the seed {seed}");
    let counting = Counting::default();
    let counter = Arc::clone(&counting.0);
    let policy = format!(
        "principal alice = {}\nalice | counter | write | allow\n",
        test_identity("alice").public_key()
    );
    let bound = Server::builder(test_identity("server"))
        .policy(PolicyFile::from_text("policy", policy))
        .audit(AuditLog::memory())
        .service(CounterServer::new(counting))
        .listen(Endpoint::udp("127.0.0.1:0"))
        .limits(limits())
        .bind()
        .await
        .unwrap();
    let address = bound.addresses()[0];
    let serving = tokio::spawn(bound.serve_until(std::future::pending()));
    let link = LinkConfig {
        loss: 0.3,
        duplicate: 0.1,
        reorder: 0.1,
        corrupt: 0.01,
        ..LinkConfig::default()
    };
    let relay = relay::start(RelayConfig::new(address, link, seed)).await.unwrap();

    let began = Instant::now();
    let mut clients = JoinSet::new();
    // Whoever is quick makes more of them: at this loss some handshakes and calls take many
    // attempts, each after twice the pause before. But every caller makes one.
    let left = Arc::new(AtomicU64::new(increments.saturating_sub(CLIENTS * OUTSTANDING)));
    for _ in 0..CLIENTS {
        clients.spawn(client_of(relay.address(), Arc::clone(&left)));
    }
    let mut told = Told::default();
    while let Some(client) = clients.join_next().await {
        told.add(client.unwrap());
    }
    let took = began.elapsed();

    let distinct: HashSet<_> = told.answers.iter().collect();
    let acknowledged = told.answers.len() as u64;
    println!(
        "in {took:?}, the last client connected after {:?}: {acknowledged} acknowledged, {} found \
         executed, {} not executed, {} unknown; {:?}",
        told.connected,
        told.found_executed,
        told.not_executed,
        told.unknown,
        relay.counts()
    );
    assert_eq!(distinct.len() as u64, acknowledged, "seed {seed}: every answer is another");
    assert_eq!(told.unknown, 0, "seed {seed}: the server could tell of each");
    let ran = counter.load(Ordering::SeqCst);
    assert_eq!(ran, acknowledged + told.found_executed, "seed {seed}");
    let all = acknowledged + told.found_executed + told.not_executed;
    assert_eq!(all, increments, "seed {seed}");
    assert!(acknowledged >= increments / 100 * 99, "seed {seed}: {acknowledged} acknowledged");
    serving.abort();
}

async fn client_of(relay: SocketAddr, left: Arc<AtomicU64>) -> Told {
    let began = Instant::now();
    let config = ChannelConfig { limits: limits(), ..ChannelConfig::default() };
    let (endpoint, server) =
        (Endpoint::udp(relay.to_string()), test_identity("server").public_key());
    let channel =
        Channel::connect_with(endpoint, server, test_identity("alice"), config).await.unwrap();
    let connected = began.elapsed();
    let mut callers = JoinSet::new();
    for _ in 0..OUTSTANDING {
        let (channel, left) = (channel.clone(), Arc::clone(&left));
        callers.spawn(async move {
            let mut told = Told::default();
            loop {
                call(&channel, &mut told).await;
                let one = |left: u64| left.checked_sub(1);
                if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one).is_err() {
                    return told;
                }
            }
        });
    }
    let mut told = Told { connected, ..Told::default() };
    while let Some(caller) = callers.join_next().await {
        told.add(caller.unwrap());
    }
    told
}

async fn call(channel: &Channel, told: &mut Told) {
    let cx = || Context::within(Duration::from_secs(15));
    let error = match CounterClient::new(channel.clone()).increment(&cx()).await {
        Ok(answer) => return told.answers.push(answer),
        Err(error) => error,
    };
    match (error.executed(), error.unknown_call()) {
        (Executed::No, _) => told.not_executed += 1,
        (Executed::Unknown, Some(call)) => match channel.outcome(&cx(), call).await {
            Outcome::Ran => told.found_executed += 1,
            Outcome::DidNotRun => told.not_executed += 1,
            _ => told.unknown += 1,
        },
        _ => panic!("{error:?}"),
    }
}
