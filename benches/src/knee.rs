//! The knee: ever more calls are offered, and from some load on latency rises where throughput does not.
//!
//! Each system is first measured at its peak, in a closed loop with 256 calls outstanding. Then calls
//! are offered at shares of it in an open loop (`load/open.rs`) on one connection.

use serde::Serialize;

use crate::{
    compare::{CompareError, Extent, Hosted, client, load_once},
    load::open::Served,
    machine::Machine,
    report::{show, table},
    stats::Spread,
    system::System,
    workload::Workload,
};

/// Ours, the floor that fares better under load, and the peers with mutual TLS.
pub(crate) const SYSTEMS: [System; 4] =
    [System::FloorAfterYield, System::Bailiwick, System::TarpcTls, System::TonicTls];

/// Offered loads, in shares of the peak.
pub(crate) const SHARES: [f64; 11] = [0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5];

/// One offered load of one system.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Point {
    /// Which system.
    pub(crate) system: System,
    /// Which repetition, from 0.
    pub(crate) repetition: u32,
    /// Calls a second in a closed loop, in this repetition.
    pub(crate) peak_per_second: f64,
    /// The share of the peak that was offered.
    pub(crate) share: f64,
    /// What became of it.
    #[serde(flatten)]
    pub(crate) served: Served,
}

/// Everything one run measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Knee {
    /// Where.
    pub(crate) machine: Machine,
    /// How much.
    pub(crate) extent: Extent,
    /// Every offered load, in the order in which they were run.
    pub(crate) points: Vec<Point>,
}

/// Measures every system; says on stderr how far it is.
///
/// # Errors
///
/// Whatever failed first.
pub(crate) fn run(extent: Extent) -> Result<Knee, CompareError> {
    let mut points = Vec::new();
    for repetition in 0..extent.repetitions {
        eprintln!("repetition {} of {}", repetition + 1, extent.repetitions);
        let mut order = SYSTEMS;
        order.rotate_left(repetition as usize % SYSTEMS.len());
        let mut hosts = Vec::new();
        for system in order {
            let hosted = Hosted::start(system, &[Workload::Outstanding256])?;
            let peak = peak(&hosted, extent)?;
            hosts.push((hosted, peak));
        }
        for share in SHARES {
            for (hosted, peak_per_second) in &hosts {
                let (system, peak_per_second) = (hosted.system, *peak_per_second);
                let served = offer(hosted, share * peak_per_second, extent)?;
                points.push(Point { system, repetition, peak_per_second, share, served });
            }
        }
        for (hosted, _) in hosts {
            hosted.server.stop()?;
        }
    }
    Ok(Knee { machine: Machine::here(), extent, points })
}

/// The best of a few windows: a disturbance makes a window slower, never faster.
fn peak(hosted: &Hosted, extent: Extent) -> Result<f64, CompareError> {
    const WINDOWS: usize = 3;
    let Hosted { system, server, site } = hosted;
    let mut peak: f64 = 0.0;
    for _ in 0..WINDOWS {
        let sample = load_once(*system, site.path(), server, Workload::Outstanding256, extent)?;
        peak = peak.max(sample.calls_per_second());
    }
    Ok(peak)
}

fn offer(hosted: &Hosted, per_second: f64, extent: Extent) -> Result<Served, CompareError> {
    let Hosted { system, server, site } = hosted;
    let more = [("--per-second", per_second.to_string())];
    client("offer", *system, (site.path(), server), extent, &more)
}

impl Knee {
    /// `measure` of each repetition of one offered load, summed up.
    pub(crate) fn spread(
        &self,
        system: System,
        share: f64,
        measure: fn(&Point) -> f64,
    ) -> Option<Spread> {
        let of = |point: &&Point| point.system == system && point.share == share;
        Spread::of(self.points.iter().filter(of).map(measure))
    }
}

/// The table of a run.
pub(crate) fn text(knee: &Knee) -> String {
    let rows = SYSTEMS.into_iter().flat_map(|system| {
        SHARES.map(|share| {
            let each = |measure: fn(&Point) -> f64| knee.spread(system, share, measure);
            vec![
                system.name().to_owned(),
                share.to_string(),
                show(each(|point| point.served.offered_per_second), 1e3, 0),
                show(each(|point| point.served.achieved_per_second), 1e3, 0),
                show(each(|point| point.served.latency.p50), 1.0, 0),
                show(each(|point| point.served.latency.p99), 1.0, 0),
            ]
        })
    });
    let head = ["system", "× peak", "offered, 1,000/s", "achieved, 1,000/s", "p50 µs", "p99 µs"];
    format!(
        "{}; {} repetitions of {} s, median (least–most); latency counts from when a call was due\n\n{}{}",
        knee.machine.describe(),
        knee.extent.repetitions,
        knee.extent.window_seconds,
        knee.machine.warning(),
        table(&head, rows),
    )
}
