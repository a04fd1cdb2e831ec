//! What our system is to reach, as ratios to its peers in the same run, and whether it did.

use serde::Serialize;

use crate::{
    compare::{Comparison, lone_p50},
    load::Sample,
    peer::{Subjects, System},
    stats::Spread,
    workload::Workload,
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

/// Judges `subjects` by what `comparison` measured.
pub(crate) fn judge(comparison: &Comparison, subjects: Subjects) -> Vec<Verdict> {
    let mut verdicts = judge_tcp(comparison, subjects.tcp);
    if let Some(subject) = subjects.udp {
        verdicts.extend(judge_udp(comparison, subject, subjects.tcp));
    }
    verdicts
}

fn judge_tcp(comparison: &Comparison, subject: System) -> Vec<Verdict> {
    let rate = |base, workload| comparison.ratio(subject, base, workload, Sample::calls_per_second);
    let to_tarpc = |workload| rate(System::Tarpc, workload);
    let to_floor = |workload| rate(comparison.faster_floor(workload), workload);
    let floor = comparison.faster_floor(Workload::Lone);
    let lone = comparison.ratio(subject, floor, Workload::Lone, lone_p50);
    let idle = idle_kib(comparison, subject);
    vec![
        verdict("calls/s at 64, × tarpc", Bound::AtLeast(2.5), to_tarpc(Workload::Outstanding64)),
        verdict("calls/s at 256, × tarpc", Bound::AtLeast(5.0), to_tarpc(Workload::Outstanding256)),
        verdict("calls/s at 64, × floor", Bound::AtLeast(0.7), to_floor(Workload::Outstanding64)),
        verdict("calls/s at 256, × floor", Bound::AtLeast(0.7), to_floor(Workload::Outstanding256)),
        verdict("lone call p50, × floor", Bound::AtMost(1.15), lone),
        verdict("idle connection, KiB", Bound::AtMost(16.0), idle),
    ]
}

fn judge_udp(comparison: &Comparison, subject: System, ours_over_tcp: System) -> Vec<Verdict> {
    let rate =
        |base| comparison.ratio(subject, base, Workload::Outstanding64, Sample::calls_per_second);
    let lossy = comparison.slowdown(subject, Workload::Lossy64, Workload::Outstanding64);
    let lone = comparison.ratio(subject, System::UdpPingPong, Workload::Lone, lone_p50);
    let idle = idle_kib(comparison, subject);
    vec![
        verdict("UDP: calls/s at 64, × our TCP", Bound::AtLeast(0.7), rate(ours_over_tcp)),
        verdict("UDP: calls/s at 64, × quinn", Bound::AtLeast(1.0), rate(System::Quinn)),
        verdict("UDP: calls/s at 64, 1 % loss, × without", Bound::AtLeast(0.5), lossy),
        verdict("UDP: lone call p50, × ping-pong", Bound::AtMost(1.15), lone),
        verdict("UDP: idle session, KiB", Bound::AtMost(8.0), idle),
    ]
}

fn idle_kib(comparison: &Comparison, system: System) -> Option<Spread> {
    comparison.idle_bytes(system).map(|bytes| Spread {
        median: bytes.median / KIB,
        min: bytes.min / KIB,
        max: bytes.max / KIB,
    })
}

/// Judges the median of what was measured by `bound`.
pub(crate) fn verdict(what: &'static str, bound: Bound, measured: Option<Spread>) -> Verdict {
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

    fn record(system: System, workload: Workload, rate: f64) -> Record {
        let sample = Sample {
            calls: 1,
            calls_in_all: 1,
            seconds: 1.0 / rate,
            client_cpu_seconds: 0.0,
            server_cpu_seconds: 0.0,
            latency: Some(Latency { p50: 1e6 / rate, p99: 1e6 / rate }),
        };
        Record { system, workload, repetition: 0, sample }
    }

    fn measured(records: Vec<Record>, idle: (System, f64)) -> Comparison {
        let idle = IdleRecord { system: idle.0, bytes_per_connection: idle.1 * KIB };
        let machine = Machine::here();
        Comparison { machine, extent: Extent::QUICK, records, idle: vec![idle] }
    }

    /// `floor` is the rate of the floor that yields; the other one is a tenth slower.
    fn comparison(subject: f64, floor: f64, idle_kib: f64) -> Comparison {
        let rates = [
            (System::FloorAfterYield, floor),
            (System::FloorAtOnce, floor * 0.9),
            (System::Tarpc, subject),
        ];
        let records = rates.into_iter().flat_map(|(system, rate)| {
            Workload::WITHOUT_LOSS.map(|workload| record(system, workload, rate))
        });
        measured(records.collect(), (System::Tarpc, idle_kib))
    }

    /// Which of the five goals over UDP are met. The UDP floor plays our part.
    fn met_over_udp(tcp: f64, quinn: f64, lossy: f64, ping_pong: f64, idle_kib: f64) -> [bool; 5] {
        let subject = System::UdpFloor;
        let records = vec![
            record(subject, Workload::Lone, 100.0),
            record(subject, Workload::Outstanding64, 100.0),
            record(subject, Workload::Lossy64, lossy),
            record(System::Bailiwick, Workload::Outstanding64, tcp),
            record(System::Quinn, Workload::Outstanding64, quinn),
            record(System::UdpPingPong, Workload::Lone, ping_pong),
        ];
        let comparison = measured(records, (subject, idle_kib));
        let verdicts = judge_udp(&comparison, subject, System::Bailiwick);
        verdicts.iter().map(|verdict| verdict.met).collect::<Vec<_>>().try_into().unwrap()
    }

    fn met(comparison: &Comparison, what: &str) -> bool {
        let verdicts = judge(comparison, Subjects { tcp: System::Tarpc, udp: None });
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

    #[test]
    fn each_goal_over_udp_has_a_base_of_its_own() {
        assert_eq!(met_over_udp(142.0, 100.0, 51.0, 114.0, 8.0), [true; 5]);
        let missing_one = [
            met_over_udp(144.0, 100.0, 51.0, 114.0, 8.0),
            met_over_udp(142.0, 101.0, 51.0, 114.0, 8.0),
            met_over_udp(142.0, 100.0, 49.0, 114.0, 8.0),
            met_over_udp(142.0, 100.0, 51.0, 116.0, 8.0),
            met_over_udp(142.0, 100.0, 51.0, 114.0, 8.1),
        ];
        for (missed, met) in missing_one.into_iter().enumerate() {
            assert_eq!(met, std::array::from_fn(|goal| goal != missed), "goal {missed}");
        }
    }

    #[test]
    fn goals_over_udp_are_judged_once_we_speak_it() {
        let comparison = comparison(100.0, 100.0, 1.0);
        let count = |udp| judge(&comparison, Subjects { tcp: System::Tarpc, udp }).len();
        assert_eq!(count(Some(System::UdpFloor)) - count(None), 5);
    }
}
