//! Whole servers and channels, with tokio's shell around them, on hosts that crash and a network
//! that falls apart (turmoil).
//!
//! Time is simulated, so minutes take moments. The seed decides what the network does; keys and
//! the channels' pauses are drawn anew each time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bailiwick::{
    AuditLog, CallError, Channel, ChannelConfig, Context, Executed, Limits, Outcome, PolicyFile,
    Server, rpc_service, testing::test_identity,
};
use turmoil::{
    Builder, Sim,
    net::{TcpListener, TcpStream},
};

const PORT: u16 = 7400;

#[rpc_service(verb = "write", object = "ledger")]
trait Ledger {
    /// At most once. It takes so many milliseconds.
    async fn enter(&self, cx: &Context, name: String, takes: u32) -> Result<(), CallError>;
}

/// What ran, however often the server's host has crashed since.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<HashMap<String, u32>>>);

impl Book {
    fn ran(&self, name: &str) -> u32 {
        self.0.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

impl Ledger for Book {
    async fn enter(&self, _: &Context, name: String, takes: u32) -> Result<(), CallError> {
        *self.0.lock().unwrap().entry(name).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(takes.into())).await;
        Ok(())
    }
}

/// A server that is asked again soon when it is silent, and a client that asks soon.
fn limits() -> Limits {
    Limits {
        idle_timeout: Duration::from_secs(3),
        keepalive: Duration::from_secs(1),
        handshake_timeout: Duration::from_secs(2),
        ..Limits::default()
    }
}

async fn serve(book: Book) -> turmoil::Result {
    let listener = Arc::new(TcpListener::bind(("0.0.0.0", PORT)).await?);
    let alice = test_identity("alice").public_key();
    let policy = format!("principal alice = {alice}\nalice | ledger | write | allow\n");
    let server = Server::builder(test_identity("server"))
        .policy(PolicyFile::from_text("policy", policy))
        .audit(AuditLog::memory())
        .service(LedgerServer::new(book))
        .limits(limits())
        .listen_by(move || {
            let listener = Arc::clone(&listener);
            async move { listener.accept().await }
        });
    server.serve_until(std::future::pending()).await?;
    Ok(())
}

/// A channel to the server's host, as soon as there is one.
async fn channel() -> Channel {
    let (server, alice) = (test_identity("server").public_key(), test_identity("alice"));
    loop {
        let config = ChannelConfig { limits: limits(), ..ChannelConfig::default() };
        let connect = || TcpStream::connect(("server", PORT));
        match Channel::connect_by(connect, server, alice.clone(), config).await {
            Ok(channel) => return channel,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// What one client was told of its calls.
type Told = Arc<Mutex<Vec<(String, Executed)>>>;

/// Makes calls one after the other, `calls` of them.
async fn call(client: &str, calls: u32, told: Told) -> turmoil::Result {
    let channel = channel().await;
    for number in 0..calls {
        let name = format!("{client} {number}");
        let cx = Context::within(Duration::from_secs(8));
        let ledger = LedgerClient::new(channel.clone());
        let executed = match ledger.enter(&cx, name.clone(), number % 40).await {
            Ok(()) => Executed::Yes,
            Err(error) => match error.unknown_call() {
                Some(call) => {
                    let soon = Context::within(Duration::from_secs(8));
                    let outcome = channel.outcome(&soon, call).await;
                    assert_ne!(outcome, Outcome::Running, "{name}");
                    outcome.executed()
                }
                None => error.executed(),
            },
        };
        told.lock().unwrap().push((name, executed));
    }
    Ok(())
}

/// Some clients of a server, and the seed of what happens between them.
struct Story<'a> {
    sim: Sim<'a>,
    seed: u64,
    book: Book,
    told: Told,
    calls: u32,
}

impl Story<'_> {
    fn begin(clients: u32, calls_each: u32, network: impl FnOnce(&mut Builder)) -> Self {
        let seed = rand::random();
        println!("seed {seed}");
        let mut builder = Builder::new();
        builder
            .rng_seed(seed)
            .simulation_duration(Duration::from_secs(600))
            .tick_duration(Duration::from_millis(2))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(10));
        network(&mut builder);
        let mut sim = builder.build();
        let (book, told) = (Book::default(), Told::default());
        let served = book.clone();
        sim.host("server", move || serve(served.clone()));
        for client in 0..clients {
            let (name, told) = (format!("client-{client}"), Arc::clone(&told));
            sim.client(name.clone(), async move { call(&name, calls_each, told).await });
        }
        Self { sim, seed, book, told, calls: clients * calls_each }
    }

    /// Runs to the end; `each_second` of simulated time something may happen.
    fn run(&mut self, mut each_second: impl FnMut(&mut Sim<'_>, u64)) {
        let mut second = 0;
        while !self.sim.step().unwrap() {
            while self.sim.elapsed().as_secs() > second {
                second += 1;
                each_second(&mut self.sim, second);
            }
        }
        println!("{second} seconds");
    }

    /// Holds what the clients were told against what ran; how many calls of each kind there are:
    /// ran, did not run, nobody knows.
    fn check(&self) -> [u32; 3] {
        let (told, seed) = (self.told.lock().unwrap(), self.seed);
        assert_eq!(told.len(), self.calls as usize, "seed {seed}");
        let mut counts = [0; 3];
        for (name, executed) in told.iter() {
            let ran = self.book.ran(name);
            assert!(ran <= 1, "seed {seed}: {name} ran {ran} times");
            match executed {
                Executed::Yes => assert_eq!(ran, 1, "seed {seed}: {name}"),
                Executed::No => assert_eq!(ran, 0, "seed {seed}: {name}"),
                Executed::Unknown => {}
            }
            counts[*executed as usize] += 1;
        }
        println!("yes, no, unknown: {counts:?}");
        counts
    }
}

#[test]
fn on_a_slow_network_every_call_is_answered_once() {
    let mut story = Story::begin(4, 100, |network| {
        network
            .min_message_latency(Duration::from_millis(50))
            .max_message_latency(Duration::from_millis(400));
    });
    story.run(|_, _| {});
    assert_eq!(story.check(), [400, 0, 0]);
}

#[test]
fn calls_wait_out_a_partition_and_are_sent_again_over_a_new_connection() {
    let mut story = Story::begin(4, 200, |_| {});
    story.run(|sim, second| match second % 8 {
        1 => sim.partition("server", "client-0"),
        2 => sim.partition_oneway("server", "client-1"),
        3 => sim.partition_oneway("client-2", "server"),
        5 => ["client-0", "client-1", "client-2"].iter().for_each(|it| sim.repair("server", *it)),
        _ => {}
    });
    assert_eq!(story.check(), [800, 0, 0], "seed {}: the server knows of all", story.seed);
}

#[test]
fn of_a_host_that_crashes_nothing_is_said_that_is_not_true() {
    let mut story = Story::begin(4, 300, |_| {});
    story.run(|sim, second| match second % 4 {
        2 => sim.crash("server"),
        3 => sim.bounce("server"),
        _ => {}
    });
    let [yes, _, unknown] = story.check();
    assert!(yes > 600, "seed {}: {yes} of 1,200 were answered", story.seed);
    assert!(unknown > 0, "seed {}: some were under way", story.seed);
}

#[test]
fn partitions_crashes_and_slow_links_together_make_no_answer_wrong() {
    let mut story = Story::begin(6, 150, |network| {
        network.max_message_latency(Duration::from_millis(100));
    });
    story.run(|sim, second| match second % 12 {
        1 => sim.partition("server", "client-0"),
        3 => sim.crash("server"),
        4 => sim.bounce("server"),
        6 => sim.repair("server", "client-0"),
        7 => sim.hold("server", "client-1"),
        9 => sim.release("server", "client-1"),
        _ => {}
    });
    let [yes, ..] = story.check();
    assert!(yes > 450, "seed {}: {yes} of 900 were answered", story.seed);
}
