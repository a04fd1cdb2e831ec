//! Small plots as SVG, drawn by the server: bars and lines in a box of fixed size.

use std::fmt::Write as _;

/// The box in which a plot is drawn; the page stretches it to its width.
pub(crate) const WIDTH: u32 = 600;
pub(crate) const HEIGHT: u32 = 80;

/// One plot, ready for the template.
#[derive(Debug, Default)]
pub(crate) struct Plot {
    /// Bars: left edge, top, width and height.
    pub(crate) bars: Vec<[String; 4]>,
    /// Lines: the class that colours one, and its path.
    pub(crate) lines: Vec<(&'static str, String)>,
    /// What the top of the box stands for.
    pub(crate) top: f64,
}

impl Plot {
    /// A bar for each value, the newest at the right.
    pub(crate) fn bars(values: &[u64]) -> Self {
        let values: Vec<_> = values.iter().map(|value| as_f64(*value)).collect();
        let top = round_up(values.iter().copied().fold(1.0, f64::max));
        let step = f64::from(WIDTH) / as_f64(values.len().max(1) as u64);
        let bar = |(at, value): (usize, &f64)| {
            let height = (value / top * f64::from(HEIGHT)).max(1.5);
            let left = as_f64(at as u64) * step;
            [left, f64::from(HEIGHT) - height, step * 0.8, height].map(|n| format!("{n:.1}"))
        };
        let bars = values.iter().enumerate().filter(|(_, value)| **value > 0.0).map(bar).collect();
        Self { bars, lines: Vec::new(), top }
    }

    /// A line for each series of `slots` values at most, the newest at the right, with holes.
    pub(crate) fn lines(series: &[(&'static str, Vec<Option<f64>>)], slots: usize) -> Self {
        let values = series.iter().flat_map(|(_, values)| values.iter().flatten());
        let top = values.copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let top = if top > 0.0 { round_up(top) } else { 1.0 };
        let lines = series.iter().map(|(class, values)| (*class, path(values, slots, top)));
        Self { bars: Vec::new(), lines: lines.collect(), top }
    }
}

fn path(values: &[Option<f64>], slots: usize, top: f64) -> String {
    let step = f64::from(WIDTH) / as_f64(slots.saturating_sub(1).max(1) as u64);
    let first = slots.saturating_sub(values.len());
    let mut path = String::new();
    let mut pen = "M";
    for (at, value) in values.iter().enumerate() {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            pen = "M";
            continue;
        };
        let x = as_f64((first + at) as u64) * step;
        let y = f64::from(HEIGHT) * (1.0 - (value / top).clamp(0.0, 1.0));
        // A point between two holes is a line of no length, which a round cap shows.
        let dot = if pen == "M" { "h0" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(path, "{pen}{x:.1} {y:.1}{dot}");
        pen = "L";
    }
    path
}

/// The next of 1, 2, 5, 10, 20, … so that the scale does not move with every value.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0].map(|n| n * power).into_iter().find(|n| *n >= value).unwrap_or(10.0 * power)
}

/// Exact up to 2^53, and no plot shows more.
#[expect(clippy::cast_precision_loss, reason = "a plot has a few hundred dots")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_the_ground_and_stay_in_the_box() {
        let plot = Plot::bars(&[0, 1, u64::MAX]);
        assert_eq!(plot.bars.len(), 2);
        for [left, top, width, height] in &plot.bars {
            let [left, top, width, height] =
                [left, top, width, height].map(|n| n.parse::<f64>().unwrap());
            assert!((top + height - f64::from(HEIGHT)).abs() < 0.2);
            assert!(left >= 0.0 && left + width <= f64::from(WIDTH));
        }
        assert!(Plot::bars(&[]).bars.is_empty());
    }

    #[test]
    fn a_line_ends_at_the_right_and_breaks_at_holes() {
        let plot = Plot::lines(&[("p50", vec![Some(1.0), None, Some(2.0), Some(f64::NAN)])], 5);
        assert_eq!(plot.lines[0].1, "M150.0 40.0h0M450.0 0.0h0");
        assert!((Plot::lines(&[("p50", vec![None])], 5).top - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_scale_is_a_round_number() {
        for (value, top) in [(1.0, 1.0), (3.0, 5.0), (7.0, 10.0), (0.003, 0.005), (120.0, 200.0)] {
            assert!((round_up(value) - top).abs() < top * 1e-9, "{value}");
        }
    }
}
