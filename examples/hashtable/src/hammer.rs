//! `hashtable hammer`: many increments of one key at once; does the sum come out?

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use bailiwick::{CallError, Context, Executed};
use miette::miette;
use serde::Serialize;
use tokio::{task::JoinSet, time};

use crate::{
    args::{HammerArgs, HammerOperation},
    call,
    dial::Dial,
    exit::{Exit, Failure},
    output,
    service::{Table as _, TableClient, TableError},
};

/// Between two attempts to connect again.
const PAUSE: Duration = Duration::from_millis(50);

/// The line that is printed.
#[derive(Debug, PartialEq, Serialize)]
struct Summary {
    /// Calls asked for.
    calls: u64,
    /// Calls that were answered with a sum.
    acknowledged: u64,
    /// Calls that may have run.
    unknown: u64,
    /// Different sums among the answers.
    distinct_replies: u64,
    /// The number under the key afterwards; `null` if it could not be read.
    final_value: Option<i64>,
    /// From the first call to the last answer.
    seconds: f64,
}

/// What became of the calls of one client.
#[derive(Debug, Default)]
struct Tally {
    replies: Vec<i64>,
    unknown: u64,
}

/// Runs all calls and prints the summary.
pub(crate) async fn run(args: HammerArgs) -> Result<(), Failure> {
    let HammerOperation::Increment { key } = args.operation;
    let timeout = args.dial.timeout;
    let dial = Dial::read(&args.dial)?;
    let observer = dial.connect(&Context::within(timeout)).await?;
    let initial = number(&observer, &key, timeout).await?;

    // One after the other, since a server bounds the half-open handshakes of an address.
    let mut clients = Vec::new();
    for calls in shares(args.calls, args.clients) {
        let table = dial.connect(&Context::within(timeout)).await?;
        let (dial, key) = (dial.clone(), key.clone());
        clients.push(Client { dial, table, key, timeout, calls });
    }
    let begun = Instant::now();
    let mut running: JoinSet<_> = clients.into_iter().map(Client::run).collect();
    let mut tally = Tally::default();
    while let Some(ended) = running.join_next().await {
        let one = ended.map_err(|error| Failure::of(Exit::Service, error))??;
        tally.replies.extend(one.replies);
        tally.unknown += one.unknown;
    }
    let seconds = begun.elapsed().as_secs_f64();

    // The observer's connection may be gone, as the others' may.
    let read = match number(&observer, &key, timeout).await {
        Ok(value) => Ok(value),
        Err(_) => match dial.connect(&Context::within(timeout)).await {
            Ok(observer) => number(&observer, &key, timeout).await,
            Err(failure) => Err(failure),
        },
    };
    let summary = Summary {
        calls: args.calls,
        acknowledged: tally.replies.len() as u64,
        unknown: tally.unknown,
        distinct_replies: tally.replies.iter().collect::<HashSet<_>>().len() as u64,
        final_value: read.as_ref().ok().copied(),
        seconds,
    };
    let line =
        serde_json::to_string(&summary).map_err(|error| Failure::of(Exit::Service, error))?;
    output::line(line)?;
    summary.check(initial, read?)
}

/// How many calls each client makes.
fn shares(calls: u64, clients: u64) -> impl Iterator<Item = u64> {
    let share = move |client| calls / clients + u64::from(client < calls % clients);
    (0..clients).map(share).filter(|calls| *calls > 0)
}

/// The number under `key`; 0 if there is nothing.
async fn number(table: &TableClient, key: &str, timeout: Duration) -> Result<i64, Failure> {
    let got = table.get(&Context::within(timeout), key.to_owned()).await;
    let value = got.map_err(|error| call::failure(&error, "get", Some(key)))?;
    let number = match &value {
        None => Some(0),
        Some(value) => str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
    };
    let refused = || call::failure(&TableError::NotANumber.into(), "increment", Some(key));
    number.ok_or_else(refused)
}

impl Summary {
    /// Whether the value grew by what the answers say.
    fn check(&self, initial: i64, last: i64) -> Result<(), Failure> {
        let grown = i128::from(last) - i128::from(initial);
        let least = i128::from(self.acknowledged);
        let most = least + i128::from(self.unknown);
        let sound = (least..=most).contains(&grown);
        if sound && self.distinct_replies == self.acknowledged {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Service,
            miette!(
                help = "did somebody else change the key meanwhile? If not, calls were lost or \
                        ran twice",
                "the value went from {initial} to {last}, which should be {least} to {most} more; \
                 {} of {} replies differ",
                self.distinct_replies,
                self.acknowledged,
            ),
        ))
    }
}

/// One connection and the calls it is to make.
struct Client {
    dial: Dial,
    table: TableClient,
    key: String,
    timeout: Duration,
    calls: u64,
}

/// What became of one call.
enum Outcome {
    Acknowledged(i64),
    Unknown,
    NotRun,
}

impl Client {
    async fn run(mut self) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        for _ in 0..self.calls {
            match self.increment().await? {
                Outcome::Acknowledged(sum) => tally.replies.push(sum),
                Outcome::Unknown => tally.unknown += 1,
                // Nobody took it for a whole timeout: the others would fare no better.
                Outcome::NotRun => break,
            }
        }
        Ok(tally)
    }

    /// One increment. What did not run is tried again until the time is over, on a new connection
    /// if need be; what may have run never is.
    async fn increment(&mut self) -> Result<Outcome, Failure> {
        let cx = Context::within(self.timeout);
        loop {
            let error = match self.table.increment(&cx, self.key.clone(), 1).await {
                Ok(sum) => return Ok(Outcome::Acknowledged(sum)),
                Err(error) => error,
            };
            match (&error, error.executed()) {
                (CallError::App(_) | CallError::Denied(_), _) => {
                    return Err(call::failure(&error, "increment", Some(&self.key)));
                }
                (CallError::Overloaded { retry_after }, _) => {
                    time::sleep(cx.remaining().min(*retry_after)).await;
                }
                (CallError::NotSent(_) | CallError::Unavailable(_), _) => {
                    time::sleep(cx.remaining().min(PAUSE)).await;
                    if let Ok(table) = self.dial.connect(&cx).await {
                        self.table = table;
                    }
                }
                (_, Executed::No) => return Ok(Outcome::NotRun),
                (_, Executed::Yes | Executed::Unknown) => return Ok(Outcome::Unknown),
            }
            if cx.remaining().is_zero() {
                return Ok(Outcome::NotRun);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(acknowledged: u64, unknown: u64, distinct_replies: u64) -> Summary {
        let calls = acknowledged + unknown;
        Summary { calls, acknowledged, unknown, distinct_replies, final_value: None, seconds: 0.0 }
    }

    #[test]
    fn every_call_has_a_client_and_none_is_made_twice() {
        for (calls, clients) in [(1, 1), (10, 3), (3, 10), (64, 64), (1000, 7)] {
            let shares: Vec<_> = shares(calls, clients).collect();
            assert_eq!(shares.iter().sum::<u64>(), calls);
            assert_eq!(shares.len() as u64, calls.min(clients));
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn the_growth_lies_between_what_ran_and_what_may_have_run() {
        let ok = |summary: Summary, last| summary.check(100, last).is_ok();
        assert!(ok(summary(10, 0, 10), 110));
        assert!(!ok(summary(10, 0, 10), 109), "a lost increment");
        assert!(!ok(summary(10, 0, 10), 111), "one that ran twice");
        assert!(ok(summary(10, 2, 10), 110));
        assert!(ok(summary(10, 2, 10), 112));
        assert!(!ok(summary(10, 2, 10), 113));
        assert!(!ok(summary(10, 0, 9), 110), "two callers had the same answer");
    }

    #[test]
    fn the_summary_is_the_line_that_scripts_read() {
        let mut summary = summary(9, 1, 9);
        summary.final_value = Some(-3);
        summary.seconds = 0.5;
        let line = serde_json::to_string(&summary).unwrap();
        let expected = r#"{"calls":10,"acknowledged":9,"unknown":1,"distinct_replies":9,"final_value":-3,"seconds":0.5}"#;
        assert_eq!(line, expected);
    }
}
