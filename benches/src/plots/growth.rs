//! Growth: calls a second by what grows, both on logarithmic scales, a picture for each axis.

use std::{fs, path::Path};

use clap::ValueEnum;
use plotters::{
    prelude::{
        ChartBuilder, Circle, Color, IntoDrawingArea, IntoLogRange, PathElement, SVGBackend, Text,
    },
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{BLUE, FAINT, GROUND, INK, bold, short, text};
use crate::{
    AnyError,
    growth::{Axis, Growth},
    stats::Spread,
};

const SIZE: (u32, u32) = (460, 300);

/// Writes `growth-….svg` for every axis into `folder`.
///
/// # Errors
///
/// If one cannot be drawn or written.
pub(crate) fn draw(growth: &Growth, folder: &Path) -> Result<(), AnyError> {
    for &axis in Axis::value_variants() {
        let points = axis.steps().iter().filter_map(|&at| {
            let rate = growth.spread(axis, at, |point| point.grown.sample.calls_per_second())?;
            Some((f64::from(at), rate))
        });
        let name = axis.to_possible_value().map_or_else(String::new, |it| it.get_name().to_owned());
        let file = folder.join(format!("growth-{name}.svg"));
        fs::write(file, picture(axis, &points.collect::<Vec<_>>())?)?;
    }
    Ok(())
}

fn picture(axis: Axis, points: &[(f64, Spread)]) -> Result<String, AnyError> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    root.fill(&GROUND)?;
    root.draw(&Text::new("Calls a second", (14, 12), bold(14.0, INK)))?;
    let ends = |value: fn(&(f64, Spread)) -> f64| {
        let values = points.iter().map(value);
        values.fold((f64::INFINITY, 0.0_f64), |(least, most), it| (least.min(it), most.max(it)))
    };
    let ((left, right), (_, top)) = (ends(|(at, _)| *at), ends(|(_, rate)| rate.max));
    let (bottom, _) = ends(|(_, rate)| rate.min);
    let mut chart = ChartBuilder::on(&root)
        .margin(14)
        .margin_top(38)
        .x_label_area_size(46)
        .y_label_area_size(52)
        .build_cartesian_2d(
            (left * 0.6..right * 3.0).log_scale(),
            (bottom * 0.4..top * 3.0).log_scale(),
        )?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(FAINT)
        .light_line_style(GROUND)
        .axis_style(INK)
        .label_style(text(11.0, INK))
        .axis_desc_style(text(12.0, INK))
        .x_desc(axis.name())
        .x_labels(6)
        .y_labels(3)
        .x_label_formatter(&|at| short(*at))
        .y_label_formatter(&|rate| short(*rate))
        .draw()?;
    let line = points.iter().map(|(at, rate)| (*at, rate.median));
    chart.draw_series([PathElement::new(line.collect::<Vec<_>>(), BLUE.stroke_width(2))])?;
    chart.draw_series(points.iter().map(|(at, rate)| {
        PathElement::new([(*at, rate.min), (*at, rate.max)], BLUE.mix(0.5).stroke_width(1))
    }))?;
    chart.draw_series(
        points.iter().map(|(at, rate)| Circle::new((*at, rate.median), 3, BLUE.filled())),
    )?;
    chart.draw_series(points.iter().map(|(at, rate)| {
        let above = text(11.0, INK).pos(Pos::new(HPos::Center, VPos::Bottom));
        Text::new(short(rate.median), (*at, rate.max * 1.15), above)
    }))?;
    root.present()?;
    drop(chart);
    drop(root);
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_says_what_grows_and_what_became_of_calls() {
        let rate = |median| Spread { median, min: median * 0.9, max: median * 1.1 };
        let points = [(1.0, rate(13_000.0)), (10_000.0, rate(410_000.0))];
        let svg = picture(Axis::Connections, &points).unwrap();
        for said in ["Calls a second", "connections, one call outstanding", "13k", "410k"] {
            assert!(svg.contains(said), "{said}\n{svg}");
        }
    }
}
