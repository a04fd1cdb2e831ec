//! Runs every system on every workload in turn, again and again, and keeps what each run showed.
//!
//! Systems alternate within a repetition, and each repetition starts with another one, so that a
//! machine that slows down for a while slows all of them.

mod goals;
mod hosted;
mod report;

use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

pub(crate) use self::{
    goals::judge,
    hosted::{Hosted, client, load_once},
    report::{Document, summary, text},
};
use crate::{
    idle, load::Sample, machine::Machine, peer::System, process::ProcessError, stats::Spread,
    workload::Workload,
};

/// How much to measure.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Extent {
    /// Interleaved repetitions of every workload.
    pub(crate) repetitions: u32,
    /// Repetitions of the idle-connection measurement.
    pub(crate) idle_repetitions: u32,
    /// Connections that idle in each of them.
    pub(crate) idle_connections: u32,
    /// Seconds before each window whose calls do not count.
    pub(crate) warm_up_seconds: f64,
    /// Seconds of each window.
    pub(crate) window_seconds: f64,
}

impl Extent {
    /// For `compare`: under two minutes.
    pub(crate) const COMPARE_QUICK: Self = Self {
        repetitions: 3,
        idle_repetitions: 1,
        idle_connections: 300,
        warm_up_seconds: 0.05,
        window_seconds: 0.055,
    };

    /// For `compare`: about fifteen minutes.
    pub(crate) const COMPARE: Self = Self {
        repetitions: 7,
        idle_repetitions: 3,
        idle_connections: 1_000,
        warm_up_seconds: 0.2,
        window_seconds: 0.75,
    };

    /// For `knee`: a quarter of a minute.
    pub(crate) const KNEE_QUICK: Self =
        Self { repetitions: 1, warm_up_seconds: 0.05, window_seconds: 0.2, ..Self::QUICK };

    /// For `knee`: about five minutes.
    pub(crate) const KNEE: Self =
        Self { repetitions: 5, warm_up_seconds: 0.2, window_seconds: 0.75, ..Self::FULL };

    /// For commands of fewer rows.
    pub(crate) const QUICK: Self = Self {
        repetitions: 5,
        idle_repetitions: 1,
        idle_connections: 1_000,
        warm_up_seconds: 0.15,
        window_seconds: 0.4,
    };

    /// As [`QUICK`](Self::QUICK), when there is time.
    pub(crate) const FULL: Self = Self {
        repetitions: 9,
        idle_repetitions: 5,
        idle_connections: 1_000,
        warm_up_seconds: 0.5,
        window_seconds: 2.0,
    };
}

/// One window of one system.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Record {
    /// Which system.
    pub(crate) system: System,
    /// Which workload.
    pub(crate) workload: Workload,
    /// Which repetition, from 0.
    pub(crate) repetition: u32,
    /// What was seen.
    pub(crate) sample: Sample,
}

/// Server memory for one idle connection of one system.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct IdleRecord {
    /// Which system.
    pub(crate) system: System,
    /// Growth of the server's resident memory by connection, in bytes.
    pub(crate) bytes_per_connection: f64,
}

/// Everything one run measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Comparison {
    /// Where.
    pub(crate) machine: Machine,
    /// How much.
    pub(crate) extent: Extent,
    /// Every window, in the order in which they were run.
    pub(crate) records: Vec<Record>,
    /// Every idle measurement.
    pub(crate) idle: Vec<IdleRecord>,
}

/// Why a comparison stopped.
#[derive(Debug, Error)]
pub(crate) enum CompareError {
    /// A process of the comparison failed; its own message is on stderr.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The folder for keys and audit files could not be made.
    #[error("no temporary folder")]
    Site(#[source] std::io::Error),
    /// A child printed something else than its result.
    #[error("the result of a child cannot be read")]
    Result(#[from] serde_json::Error),
}

/// Measures every system; says on stderr how far it is.
///
/// # Errors
///
/// Whatever failed first: figures with a hole in them would be worse than none.
pub(crate) fn run(extent: Extent) -> Result<Comparison, CompareError> {
    let mut comparison =
        Comparison { machine: Machine::here(), extent, records: Vec::new(), idle: Vec::new() };
    for repetition in 0..extent.repetitions {
        eprintln!("repetition {} of {}", repetition + 1, extent.repetitions);
        comparison.records.extend(one_repetition(extent, repetition)?);
    }
    for repetition in 0..extent.idle_repetitions {
        eprintln!("idle connections, {} of {}", repetition + 1, extent.idle_repetitions);
        for system in System::ALL.into_iter().filter(|system| system.has_connections()) {
            let bytes_per_connection = idle::measure(system, extent.idle_connections)?;
            comparison.idle.push(IdleRecord { system, bytes_per_connection });
        }
    }
    Ok(comparison)
}

impl Comparison {
    /// `measure` of each window of `system` on `workload`, in order of repetition.
    pub(crate) fn each(
        &self,
        system: System,
        workload: Workload,
        measure: impl Fn(&Sample) -> f64,
    ) -> Vec<f64> {
        self.records
            .iter()
            .filter(|record| record.system == system && record.workload == workload)
            .map(|record| measure(&record.sample))
            .collect()
    }

    /// As [`each`](Self::each), summed up.
    pub(crate) fn spread(
        &self,
        system: System,
        workload: Workload,
        measure: impl Fn(&Sample) -> f64,
    ) -> Option<Spread> {
        Spread::of(self.each(system, workload, measure))
    }

    /// `measure` of one system as a multiple of another's, repetition by repetition.
    ///
    /// The two ran within seconds of each other, so what disturbs the machine cancels out.
    pub(crate) fn ratio(
        &self,
        system: System,
        base: System,
        workload: Workload,
        measure: impl Fn(&Sample) -> f64,
    ) -> Option<Spread> {
        let of = self.each(system, workload, &measure);
        let to = self.each(base, workload, &measure);
        Spread::of(of.into_iter().zip(to).map(|(of, to)| of / to))
    }

    /// Calls a second of one system as a multiple of another's, as [`ratio`](Self::ratio).
    pub(crate) fn rate_ratio(
        &self,
        system: System,
        base: System,
        workload: Workload,
    ) -> Option<Spread> {
        self.ratio(system, base, workload, Sample::calls_per_second)
    }

    /// Calls a second of `system` with loss as a multiple of those without, as [`ratio`].
    ///
    /// [`ratio`]: Self::ratio
    pub(crate) fn under_loss(&self, system: System) -> Option<Spread> {
        let of = self.each(system, Workload::Lossy64, Sample::calls_per_second);
        let to = self.each(system, Workload::Outstanding64, Sample::calls_per_second);
        Spread::of(of.into_iter().zip(to).map(|(of, to)| of / to))
    }

    /// Which of two has the shorter lone call, or more calls a second.
    pub(crate) fn faster(&self, systems: [System; 2], workload: Workload) -> System {
        let [first, second] = systems.map(|system| {
            if workload.is_lone() {
                self.spread(system, workload, lone_p50).map(|p50| -p50.median)
            } else {
                self.spread(system, workload, Sample::calls_per_second).map(|rate| rate.median)
            }
        });
        systems[usize::from(second > first)]
    }

    /// Server memory for an idle connection of `system`, in bytes.
    pub(crate) fn idle_bytes(&self, system: System) -> Option<Spread> {
        let of_system = self.idle.iter().filter(|record| record.system == system);
        Spread::of(of_system.map(|record| record.bytes_per_connection))
    }
}

/// The median lone call, in microseconds; not a number if the window had more callers.
pub(crate) fn lone_p50(sample: &Sample) -> f64 {
    sample.latency.map_or(f64::NAN, |latency| latency.p50)
}

/// The slowest lone call in a hundred, in microseconds; else as [`lone_p50`].
pub(crate) fn lone_p99(sample: &Sample) -> f64 {
    sample.latency.map_or(f64::NAN, |latency| latency.p99)
}

/// Seconds from the command line, refusing what is no duration.
///
/// # Errors
///
/// A message for the command line.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

fn one_repetition(extent: Extent, repetition: u32) -> Result<Vec<Record>, CompareError> {
    let mut order = System::ALL;
    order.rotate_left(repetition as usize % System::ALL.len());
    let mut records = Vec::new();
    // Servers that lose datagrams are servers of their own: one cannot be told to lose them no more.
    for workloads in [&Workload::WITHOUT_LOSS[..], &Workload::WITH_LOSS] {
        let mut servers = Vec::new();
        for system in order {
            if workloads.iter().any(|workload| system.has(*workload)) {
                servers.push(Hosted::start(system, workloads)?);
            }
        }
        for &workload in workloads {
            for Hosted { system, server, site } in &servers {
                if system.has(workload) {
                    let sample = load_once(*system, site.path(), server, workload, extent)?;
                    records.push(Record { system: *system, workload, repetition, sample });
                }
            }
        }
        for hosted in servers {
            hosted.server.stop()?;
        }
    }
    Ok(records)
}
