//! Tables, as Markdown that also reads well on a terminal.

use std::fmt::Write as _;

use crate::{
    goals::{Bound, Verdict},
    stats::Spread,
};

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
        assert_eq!(show(spread, 1024.0, 1), "2.0 (1.0–4.0)");
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
