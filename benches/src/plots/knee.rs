//! The knee: latency by throughput, both on logarithmic scales, a line for each system.

use std::{fs, ops::Range, path::Path};

use plotters::{
    coord::Shift,
    element::DashedPathElement,
    prelude::{
        Cartesian2d, ChartBuilder, ChartContext, Circle, Color, DrawingArea, IntoDrawingArea,
        IntoLogRange, LogCoord, PathElement, RGBColor, SVGBackend, Text,
    },
    style::{
        ShapeStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{BLUE, FAINT, GREEN, GREY, GROUND, INK, VERMILLION, bold, label, short, text};
use crate::{
    AnyError,
    knee::{Knee, Point, SHARES, SYSTEMS},
    stats::Spread,
    system::System,
};

const SIZE: (u32, u32) = (860, 520);

/// Writes `knee.svg` into `folder`.
///
/// # Errors
///
/// If it cannot be drawn or written.
pub(crate) fn draw(knee: &Knee, folder: &Path) -> Result<(), AnyError> {
    let lines: Vec<Line> =
        SYSTEMS.into_iter().filter_map(|system| Line::of(knee, system)).collect();
    Ok(fs::write(folder.join("knee.svg"), picture(&lines)?)?)
}

/// What one system did at each offered load.
struct Line {
    system: System,
    /// Calls a second and latencies, in microseconds: p50, and p99 with its range.
    points: Vec<(f64, f64, Spread)>,
}

impl Line {
    fn of(knee: &Knee, system: System) -> Option<Self> {
        let point = |share| {
            let each = |measure: fn(&Point) -> f64| knee.spread(system, share, measure);
            Some((
                each(|point| point.served.achieved_per_second)?.median,
                each(|point| point.served.latency.p50)?.median,
                each(|point| point.served.latency.p99)?,
            ))
        };
        let points: Option<Vec<_>> = SHARES.into_iter().map(point).collect();
        Some(Self { system, points: points? })
    }

    /// Here is one floor only.
    fn name(&self) -> &'static str {
        if self.system == System::FloorAfterYield { "floor" } else { label(self.system) }
    }

    fn p50(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|(rate, p50, _)| (*rate, *p50)).collect()
    }

    fn p99(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|(rate, _, p99)| (*rate, p99.median)).collect()
    }
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<LogCoord<f64>, LogCoord<f64>>>;

fn picture(lines: &[Line]) -> Result<String, AnyError> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    root.fill(&GROUND)?;
    heading(&root)?;
    let (rates, latencies) = extent(lines);
    let mut chart = ChartBuilder::on(&root)
        .margin_top(76)
        .margin_right(26)
        .margin_bottom(12)
        .margin_left(12)
        .x_label_area_size(48)
        .y_label_area_size(74)
        .build_cartesian_2d(rates.log_scale(), latencies.log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(FAINT)
        .light_line_style(GROUND)
        .axis_style(INK)
        .label_style(text(13.0, INK))
        .axis_desc_style(text(14.0, INK))
        .x_desc("calls answered a second (log)")
        .y_desc("latency (log)")
        .x_label_formatter(&|rate| short(*rate))
        .y_label_formatter(&|latency| duration(*latency))
        .draw()?;
    for line in lines {
        draw_line(&mut chart, line)?;
    }
    root.present()?;
    drop(chart);
    drop(root);
    Ok(svg)
}

fn heading(root: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), AnyError> {
    let title = "Latency by throughput as the offered load rises from 0.1 to 1.5 of the peak";
    root.draw(&Text::new(title, (20, 18), bold(17.0, INK)))?;
    let what = "64 bytes, one connection; from when a call was due to its answer. Solid: p99 with its range. \
                Dashed: p50.";
    root.draw(&Text::new(what, (20, 48), text(13.0, INK)))?;
    Ok(())
}

/// The scales: all points, with room for the names.
fn extent(lines: &[Line]) -> (Range<f64>, Range<f64>) {
    let (mut rates, mut latencies) = (f64::INFINITY..0.0, f64::INFINITY..0.0);
    for (rate, p50, p99) in lines.iter().flat_map(|line| &line.points) {
        rates = rates.start.min(*rate)..rates.end.max(*rate);
        latencies = latencies.start.min(*p50)..latencies.end.max(p99.max);
    }
    (rates.start * 0.8..rates.end * 1.8, latencies.start * 0.7..latencies.end * 2.5)
}

fn draw_line(chart: &mut Chart<'_, '_>, line: &Line) -> Result<(), AnyError> {
    let color = color(line.system);
    let width = if line.system.is_ours() { 3 } else { 2 };
    let stroke: ShapeStyle = color.stroke_width(width);
    chart.draw_series([DashedPathElement::new(line.p50(), 6, 5, color.stroke_width(2))])?;
    chart.draw_series([PathElement::new(line.p99(), stroke)])?;
    chart.draw_series(line.p99().into_iter().map(|at| Circle::new(at, 3, color.filled())))?;
    chart.draw_series(line.points.iter().map(|(rate, _, p99)| {
        PathElement::new([(*rate, p99.min), (*rate, p99.max)], color.mix(0.5).stroke_width(1))
    }))?;
    if let Some(&(rate, latency)) = line.p99().last() {
        let above = Pos::new(HPos::Center, VPos::Bottom);
        let name = bold(13.0, color).pos(above);
        chart.draw_series([Text::new(line.name(), (rate, latency * 1.25), name)])?;
    }
    Ok(())
}

fn color(system: System) -> RGBColor {
    match system {
        System::Bailiwick => BLUE,
        System::TarpcTls => GREEN,
        System::TonicTls => VERMILLION,
        _ => GREY,
    }
}

/// Microseconds in the unit that suits them.
fn duration(microseconds: f64) -> String {
    match microseconds {
        0.0..1e3 => format!("{microseconds:.0} µs"),
        1e3..1e6 => format!("{} ms", (microseconds / 1e3).round()),
        _ => format!("{} s", (microseconds / 1e6).round()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_names_every_system_and_the_units_of_its_axes() {
        let p99 = |median| Spread { median, min: median * 0.5, max: median * 2.0 };
        let points = vec![(1e4, 50.0, p99(100.0)), (1e5, 60.0, p99(200.0)), (1.1e5, 9e4, p99(2e5))];
        let lines = [System::Bailiwick, System::TonicTls]
            .map(|system| Line { system, points: points.clone() });
        let svg = picture(&lines).unwrap();
        for said in ["Bailiwick", "tonic, mutual TLS", "100 µs", "10 ms", "100k", "latency (log)"]
        {
            assert!(svg.contains(said), "{said}\n{svg}");
        }
    }
}
