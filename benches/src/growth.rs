//! How calls a second follow from what grows: connections, calls outstanding, bytes, rows, services.

pub(crate) mod crowded;

use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use thiserror::Error;

use crate::{
    compare::{CompareError, Extent, client},
    load::Sample,
    machine::Machine,
    policy::{self, PolicyBenchError},
    process::{ProcessError, Server},
    report::{show, table},
    stats::Spread,
    system::System,
};

/// What grows while all else stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Axis {
    /// Connections, one call outstanding on each.
    Connections,
    /// Calls outstanding on one connection.
    Outstanding,
    /// Bytes of a call and of its answer, 8 outstanding.
    Payload,
    /// Rows of the policy, 64 outstanding, each about another object.
    Rows,
    /// Services on the port, 64 outstanding calls of one of them.
    Services,
}

/// How a server is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Connections open at the same time.
    pub(crate) connections: u32,
    /// Calls in flight on each of them.
    pub(crate) outstanding: u32,
    /// Bytes of each call and of its answer.
    pub(crate) payload: usize,
}

/// One window.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Point {
    /// What grew.
    pub(crate) axis: Axis,
    /// How far.
    pub(crate) at: u32,
    /// Which repetition, from 0.
    pub(crate) repetition: u32,
    /// What was seen.
    #[serde(flatten)]
    pub(crate) grown: Grown,
}

/// What one client saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Grown {
    /// What was in RAM of the server, in bytes, when the callers had ended and their connections were
    /// still open.
    pub(crate) server_bytes: u64,
    /// Its window.
    pub(crate) sample: Sample,
}

/// Everything one run measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Growth {
    /// Where.
    pub(crate) machine: Machine,
    /// How much.
    pub(crate) extent: Extent,
    /// Every window, in the order in which they were run.
    pub(crate) points: Vec<Point>,
}

/// Why a run stopped.
#[derive(Debug, Error)]
pub(crate) enum GrowthError {
    /// A process failed; its own message is on stderr.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A process could not be looked at.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The policy of so many rows could not be made.
    #[error(transparent)]
    Policy(#[from] PolicyBenchError),
    /// The folder could not be made or written.
    #[error("no folder for a server")]
    Site(#[from] std::io::Error),
}

impl Axis {
    /// How far it grows.
    pub(crate) fn steps(self) -> &'static [u32] {
        match self {
            Self::Connections => &[1, 10, 100, 1_000, 10_000],
            Self::Outstanding => &[1, 4, 16, 64, 256, 1_024],
            Self::Payload => &[16, 256, 4_096, 65_536, 1 << 20],
            Self::Rows => &[10, 1_000, 100_000, 1_000_000],
            Self::Services => &[1, 8, 32],
        }
    }

    /// As it is written below a picture.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections, one call outstanding on each",
            Self::Outstanding => "calls outstanding on one connection",
            Self::Payload => "bytes of a call and of its answer, 8 outstanding",
            Self::Rows => "rows of the policy, 64 outstanding",
            Self::Services => "services on the port, 64 outstanding",
        }
    }

    fn shape(self, at: u32) -> Shape {
        let shape = Shape { connections: 1, outstanding: 64, payload: crate::peer::PAYLOAD };
        match self {
            Self::Connections => Shape { connections: at, outstanding: 1, ..shape },
            Self::Outstanding => Shape { outstanding: at, ..shape },
            Self::Payload => Shape { outstanding: 8, payload: at as usize, ..shape },
            Self::Rows | Self::Services => shape,
        }
    }

    fn system(self) -> System {
        match self {
            Self::Rows => System::BailiwickDocuments,
            Self::Services => System::BailiwickCrowded,
            _ => System::Bailiwick,
        }
    }

    fn prepare(self, site: &Path, at: u32) -> Result<(), GrowthError> {
        match self {
            Self::Rows => policy::prepare_calls(site, at as usize)?,
            Self::Services => crowded::prepare(site, at)?,
            _ => {}
        }
        Ok(())
    }
}

/// Measures every step of every axis, each with a server of its own; says on stderr how far it is.
///
/// # Errors
///
/// Whatever failed first.
pub(crate) fn run(extent: Extent) -> Result<Growth, GrowthError> {
    let mut points = Vec::new();
    for repetition in 0..extent.repetitions {
        eprintln!("repetition {} of {}", repetition + 1, extent.repetitions);
        for &axis in Axis::value_variants() {
            for &at in axis.steps() {
                points.push(one_point(axis, at, repetition, extent)?);
            }
        }
    }
    Ok(Growth { machine: Machine::here(), extent, points })
}

fn one_point(axis: Axis, at: u32, repetition: u32, extent: Extent) -> Result<Point, GrowthError> {
    let site = TempDir::new()?;
    axis.prepare(site.path(), at)?;
    let system = axis.system();
    let server = Server::start(system, site.path(), 0.0)?;
    let Shape { connections, outstanding, payload } = axis.shape(at);
    let more = [
        ("--server-pid", server.pid.to_string()),
        ("--connections", connections.to_string()),
        ("--outstanding", outstanding.to_string()),
        ("--payload", payload.to_string()),
    ];
    let grown = client("grow", system, (site.path(), &server), extent, &more)?;
    server.stop()?;
    Ok(Point { axis, at, repetition, grown })
}

impl Growth {
    /// `measure` of each repetition of one step, summed up.
    pub(crate) fn spread(&self, axis: Axis, at: u32, measure: fn(&Point) -> f64) -> Option<Spread> {
        let of = |point: &&Point| point.axis == axis && point.at == at;
        Spread::of(self.points.iter().filter(of).map(measure))
    }
}

/// The table of a run.
pub(crate) fn text(growth: &Growth) -> String {
    let rows = Axis::value_variants().iter().flat_map(|&axis| {
        axis.steps().iter().map(move |&at| {
            let each = |measure: fn(&Point) -> f64| growth.spread(axis, at, measure);
            vec![
                axis.name().to_owned(),
                at.to_string(),
                show(each(|point| point.grown.sample.calls_per_second()), 1e3, 1),
                show(each(|point| point.grown.sample.cpu_seconds_per_million()), 1.0, 2),
                show(each(|point| point.grown.server_bytes as f64), 1e6, 1),
            ]
        })
    });
    let head = ["what grows", "to", "1,000 calls/s", "CPU s per million, both sides", "server, MB"];
    format!(
        "{}; {} repetitions of {} s, median (least–most)\n\n{}{}",
        growth.machine.describe(),
        growth.extent.repetitions,
        growth.extent.window_seconds,
        growth.machine.warning(),
        table(&head, rows),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_grows_and_changes_nothing_but_itself() {
        for &axis in Axis::value_variants() {
            assert!(axis.steps().is_sorted(), "{axis:?}");
            let (first, last) = (axis.steps()[0], *axis.steps().last().unwrap());
            let (first, last) = (axis.shape(first), axis.shape(last));
            let changed = [
                first.connections != last.connections,
                first.outstanding != last.outstanding,
                first.payload != last.payload,
            ];
            let expected = usize::from(!matches!(axis, Axis::Rows | Axis::Services));
            assert_eq!(changed.iter().filter(|changed| **changed).count(), expected, "{axis:?}");
        }
    }
}
