//! The sweep as a table, and what is asked of it.

use std::fmt::Write as _;

use super::{Measured, Point, Protection};

/// Under ten times the peak the goodput is at least so much of it.
const GOODPUT: f64 = 0.9;

/// What is asked of a server under ten times its peak, and whether it holds.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Goal {
    what: &'static str,
    measured: f64,
    bound: f64,
    met: bool,
}

/// Holds the protected server under the heaviest load against the goal. The p99 is no goal of its own: an
/// answer after its deadline is not among the good ones.
pub(crate) fn judge(measured: &Measured) -> Vec<Goal> {
    let heaviest = measured
        .points
        .iter()
        .filter(|point| point.protection == Protection::On && !point.afterwards)
        .max_by(|a, b| a.offered.total_cmp(&b.offered));
    let Some(heaviest) = heaviest else { return Vec::new() };
    let part = heaviest.goodput.median / measured.peak.median;
    vec![Goal { what: "goodput of the peak", measured: part, bound: GOODPUT, met: part >= GOODPUT }]
}

/// The table.
pub(crate) fn text(measured: &Measured, goals: &[Goal]) -> String {
    let Measured { machine, extent, peak, points, .. } = measured;
    let mut text = machine.warning().to_owned();
    let _ = writeln!(text, "{}", machine.describe());
    let _ = writeln!(
        text,
        "{} repetitions of {} s; the peak is {:.0} calls/s ({:.0} to {:.0}), the deadline {} ms\n",
        extent.repetitions,
        extent.window_seconds,
        peak.median,
        peak.min,
        peak.max,
        measured.deadline_ms
    );
    text += "| protection | offered | goodput/s | of the peak | p50 ms | p99 ms | refused | late | lag p99 ms | server MiB |\n";
    text += "|---|---|---|---|---|---|---|---|---|---|\n";
    for point in points {
        row(&mut text, point, peak.median);
    }
    text.push('\n');
    for Goal { what, measured, bound, met } in goals {
        let met = if *met { "met" } else { "NOT met" };
        let _ = writeln!(
            text,
            "under the heaviest load, {what}: {measured:.2}, bound {bound:.2}: {met}"
        );
    }
    text
}

fn row(text: &mut String, point: &Point, peak: f64) {
    let then = if point.afterwards { "then " } else { "" };
    let _ = writeln!(
        text,
        "| {} | {then}{} × | {:.0} | {:.2} | {:.1} | {:.1} | {:.1} % | {:.1} % | {:.1} | {:.1} |",
        point.protection.name(),
        point.offered,
        point.goodput.median,
        point.goodput.median / peak,
        point.p50_ms.median,
        point.p99_ms.median,
        100.0 * point.refused.median,
        100.0 * point.late.median,
        point.lag_p99_ms.median,
        point.resident_mib.median
    );
}
