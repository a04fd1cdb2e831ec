//! Reads a row: `principal | object | verbs | effect # comment`.

use smallvec::SmallVec;

use super::decision::Effect;
use super::fault::Fault;
use super::lines::{Line, Piece, trim, word};
use super::names::{self, Kind};
use super::row::Row;
use super::suggest::nearest;
use super::syntax::{Name, Who};

/// Reads the row that was cut into `columns`, as far as it goes; every mistake goes to `faults`.
pub(super) fn parse<'a>(columns: &Columns<'a>, faults: &mut Vec<Fault>) -> Row<'a> {
    let miscounted = columns.miscounted();
    let object = columns.column(1);
    let mut row = Row::of(columns.line, columns.column(0), object);
    row.read_who(faults);
    // With too many columns nobody can say which is which.
    if let Some(fault) = miscounted {
        if columns.separators.len() == 2 {
            row.read_object(faults);
        }
        faults.push(fault);
    } else {
        row.read_object(faults);
        row.read_verbs(columns.column(2), faults);
        row.effect = parse_effect(columns.column(3), faults);
    }
    row
}

/// The bytes of `text` where a `|` separates columns. After the third one, a `#` begins a comment.
pub(super) fn separators(text: &str) -> (Separators, usize) {
    let mut found = Separators::new();
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'|' => found.push(at),
            b'#' if found.len() >= 3 => return (found, at),
            _ => {}
        }
    }
    (found, text.len())
}

/// Reads `@group` or a principal's name.
pub(super) fn member<'a>((text, place): Piece<'a>, faults: &mut Vec<Fault>) -> Option<Who<'a>> {
    match text.strip_prefix('@') {
        Some(group) => names::check(group, Kind::Group, place.after(1), faults)
            .then(|| Who::Group(Name::new(text, place))),
        None => names::check(text, Kind::Principal, place, faults)
            .then(|| Who::Principal(Name::new(text, place))),
    }
}

/// Reads `allow` or `deny`, and nothing more.
pub(super) fn parse_effect((text, place): Piece<'_>, faults: &mut Vec<Fault>) -> Option<Effect> {
    let fault = match text {
        "allow" => return Some(Effect::Allow),
        "deny" => return Some(Effect::Deny),
        "" => Fault::new(place.span(0, 1), "the effect is missing", "write `allow` or `deny`"),
        _ => {
            let ((first, _), (rest, after)) = word(text, place);
            let known = matches!(first, "allow" | "deny");
            if known && rest.split([' ', '\t']).next() == Some("if") {
                let help = "remove the condition: version 1 has none";
                Fault::new(after.span(0, rest.len()), "`if` is reserved", help)
            } else if known {
                let help = "begin a comment with `#`";
                Fault::new(after.span(0, rest.len()), "the effect must be one word", help)
            } else {
                let lower = text.to_lowercase();
                let help = match nearest(&lower, ["allow", "deny"]) {
                    Some(effect) => format!("write `{effect}`"),
                    None => "write `allow` or `deny`".to_owned(),
                };
                Fault::new(place.span(0, text.len()), format!("unknown effect `{text}`"), help)
            }
        }
    };
    faults.push(fault);
    None
}

/// Where the separators are; a row has three.
type Separators = SmallVec<[usize; 4]>;

/// A line, cut at its separators.
pub(super) struct Columns<'a> {
    line: Line<'a>,
    separators: Separators,
    /// Where the comment begins, or the line's end.
    end: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn cut(line: Line<'a>) -> Self {
        let (separators, end) = separators(line.text);
        Self { line, separators, end }
    }

    /// Whether there is no separator.
    pub(super) fn are_one(&self) -> bool {
        self.separators.is_empty()
    }

    /// What stands behind the columns, with its `#`.
    pub(super) fn comment(&self) -> Piece<'a> {
        (&self.line.text[self.end..], self.line.place.after(self.end))
    }

    /// The column between the separators `at - 1` and `at`; empty if there is none.
    fn column(&self, at: usize) -> Piece<'a> {
        let before = at.checked_sub(1).map(|before| self.separators.get(before));
        let start = match before {
            None => 0,
            Some(Some(separator)) => separator + 1,
            Some(None) => self.end,
        };
        let end = self.separators.get(at).copied().unwrap_or(self.end);
        trim(&self.line.text[start..end], self.line.place.after(start))
    }

    fn miscounted(&self) -> Option<Fault> {
        let found = self.separators.len() + 1;
        match found {
            4 => None,
            ..4 => Some(self.too_few(found)),
            _ => Some(self.too_many(found)),
        }
    }

    fn too_few(&self, found: usize) -> Fault {
        let end = self.line.text.trim_end_matches([' ', '\t']).len();
        let last = self.column(found - 1).0;
        let help = match (found, last) {
            (3, "allow" | "deny") => "add the verbs: `principal | object | verbs | effect`",
            (3, _) => "append `| allow` or `| deny`",
            _ => "a row is `principal | object | verbs | effect`",
        };
        let message = format!("4 columns expected, {found} found");
        Fault::new(self.line.place.span(end, end + 1), message, help)
    }

    fn too_many(&self, found: usize) -> Fault {
        let fifth = self.column(4);
        if found == 5 && fifth.0.split([' ', '\t']).next() == Some("if") {
            let help = "remove the column: version 1 has no conditions";
            return Fault::new(
                fifth.1.span(0, fifth.0.len()),
                "a fifth column `if` is reserved",
                help,
            );
        }
        let bytes = self.line.text.as_bytes();
        let is_space = |at: Option<&u8>| at.is_none_or(|byte| matches!(byte, b' ' | b'\t'));
        let tight = self.separators.iter().position(|at| {
            !is_space(at.checked_sub(1).and_then(|before| bytes.get(before)))
                && !is_space(bytes.get(at + 1))
        });
        let Some(tight) = tight else {
            let at = self.separators[3];
            let help = "a row is `principal | object | verbs | effect # comment`";
            let message = format!("{found} columns; a row has 4");
            return Fault::new(self.line.place.span(at, at + 1), message, help);
        };
        let at = self.separators[tight];
        let (left, right) = (self.column(tight).0, self.column(tight + 1).0);
        if tight == 2 {
            let help = format!("separate verbs with commas: `{left},{right}`");
            let message = format!("{found} columns; a row has 4");
            return Fault::new(self.line.place.span(at, at + 1), message, help);
        }
        let message = format!("{found} columns; is this `|` part of a name?");
        let help = format!("write `{left}\\|{right}`");
        Fault::new(self.line.place.span(at, at + 1), message, help)
    }
}
