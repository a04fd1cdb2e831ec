//! The window is the window, latencies are those of the lone caller, and a wrong reply ends the run.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Latency, LoadError, Plan, Progress, Sample, closed::Callers, run};
use crate::{
    peer::{Caller, PeerError},
    workload::Workload,
};

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

async fn one_window(caller: Local, workload: Workload) -> Result<Sample, LoadError> {
    let plan = Plan {
        warm_up: Duration::from_millis(5),
        window: Duration::from_millis(20),
        server: process::id(),
    };
    let progress = Arc::<Progress>::default();
    let mut tasks = JoinSet::new();
    for connection in 0..workload.connections() {
        let callers = Callers::of(workload, connection, &progress);
        caller.clone().keep_calling(callers, &mut tasks);
    }
    assert_eq!(tasks.len(), (workload.connections() * workload.outstanding()) as usize);
    run(tasks, progress, plan).await
}

#[tokio::test]
async fn only_the_window_counts() {
    let caller = Local { lies_after: u64::MAX, calls: Arc::default() };
    let calls = Arc::clone(&caller.calls);
    let sample = one_window(caller, Workload::Kib1x8).await.unwrap();
    assert_eq!(sample.calls_in_all, calls.load(Ordering::Relaxed));
    // After the window each of the eight callers ends the call it is in; more came before.
    assert!(sample.calls_in_all - sample.calls > 8, "the warm-up was counted");
    assert!(sample.seconds >= 0.02);
    assert!(sample.latency.is_none());
}

#[tokio::test]
async fn a_lone_caller_has_latencies() {
    let caller = Local { lies_after: u64::MAX, calls: Arc::default() };
    let latency = one_window(caller, Workload::Lone).await.unwrap().latency.unwrap();
    assert!(0.0 < latency.p50 && latency.p50 <= latency.p99);
}

#[tokio::test]
async fn a_wrong_reply_ends_the_run() {
    for workload in [Workload::Lone, Workload::Connections64x4] {
        let caller = Local { lies_after: 20, calls: Arc::default() };
        let ended = one_window(caller, workload).await;
        assert!(matches!(ended, Err(LoadError::WrongReply)), "{workload:?}");
    }
}

#[test]
fn latencies_are_told_in_microseconds() {
    let latency = Latency::of((1..=200).rev().map(|n| n * 1000).collect());
    assert_eq!(latency, Some(Latency { p50: 100.0, p99: 198.0 }));
    assert_eq!(Latency::of(Vec::new()), None);
}
