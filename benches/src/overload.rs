//! What comes of a server that is asked for more than it can do: a sweep of the offered load, with the
//! unprotected server as the control.
//!
//! A handler waits for one of a few places behind the server and has it for some milliseconds, as one
//! that asks a database does; the work there goes on when the caller has left. The places and not the
//! processor are what there is too little of, so that one processor each is enough for server and load,
//! the peak is known beforehand, and what a refusal costs does not hide what the queue does. The load
//! is open: calls have times at which they are made, whatever became of those before, and a latency
//! begins at that time.

mod load;
mod quarry;
mod report;

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

pub(crate) use load::{Task, play};
pub(crate) use quarry::serve;
pub(crate) use report::{judge, text};

use self::{
    load::LoadError,
    quarry::{Protection, Quarry},
    report::Goal,
};
use crate::{machine::Machine, process, stats::Spread};

/// Offered, as parts of the peak.
const SWEEP: [f64; 13] = [0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0];
const QUICK_SWEEP: [f64; 6] = [0.5, 0.9, 1.0, 2.0, 5.0, 10.0];

/// Offered once the sweep is over, to see whether the server has recovered.
const AFTERWARDS: f64 = 0.5;

/// How much of it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Extent {
    pub(crate) repetitions: u32,
    pub(crate) window_seconds: f64,
    pub(crate) quick: bool,
}

/// Which server the hidden command is to be.
#[derive(Debug, Args)]
pub(crate) struct Site {
    #[arg(long)]
    pub(crate) protection: Protection,
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    machine: Machine,
    extent: Extent,
    deadline_ms: f64,
    /// Calls a second, with always some waiting.
    peak: Spread,
    points: Vec<Point>,
}

/// All that was measured, with what is asked of it.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    pub(crate) measured: &'a Measured,
    pub(crate) goals: &'a [Goal],
}

/// One load at one server.
#[derive(Debug, Serialize)]
pub(crate) struct Point {
    protection: Protection,
    /// Of the peak.
    offered: f64,
    /// Offered after the whole sweep.
    afterwards: bool,
    /// Answered in time, a second.
    goodput: Spread,
    /// Of those answered in time, in milliseconds, from the time at which they were due.
    p50_ms: Spread,
    p99_ms: Spread,
    /// Of all, how many were refused, and how many ended at their deadline.
    refused: Spread,
    late: Spread,
    /// How far the load was behind its schedule, in milliseconds.
    lag_p99_ms: Spread,
    /// Of the server, at the end of the window.
    resident_mib: Spread,
}

/// What the load's process tells of one window.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    seconds: f64,
    made: u32,
    good: u32,
    refused: u32,
    late: u32,
    p50_ms: f64,
    p99_ms: f64,
    lag_p99_ms: f64,
    resident_bytes: u64,
}

/// A call's deadline: what waits behind a full queue does not meet it.
const DEADLINE: Duration = Duration::from_millis(100);

/// Runs the sweep against servers of both kinds.
///
/// # Errors
///
/// [`LoadError`]: a process could not be started, or failed.
pub(crate) fn run(extent: Extent) -> Result<Measured, LoadError> {
    process::pin(process::CLIENT_CPU)?;
    let sweep: &[f64] = if extent.quick { &QUICK_SWEEP } else { &SWEEP };
    let mut peaks = Vec::new();
    let mut samples = Samples::default();
    for _ in 0..extent.repetitions {
        let server = Quarry::start(Protection::On)?;
        let peak = measure(&server, 0.0, extent)?;
        let peak = f64::from(peak.good) / peak.seconds;
        peaks.push(peak);
        server.stop()?;
        for protection in [Protection::On, Protection::Off] {
            let server = Quarry::start(protection)?;
            for &offered in sweep {
                let sample = measure(&server, offered * peak, extent)?;
                samples.add(protection, offered, false, sample);
            }
            let sample = measure(&server, AFTERWARDS * peak, extent)?;
            samples.add(protection, AFTERWARDS, true, sample);
            server.stop()?;
        }
    }
    let nothing = Spread { median: 0.0, min: 0.0, max: 0.0 };
    Ok(Measured {
        machine: Machine::here(),
        extent,
        deadline_ms: DEADLINE.as_secs_f64() * 1000.0,
        peak: Spread::of(peaks).unwrap_or(nothing),
        points: samples.0.into_iter().filter_map(|of| of.point()).collect(),
    })
}

fn measure(server: &Quarry, rate: f64, extent: Extent) -> Result<Sample, LoadError> {
    let window = Duration::from_secs_f64(extent.window_seconds);
    load::spawn(&Task { address: server.address, server: server.pid, rate, window })
}

/// The samples of each point, in the order in which the points are first met.
#[derive(Default)]
struct Samples(Vec<Of>);

struct Of {
    protection: Protection,
    offered: f64,
    afterwards: bool,
    samples: Vec<Sample>,
}

impl Samples {
    fn add(&mut self, protection: Protection, offered: f64, afterwards: bool, sample: Sample) {
        let known = self.0.iter_mut().find(|of| {
            of.protection == protection
                && of.offered.total_cmp(&offered).is_eq()
                && of.afterwards == afterwards
        });
        match known {
            Some(of) => of.samples.push(sample),
            None => self.0.push(Of { protection, offered, afterwards, samples: vec![sample] }),
        }
    }
}

impl Of {
    fn point(&self) -> Option<Point> {
        let spread = |of: fn(&Sample) -> f64| Spread::of(self.samples.iter().map(of));
        let Self { protection, offered, afterwards, .. } = *self;
        Some(Point {
            protection,
            offered,
            afterwards,
            goodput: spread(|of| f64::from(of.good) / of.seconds)?,
            p50_ms: spread(|of| of.p50_ms)?,
            p99_ms: spread(|of| of.p99_ms)?,
            refused: spread(|of| f64::from(of.refused) / f64::from(of.made.max(1)))?,
            late: spread(|of| f64::from(of.late) / f64::from(of.made.max(1)))?,
            lag_p99_ms: spread(|of| of.lag_p99_ms)?,
            resident_mib: spread(|of| of.resident_bytes as f64 / f64::from(1 << 20))?,
        })
    }
}
