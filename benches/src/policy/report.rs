//! The tables.

use std::fmt::Write as _;

use super::{
    Measured, ROWS,
    contender::{Contender, Figures},
    goals::MB,
};
use crate::{
    goals::Verdict,
    report::{goals_table, show, table},
    stats::Spread,
    workload::Workload,
};

/// All tables, as Markdown that also reads well on a terminal.
pub(crate) fn text(measured: &Measured, verdicts: &[Verdict]) -> String {
    let (machine, extent) = (&measured.machine, &measured.extent);
    let mut text = format!(
        "{}; {} repetitions of {} s, median (least–most)\n\n",
        machine.describe(),
        extent.repetitions,
        extent.window_seconds,
    );
    text += machine.warning();
    text += &decisions(measured);
    for skipped in &measured.skipped {
        let (name, rows) = (skipped.contender.name(), skipped.rows);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n—: {name} with {rows} rows: {}", skipped.why);
    }
    text.push('\n');
    text += &calls(measured);
    text += "\nGoals, judged by the median\n\n";
    text + goals_table(verdicts).as_str()
}

fn decisions(measured: &Measured) -> String {
    let rows = Contender::ALL.into_iter().flat_map(|contender| {
        ROWS.map(|rows| {
            let each = |of: fn(&Figures) -> f64| Spread::of(measured.each(contender, rows, of));
            let mut cells = vec![contender.name().to_owned(), rows.to_string()];
            cells.extend([
                show(each(|it| it.p50_nanos), 1.0, 0),
                show(each(|it| it.p99_nanos), 1.0, 0),
                show(each(|it| it.load_seconds), 1e-3, 2),
                show(each(|it| it.resident_bytes as f64), MB, 1),
                show(each(|it| it.peak_bytes as f64), MB, 1),
            ]);
            cells
        })
    });
    let head = ["engine", "rows", "p50 ns", "p99 ns", "load, ms", "memory, MB", "peak, MB"];
    table(&head, rows)
}

fn calls(measured: &Measured) -> String {
    let rows = [ROWS[0], super::MANY].map(|rows| {
        let rate = |workload| show(Spread::of(measured.calls(rows, workload)), 1e3, 0);
        vec![rows.to_string(), rate(Workload::Outstanding64), rate(Workload::Outstanding256)]
    });
    table(&["our server, rows", "64: 1,000 calls/s", "256: 1,000 calls/s"], rows)
}
