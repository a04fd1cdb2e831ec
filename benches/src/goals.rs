//! What our system is to reach, as ratios to its peers in the same run, and whether it did.

use serde::Serialize;

use crate::{
    compare::{Comparison, Workload, lone_p50},
    load::Sample,
    peer::System,
    stats::Spread,
};

const KIB: f64 = 1024.0;

/// One goal and what was measured for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    /// What is measured, with its unit.
    pub(crate) what: &'static str,
    /// Where it must lie.
    pub(crate) bound: Bound,
    /// What was measured; `None` if nothing was.
    pub(crate) measured: Option<Spread>,
    /// Whether the median lies there. What was not measured is not met.
    pub(crate) met: bool,
}

/// Where a measured median must lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Bound {
    fn holds(self, median: f64) -> bool {
        match self {
            Self::AtLeast(least) => median >= least,
            Self::AtMost(most) => median <= most,
        }
    }
}

/// Judges `subject` by what `comparison` measured.
pub(crate) fn judge(comparison: &Comparison, subject: System) -> Vec<Verdict> {
    let rate = |base, workload| comparison.ratio(subject, base, workload, Sample::calls_per_second);
    let to_tarpc = |workload| rate(System::Tarpc, workload);
    let to_floor = |workload| rate(comparison.faster_floor(workload), workload);
    let floor = comparison.faster_floor(Workload::Lone);
    let lone = comparison.ratio(subject, floor, Workload::Lone, lone_p50);
    let idle = comparison.idle_bytes(subject).map(|bytes| Spread {
        median: bytes.median / KIB,
        min: bytes.min / KIB,
        max: bytes.max / KIB,
    });
    vec![
        verdict("calls/s at 64, × tarpc", Bound::AtLeast(2.5), to_tarpc(Workload::Outstanding64)),
        verdict("calls/s at 256, × tarpc", Bound::AtLeast(5.0), to_tarpc(Workload::Outstanding256)),
        verdict("calls/s at 64, × floor", Bound::AtLeast(0.7), to_floor(Workload::Outstanding64)),
        verdict("calls/s at 256, × floor", Bound::AtLeast(0.7), to_floor(Workload::Outstanding256)),
        verdict("lone call p50, × floor", Bound::AtMost(1.15), lone),
        verdict("idle connection, KiB", Bound::AtMost(16.0), idle),
    ]
}

fn verdict(what: &'static str, bound: Bound, measured: Option<Spread>) -> Verdict {
    let met = measured.is_some_and(|spread| bound.holds(spread.median));
    Verdict { what, bound, measured, met }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::{Extent, IdleRecord, Record},
        load::Latency,
        machine::Machine,
    };

    /// `floor` is the rate of the floor that yields; the other one is a tenth slower.
    fn comparison(subject: f64, floor: f64, idle_kib: f64) -> Comparison {
        let rates = [
            (System::FloorAfterYield, floor),
            (System::FloorAtOnce, floor * 0.9),
            (System::Tarpc, subject),
        ];
        let records = rates.into_iter().flat_map(|(system, rate)| {
            Workload::ALL.map(|workload| Record {
                system,
                workload,
                repetition: 0,
                sample: Sample {
                    calls: 1,
                    calls_in_all: 1,
                    seconds: 1.0 / rate,
                    client_cpu_seconds: 0.0,
                    server_cpu_seconds: 0.0,
                    latency: Some(Latency { p50: 1e6 / rate, p99: 1e6 / rate }),
                },
            })
        });
        Comparison {
            machine: Machine::here(),
            extent: Extent::QUICK,
            records: records.collect(),
            idle: vec![IdleRecord { system: System::Tarpc, bytes_per_connection: idle_kib * KIB }],
        }
    }

    fn met(comparison: &Comparison, what: &str) -> bool {
        let verdicts = judge(comparison, System::Tarpc);
        verdicts.into_iter().find(|verdict| verdict.what == what).unwrap().met
    }

    #[test]
    fn the_faster_floor_is_the_one_that_counts() {
        assert!(met(&comparison(71.0, 100.0, 1.0), "calls/s at 64, × floor"));
        // 0.69 of the faster floor, 0.77 of the slower one.
        assert!(!met(&comparison(69.0, 100.0, 1.0), "calls/s at 64, × floor"));
        assert!(met(&comparison(90.0, 100.0, 1.0), "lone call p50, × floor"));
        assert!(!met(&comparison(80.0, 100.0, 1.0), "lone call p50, × floor"));
    }

    #[test]
    fn tarpc_is_the_base_of_its_own_ratios() {
        // A system is once as fast as itself, which is not enough.
        assert!(!met(&comparison(1000.0, 100.0, 1.0), "calls/s at 64, × tarpc"));
        assert!(!met(&comparison(1000.0, 100.0, 1.0), "calls/s at 256, × tarpc"));
    }

    #[test]
    fn idle_memory_is_judged_in_kib_and_not_met_without_a_figure() {
        assert!(met(&comparison(100.0, 100.0, 16.0), "idle connection, KiB"));
        assert!(!met(&comparison(100.0, 100.0, 16.1), "idle connection, KiB"));
        let mut unmeasured = comparison(100.0, 100.0, 1.0);
        unmeasured.idle.clear();
        assert!(!met(&unmeasured, "idle connection, KiB"));
    }
}
