//! Canonical names of objects: what is not canonical is refused, never rewritten.
//!
//! Rewriting a name before the check is how two readers come to disagree about which object was
//! meant (CVE-2021-31920, CVE-2021-39155, CVE-2021-39156), so this module only says yes or no.

use thiserror::Error;
use unicode_normalization::is_nfc;

/// Most segments of an object's name.
pub const MAX_SEGMENTS: usize = 32;

/// Most bytes of an object's name.
pub const MAX_BYTES: usize = 1_024;

/// Why the name of an object is not canonical; the caller must send another name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadObject {
    /// The name, or one of its segments, is empty: this includes a leading or a trailing `/`.
    #[error("an empty segment, or a leading or trailing `/`")]
    Empty,
    /// A segment is `.` or `..`.
    #[error("`.` and `..` are not allowed as segments")]
    Dots,
    /// A control character, C0, DEL or C1.
    #[error("a control character")]
    Control,
    /// A bidirectional mark or a character without width: it can make two names look alike.
    #[error("a bidirectional or zero-width mark")]
    Invisible,
    /// A backslash, which other systems read as `/`.
    #[error("a backslash")]
    Backslash,
    /// A `/` inside what must be one segment.
    #[error("a `/` inside one segment")]
    Slash,
    /// Not in Unicode normalisation form C (UAX #15).
    #[error("not in Unicode normalisation form C (NFC)")]
    NotNfc,
    /// More than [`MAX_SEGMENTS`] segments.
    #[error("more than {MAX_SEGMENTS} segments")]
    TooManySegments,
    /// More than [`MAX_BYTES`] bytes.
    #[error("more than {MAX_BYTES} bytes")]
    TooLong,
}

/// Checks the literal name of an object in a request.
///
/// `*`, `{` and `|` are ordinary characters here: wildcards live in rows only.
///
/// # Errors
///
/// The first reason, from the left, for which the name is not canonical.
pub fn check(name: &str) -> Result<(), BadObject> {
    each_segment(name, |_| ())
}

/// Checks a name as [`check`] does, and hands over its segments on the way, at most
/// [`MAX_SEGMENTS`]. What was handed over counts only if the whole name turns out canonical.
///
/// One pass for both, so that the check and the look-up cannot cut a name differently.
#[inline]
pub(crate) fn each_segment<'n>(
    name: &'n str,
    mut each: impl FnMut(&'n str),
) -> Result<(), BadObject> {
    if name.len() > MAX_BYTES {
        return Err(BadObject::TooLong);
    }
    let mut rest = name;
    for _ in 0..MAX_SEGMENTS {
        let (length, letters) = scan(rest)?;
        let segment = &rest[..length];
        check_scanned(segment, letters)?;
        each(segment);
        match rest.get(length + 1..) {
            Some(below) => rest = below,
            None => return Ok(()),
        }
    }
    Err(BadObject::TooManySegments)
}

/// Checks one segment of an object's name, such as an argument that fills one.
///
/// # Errors
///
/// The reason for which the segment is not canonical; [`BadObject::Slash`] if it is several.
pub fn check_segment(segment: &str) -> Result<(), BadObject> {
    if segment.len() > MAX_BYTES {
        return Err(BadObject::TooLong);
    }
    let (length, letters) = scan(segment)?;
    if length < segment.len() {
        return Err(BadObject::Slash);
    }
    check_scanned(segment, letters)
}

/// Whether `c` is a bidirectional mark or has no width, so that a reader cannot see it.
#[must_use]
pub const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Which characters were met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Letters {
    /// ASCII, which is NFC by definition and has no invisible marks. Nearly every name is.
    Plain,
    /// Others too.
    Unicode,
}

/// Whether a byte is an ordinary character: ASCII without a meaning here.
const ORDINARY: [bool; 256] = {
    let mut ordinary = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        ordinary[byte] = byte != b'/' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    ordinary
};

/// The length of what lies before the first `/`, and which characters it has.
#[inline]
fn scan(text: &str) -> Result<(usize, Letters), BadObject> {
    let mut letters = Letters::Plain;
    for (at, byte) in text.bytes().enumerate() {
        if ORDINARY[usize::from(byte)] {
            continue;
        }
        match byte {
            b'/' => return Ok((at, letters)),
            b'\\' => return Err(BadObject::Backslash),
            0x80.. => letters = Letters::Unicode,
            _ => return Err(BadObject::Control),
        }
    }
    Ok((text.len(), letters))
}

#[inline]
fn check_scanned(segment: &str, letters: Letters) -> Result<(), BadObject> {
    match (segment.as_bytes(), letters) {
        ([], _) => Err(BadObject::Empty),
        ([b'.'] | [b'.', b'.'], _) => Err(BadObject::Dots),
        (_, Letters::Plain) => Ok(()),
        (_, Letters::Unicode) => check_unicode(segment),
    }
}

fn check_unicode(segment: &str) -> Result<(), BadObject> {
    for c in segment.chars() {
        if c.is_control() {
            return Err(BadObject::Control);
        }
        if is_invisible(c) {
            return Err(BadObject::Invisible);
        }
    }
    if is_nfc(segment) { Ok(()) } else { Err(BadObject::NotNfc) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_ordinary_characters_in_a_request() {
        for name in ["*", "**", "a/*", "{self}", "a|b", "exam.txt", "a b/c", "é/ß", "..."] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_are_not_canonical_are_refused_with_their_reason() {
        let cases = [
            ("", BadObject::Empty),
            ("/a", BadObject::Empty),
            ("a/", BadObject::Empty),
            ("a//b", BadObject::Empty),
            ("a/./b", BadObject::Dots),
            ("..", BadObject::Dots),
            ("a\\b", BadObject::Backslash),
            ("a\nb", BadObject::Control),
            ("a\u{7f}", BadObject::Control),
            ("a\u{85}", BadObject::Control),
            ("a\u{202e}b", BadObject::Invisible),
            ("a\u{200b}", BadObject::Invisible),
            ("e\u{301}", BadObject::NotNfc),
        ];
        for (name, reason) in cases {
            assert_eq!(check(name), Err(reason), "{name:?}");
        }
        assert_eq!(check(&["a"; 32].join("/")), Ok(()));
        assert_eq!(check(&["a"; 33].join("/")), Err(BadObject::TooManySegments));
        assert_eq!(check(&"a".repeat(1_024)), Ok(()));
        assert_eq!(check(&"a".repeat(1_025)), Err(BadObject::TooLong));
        assert_eq!(check_segment("a/b"), Err(BadObject::Slash));
    }
}
