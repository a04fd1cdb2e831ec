//! A row, kept as its line and where its columns lie in it.
//!
//! What the columns say is read again whenever it is asked for, which is cheap since they are known
//! to be well formed: a million rows take 40 bytes each and no allocation.

use super::decision::Effect;
use super::fault::{Fault, Place, Span};
use super::lines::{Line, Piece, list};
use super::names::{self, Kind, is_name};
use super::object_column::{self, Spelling};
use super::pattern::{Extent, Part, Pattern};
use super::row_line::member;
use super::syntax::{Name, Who};

/// `principal | object | verbs | effect`, and the row of a `never`, whose effect is the one that
/// must not be. A column that could not be read says nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    text: &'a str,
    line: u32,
    file: u8,
    who: Whom,
    object: Option<Spelling>,
    verbs: Listing,
    pub(super) effect: Option<Effect>,
    who_column: Column,
    object_column: Column,
    verbs_column: Column,
}

/// Where a column begins and ends in its line, in bytes; a line has [`MAX_LINE`] at most.
///
/// [`MAX_LINE`]: super::MAX_LINE
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    start: u16,
    end: u16,
}

/// What the first column says.
#[derive(Clone, Copy, Debug)]
enum Whom {
    Unread,
    Everyone,
    Someone,
}

/// What the third column says.
#[derive(Clone, Copy, Debug)]
enum Listing {
    Every,
    /// Some, none of which is wrong.
    Names,
    /// Some; those that are no names are left out.
    Faulty,
    Unread,
}

/// Which verbs a row speaks of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verbs<'a> {
    Every,
    Listed(VerbList<'a>),
}

/// Verbs by name.
#[derive(Clone, Copy, Debug)]
pub(super) struct VerbList<'a> {
    text: &'a str,
    place: Place,
    listing: Listing,
}

impl<'a> Row<'a> {
    /// The row on `line`, of which nothing has been read.
    pub(super) fn of(line: Line<'a>, who: Piece<'a>, object: Piece<'a>) -> Self {
        Self {
            text: line.text,
            line: line.place.line,
            file: line.place.file,
            who: Whom::Unread,
            object: None,
            verbs: Listing::Unread,
            effect: None,
            who_column: Column::of(who),
            object_column: Column::of(object),
            verbs_column: Column::default(),
        }
    }

    /// Reads `*`, `@group` or a principal's name; every mistake goes to `faults`.
    pub(super) fn read_who(&mut self, faults: &mut Vec<Fault>) {
        let column = self.piece(self.who_column);
        self.who = match column.0 {
            "*" => Whom::Everyone,
            _ if member(column, faults).is_some() => Whom::Someone,
            _ => Whom::Unread,
        };
    }

    /// Reads the object column.
    pub(super) fn read_object(&mut self, faults: &mut Vec<Fault>) {
        let (text, place) = self.piece(self.object_column);
        self.object = object_column::check(text, place, faults);
    }

    /// Reads `*` or a list of verbs.
    pub(super) fn read_verbs(&mut self, column: Piece<'a>, faults: &mut Vec<Fault>) {
        self.verbs_column = Column::of(column);
        if column.0 == "*" {
            self.verbs = Listing::Every;
            return;
        }
        self.verbs = Listing::Names;
        for (verb, place) in list(column.0, column.1) {
            if verb == "*" {
                let help = "write `*` alone for every verb, or name them";
                faults.push(Fault::new(place.span(0, 1), "`*` in a list of verbs", help));
                self.verbs = Listing::Faulty;
            } else if !names::check(verb, Kind::Verb, place, faults) {
                self.verbs = Listing::Faulty;
            }
        }
    }

    /// The line's number; 1 is the first.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// The whole line's text.
    pub(super) fn span(&self) -> Span {
        self.start().span(0, self.text.trim_end().len())
    }

    /// Whom the row speaks of.
    pub(super) fn who(&self) -> Option<Who<'a>> {
        let (text, place) = self.piece(self.who_column);
        match self.who {
            Whom::Unread => None,
            Whom::Everyone => Some(Who::Everyone),
            Whom::Someone if text.starts_with('@') => Some(Who::Group(Name::new(text, place))),
            Whom::Someone => Some(Who::Principal(Name::new(text, place))),
        }
    }

    /// Where the object stands.
    pub(super) fn object_span(&self) -> Span {
        let (text, place) = self.piece(self.object_column);
        place.span(0, text.len())
    }

    /// The segments of the object, and its extent.
    pub(super) fn object(
        &self,
    ) -> Option<(impl Iterator<Item = Part<'a>> + Clone + use<'a>, Extent)> {
        let spelling = self.object?;
        let (text, _) = self.piece(self.object_column);
        Some(object_column::parts(text, spelling))
    }

    /// The object as a value of its own.
    pub(super) fn pattern(&self) -> Option<Pattern> {
        let (parts, extent) = self.object()?;
        Some(Pattern { segments: parts.map(Into::into).collect(), extent })
    }

    /// Whether no request can name an object of this row.
    pub(super) fn is_dead(&self) -> bool {
        // Only an escape can spell what a request may not.
        matches!(self.object, Some(Spelling::Escaped))
            && self.pattern().is_some_and(|pattern| pattern.is_dead())
    }

    /// The verbs it speaks of.
    pub(super) fn verbs(&self) -> Verbs<'a> {
        let (text, place) = self.piece(self.verbs_column);
        match self.verbs {
            Listing::Every => Verbs::Every,
            listing => Verbs::Listed(VerbList { text, place, listing }),
        }
    }

    fn start(&self) -> Place {
        Place { file: self.file, line: self.line, offset: 0 }
    }

    fn piece(&self, column: Column) -> Piece<'a> {
        let (start, end) = (usize::from(column.start), usize::from(column.end));
        (&self.text[start..end], self.start().after(start))
    }
}

impl Column {
    fn of((text, place): Piece<'_>) -> Self {
        let byte = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        Self { start: byte(place.offset), end: byte(place.offset + text.len()) }
    }
}

impl<'a> VerbList<'a> {
    /// The verbs, in their order.
    pub(super) fn iter(self) -> impl Iterator<Item = Name<'a>> + Clone {
        let text = if matches!(self.listing, Listing::Unread) { None } else { Some(self.text) };
        let names = text.into_iter().flat_map(move |text| list(text, self.place));
        let faulty = matches!(self.listing, Listing::Faulty);
        names
            .filter(move |(verb, _)| !faulty || is_name(verb))
            .map(|(verb, place)| Name::new(verb, place))
    }
}
