//! An open load: calls are made at times drawn beforehand, as of many callers who know nothing of each
//! other, and none waits for another's answer. So a server that is slow is not asked less.

use std::{
    io,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bailiwick::{CallError, ConnectError, Context};
use clap::Args;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use thiserror::Error;
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

use super::{
    DEADLINE, Sample,
    quarry::{self, Cutting, CuttingClient, PLACES},
};
use crate::{
    process::{self, ProcessError},
    stats,
};

/// Before each window, at the same rate: longer than a queue takes to become a standing one.
const WARM_UP: Duration = Duration::from_millis(500);

/// Calls that are always under way to find the peak: each place has the next one waiting.
const CLOSED: usize = 2 * PLACES;

/// What one process of load is to do.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Task {
    #[arg(long)]
    pub(crate) address: SocketAddr,
    #[arg(long)]
    pub(crate) server: u32,
    /// Calls a second; 0 for as many as are answered.
    #[arg(long)]
    pub(crate) rate: f64,
    #[arg(long, value_parser = crate::compare::seconds)]
    pub(crate) window: Duration,
}

/// Why there is no sample.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// A process could not be started or measured.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The runtime did not start.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server did not let it in.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A call ended as none of these should.
    #[error("a call failed: {0}")]
    Call(CallError),
    /// The process of load printed something else than a sample.
    #[error("the load's sample cannot be read")]
    Sample(#[from] serde_json::Error),
}

/// Runs a process of load to its end.
pub(super) fn spawn(task: &Task) -> Result<Sample, LoadError> {
    let what = || "the load of the sweep".to_owned();
    let output = Command::new(process::this_binary()?)
        .args(["overload-load", "--address", &task.address.to_string()])
        .args(["--server", &task.server.to_string(), "--rate", &task.rate.to_string()])
        .args(["--window", &task.window.as_secs_f64().to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|source| ProcessError::Child { what: what(), source })?;
    if !output.status.success() {
        return Err(ProcessError::Ended { what: what() }.into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The hidden command.
///
/// # Errors
///
/// [`LoadError`].
pub(crate) fn play(task: &Task) -> Result<Sample, LoadError> {
    process::pin(process::CLIENT_CPU)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let task = *task;
    let sample = runtime.block_on(async move {
        let clients = quarry::connect(task.address).await?;
        let ended = Arc::new(Mutex::new(Ended::default()));
        let from = Instant::now() + WARM_UP;
        let until = from + task.window;
        let calls = Calls { ended: Arc::clone(&ended), from, until };
        let work = if task.rate > 0.0 {
            tokio::spawn(calls.open(clients, task.rate))
        } else {
            tokio::spawn(calls.closed(clients))
        };
        time::sleep_until(until).await;
        let resident = process::resident_bytes(task.server)?;
        if work.await.is_err() {
            return Err(ProcessError::Ended { what: "the load of the sweep".to_owned() }.into());
        }
        let mut ended = std::mem::take(&mut *ended.lock().unwrap_or_else(PoisonError::into_inner));
        ended.sample(task.window, resident)
    })?;
    Ok(sample)
}

/// How the calls of a window ended.
#[derive(Debug, Default)]
struct Ended {
    made: u32,
    good: Vec<Duration>,
    refused: u32,
    late: u32,
    lags: Vec<Duration>,
    failed: Option<CallError>,
}

#[derive(Clone)]
struct Calls {
    ended: Arc<Mutex<Ended>>,
    from: Instant,
    until: Instant,
}

impl Calls {
    async fn open(self, clients: Vec<CuttingClient>, rate: f64) {
        let mut rng = StdRng::seed_from_u64(7);
        let mut clients = clients.into_iter().cycle();
        let (mut due, mut calls) = (Instant::now(), JoinSet::new());
        while due < self.until {
            // The timer counts in milliseconds: those that are due meanwhile go together.
            if Instant::now() < due {
                time::sleep_until(due).await;
            }
            if let Some(client) = clients.next() {
                calls.spawn(self.clone().call(client, due));
            }
            due += Duration::from_secs_f64(-(1.0 - rng.random::<f64>()).ln() / rate);
            while calls.try_join_next().is_some() {}
        }
        while calls.join_next().await.is_some() {}
    }

    async fn closed(self, clients: Vec<CuttingClient>) {
        let mut calls = JoinSet::new();
        for client in clients.into_iter().cycle().take(CLOSED) {
            let own = self.clone();
            calls.spawn(async move {
                while Instant::now() < own.until {
                    own.clone().call(client.clone(), Instant::now()).await;
                }
            });
        }
        while calls.join_next().await.is_some() {}
    }

    async fn call(self, client: CuttingClient, due: Instant) {
        let lag = due.elapsed();
        let left = DEADLINE.saturating_sub(lag);
        let answer = client.cut(&Context::within(left)).await;
        let took = due.elapsed();
        if !(self.from..self.until).contains(&due) {
            return;
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.made += 1;
        ended.lags.push(lag);
        match answer {
            Ok(()) if took <= DEADLINE => ended.good.push(took),
            Ok(()) | Err(CallError::DeadlineExceeded { .. }) => ended.late += 1,
            Err(CallError::Overloaded { .. }) => ended.refused += 1,
            Err(other) => ended.failed = Some(other),
        }
    }
}

impl Ended {
    fn sample(&mut self, window: Duration, resident_bytes: u64) -> Result<Sample, LoadError> {
        if let Some(failed) = self.failed.take() {
            return Err(LoadError::Call(failed));
        }
        Ok(Sample {
            seconds: window.as_secs_f64(),
            made: self.made,
            good: u32::try_from(self.good.len()).unwrap_or(u32::MAX),
            refused: self.refused,
            late: self.late,
            p50_ms: percentile(&mut self.good, 50),
            p99_ms: percentile(&mut self.good, 99),
            lag_p99_ms: percentile(&mut self.lags, 99),
            resident_bytes,
        })
    }
}

/// In milliseconds; 0 of nothing.
fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    stats::percentile(times, percent).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_of_the_sorted_times() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert!((percentile(&mut times, 99) - 99.0).abs() < 1e-9);
        assert!(percentile(&mut [], 99).abs() < 1e-9);
    }
}
