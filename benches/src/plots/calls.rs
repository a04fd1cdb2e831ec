//! Calls a second by system: a bar for the median, a line from the least to the most.

use std::{fs, path::Path};

use plotters::{
    coord::Shift,
    prelude::{
        Color, DrawingArea, IntoDrawingArea, PathElement, RGBColor, Rectangle, SVGBackend, Text,
    },
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{BLUE, FAINT, GREY, GROUND, INK, ORANGE, bold, label, short, text};
use crate::{
    AnyError, compare::Comparison, load::Sample, stats::Spread, system::System, workload::Workload,
};

const WIDTH: i32 = 860;
/// Room for the names.
const LEFT: i32 = 236;
/// Room for the figures behind the longest bar.
const RIGHT: i32 = 190;
/// Room for the headings.
const TOP: i32 = 78;
const ROW: i32 = 28;
const BAR: i32 = 18;

/// Writes `calls-64.svg` and `calls-256.svg` into `folder`.
///
/// # Errors
///
/// If they cannot be drawn or written.
pub(crate) fn draw(comparison: &Comparison, folder: &Path) -> Result<(), AnyError> {
    for (workload, file, outstanding) in [
        (Workload::Outstanding64, "calls-64.svg", 64),
        (Workload::Outstanding256, "calls-256.svg", 256),
    ] {
        let title =
            format!("Calls a second, {outstanding} outstanding on one connection, 64 bytes");
        fs::write(folder.join(file), picture(&title, &bars(comparison, workload))?)?;
    }
    Ok(())
}

/// A system and its calls a second.
type Bar = (System, Spread);

/// The systems that were measured, the fastest first.
fn bars(comparison: &Comparison, workload: Workload) -> Vec<Bar> {
    let measured = System::ALL.into_iter().filter_map(|system| {
        Some((system, comparison.spread(system, workload, Sample::calls_per_second)?))
    });
    let mut bars: Vec<Bar> = measured.collect();
    bars.sort_by(|(_, a), (_, b)| b.median.total_cmp(&a.median));
    bars
}

fn picture(title: &str, bars: &[Bar]) -> Result<String, AnyError> {
    let rows = i32::try_from(bars.len())?;
    let height = TOP + ROW * rows + 14;
    let mut svg = String::new();
    let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
    let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    root.fill(&GROUND)?;
    root.draw(&Text::new(title, (20, 18), bold(17.0, INK)))?;
    legend(&root)?;
    let most = bars.iter().map(|(_, rate)| rate.max).fold(0.0, f64::max);
    for (bar, row) in bars.iter().zip(0..) {
        draw_bar(&root, bar, TOP + ROW * row, most)?;
    }
    root.draw(&PathElement::new([(LEFT, TOP - 4), (LEFT, height - 12)], FAINT))?;
    root.present()?;
    drop(root);
    Ok(svg)
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What the colours say, in words of their colour.
fn legend(root: &Canvas<'_>) -> Result<(), AnyError> {
    let said = [
        (BLUE, "Bailiwick: both sides proven, encrypted, policy and audit", 20),
        (ORANGE, "encrypted peers", 425),
        (GREY, "peers and floors in plain text", 560),
    ];
    for (color, what, x) in said {
        root.draw(&Rectangle::new([(x, 49), (x + 12, 61)], color.filled()))?;
        root.draw(&Text::new(what, (x + 18, 50), text(13.0, INK)))?;
    }
    Ok(())
}

fn draw_bar(root: &Canvas<'_>, bar: &Bar, top: i32, most: f64) -> Result<(), AnyError> {
    let (system, rate) = bar;
    let scale = f64::from(WIDTH - LEFT - RIGHT) / most;
    // A pixel of what is on the canvas.
    #[allow(clippy::cast_possible_truncation)]
    let x = |value: f64| LEFT + (value * scale).round() as i32;
    let middle = top + BAR / 2;
    let end = Pos::new(HPos::Right, VPos::Center);
    let weight = if system.is_ours() { bold(14.0, INK) } else { text(14.0, INK) };
    root.draw(&Text::new(label(*system), (LEFT - 10, middle), weight.clone().pos(end)))?;
    let filled = color(*system).filled();
    root.draw(&Rectangle::new([(LEFT, top), (x(rate.median), top + BAR)], filled))?;
    let (least, greatest) = (x(rate.min), x(rate.max));
    root.draw(&PathElement::new([(least, middle), (greatest, middle)], INK.stroke_width(1)))?;
    for cap in [least, greatest] {
        root.draw(&PathElement::new([(cap, middle - 4), (cap, middle + 4)], INK.stroke_width(1)))?;
    }
    let start = Pos::new(HPos::Left, VPos::Center);
    let at = greatest.max(x(rate.median)) + 8;
    let figure = format!("{} ({}–{})", short(rate.median), short(rate.min), short(rate.max));
    root.draw(&Text::new(figure, (at, middle), weight.pos(start)))?;
    Ok(())
}

fn color(system: System) -> RGBColor {
    match system {
        _ if system.is_ours() => BLUE,
        System::FloorSealed
        | System::TarpcTls
        | System::TonicTls
        | System::TonicTlsChacha
        | System::Quinn => ORANGE,
        _ => GREY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_names_every_system_with_its_figures() {
        let rate = |median| Spread { median, min: median * 0.9, max: median * 1.1 };
        let bars = [(System::Bailiwick, rate(659_000.0)), (System::TonicTls, rate(91_000.0))];
        let svg = picture("Calls", &bars).unwrap();
        for said in ["Bailiwick", "659k (593k–725k)", "tonic, mutual TLS", "91k (81.9k–100k)"] {
            assert!(svg.contains(said), "{said}\n{svg}");
        }
    }
}
