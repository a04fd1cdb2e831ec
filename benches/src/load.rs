//! One window: tasks call a server, and what they did within the window counts.

pub(crate) mod arrivals;
pub(crate) mod closed;
pub(crate) mod handshakes;
pub(crate) mod open;

use std::{
    future::Future,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{task::JoinSet, time};

use crate::{
    peer::{Caller, PeerError},
    process::{ProcessError, cpu_time},
    stats::percentile,
};

/// How long to call, and whose processor time to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Time before the window whose calls do not count.
    pub(crate) warm_up: Duration,
    /// Time during which calls count.
    pub(crate) window: Duration,
    /// The server's process, whose processor time is read with our own.
    pub(crate) server: u32,
}

/// What one window showed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Calls answered within the window.
    pub(crate) calls: u64,
    /// Calls answered since the first connection opened, warm-up included.
    pub(crate) calls_in_all: u64,
    /// The window as it really was, in seconds.
    pub(crate) seconds: f64,
    /// Processor seconds of the client within the window.
    pub(crate) client_cpu_seconds: f64,
    /// Processor seconds of the server within the window.
    pub(crate) server_cpu_seconds: f64,
    /// Latencies, where one call at a time was made.
    pub(crate) latency: Option<Latency>,
}

/// Latency percentiles, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// The median call.
    pub(crate) p50: f64,
    /// One call in a hundred took longer.
    pub(crate) p99: f64,
}

impl Latency {
    /// The percentiles of calls that took so many nanoseconds; `None` if there are none.
    pub(crate) fn of(mut nanoseconds: Vec<u64>) -> Option<Self> {
        nanoseconds.sort_unstable();
        let at = |percent| Some(percentile(&nanoseconds, percent)? as f64 / 1e3);
        Some(Self { p50: at(50)?, p99: at(99)? })
    }
}

impl Sample {
    /// Throughput, in calls a second.
    pub(crate) fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.seconds
    }

    /// Processor seconds a million calls cost on both sides together.
    pub(crate) fn cpu_seconds_per_million(&self) -> f64 {
        (self.client_cpu_seconds + self.server_cpu_seconds) / (self.calls as f64 / 1e6)
    }
}

/// Why a load run has no result.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// A call failed; echoes on loopback have no reason to.
    #[error("a call failed")]
    Call(#[from] PeerError),
    /// A caller got another caller's reply, so the figures would mean nothing.
    #[error("a reply does not hold what its call sent")]
    WrongReply,
    /// No call was answered within the window: lengthen it.
    #[error("no call was answered within the window")]
    NoCalls,
    /// A caller's task panicked.
    #[error("a caller's task failed")]
    Task(#[from] tokio::task::JoinError),
    /// The processor time of a process could not be read.
    #[error("no processor time")]
    Process(#[from] ProcessError),
}

/// How a caller's task ends: with the nanoseconds of each call of the window, if it recorded them.
pub(crate) type Ended = Result<Option<Vec<u64>>, LoadError>;

/// What the callers have done, and whether to go on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    calls: AtomicU64,
    counts: AtomicBool,
    stop: AtomicBool,
}

impl Progress {
    /// One more call was answered.
    pub(crate) fn count(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the window is open.
    pub(crate) fn counts(&self) -> bool {
        self.counts.load(Ordering::Relaxed)
    }

    /// Whether callers are to end.
    pub(crate) fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Lets `callers` call as `plan` says, and ends them.
///
/// # Errors
///
/// The first failed or wrong reply ends the run with that error.
pub(crate) async fn run(
    mut callers: JoinSet<Ended>,
    progress: Arc<Progress>,
    plan: Plan,
) -> Result<Sample, LoadError> {
    let conducted = unless_a_caller_fails(&mut callers, conduct(&progress, plan)).await;
    progress.stop.store(true, Ordering::Relaxed);
    let mut sample = conducted??;
    while let Some(ended) = callers.join_next().await {
        if let Some(latencies) = ended?? {
            sample.latency = Some(Latency::of(latencies).ok_or(LoadError::NoCalls)?);
        }
    }
    sample.calls_in_all = progress.calls.load(Ordering::Relaxed);
    Ok(sample)
}

/// Runs `conducted` to its end, or to the first error of a caller.
async fn unless_a_caller_fails<T>(
    callers: &mut JoinSet<Ended>,
    conducted: impl Future<Output = T>,
) -> Result<T, LoadError> {
    tokio::select! {
        Some(ended) = callers.join_next() => Err(ended?.err().unwrap_or(LoadError::NoCalls)),
        done = conducted => Ok(done),
    }
}

async fn conduct(progress: &Progress, plan: Plan) -> Result<Sample, LoadError> {
    time::sleep(plan.warm_up).await;
    let before = Reading::take(progress, plan.server)?;
    progress.counts.store(true, Ordering::Relaxed);
    time::sleep(plan.window).await;
    progress.counts.store(false, Ordering::Relaxed);
    let after = Reading::take(progress, plan.server)?;
    let calls = after.calls - before.calls;
    if calls == 0 {
        return Err(LoadError::NoCalls);
    }
    Ok(Sample {
        calls,
        calls_in_all: after.calls,
        seconds: (after.at - before.at).as_secs_f64(),
        client_cpu_seconds: after.client_cpu.saturating_sub(before.client_cpu).as_secs_f64(),
        server_cpu_seconds: after.server_cpu.saturating_sub(before.server_cpu).as_secs_f64(),
        latency: None,
    })
}

struct Reading {
    at: Instant,
    calls: u64,
    client_cpu: Duration,
    server_cpu: Duration,
}

impl Reading {
    fn take(progress: &Progress, server: u32) -> Result<Self, ProcessError> {
        Ok(Self {
            at: Instant::now(),
            calls: progress.calls.load(Ordering::Relaxed),
            client_cpu: cpu_time(process::id())?,
            server_cpu: cpu_time(server)?,
        })
    }
}

/// One call whose reply is compared with what was sent.
pub(crate) async fn echo_once<C: Caller>(caller: &C, payload: &Bytes) -> Result<(), LoadError> {
    let reply = caller.echo(payload).await?;
    if reply == *payload { Ok(()) } else { Err(LoadError::WrongReply) }
}

/// Each caller sends bytes of its own, so that a reply to the wrong caller is noticed.
pub(crate) fn payload(caller: u32, bytes: usize) -> Bytes {
    let number = caller.to_le_bytes();
    Bytes::from_iter(number.into_iter().cycle().take(bytes))
}

/// Nanoseconds since `start`, for a record of latencies.
pub(crate) fn nanoseconds_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
