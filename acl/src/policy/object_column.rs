//! Reads the object column: segments, wildcards and escapes, with a mend for each mistake.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::fault::{Fault, Place};
use super::pattern::{Extent, Part, Pattern, Segment};
use crate::object::{MAX_BYTES, MAX_SEGMENTS, is_invisible};

/// Reads `text`, which stands at `place`; every mistake goes to `faults`.
pub(super) fn parse(text: &str, place: Place, faults: &mut Vec<Fault>) -> Option<Pattern> {
    let mut reader = Reader { text, place, faults, failures: 0 };
    let pattern = reader.pattern();
    (reader.failures == 0).then_some(pattern)
}

/// Most mistakes of one column that are told: each shows the column once more, and who made that
/// many did not mean an object.
const MAX_FAULTS: usize = 16;

/// How the literals of a column without mistakes are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As they are.
    Plain,
    /// Some of them with escapes.
    Escaped,
}

/// Checks `text` as [`parse`] does, and keeps nothing of it. `None` if there is a mistake.
pub(super) fn check(text: &str, place: Place, faults: &mut Vec<Fault>) -> Option<Spelling> {
    if is_plain(text) {
        return Some(Spelling::Plain);
    }
    parse(text, place, faults)?;
    Some(if text.contains('\\') { Spelling::Escaped } else { Spelling::Plain })
}

/// The segments of a column that [`check`] has found without mistakes, and its extent.
pub(super) fn parts(
    text: &str,
    spelling: Spelling,
) -> (impl Iterator<Item = Part<'_>> + Clone, Extent) {
    let (segments, extent) = match text.strip_suffix("**") {
        Some("") => (None, Extent::Below),
        Some(above) if above.ends_with('/') => (above.strip_suffix('/'), Extent::Below),
        _ => (Some(text), Extent::Exact),
    };
    let parts = segments.into_iter().flat_map(|text| text.split('/')).map(move |raw| match raw {
        "*" => Part::Any,
        "{self}" => Part::Caller,
        _ if spelling == Spelling::Plain => Part::Literal(Cow::Borrowed(raw)),
        _ => Part::Literal(unescaped(raw)),
    });
    (parts, extent)
}

fn unescaped(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let place = Place { file: 0, line: 1, offset: 0 };
    let mut reader = Reader { text: raw, place, faults: &mut Vec::new(), failures: 0 };
    Cow::Owned(reader.literal(raw, 0))
}

/// The bytes of which a literal may consist without a closer look.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = !matches!(byte, b'/' | b'|' | b'*' | b'\\' | b'{');
        byte += 1;
    }
    plain
};

/// Whether the column is one of the many that need no closer look: of ASCII and without escapes.
fn is_plain(text: &str) -> bool {
    let mut segments = 0;
    let mut is_below = false;
    let fits = |segment: &[u8]| {
        // Nothing comes after a `**`.
        let goes_on = !is_below;
        segments += 1;
        goes_on
            && match segment {
                b"" | b"." | b".." => false,
                b"*" | b"{self}" => true,
                b"**" => {
                    is_below = true;
                    true
                }
                literal => literal.iter().all(|byte| PLAIN[usize::from(*byte)]),
            }
    };
    text.len() <= MAX_BYTES
        && text.as_bytes().split(|byte| *byte == b'/').all(fits)
        && segments <= MAX_SEGMENTS
}

struct Reader<'t, 'f> {
    text: &'t str,
    place: Place,
    faults: &'f mut Vec<Fault>,
    failures: usize,
}

impl<'t> Reader<'t, '_> {
    fn pattern(&mut self) -> Pattern {
        let mut segments = Vec::new();
        let mut extent = Extent::Exact;
        let mut start = 0;
        let mut dots = false;
        let count = self.text.split('/').count();
        for (at, raw) in self.text.split('/').enumerate() {
            let end = start + raw.len();
            match raw {
                "" => self.empty_segment(start),
                // One mend straightens the whole path, so the first one speaks for all.
                "." | ".." if dots => {}
                "." | ".." => {
                    dots = true;
                    self.dots(start, raw);
                }
                "**" if at + 1 == count => extent = Extent::Below,
                "**" => self.fault(
                    start,
                    end,
                    "`**` stands only at the end of an object",
                    format!("end with it: `{}`", self.text[..end].trim_start_matches('/')),
                ),
                "*" => segments.push(Segment::Any),
                "{self}" => segments.push(Segment::Caller),
                _ => {
                    let literal = self.literal(raw, start);
                    segments.push(Segment::Literal(literal.into()));
                }
            }
            start = end + 1;
        }
        self.check_size(&segments);
        Pattern { segments, extent }
    }

    fn literal(&mut self, raw: &'t str, start: usize) -> String {
        let mut out = String::with_capacity(raw.len());
        let mut chars = raw.char_indices().peekable();
        let mut partial = false;
        while let Some((at, c)) = chars.next() {
            let here = start + at;
            match c {
                '\\' => {
                    let rest = &raw[at + 1..];
                    let used = self.escape(rest, here, &mut out);
                    while chars.peek().is_some_and(|(next, _)| *next < at + 1 + used) {
                        chars.next();
                    }
                }
                '*' | '{' if partial => {}
                '*' => {
                    partial = true;
                    self.partial_glob(raw, at, here);
                }
                '{' => {
                    partial = true;
                    self.fault(
                        here,
                        here + 1,
                        "`{` begins `{self}`, which is a whole segment",
                        "write `{self}` between slashes, or `\\{` for a literal brace".into(),
                    );
                }
                '|' => self.fault(here, here + 1, "a bare `|` in an object", "write `\\|`".into()),
                c if c.is_control() || is_invisible(c) => self.unseen(c, here),
                c => out.push(c),
            }
        }
        if !is_nfc(&out) {
            let mend: String = raw.nfc().collect();
            self.fault(
                start,
                start + raw.len(),
                "this name is not in Unicode normalisation form C, so no request can match it",
                format!("write `{mend}` with composed characters"),
            );
        }
        if out == "." || out == ".." {
            self.dots(start, raw);
        }
        out
    }

    /// Reads what follows a backslash; returns how many bytes that was.
    fn escape(&mut self, rest: &str, here: usize, out: &mut String) -> usize {
        match rest.chars().next() {
            Some(c @ ('|' | '*' | '\\' | '{')) => {
                out.push(c);
                1
            }
            Some('u') => self.unicode_escape(rest, here, out),
            Some(c) => {
                self.fault(
                    here,
                    here + 1 + c.len_utf8(),
                    "unknown escape",
                    "the escapes are `\\|`, `\\*`, `\\\\`, `\\{` and `\\u{hex}`".into(),
                );
                c.len_utf8()
            }
            None => {
                self.fault(
                    here,
                    here + 1,
                    "a backslash with nothing to escape",
                    "remove it, or write `\\\\` for a literal backslash".into(),
                );
                0
            }
        }
    }

    fn unicode_escape(&mut self, rest: &str, here: usize, out: &mut String) -> usize {
        let body = rest.strip_prefix("u{").and_then(|body| body.split_once('}'));
        let Some((hex, _)) = body else {
            self.fault(here, here + 2, "an unfinished escape", "write `\\u{e9}`".into());
            return 1;
        };
        let used = hex.len() + 3;
        let digits = (1..=6).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit());
        let value = u32::from_str_radix(hex, 16).ok().filter(|_| digits).and_then(char::from_u32);
        match value {
            Some('/') => self.fault(
                here,
                here + 1 + used,
                "an escape must not give `/`",
                "write the `/` itself: it always separates segments".into(),
            ),
            Some(c) if c.is_control() => self.fault(
                here,
                here + 1 + used,
                "an escape must not give a control character",
                "no request can carry one: remove it".into(),
            ),
            Some(c) => out.push(c),
            None => self.fault(
                here,
                here + 1 + used,
                "this is not the number of a character",
                "1 to 6 hexadecimal digits: `\\u{e9}`".into(),
            ),
        }
        used
    }

    fn check_size(&mut self, segments: &[Segment]) {
        let bytes: usize = segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => text.len() + 1,
                Segment::Any | Segment::Caller => 2,
            })
            .sum();
        if segments.len() > MAX_SEGMENTS {
            let message = format!("{} segments; the most is {MAX_SEGMENTS}", segments.len());
            self.fault(0, self.text.len(), &message, "no request can be that deep: shorten".into());
        } else if bytes > MAX_BYTES + 1 {
            let message = format!("an object of more than {MAX_BYTES} bytes");
            self.fault(0, self.text.len(), &message, "no request can be that long: shorten".into());
        }
    }

    fn empty_segment(&mut self, start: usize) {
        let mend: Vec<_> = self.text.split('/').filter(|segment| !segment.is_empty()).collect();
        let help = if mend.is_empty() {
            "name an object, or `**` for everything".to_owned()
        } else {
            format!("write `{}`", mend.join("/"))
        };
        self.fault(start, start + 1, "an empty segment, or a leading or trailing `/`", help);
    }

    fn dots(&mut self, start: usize, raw: &str) {
        let mut path: Vec<&str> = Vec::new();
        for segment in self.text.split('/') {
            match segment {
                "." | "" => {}
                ".." => {
                    path.pop();
                }
                segment => path.push(segment),
            }
        }
        let help = if path.is_empty() {
            "name the object itself".to_owned()
        } else {
            format!("write `{}`", path.join("/"))
        };
        self.fault(start, start + raw.len(), &format!("`{raw}` is not allowed"), help);
    }

    fn partial_glob(&mut self, raw: &str, at: usize, here: usize) {
        let before = self.text[..here - at].to_owned() + &raw[..at];
        let whole = if at == 0 { format!("{before}*") } else { format!("{before}/*") };
        self.fault(
            here,
            here + 1,
            "a wildcard is a whole segment",
            format!("write `{whole}`, or `\\*` for a literal star"),
        );
    }

    fn unseen(&mut self, c: char, here: usize) {
        let what = if c.is_control() { "a control character" } else { "an invisible character" };
        self.fault(
            here,
            here + c.len_utf8(),
            &format!("U+{:04X}, {what}, in an object", u32::from(c)),
            "remove it: no request can carry it".into(),
        );
    }

    fn fault(&mut self, start: usize, end: usize, message: &str, help: String) {
        self.failures += 1;
        if self.failures <= MAX_FAULTS {
            self.faults.push(Fault::new(self.place.span(start, end), message, help));
        }
    }
}
