//! What each part of a call costs by itself, and what it allocates.
//!
//! `cargo bench -p bailiwick-bench --bench micro`. Times are of one processor; allocations of the thread
//! that runs, which in `call` is both sides'.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::time::{Duration, Instant};

use bailiwick::{
    Bytes, CallError, Context, Identity, benchmarks, benchmarks::DuplicateCache, rpc_service,
};
use bailiwick_acl::{
    Policy,
    policy::{LoadOptions, Source},
};
use bailiwick_crypto::{
    Params, RecordLimits, Transport, initiator,
    record::{MAX_CONTENT, Records},
    responder,
};
use divan::{AllocProfiler, Bencher, black_box, counter::BytesCount};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Bytes of a record's content: a lone small call, a datagram, a full record.
const SIZES: [usize; 3] = [64, 1_200, MAX_CONTENT];

fn main() {
    divan::main();
}

/// The records of both sides of a session.
fn session() -> (Records, Records, Instant) {
    let (now, rng) = (Instant::now(), &mut rand::rng());
    let server = Identity::generate(rng);
    let initiator = initiator::Config {
        transport: Transport::Tcp,
        identity: Identity::generate(rng),
        server: server.public_key(),
        params: Params::new([1; 16]),
        psk: None,
        records: RecordLimits::default(),
    };
    let responder = responder::Config::new(Transport::Tcp, server, Params::new([2; 16]));
    let client = initiator::start(initiator, rng);
    let server = responder::accept(&responder, client.init(), rng).unwrap();
    let (fin, client) = client.read_resp(server.resp(), now).unwrap();
    let server = server.read_fin(&fin, now).unwrap().admit().unwrap();
    (client.records, server.records, now)
}

#[divan::bench(args = SIZES)]
fn seal_record(bencher: Bencher<'_, '_>, size: usize) {
    let (mut client, _, now) = session();
    let (content, mut wire) = (vec![7; size], Vec::with_capacity(size + 64));
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        wire.clear();
        client.seal_data(black_box(&content), now, &mut wire).unwrap();
    });
}

#[divan::bench(args = SIZES)]
fn seal_and_open_record(bencher: Bencher<'_, '_>, size: usize) {
    let (mut client, mut server, now) = session();
    let (content, mut wire) = (vec![7; size], Vec::with_capacity(size + 64));
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        wire.clear();
        client.seal_data(black_box(&content), now, &mut wire).unwrap();
        server.open(&mut wire, now).is_ok()
    });
}

/// A handshake's arithmetic, both sides.
#[divan::bench]
fn handshake() {
    black_box(session());
}

#[divan::bench]
fn write_request_frame(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(256);
    bencher.bench_local(|| {
        out.clear();
        benchmarks::put_request(black_box(1_000), black_box(&[7; 65]), &mut out);
    });
}

#[divan::bench]
fn parse_request_frame(bencher: Bencher<'_, '_>) {
    let mut frame = Vec::new();
    benchmarks::put_request(1_000, &[7; 65], &mut frame);
    bencher.bench_local(|| benchmarks::parse_request(black_box(&frame[4..])));
}

/// The arguments of a small call.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Small {
    id: u64,
    by: i32,
    flag: bool,
    ratio: f64,
}

const SMALL: Small = Small { id: 1_234_567, by: -7, flag: true, ratio: 0.5 };

#[divan::bench]
fn marshal_small_by_generated_code(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(64);
    bencher.bench_local(|| {
        out.clear();
        benchmarks::encode(black_box(&SMALL), &mut out).unwrap();
        benchmarks::decode::<Small>(black_box(&out)).unwrap()
    });
}

#[divan::bench]
fn marshal_small_by_hand(bencher: Bencher<'_, '_>) {
    let mut out = [0; 64];
    bencher.bench_local(|| {
        let written = postcard::to_slice(black_box(&SMALL), &mut out).unwrap();
        postcard::from_bytes::<Small>(black_box(written)).unwrap()
    });
}

/// What `policy` measures with more rows and beside peers.
#[divan::bench]
fn decide_under_ten_rows(bencher: Bencher<'_, '_>) {
    let key = |n| format!("ed25519:{n:064x}");
    let mut text = format!("acl 1\nprincipal bench = {}\nbench | echo | call | allow\n", key(0));
    for n in 1..10 {
        let row = format!("principal user{n} = {}\nuser{n} | docs/{n} | read | allow\n", key(n));
        text.push_str(&row);
    }
    let source = Source { name: "policy.acl", text: text.as_bytes() };
    let policy = Policy::load(source, &LoadOptions::default()).unwrap().policy;
    let subjects = policy.subjects("bench").unwrap();
    bencher.bench_local(|| policy.decide(black_box(&subjects), "call", black_box("echo")));
}

#[divan::bench]
fn duplicate_cache_call(bencher: Bencher<'_, '_>) {
    let mut cache = DuplicateCache::new();
    bencher.bench_local(|| cache.call(black_box(&[7; 65]), black_box(&[0; 66])));
}

#[rpc_service]
trait Echo {
    #[rpc(verb = "call", object = "echo")]
    async fn echo(&self, cx: &Context, payload: Bytes) -> Result<Bytes, CallError>;
}

struct Echoing;

impl Echo for Echoing {
    async fn echo(&self, _: &Context, payload: Bytes) -> Result<Bytes, CallError> {
        Ok(payload)
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A whole call between two ends in one thread, over a pipe in memory: no network, all else.
/// `payload` is made once; 64 calls are outstanding.
#[divan::bench]
fn call(bencher: Bencher<'_, '_>) {
    const OUTSTANDING: usize = 64;
    let runtime = runtime();
    let echo = EchoClient::in_memory(Echoing).policy("bench | echo | call | allow");
    let client = runtime.block_on(echo.as_principal("bench"));
    let payload = Bytes::from(vec![7; 64]);
    bencher.counter(divan::counter::ItemsCount::new(OUTSTANDING)).bench_local(|| {
        runtime.block_on(async {
            let calls = (0..OUTSTANDING).map(|_| async {
                let cx = Context::within(Duration::from_secs(10));
                client.echo(&cx, payload.clone()).await.unwrap()
            });
            futures_util::future::join_all(calls).await
        })
    });
}
