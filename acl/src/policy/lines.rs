//! Cuts a file into lines of clean text; what is not clean text is a mistake of its line.

use super::fault::{Fault, Place};

/// Most bytes of a line, without its end.
pub const MAX_LINE: usize = 4_096;

/// One line that can be read further.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) place: Place,
}

/// A piece of a line, and where it begins.
pub(super) type Piece<'a> = (&'a str, Place);

/// Hands over the clean lines of `text`, without their LF or CRLF. `file` is the number of the file.
pub(super) fn each<'a>(
    text: &'a [u8],
    file: u8,
    faults: &mut Vec<Fault>,
    mut each: impl FnMut(Line<'a>, &mut Vec<Fault>),
) {
    let mut rest = Some(text);
    for number in 1..=u32::MAX {
        let Some(text) = rest else { return };
        let (raw, below) = match text.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&text[..end], Some(&text[end + 1..])),
            None => (text, None),
        };
        rest = below;
        let place = Place { file, line: number, offset: 0 };
        let raw = if rest.is_some() { raw.strip_suffix(b"\r").unwrap_or(raw) } else { raw };
        match clean(raw, place) {
            Ok(text) => each(Line { text, place }, faults),
            Err(fault) => faults.push(fault),
        }
    }
}

/// Whether nearly every line is like this: short, and of ASCII that a reader can see.
fn is_plain(raw: &[u8]) -> bool {
    // No way out of the loop, so that it takes many bytes at a time.
    let visible = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    raw.len() <= MAX_LINE && raw.iter().fold(true, |all, byte| all & visible(*byte))
}

fn clean(raw: &[u8], place: Place) -> Result<&str, Fault> {
    if !is_plain(raw) {
        check(raw, place)?;
    }
    std::str::from_utf8(raw).map_err(|error| {
        let at = error.valid_up_to();
        let message = format!("the byte 0x{:02x} is not UTF-8", raw[at]);
        Fault::new(place.span(at, at + 1), message, "save the file as UTF-8")
    })
}

fn check(raw: &[u8], place: Place) -> Result<(), Fault> {
    if place.line == 1 && raw.starts_with(b"\xef\xbb\xbf") {
        let help = "save the file as UTF-8 without a byte order mark";
        return Err(Fault::new(place.span(0, 3), "a byte order mark (BOM)", help));
    }
    if let Some(at) = raw.iter().position(|byte| *byte == 0) {
        let help = "remove it: a policy is plain text";
        return Err(Fault::new(place.span(at, at + 1), "a NUL byte", help));
    }
    if let Some(at) = raw.iter().position(|byte| *byte == b'\r') {
        let help = "end lines with LF or CRLF";
        let message = "a carriage return that does not end a line";
        return Err(Fault::new(place.span(at, at + 1), message, help));
    }
    if raw.len() > MAX_LINE {
        let message = format!("a line of {} bytes; the most is {MAX_LINE}", raw.len());
        let help = "split it: rows, groups and keys may stand on several lines";
        return Err(Fault::new(place.span(MAX_LINE, raw.len()), message, help));
    }
    Ok(())
}

/// `text` without spaces and tabs at its ends, and where it then begins.
pub(super) fn trim(text: &str, place: Place) -> Piece<'_> {
    let from_left = text.trim_start_matches([' ', '\t']);
    let place = place.after(text.len() - from_left.len());
    (from_left.trim_end_matches([' ', '\t']), place)
}

/// The first word of a trimmed `text`, and the trimmed rest.
pub(super) fn word(text: &str, place: Place) -> (Piece<'_>, Piece<'_>) {
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    ((&text[..end], place), trim(&text[end..], place.after(end)))
}

/// The trimmed pieces of `text` between commas.
pub(super) fn list(text: &str, place: Place) -> impl Iterator<Item = Piece<'_>> + Clone {
    let mut start = 0;
    text.split(',').map(move |piece| {
        let at = place.after(start);
        start += piece.len() + 1;
        trim(piece, at)
    })
}
