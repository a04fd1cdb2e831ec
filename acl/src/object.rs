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
    if name.len() > MAX_BYTES {
        return Err(BadObject::TooLong);
    }
    let mut segments = 0;
    for segment in name.split('/') {
        segments += 1;
        if segments > MAX_SEGMENTS {
            return Err(BadObject::TooManySegments);
        }
        check_segment(segment)?;
    }
    Ok(())
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
    match segment {
        "" => return Err(BadObject::Empty),
        "." | ".." => return Err(BadObject::Dots),
        _ => {}
    }
    // Nearly every name is plain ASCII, which is NFC by definition and has no invisible marks.
    let mut plain = true;
    for byte in segment.bytes() {
        match byte {
            b'/' => return Err(BadObject::Slash),
            b'\\' => return Err(BadObject::Backslash),
            0..0x20 | 0x7f => return Err(BadObject::Control),
            0x80.. => plain = false,
            _ => {}
        }
    }
    if plain { Ok(()) } else { check_unicode(segment) }
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
