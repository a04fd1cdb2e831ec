//! Reads a file line by line: blank, comment, directive or row.

use super::directive_line::{self, KEYWORDS};
use super::fault::{Fault, Place};
use super::lines::{self, Line, trim, word};
use super::row_line::{self, Columns};
use super::suggest::nearest;
use super::syntax::Syntax;

/// What a file may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// Everything.
    Policy,
    /// `principal` lines and comments.
    PrincipalsOnly,
}

/// Reads the file numbered `file` into `syntax`; every mistake goes to `faults`.
pub(super) fn read<'a>(
    text: &'a [u8],
    file: u8,
    contents: Contents,
    syntax: &mut Syntax<'a>,
    faults: &mut Vec<Fault>,
) {
    lines::each(text, file, faults, |line, faults| read_line(line, contents, syntax, faults));
}

fn read_line<'a>(
    line: Line<'a>,
    contents: Contents,
    syntax: &mut Syntax<'a>,
    faults: &mut Vec<Fault>,
) {
    let (text, place) = trim(line.text, line.place);
    if text.is_empty() {
        return;
    }
    if text.starts_with('#') {
        return check_comment(text, place, faults);
    }
    let ((first, _), rest) = word(text, place);
    // `never | a | b | deny` is a row of a principal called `never`.
    let directive = KEYWORDS.contains(&first) && !rest.0.starts_with('|');
    if contents == Contents::PrincipalsOnly && !(directive && first == "principal") {
        let help = "write `principal name = ed25519:<64 hex digits>`; the rest is the policy's";
        let message = "a file of principals holds `principal` lines only";
        faults.push(Fault::new(place.span(0, first.len()), message, help));
    } else if directive {
        directive_line::parse(line, first, rest, syntax, faults);
    } else {
        let columns = Columns::cut(line);
        if columns.are_one() {
            faults.push(neither(text, first, place));
            return;
        }
        let (comment, at) = columns.comment();
        check_comment(comment, at, faults);
        syntax.rows.push(row_line::parse(&columns, faults));
    }
}

/// A comment may say anything that a reader can see; marks that reorder text could make a row look
/// like a comment, or a comment like a row (CVE-2021-42574).
fn check_comment(text: &str, place: Place, faults: &mut Vec<Fault>) {
    let hides = |c: char| {
        (c.is_control() && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if let Some((at, c)) = text.char_indices().find(|(_, c)| hides(*c)) {
        let message = format!("U+{:04X} in a comment can hide what the line says", u32::from(c));
        faults.push(Fault::new(place.span(at, at + c.len_utf8()), message, "remove it"));
    }
}

fn neither(text: &str, first: &str, place: Place) -> Fault {
    let span = place.span(0, text.len());
    if text.contains("\",\"") || text.starts_with('"') || text.matches(',').count() >= 3 {
        let fields: Vec<_> =
            text.split(',').map(|field| field.trim().trim_matches(['"', '\''])).collect();
        return Fault::new(
            span,
            "quotes and commas are not used",
            format!("write `{}`", fields.join(" | ")),
        );
    }
    let words: Vec<_> = text.split_whitespace().collect();
    if let Some(keyword) = nearest(first, KEYWORDS) {
        let message = format!("unknown directive `{first}`");
        return Fault::new(
            place.span(0, first.len()),
            message,
            format!("did you mean `{keyword}`?"),
        );
    }
    if words.len() == 4 {
        let help = format!("write `{}`", words.join(" | "));
        return Fault::new(span, "columns are separated by `|`", help);
    }
    Fault::new(
        place.span(0, first.len()),
        format!("`{first}` is neither a directive nor a row"),
        "a row is `principal | object | verbs | effect`; the directives are \
         acl, serial, principal, group, expect and never",
    )
}
