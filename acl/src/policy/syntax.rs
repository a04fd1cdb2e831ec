//! What the lines of a file say, before anyone asks whether it makes sense.
//!
//! A part that could not be read is `None` or left out: its mistake is on record and refuses the
//! file, while the parts beside it are still checked, so that one run shows every mistake.

use super::decision::Effect;
use super::fault::{Place, Span};
use super::pattern::Pattern;
use super::row::Row;

/// The content of a file's well-formed lines.
#[derive(Debug, Default)]
pub(super) struct Syntax<'a> {
    pub(super) rows: Vec<Row<'a>>,
    pub(super) keys: Vec<KeyLine<'a>>,
    pub(super) groups: Vec<GroupLine<'a>>,
    pub(super) expects: Vec<ExpectLine<'a>>,
    pub(super) nevers: Vec<NeverLine<'a>>,
    pub(super) version: Option<Span>,
    pub(super) serial: Option<(u64, Span)>,
}

/// A name and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub(super) text: &'a str,
    pub(super) span: Span,
}

/// Whom a row speaks of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who<'a> {
    Everyone,
    Group(Name<'a>),
    Principal(Name<'a>),
}

/// `principal name = key, key`
#[derive(Clone, Debug)]
pub(super) struct KeyLine<'a> {
    pub(super) name: Name<'a>,
    pub(super) keys: Vec<([u8; 32], Span)>,
}

/// `group @name = member, member`
#[derive(Clone, Debug)]
pub(super) struct GroupLine<'a> {
    pub(super) name: Option<Name<'a>>,
    pub(super) members: Vec<Who<'a>>,
}

/// `expect effect name verb object`
#[derive(Clone, Debug)]
pub(super) struct ExpectLine<'a> {
    pub(super) effect: Option<Effect>,
    pub(super) principal: Option<Name<'a>>,
    pub(super) verb: Option<Name<'a>>,
    /// A literal object.
    pub(super) object: Option<Pattern>,
    pub(super) object_span: Span,
    pub(super) span: Span,
}

/// `never row-without-effect [except member-list]`
#[derive(Clone, Debug)]
pub(super) struct NeverLine<'a> {
    pub(super) row: Row<'a>,
    pub(super) except: Vec<Who<'a>>,
}

impl<'a> Name<'a> {
    pub(super) const fn new(text: &'a str, place: Place) -> Self {
        Self { text, span: place.span(0, text.len()) }
    }
}
