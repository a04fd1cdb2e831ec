//! `acl fmt`: the same file with its columns lined up.
//!
//! Only white space changes, and commas in lists are spelt one way. Comments, blank lines and the
//! order stay, but for blank lines at the ends and after one another.

use crate::policy::directive_line::{KEYWORDS, split_except};
use crate::policy::fault::Place;
use crate::policy::lines::{MAX_LINE, list, trim, word};
use crate::policy::row_line::separators;
use crate::policy::{LoadOptions, Policy, PolicyErrors, Source};

/// Cells wider than this many characters do not push those of the other rows out.
const MAX_WIDTH: usize = 40;

/// The policy file with its columns lined up, to be read as the same policy. A second time it
/// changes nothing. Lines end with LF.
///
/// # Errors
///
/// As [`Policy::load`]: a file with errors is left to its author.
pub fn format(source: Source<'_>, options: &LoadOptions<'_>) -> Result<String, PolicyErrors> {
    Policy::load(source, options)?;
    // What loads is UTF-8.
    let text = String::from_utf8_lossy(source.text);
    let lines: Vec<_> = text.split('\n').map(Line::of).collect();
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    let is_apart = |line: &Line<'_>| matches!(line, Line::Blank | Line::Directive { .. });
    for block in lines.chunk_by(|a, b| !is_apart(a) && !is_apart(b)) {
        if matches!(block, [Line::Blank]) {
            blank = !out.is_empty();
            continue;
        }
        if std::mem::take(&mut blank) {
            out.push('\n');
        }
        let widths = Widths::of(block);
        for line in block {
            out.push_str(&line.spelt(&widths));
            out.push('\n');
        }
    }
    Ok(out)
}

enum Line<'a> {
    Blank,
    Comment(&'a str),
    Directive { raw: &'a str, neat: String },
    Row { raw: &'a str, cells: [String; 4], comment: &'a str },
}

/// How wide the columns of some rows are.
#[derive(Default)]
struct Widths([usize; 4]);

impl<'a> Line<'a> {
    fn of(raw: &'a str) -> Self {
        let start = Place { file: 0, line: 1, offset: 0 };
        let (text, place) = trim(raw.strip_suffix('\r').unwrap_or(raw), start);
        if text.is_empty() {
            return Self::Blank;
        }
        if text.starts_with('#') {
            return Self::Comment(text);
        }
        let ((first, _), (rest, _)) = word(text, place);
        if KEYWORDS.contains(&first) && !rest.starts_with('|') {
            return Self::Directive { raw: text, neat: directive(first, rest) };
        }
        let (cuts, end) = separators(text);
        let [one, two, three] = cuts[..] else {
            return Self::Directive { raw: text, neat: text.to_owned() };
        };
        let column = |from: usize, to: usize| trim(&text[from..to], start).0.to_owned();
        let cells = [
            column(0, one),
            column(one + 1, two),
            listed(&text[two + 1..three], ","),
            column(three + 1, end),
        ];
        Self::Row { raw: text, cells, comment: &text[end..] }
    }

    fn spelt(&self, widths: &Widths) -> String {
        let (raw, neat) = match self {
            Self::Blank => return String::new(),
            Self::Comment(text) => return (*text).to_owned(),
            Self::Directive { raw, neat } => (*raw, neat.clone()),
            Self::Row { raw, cells, comment } => (*raw, row(cells, comment, widths)),
        };
        // A line may be full already, with no room for what we would add.
        if neat.len() <= MAX_LINE { neat } else { raw.to_owned() }
    }
}

impl Widths {
    fn of(block: &[Line<'_>]) -> Self {
        let mut widths = Self::default();
        for line in block {
            let Line::Row { cells, .. } = line else { continue };
            for (width, cell) in widths.0.iter_mut().zip(cells) {
                let ours = cell.chars().count();
                *width = (*width).max(if ours <= MAX_WIDTH { ours } else { 0 });
            }
        }
        widths
    }
}

fn row([who, object, verbs, effect]: &[String; 4], comment: &str, widths: &Widths) -> String {
    let Widths([first, second, third, fourth]) = *widths;
    let columns = format!("{who:<first$} | {object:<second$} | {verbs:<third$} | ");
    if comment.is_empty() {
        return format!("{columns}{effect}");
    }
    format!("{columns}{effect:<fourth$}  {comment}")
}

fn directive(keyword: &str, rest: &str) -> String {
    let start = Place { file: 0, line: 1, offset: 0 };
    match keyword {
        "principal" | "group" => match rest.split_once('=') {
            Some((name, items)) => {
                format!("{keyword} {} = {}", trim(name, start).0, listed(items, ", "))
            }
            None => format!("{keyword} {rest}"),
        },
        "expect" => {
            let ((effect, _), (rest, _)) = word(rest, start);
            let ((name, _), (rest, _)) = word(rest, start);
            let ((verb, _), (object, _)) = word(rest, start);
            format!("expect {effect} {name} {verb} {object}")
        }
        "never" => match separators(rest).0[..] {
            [one, two] => {
                let (who, object) =
                    (trim(&rest[..one], start).0, trim(&rest[one + 1..two], start).0);
                let ((verbs, _), except) = split_except(trim(&rest[two + 1..], start));
                let except = except.map_or_else(String::new, |(names, _)| {
                    format!(" except {}", listed(names, ", "))
                });
                format!("never {who} | {object} | {}{except}", listed(verbs, ","))
            }
            _ => format!("never {rest}"),
        },
        _ => format!("{keyword} {rest}"),
    }
}

/// The items between commas, with this between them.
fn listed(items: &str, between: &str) -> String {
    let start = Place { file: 0, line: 1, offset: 0 };
    list(items, start).map(|(item, _)| item).collect::<Vec<_>>().join(between)
}
