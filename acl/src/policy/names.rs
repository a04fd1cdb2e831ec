//! Names of principals, groups and verbs, and what to say about those that are not.

use super::fault::{Fault, Place};
use super::suggest::look_alike;
use std::fmt;
use std::sync::Arc;

/// Most bytes of a name.
pub const MAX_NAME: usize = 63;

/// The name of a principal; cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Principal(Arc<str>);

impl Principal {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as the policy file spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Whether `text` is a name: `[a-z0-9]`, then up to 62 of `[a-z0-9._-]`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && bytes.all(is_name_byte)
        && text.len() <= MAX_NAME
}

/// What a name names, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Principal,
    Group,
    Verb,
}

/// Checks the name `text` at `place`; a mistake goes to `faults`.
pub(super) fn check(text: &str, kind: Kind, place: Place, faults: &mut Vec<Fault>) -> bool {
    if is_name(text) {
        return true;
    }
    faults.push(explain(text, kind, place));
    false
}

fn explain(text: &str, kind: Kind, place: Place) -> Fault {
    let what = match kind {
        Kind::Principal => "principal",
        Kind::Group => "group",
        Kind::Verb => "verb",
    };
    if text.is_empty() {
        let help = match kind {
            Kind::Principal => "name a principal, a `@group`, or `*` for every one",
            Kind::Group => "write `@` and the group's name",
            Kind::Verb => "name a verb, or `*` for every one",
        };
        return Fault::new(place.span(0, 1), format!("a {what} is missing"), help);
    }
    let mend: String = text
        .trim_matches(['"', '\'', '`'])
        .chars()
        .filter_map(|c| if c.is_ascii() { Some(c.to_ascii_lowercase()) } else { look_alike(c) })
        .collect();
    let help = if text.contains('#') {
        "a comment stands on its own line, or after a row's effect".to_owned()
    } else if is_name(&mend) {
        format!("write `{mend}`")
    } else {
        "a name is a-z or 0-9, then up to 62 of a-z 0-9 . _ -".to_owned()
    };
    if text.len() > MAX_NAME && text.bytes().all(is_name_byte) {
        let message = format!("a {what} of {} characters; the most is {MAX_NAME}", text.len());
        return Fault::new(place.span(0, text.len()), message, "choose a shorter name");
    }
    let wrong = text.char_indices().find(|(at, c)| {
        !c.is_ascii() || !is_name_byte(*c as u8) || (*at == 0 && !c.is_ascii_alphanumeric())
    });
    let (at, c) = wrong.unwrap_or((0, ' '));
    let span = place.span(at, at + c.len_utf8());
    let message = match (c.is_ascii(), look_alike(c)) {
        (true, _) if c.is_ascii_uppercase() => format!("an upper-case letter in a {what}"),
        (true, _) if c.is_ascii_graphic() => format!("`{c}` in a {what}"),
        (false, Some(alike)) => {
            format!("U+{:04X} in a {what}, looks like `{alike}`", u32::from(c))
        }
        _ => format!("U+{:04X} in a {what}", u32::from(c)),
    };
    Fault::new(span, message, help)
}

const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')
}
