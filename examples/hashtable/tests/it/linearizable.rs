//! Calls of every kind from many clients while the server is killed: their answers are those of one
//! table that does one call after the other.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bailiwick::{Bytes, CallError, Channel, Context, Executed, Identity};
use hashtable::service::{Table as _, TableClient, TableError};
use rand::{Rng, RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    history::{self, Call, Timed},
    support::World,
};

const CLIENTS: u64 = 6;
const KEYS: usize = 2;
const KILLS: usize = 8;

/// What all clients share: a clock of ticks, and what was answered about each key.
#[derive(Default)]
struct Log {
    ticks: AtomicU64,
    over: AtomicBool,
    histories: [Mutex<Vec<Timed>>; KEYS],
}

impl Log {
    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }
}

#[test]
fn while_the_server_is_killed_all_answers_are_those_of_one_table() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let world = World::new();
    let more = ["--checkpoint-after", "20000"];
    let mut server = world.serve_kept(&["tcp://127.0.0.1:0", "udp://127.0.0.1:0"], &more);
    let endpoints = [server.connect.clone(), server.others[0].clone()];
    let log = Arc::new(Log::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let endpoint = endpoints[usize::from(number % 2 == 1)].parse().unwrap();
            let identity = Identity::read(world.path("alice.key")).unwrap();
            let connecting = Channel::connect(endpoint, world.key("server"), identity);
            let table = TableClient::new(runtime.block_on(connecting).unwrap());
            let random = StdRng::seed_from_u64(seed ^ number);
            runtime.spawn(client(table, random, Arc::clone(&log)))
        })
        .collect();

    let mut kills = Vec::new();
    for _ in 0..KILLS {
        thread::sleep(Duration::from_millis(300));
        kills.push(log.tick());
        server.kill();
        server = world.serve_kept(&[&endpoints[0], &endpoints[1]], &more);
    }
    thread::sleep(Duration::from_millis(300));
    log.over.store(true, Ordering::SeqCst);
    for client in clients {
        runtime.block_on(client).unwrap();
    }

    let histories = log.histories.each_ref().map(|history| history.lock().unwrap().clone());
    for history in &histories {
        if let Err(call) = history::check(history) {
            let near =
                history.iter().filter(|it| it.ended + 30 > call.begun && it.begun < call.ended);
            panic!("no order explains {call:?}; near it:\n{:#?}", near.collect::<Vec<_>>());
        }
    }
    let mut all = histories.iter().flatten();
    let spans = |kill: &u64| all.any(|it| it.begun < *kill && *kill < it.ended);
    assert!(kills.iter().all(spans), "a call was under way at each kill");
}

/// Calls until it is over. Each call that changes something has an answer in the end, or did not
/// run.
async fn client(table: TableClient, mut random: StdRng, log: Arc<Log>) {
    while !log.over.load(Ordering::SeqCst) {
        let key = random.random_range(0..KEYS);
        let cx = Context::within(Duration::from_secs(30));
        let begun = log.tick();
        match call(&table, &cx, format!("k{key}"), &mut random).await {
            Ok(call) => {
                let ended = log.tick();
                log.histories[key].lock().unwrap().push(Timed { begun, ended, call });
            }
            Err(error) => {
                assert_eq!(error.executed(), Executed::No, "{error:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    table.channel().clone().close().await;
}

async fn call(
    table: &TableClient,
    cx: &Context,
    key: String,
    random: &mut impl Rng,
) -> Result<Call, CallError<TableError>> {
    let mut number = |most: i64| random.random_range(0..most);
    match number(10) {
        0..3 => Ok(Call::Get(get(table, cx, key).await)),
        3 => {
            let value = number(1_000_000).to_string();
            table.put(cx, key, value.clone().into()).await?;
            Ok(Call::Put(value))
        }
        4 => Ok(Call::Delete { was_there: table.delete(cx, key).await? }),
        5..7 => {
            let expected = get(table, cx, key.clone()).await;
            let value = number(1_000_000).to_string();
            let old = expected.clone().map(Bytes::from);
            let swapped = table.compare_and_swap(cx, key, old, value.clone().into()).await?;
            Ok(Call::CompareAndSwap { expected, value, swapped })
        }
        _ => {
            let by = number(100);
            let sum = table.increment(cx, key, by).await?;
            Ok(Call::Increment { by, sum })
        }
    }
}

/// A read without an answer is made again: it took nothing, and has only begun earlier.
async fn get(table: &TableClient, cx: &Context, key: String) -> Option<String> {
    loop {
        match table.get(cx, key.clone()).await {
            Ok(value) => return value.map(|value| String::from_utf8(value.to_vec()).unwrap()),
            Err(error) => assert_ne!(error.executed(), Executed::Yes, "{error:?}"),
        }
        assert!(!cx.remaining().is_zero(), "the server never came back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
