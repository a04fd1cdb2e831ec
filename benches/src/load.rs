//! A closed loop: a fixed number of callers, each sending its next call when the last is answered.

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
    peer::{Caller, PAYLOAD, PeerError},
    process::{ProcessError, cpu_time},
};

/// How long to call, and how many calls to keep outstanding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Callers, each with one call in flight. One caller alone has its latencies recorded.
    pub(crate) outstanding: u32,
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
    /// Calls answered since the connection opened, warm-up included.
    pub(crate) calls_in_all: u64,
    /// The window as it really was, in seconds.
    pub(crate) seconds: f64,
    /// Processor seconds of the client within the window.
    pub(crate) client_cpu_seconds: f64,
    /// Processor seconds of the server within the window.
    pub(crate) server_cpu_seconds: f64,
    /// Latencies of a lone caller.
    pub(crate) latency: Option<Latency>,
}

/// Latency percentiles, in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// The median call.
    pub(crate) p50: f64,
    /// One call in a hundred took longer.
    pub(crate) p99: f64,
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

/// Calls through `caller` as `plan` says.
///
/// # Errors
///
/// The first failed or wrong reply ends the run with that error.
pub(crate) async fn run<C: Caller>(caller: C, plan: Plan) -> Result<Sample, LoadError> {
    let progress = Arc::new(Progress::default());
    let mut callers = JoinSet::new();
    if plan.outstanding == 1 {
        callers.spawn(call_timed(caller, Arc::clone(&progress)));
    } else {
        for number in 0..plan.outstanding {
            callers.spawn(call_untimed(caller.clone(), payload(number), Arc::clone(&progress)));
        }
        drop(caller);
    }
    let conducted = unless_a_caller_fails(&mut callers, conduct(&progress, plan)).await;
    progress.stop.store(true, Ordering::Relaxed);
    let mut sample = conducted??;
    while let Some(ended) = callers.join_next().await {
        if let Some(latencies) = ended?? {
            sample.latency = Some(percentiles(latencies)?);
        }
    }
    sample.calls_in_all = progress.calls.load(Ordering::Relaxed);
    Ok(sample)
}

#[derive(Default)]
struct Progress {
    calls: AtomicU64,
    counts: AtomicBool,
    stop: AtomicBool,
}

/// Nanoseconds of each call, from a caller that recorded them.
type Recorded = Option<Vec<u64>>;

/// Runs `conducted` to its end, or to the first error of a caller.
async fn unless_a_caller_fails<T>(
    callers: &mut JoinSet<Result<Recorded, LoadError>>,
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

/// The loop without a clock: at a microsecond a call, reading one would show.
async fn call_untimed<C: Caller>(
    caller: C,
    payload: Bytes,
    progress: Arc<Progress>,
) -> Result<Recorded, LoadError> {
    while !progress.stop.load(Ordering::Relaxed) {
        echo_once(&caller, &payload).await?;
        progress.calls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(None)
}

async fn call_timed<C: Caller>(caller: C, progress: Arc<Progress>) -> Result<Recorded, LoadError> {
    let payload = payload(0);
    let mut nanoseconds = Vec::with_capacity(1 << 17);
    while !progress.stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        echo_once(&caller, &payload).await?;
        let took = start.elapsed();
        progress.calls.fetch_add(1, Ordering::Relaxed);
        if progress.counts.load(Ordering::Relaxed) {
            nanoseconds.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }
    Ok(Some(nanoseconds))
}

async fn echo_once<C: Caller>(caller: &C, payload: &Bytes) -> Result<(), LoadError> {
    let reply = caller.echo(payload).await?;
    if reply == *payload { Ok(()) } else { Err(LoadError::WrongReply) }
}

/// Each caller sends bytes of its own, so that a reply to the wrong caller is noticed.
pub(crate) fn payload(caller: u32) -> Bytes {
    let number = caller.to_le_bytes();
    Bytes::from_iter(number.into_iter().cycle().take(PAYLOAD))
}

fn percentiles(mut nanoseconds: Vec<u64>) -> Result<Latency, LoadError> {
    nanoseconds.sort_unstable();
    let at = |percent: usize| {
        let rank = (nanoseconds.len() * percent / 100).min(nanoseconds.len().saturating_sub(1));
        nanoseconds.get(rank).map(|&taken| taken as f64 / 1e3).ok_or(LoadError::NoCalls)
    };
    Ok(Latency { p50: at(50)?, p99: at(99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers after a yield; `lies_after` calls it returns something else.
    #[derive(Clone)]
    struct Local {
        lies_after: u64,
        calls: Arc<AtomicU64>,
    }

    impl Caller for Local {
        async fn echo(&self, payload: &Bytes) -> Result<Bytes, PeerError> {
            tokio::task::yield_now().await;
            if self.calls.fetch_add(1, Ordering::Relaxed) < self.lies_after {
                Ok(payload.clone())
            } else {
                Ok(Bytes::from_static(b"not what was sent"))
            }
        }
    }

    fn plan(outstanding: u32) -> Plan {
        Plan {
            outstanding,
            warm_up: Duration::from_millis(5),
            window: Duration::from_millis(20),
            server: process::id(),
        }
    }

    #[tokio::test]
    async fn only_the_window_counts() {
        let caller = Local { lies_after: u64::MAX, calls: Arc::default() };
        let calls = Arc::clone(&caller.calls);
        let sample = run(caller, plan(8)).await.unwrap();
        assert_eq!(sample.calls_in_all, calls.load(Ordering::Relaxed));
        // After the window each of the eight callers ends the call it is in; more came before.
        assert!(sample.calls_in_all - sample.calls > 8, "the warm-up was counted");
        assert!(sample.seconds >= 0.02);
        assert!(sample.latency.is_none());
    }

    #[tokio::test]
    async fn a_lone_caller_has_latencies() {
        let caller = Local { lies_after: u64::MAX, calls: Arc::default() };
        let latency = run(caller, plan(1)).await.unwrap().latency.unwrap();
        assert!(0.0 < latency.p50 && latency.p50 <= latency.p99);
    }

    #[tokio::test]
    async fn a_wrong_reply_ends_the_run() {
        for outstanding in [1, 8] {
            let caller = Local { lies_after: 20, calls: Arc::default() };
            let ended = run(caller, plan(outstanding)).await;
            assert!(matches!(ended, Err(LoadError::WrongReply)), "{outstanding} outstanding");
        }
    }

    #[test]
    fn percentiles_are_ranks() {
        let latency = percentiles((1..=200).rev().map(|n| n * 1000).collect()).unwrap();
        assert_eq!((latency.p50, latency.p99), (101.0, 199.0));
        assert!(matches!(percentiles(Vec::new()), Err(LoadError::NoCalls)));
    }
}
