//! Pictures of what was measured: SVG, with the reader's own sans-serif for a font.
//!
//! They lie on a light ground of their own, so that they are as legible on a dark page.

mod calls;
mod growth;
mod knee;

use plotters::prelude::{Color, FontStyle, IntoFont, RGBColor, TextStyle};

pub(crate) use self::{calls::draw as calls, growth::draw as growth, knee::draw as knee};
use crate::system::System;

const GROUND: RGBColor = RGBColor(0xfc, 0xfc, 0xfa);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0xd8, 0xd8, 0xd4);

// Colours that people who see few can tell apart (Okabe and Ito, 2008).
const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
const VERMILLION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
const GREY: RGBColor = RGBColor(0x8c, 0x8c, 0x8c);

/// Text of so many pixels.
fn text(pixels: f64, color: RGBColor) -> TextStyle<'static> {
    styled(pixels, color, FontStyle::Normal)
}

/// The same, bold.
fn bold(pixels: f64, color: RGBColor) -> TextStyle<'static> {
    styled(pixels, color, FontStyle::Bold)
}

fn styled(pixels: f64, color: RGBColor, style: FontStyle) -> TextStyle<'static> {
    /// plotters divides by it on the way to SVG.
    const SCALE: f64 = 1.24;
    ("sans-serif", pixels * SCALE, style).into_font().color(&color.to_rgba())
}

/// How a system is called in a picture.
fn label(system: System) -> &'static str {
    match system {
        System::FloorAfterYield => "floor (yields, then writes)",
        System::FloorAtOnce => "floor (writes at once)",
        System::FloorSealed => "floor, batches encrypted",
        System::Tarpc => "tarpc",
        System::TarpcTls => "tarpc, mutual TLS",
        System::Tonic => "tonic",
        System::TonicTls => "tonic, mutual TLS",
        System::TonicTlsChacha => "tonic, mutual TLS, ChaCha20",
        System::Capnp => "capnp-rpc",
        System::Bailiwick | System::BailiwickDocuments | System::BailiwickCrowded => "Bailiwick",
        System::BailiwickConnect => "Bailiwick, connecting first",
        System::BailiwickBusy => "Bailiwick, busy-polling",
        System::UdpFloor => "UDP floor",
        System::UdpPingPong => "UDP ping-pong",
        System::Quinn => "quinn",
        System::BailiwickUdp => "Bailiwick over UDP",
    }
}

/// A count with a thousands' or millions' letter, to three digits.
fn short(count: f64) -> String {
    let (value, unit) = match count {
        0.0..1e3 => (count, ""),
        1e3..1e6 => (count / 1e3, "k"),
        _ => (count / 1e6, "M"),
    };
    let decimals = if unit.is_empty() || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    let digits = format!("{value:.decimals$}");
    let digits = if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        &digits
    };
    format!("{digits}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        let shown = [0.0, 50.0, 999.0, 1_000.0, 15_500.0, 166_400.0, 3_483_000.0].map(short);
        assert_eq!(shown, ["0", "50", "999", "1k", "15.5k", "166k", "3.48M"]);
    }
}
