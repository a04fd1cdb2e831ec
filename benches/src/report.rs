//! Turns a comparison into tables for people and JSON for machines.

use std::fmt::Write;

use serde::Serialize;

use crate::{
    compare::{Comparison, lone_p50, lone_p99},
    goals::{Bound, Verdict},
    load::Sample,
    peer::{System, Transport},
    stats::Spread,
    syscalls::Count,
    workload::Workload,
};

const KIB: f64 = 1024.0;

/// A whole run as JSON: the windows as they were, their summary, and the verdicts.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    /// What was measured.
    #[serde(flatten)]
    pub(crate) comparison: &'a Comparison,
    /// One row a system.
    pub(crate) summary: Vec<Row>,
    /// The goals; empty while our system is not among those measured.
    pub(crate) goals: &'a [Verdict],
}

/// What one system showed, in the units of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    system: System,
    lone_p50_us: Option<Spread>,
    lone_p99_us: Option<Spread>,
    calls_per_second_64: Option<Spread>,
    calls_per_second_256: Option<Spread>,
    calls_per_second_64_lossy: Option<Spread>,
    cpu_seconds_per_million_64: Option<Spread>,
    cpu_seconds_per_million_256: Option<Spread>,
    idle_bytes: Option<Spread>,
}

/// One row a system, in the order of [`System::ALL`].
pub(crate) fn summary(comparison: &Comparison) -> Vec<Row> {
    use Workload::{Lone, Lossy64, Outstanding64, Outstanding256};
    let rows = System::ALL.map(|system| Row {
        system,
        lone_p50_us: comparison.spread(system, Lone, lone_p50),
        lone_p99_us: comparison.spread(system, Lone, lone_p99),
        calls_per_second_64: comparison.spread(system, Outstanding64, Sample::calls_per_second),
        calls_per_second_256: comparison.spread(system, Outstanding256, Sample::calls_per_second),
        calls_per_second_64_lossy: comparison.spread(system, Lossy64, Sample::calls_per_second),
        cpu_seconds_per_million_64: comparison.spread(
            system,
            Outstanding64,
            Sample::cpu_seconds_per_million,
        ),
        cpu_seconds_per_million_256: comparison.spread(
            system,
            Outstanding256,
            Sample::cpu_seconds_per_million,
        ),
        idle_bytes: comparison.idle_bytes(system),
    });
    rows.into()
}

/// The tables of a comparison, as Markdown that also reads well on a terminal.
pub(crate) fn text(comparison: &Comparison, verdicts: &[Verdict]) -> String {
    let mut text = heading(comparison);
    text += &systems_table(comparison);
    text += "\nRatios, repetition by repetition; the floor is the faster of the two\n\n";
    text += &tcp_ratios_table(comparison);
    text.push('\n');
    text += &udp_ratios_table(comparison);
    if !verdicts.is_empty() {
        text += "\nGoals, judged by the median\n\n";
        text += &goals_table(verdicts);
    }
    text
}

/// The write system calls of each server.
pub(crate) fn syscalls_text(counts: &[Count]) -> String {
    let rows = counts.iter().map(|count| {
        vec![
            count.system.name().to_owned(),
            count.calls.to_string(),
            count.writes.to_string(),
            format!("{:.3}", count.per_call()),
        ]
    });
    let head = ["server, 64 outstanding", "calls", "write system calls", "per call"];
    table(&head, rows)
}

fn heading(comparison: &Comparison) -> String {
    let extent = &comparison.extent;
    let mut text = format!(
        "{}; {} repetitions of {} s, median (least–most)\n\n",
        comparison.machine.describe(),
        extent.repetitions,
        extent.window_seconds,
    );
    text += comparison.machine.warning();
    text
}

fn systems_table(comparison: &Comparison) -> String {
    let rows = summary(comparison).into_iter().map(|row| {
        vec![
            row.system.name().to_owned(),
            show(row.lone_p50_us, 1.0, 1),
            show(row.lone_p99_us, 1.0, 1),
            show(row.calls_per_second_64, 1e3, 0),
            show(row.calls_per_second_256, 1e3, 0),
            show(row.calls_per_second_64_lossy, 1e3, 0),
            show(row.cpu_seconds_per_million_64, 1.0, 2),
            show(row.cpu_seconds_per_million_256, 1.0, 2),
            show(row.idle_bytes, KIB, 1),
        ]
    });
    let head = [
        "system",
        "lone p50 µs",
        "lone p99 µs",
        "64: 1,000 calls/s",
        "256: 1,000 calls/s",
        "64, 1 % loss: 1,000 calls/s",
        "64: CPU s per million, both sides",
        "256: CPU s per million, both sides",
        "idle KiB",
    ];
    table(&head, rows)
}

fn over(transport: Transport) -> impl Iterator<Item = System> {
    System::ALL.into_iter().filter(move |system| system.transport() == transport)
}

fn tcp_ratios_table(comparison: &Comparison) -> String {
    use Workload::{Lone, Outstanding64, Outstanding256};
    let rows = over(Transport::Tcp).map(|system| {
        let mut cells = vec![system.name().to_owned()];
        for workload in [Outstanding64, Outstanding256] {
            for base in [System::Tarpc, comparison.faster_floor(workload)] {
                let ratio = comparison.ratio(system, base, workload, Sample::calls_per_second);
                cells.push(show(ratio, 1.0, 2));
            }
        }
        let floor = comparison.faster_floor(Lone);
        cells.push(show(comparison.ratio(system, floor, Lone, lone_p50), 1.0, 2));
        cells
    });
    let head =
        ["system", "64: × tarpc", "64: × floor", "256: × tarpc", "256: × floor", "p50: × floor"];
    table(&head, rows)
}

fn udp_ratios_table(comparison: &Comparison) -> String {
    use Workload::{Lone, Lossy64, Outstanding64};
    let rows = over(Transport::Udp).map(|system| {
        let rate = |base| {
            show(comparison.ratio(system, base, Outstanding64, Sample::calls_per_second), 1.0, 2)
        };
        vec![
            system.name().to_owned(),
            rate(System::SUBJECTS.tcp),
            rate(System::Quinn),
            show(comparison.slowdown(system, Lossy64, Outstanding64), 1.0, 2),
            show(comparison.ratio(system, System::UdpPingPong, Lone, lone_p50), 1.0, 2),
        ]
    });
    let head =
        ["system", "64: × our TCP", "64: × quinn", "64, 1 % loss: × without", "p50: × ping-pong"];
    table(&head, rows)
}

/// The goals, each met or not.
pub(crate) fn goals_table(verdicts: &[Verdict]) -> String {
    let rows = verdicts.iter().map(|verdict| {
        let bound = match verdict.bound {
            Bound::AtLeast(least) => format!("≥ {least}"),
            Bound::AtMost(most) => format!("≤ {most}"),
        };
        let met = if verdict.met { "met" } else { "not met" };
        vec![verdict.what.to_owned(), bound, show(verdict.measured, 1.0, 2), met.to_owned()]
    });
    table(&["goal", "bound", "measured", ""], rows)
}

/// The median, with the least and the most, in so many `unit`s; a dash if there is none.
pub(crate) fn show(spread: Option<Spread>, unit: f64, decimals: usize) -> String {
    let Some(Spread { median, min, max }) = spread else {
        return "—".to_owned();
    };
    let [median, min, max] = [median, min, max].map(|value| value / unit);
    format!("{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
}

/// A Markdown table with its columns aligned.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut text = String::new();
    for row in [&head, &rule].into_iter().chain(&rows) {
        for (cell, width) in row.iter().zip(&widths) {
            write!(text, "| {cell:width$} ").expect("writing to a String cannot fail");
        }
        text += "|\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_their_width() {
        let rows = vec![vec!["a".to_owned(), "1.0 (0.9–1.1)".to_owned()]];
        assert_eq!(
            table(&["system", "µs"], rows),
            "| system | µs            |\n\
             | ------ | ------------- |\n\
             | a      | 1.0 (0.9–1.1) |\n"
        );
    }

    #[test]
    fn a_figure_shows_its_spread_and_a_missing_one_a_dash() {
        let spread = Some(Spread { median: 2048.0, min: 1024.0, max: 4096.0 });
        assert_eq!(show(spread, KIB, 1), "2.0 (1.0–4.0)");
        assert_eq!(show(None, 1.0, 1), "—");
    }

    #[test]
    fn a_goal_says_met_or_not_met() {
        let verdict = |met| Verdict {
            what: "speed",
            bound: Bound::AtLeast(2.5),
            measured: Spread::of([2.6]),
            met,
        };
        let lines = goals_table(&[verdict(true), verdict(false)]);
        assert!(lines.contains("| speed | ≥ 2.5 | 2.60 (2.60–2.60) | met     |"), "{lines}");
        assert!(lines.contains("| not met |"), "{lines}");
    }
}
