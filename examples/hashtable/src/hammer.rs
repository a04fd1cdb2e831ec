//! `hashtable hammer`: many increments of one key at once; does the sum come out?

mod caller;
mod progress;
mod summary;
mod tally;

use std::{process, sync::Arc, time::Duration};

use bailiwick::{CallError, Context, Unavailable};
use hashtable::service::{Table as _, TableClient, TableError};
use tokio::{
    signal,
    task::{JoinError, JoinSet},
    time::{self, Instant},
};

use crate::{
    args::{HammerArgs, HammerOperation},
    call,
    dial::Dial,
    exit::{Exit, Failure, INTERRUPTED},
    output,
};
use caller::{Caller, PAUSE, Work};
use progress::Progress;
use summary::Summary;

/// How long reading the value may take, or asking what became of a call; and how long calls go on
/// while none is answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long connecting may take: as long as the protocol tries. Where three datagrams in ten are
/// lost, one handshake in sixty takes more than half a minute.
const CONNECTING: Duration = Duration::from_secs(90);

/// Handshakes under way together: a server bounds those of one address that are half open.
const AT_ONCE: usize = 8;

/// Runs all calls and prints the summary.
pub(crate) async fn run(args: HammerArgs) -> Result<(), Failure> {
    let HammerOperation::Increment { key } = args.operation;
    let dial = Dial::read(&args.dial)?;
    let observer = connect_first(&dial).await?;
    let initial = number(&observer, &key).await?;

    let tables = connect(&dial, args.clients.min(args.calls.unwrap_or(u64::MAX))).await?;
    let work = Arc::new(Work::new(args.calls, initial));
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for table in tables.iter().flat_map(|table| (0..args.outstanding).map(|_| table.clone())) {
        let (key, work, deadline) = (key.clone(), Arc::clone(&work), args.deadline);
        callers.spawn(Caller { table, key, work, deadline }.run());
    }
    watch(callers, &work, begun, args.seconds.map(Duration::from_secs)).await?;
    let seconds = begun.elapsed().as_secs_f64();

    let mark = work.tally().mark();
    let read = number(&observer, &key).await;
    if let Ok(value) = read {
        work.tally().observed(mark, value);
    }
    let summary = Summary::of(&work.tally(), initial, read.as_ref().ok().copied(), seconds);
    if args.json {
        let json = serde_json::to_string(&summary);
        output::line(json.map_err(|error| Failure::of(Exit::Service, error))?)?;
    } else {
        output::line(&summary)?;
    }
    read?;
    summary.check()
}

/// Makes the connection that shows whether there is a server. Over UDP nobody says that there is
/// none, so people are told what they are waiting for.
async fn connect_first(dial: &Dial) -> Result<TableClient, Failure> {
    let cx = Context::within(CONNECTING);
    let connecting = dial.connect(&cx);
    tokio::pin!(connecting);
    if let Ok(connected) = time::timeout(Duration::from_secs(2), &mut connecting).await {
        return connected;
    }
    output::tell(format_args!("no answer yet; trying for {CONNECTING:?}"));
    connecting.await
}

/// Makes so many connections, a few at a time.
async fn connect(dial: &Dial, clients: u64) -> Result<Vec<TableClient>, Failure> {
    let (mut tables, mut connecting) = (Vec::new(), JoinSet::new());
    for _ in 0..clients {
        if connecting.len() >= AT_ONCE
            && let Some(connected) = connecting.join_next().await
        {
            tables.push(connected.map_err(panicked)??);
        }
        let dial = dial.clone();
        connecting.spawn(async move { dial.connect(&Context::within(CONNECTING)).await });
    }
    while let Some(connected) = connecting.join_next().await {
        tables.push(connected.map_err(panicked)??);
    }
    Ok(tables)
}

/// Waits for the callers and tells how they are getting on. They begin no more calls once the time
/// is over, a signal says so, or nothing was answered for [`PATIENCE`].
async fn watch(
    mut callers: JoinSet<Result<(), Failure>>,
    work: &Work,
    begun: Instant,
    limit: Option<Duration>,
) -> Result<(), Failure> {
    let second = Duration::from_secs(1);
    let mut each_second = time::interval_at(begun + second, second);
    let mut progress = Progress::default();
    let interrupt = signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        tokio::select! {
            ended = callers.join_next() => match ended {
                Some(ended) => ended.map_err(panicked)??,
                None => return Ok(()),
            },
            _ = each_second.tick() => {
                let elapsed = begun.elapsed();
                output::tell(progress.line(&work.tally(), elapsed));
                if limit.is_some_and(|limit| elapsed >= limit) {
                    work.stop();
                } else if progress.silence() >= PATIENCE && work.stop() {
                    output::tell(format_args!("no answer for {PATIENCE:?}: no more calls begin"));
                }
            }
            _ = &mut interrupt, if !work.is_stopped() => {
                output::tell("no more calls begin; a second signal ends it without a summary");
                work.stop();
                tokio::spawn(async {
                    let _ = signal::ctrl_c().await;
                    process::exit(INTERRUPTED);
                });
            }
        }
    }
}

fn panicked(error: JoinError) -> Failure {
    Failure::of(Exit::Service, error)
}

/// The number under `key`; 0 if there is nothing. A server that still reads its log is waited for.
async fn number(table: &TableClient, key: &str) -> Result<i64, Failure> {
    let cx = Context::within(PATIENCE);
    let got = loop {
        match table.get(&cx, key.to_owned()).await {
            Err(CallError::Unavailable(Unavailable::Recovering)) => time::sleep(PAUSE).await,
            got => break got,
        }
    };
    let value = got.map_err(|error| call::failure(&error, "get", Some(key)))?;
    let number = match &value {
        None => Some(0),
        Some(value) => str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
    };
    let refused = || call::failure(&TableError::NotANumber.into(), "increment", Some(key));
    number.ok_or_else(refused)
}
