//! The tables of a comparison, and the same as JSON.

use serde::Serialize;

use super::{Comparison, goals::Goals, lone_p50, lone_p99};
use crate::{
    load::Sample,
    report::{goals_table, show, table},
    stats::Spread,
    system::System,
    workload::Workload,
};

const KIB: f64 = 1024.0;

/// A comparison as JSON: the windows as they were, their summary, and the verdicts.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    /// What was measured.
    #[serde(flatten)]
    pub(crate) comparison: &'a Comparison,
    /// What each system showed on each workload.
    pub(crate) summary: Vec<Row>,
    /// The goals.
    pub(crate) goals: &'a Goals,
}

/// What one system showed on one workload.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    system: System,
    workload: Workload,
    calls_per_second: Option<Spread>,
    cpu_seconds_per_million: Option<Spread>,
    /// Of lone calls and handshakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_us: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_us: Option<Spread>,
}

/// One row for each system on each workload it has.
pub(crate) fn summary(comparison: &Comparison) -> Vec<Row> {
    let workloads = || Workload::WITHOUT_LOSS.into_iter().chain(Workload::WITH_LOSS);
    let rows = System::ALL.into_iter().flat_map(|system| {
        workloads().filter(move |workload| system.has(*workload)).map(move |workload| {
            let latency = |measure: fn(&Sample) -> f64| {
                workload.is_lone().then(|| comparison.spread(system, workload, measure)).flatten()
            };
            let spread = |measure: fn(&Sample) -> f64| comparison.spread(system, workload, measure);
            Row {
                system,
                workload,
                calls_per_second: spread(Sample::calls_per_second),
                cpu_seconds_per_million: spread(Sample::cpu_seconds_per_million),
                p50_us: latency(lone_p50),
                p99_us: latency(lone_p99),
            }
        })
    });
    rows.collect()
}

/// All tables, as Markdown that also reads well on a terminal.
pub(crate) fn text(comparison: &Comparison, goals: &Goals) -> String {
    let extent = &comparison.extent;
    let mut text = format!(
        "{}; {} repetitions of {} s, median (least–most)\n\n",
        comparison.machine.describe(),
        extent.repetitions,
        extent.window_seconds,
    );
    text += comparison.machine.warning();
    for (heading, table) in [
        ("Calls of 64 bytes", calls_table(comparison)),
        ("Larger calls, 8 outstanding, and loss", payloads_table(comparison)),
        ("Connections: handshake and first call; memory of an idle one", connections(comparison)),
        ("Ours over TCP as a multiple of each, repetition by repetition", ratios(comparison)),
        ("What encryption alone leaves of the floor: `floor-sealed`", encryption(comparison)),
        ("Goals that must be met, judged by the median", goals_table(&goals.must)),
        ("Goals to aim at", goals_table(&goals.aim)),
    ] {
        text += &format!("{heading}\n\n{table}\n");
    }
    text
}

fn calls_table(comparison: &Comparison) -> String {
    use Workload::{Connections64x4, Lone, Outstanding64, Outstanding256};
    let head = [
        "system",
        "lone p50 µs",
        "lone p99 µs",
        "64: 1,000 calls/s",
        "256: 1,000 calls/s",
        "64 × 4: 1,000 calls/s",
        "64: CPU s per million",
        "256: CPU s per million",
    ];
    per_system(&head, comparison, |figures| {
        vec![
            figures.show(Lone, lone_p50, 1.0, 1),
            figures.show(Lone, lone_p99, 1.0, 1),
            figures.show(Outstanding64, Sample::calls_per_second, 1e3, 0),
            figures.show(Outstanding256, Sample::calls_per_second, 1e3, 0),
            figures.show(Connections64x4, Sample::calls_per_second, 1e3, 0),
            figures.show(Outstanding64, Sample::cpu_seconds_per_million, 1.0, 2),
            figures.show(Outstanding256, Sample::cpu_seconds_per_million, 1.0, 2),
        ]
    })
}

fn payloads_table(comparison: &Comparison) -> String {
    use Workload::{Kib1x8, Kib64x8, Lossy64, Mib1x8};
    let head = [
        "system",
        "1 KiB: 1,000 calls/s",
        "64 KiB: 1,000 calls/s",
        "1 MiB: calls/s",
        "64 outstanding, 1 % loss: 1,000 calls/s",
        "× without loss",
    ];
    per_system(&head, comparison, |figures| {
        vec![
            figures.show(Kib1x8, Sample::calls_per_second, 1e3, 0),
            figures.show(Kib64x8, Sample::calls_per_second, 1e3, 1),
            figures.show(Mib1x8, Sample::calls_per_second, 1.0, 0),
            figures.show(Lossy64, Sample::calls_per_second, 1e3, 0),
            show(comparison.under_loss(figures.system), 1.0, 2),
        ]
    })
}

fn connections(comparison: &Comparison) -> String {
    use Workload::{Handshakes8, LoneHandshake};
    let head = ["system", "alone: p50 µs", "alone: p99 µs", "8 at a time: a second", "idle KiB"];
    per_system(&head, comparison, |figures| {
        vec![
            figures.show(LoneHandshake, lone_p50, 1.0, 0),
            figures.show(LoneHandshake, lone_p99, 1.0, 0),
            figures.show(Handshakes8, Sample::calls_per_second, 1.0, 0),
            show(comparison.idle_bytes(figures.system), KIB, 1),
        ]
    })
}

/// One system's figures in a comparison.
struct Figures<'a> {
    comparison: &'a Comparison,
    system: System,
}

impl Figures<'_> {
    fn show(
        &self,
        workload: Workload,
        measure: fn(&Sample) -> f64,
        unit: f64,
        decimals: usize,
    ) -> String {
        show(self.comparison.spread(self.system, workload, measure), unit, decimals)
    }
}

/// A table with a line for each system that has any of its figures.
fn per_system(
    head: &[&str],
    comparison: &Comparison,
    cells: impl Fn(Figures<'_>) -> Vec<String>,
) -> String {
    let rows = System::ALL.into_iter().filter_map(|system| {
        let cells = cells(Figures { comparison, system });
        let any = cells.iter().any(|cell| *cell != show(None, 1.0, 0));
        any.then(|| [vec![system.name().to_owned()], cells].concat())
    });
    table(head, rows)
}

fn ratios(comparison: &Comparison) -> String {
    const OURS: System = System::Bailiwick;
    let rows = Workload::WITHOUT_LOSS.map(|workload| {
        let over = |base| {
            let ratio = if workload.is_lone() {
                comparison.ratio(OURS, base, workload, lone_p50)
            } else {
                comparison.rate_ratio(OURS, base, workload)
            };
            show(ratio, 1.0, 2)
        };
        let what = if workload.is_lone() { "p50" } else { "calls/s" };
        vec![
            format!("{}: {what}", workload.name()),
            over(comparison.faster(System::FLOORS, workload)),
            over(comparison.faster(System::MTLS, workload)),
            over(System::TarpcTls),
            over(System::Quinn),
            over(System::Tarpc),
            over(System::Tonic),
            over(System::Capnp),
        ]
    });
    let head =
        ["", "× floor", "× tonic mTLS", "× tarpc mTLS", "× quinn", "× tarpc", "× tonic", "× capnp"];
    table(&head, rows)
}

/// What nobody who encrypts could pass.
fn encryption(comparison: &Comparison) -> String {
    const SEALED: System = System::FloorSealed;
    let workloads = Workload::WITHOUT_LOSS.into_iter();
    let workloads = workloads.filter(|workload| SEALED.has(*workload) && !workload.is_lone());
    let rows = workloads.map(|workload| {
        let floor = comparison.faster(System::FLOORS, workload);
        let left = comparison.rate_ratio(SEALED, floor, workload);
        vec![format!("{}: calls/s", workload.name()), show(left, 1.0, 2)]
    });
    table(&["", "× floor"], rows)
}
