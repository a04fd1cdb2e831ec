//! A closed loop: a fixed number of callers, each sending its next call when the last is answered.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Ended, Progress, echo_once, nanoseconds_since, payload};
use crate::{growth::Shape, peer::Caller, workload::Workload};

/// The callers of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    /// The number of the first; its bytes are made of its number.
    pub(crate) first: u32,
    /// How many there are, each with one call in flight.
    pub(crate) outstanding: u32,
    /// Bytes of each call.
    pub(crate) payload: usize,
    /// Whether latencies are recorded: that of a lone caller is what counts.
    pub(crate) timed: bool,
    /// Where they count.
    pub(crate) progress: Arc<Progress>,
}

impl Callers {
    /// Those of the connection with this number, from 0.
    pub(crate) fn of(workload: Workload, connection: u32, progress: &Arc<Progress>) -> Self {
        let (outstanding, payload) = (workload.outstanding(), workload.payload());
        let shape = Shape { connections: workload.connections(), outstanding, payload };
        Self { timed: workload.is_lone(), ..Self::shaped(shape, connection, progress) }
    }

    /// The same of a shape that is no row of the comparison.
    pub(crate) fn shaped(shape: Shape, connection: u32, progress: &Arc<Progress>) -> Self {
        Self {
            first: connection * shape.outstanding,
            outstanding: shape.outstanding,
            payload: shape.payload,
            timed: false,
            progress: Arc::clone(progress),
        }
    }
}

/// Adds a task for each of `callers`, all through `connection`.
pub(crate) fn spawn<C: Caller>(connection: &C, callers: &Callers, tasks: &mut JoinSet<Ended>) {
    for number in callers.first..callers.first + callers.outstanding {
        let (connection, payload) = (connection.clone(), payload(number, callers.payload));
        let progress = Arc::clone(&callers.progress);
        if callers.timed {
            tasks.spawn(call_timed(connection, payload, progress));
        } else {
            tasks.spawn(call_untimed(connection, payload, progress));
        }
    }
}

/// The loop without a clock: at a microsecond a call, reading one would show.
async fn call_untimed<C: Caller>(caller: C, payload: Bytes, progress: Arc<Progress>) -> Ended {
    while !progress.stops() {
        echo_once(&caller, &payload).await?;
        progress.count();
    }
    Ok(None)
}

async fn call_timed<C: Caller>(caller: C, payload: Bytes, progress: Arc<Progress>) -> Ended {
    let mut nanoseconds = Vec::with_capacity(1 << 17);
    while !progress.stops() {
        let start = Instant::now();
        echo_once(&caller, &payload).await?;
        let took = nanoseconds_since(start);
        progress.count();
        if progress.counts() {
            nanoseconds.push(took);
        }
    }
    Ok(Some(nanoseconds))
}
