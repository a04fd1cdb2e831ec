//! What is known of the services that a policy governs: their verbs and the objects they can name.

use std::fmt;

use thiserror::Error;

use super::pattern::{Extent, Object, Part, Pattern};
use crate::object::{self, MAX_SEGMENTS};

/// What a policy can be checked against: a service and its methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    /// The service's name.
    pub service: String,
    /// Its methods.
    pub methods: Vec<MethodFacts>,
}

/// What one method declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodFacts {
    /// The method's name.
    pub name: String,
    /// The verb that a row must allow.
    pub verb: String,
    /// The objects that its calls name.
    pub object: ObjectTemplate,
}

/// The objects that a method's calls can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectTemplate {
    /// Built from literals and arguments, as `table/{key}` or `files/{path..}`.
    Template(Vec<TemplateSegment>),
    /// Listed by an argument (`objects = argument`): any object at all.
    Anything,
}

/// One segment of an [`ObjectTemplate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateSegment {
    /// Exactly this text.
    Literal(String),
    /// `{name}`: an argument that fills one segment.
    One(String),
    /// `{name..}`: an argument that fills one segment or more.
    Several(String),
}

/// Why a text is not an object template.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateError {
    /// A segment is neither a literal nor wholly an argument.
    #[error("`{0}` must be a literal, `{{argument}}` or `{{argument..}}`, filling its segment")]
    Segment(String),
    /// The literal parts are not canonical.
    #[error("`{segment}`: {reason}")]
    NotCanonical {
        /// The segment at fault.
        segment: String,
        /// Why.
        reason: object::BadObject,
    },
}

impl ObjectTemplate {
    /// Reads a template as a method's attribute spells it.
    ///
    /// # Errors
    ///
    /// [`TemplateError`], naming the segment to mend.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        text.split('/').map(TemplateSegment::parse).collect::<Result<_, _>>().map(Self::Template)
    }

    /// Whether some call can name an object that `pattern` means for some caller.
    #[must_use]
    pub fn overlaps(&self, pattern: &Pattern) -> bool {
        self.overlaps_parts(&Object::of(pattern))
    }

    pub(super) fn overlaps_parts(&self, object: &Object<'_>) -> bool {
        match self {
            Self::Anything => true,
            Self::Template(template) => overlap(template, &object.parts, object.extent),
        }
    }
}

impl TemplateSegment {
    fn parse(text: &str) -> Result<Self, TemplateError> {
        if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            let argument = name.strip_suffix("..").unwrap_or(name);
            if argument.is_empty() || !argument.chars().all(|c| c.is_alphanumeric() || c == '_') {
                return Err(TemplateError::Segment(text.to_owned()));
            }
            let several = name.len() > argument.len();
            let argument = argument.to_owned();
            return Ok(if several { Self::Several(argument) } else { Self::One(argument) });
        }
        if text.contains(['{', '}']) {
            return Err(TemplateError::Segment(text.to_owned()));
        }
        object::check_segment(text)
            .map_err(|reason| TemplateError::NotCanonical { segment: text.to_owned(), reason })?;
        Ok(Self::Literal(text.to_owned()))
    }

    fn admits(&self, part: &Part<'_>) -> bool {
        match (self, part) {
            (Self::Literal(text), Part::Literal(wanted)) => **text == **wanted,
            (Self::Literal(text), Part::Caller) => super::names::is_name(text),
            _ => true,
        }
    }
}

/// The template as a method's attribute spells it.
impl fmt::Display for ObjectTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Template(segments) = self else { return f.write_str("**") };
        for (at, segment) in segments.iter().enumerate() {
            let slash = if at > 0 { "/" } else { "" };
            match segment {
                TemplateSegment::Literal(text) => write!(f, "{slash}{text}")?,
                TemplateSegment::One(name) => write!(f, "{slash}{{{name}}}")?,
                TemplateSegment::Several(name) => write!(f, "{slash}{{{name}..}}")?,
            }
        }
        Ok(())
    }
}

/// Walks template and pattern side by side. Bit `i` of the states says whether the template's
/// segments so far can have produced names whose first `i` segments the pattern accepts; the last
/// state stands for "below all of them".
fn overlap(template: &[TemplateSegment], pattern: &[Part<'_>], extent: Extent) -> bool {
    // No request names an object that deep.
    if pattern.len() > MAX_SEGMENTS {
        return false;
    }
    let below: u64 = 1 << (pattern.len() + 1);
    let step = |from: u64, segment: &TemplateSegment| {
        let within = pattern.iter().enumerate().fold(0, |to, (at, wanted)| {
            let advances = from & (1 << at) != 0 && segment.admits(wanted);
            to | (u64::from(advances) << (at + 1))
        });
        let ended = from & (below | below >> 1) != 0;
        within | if ended && extent == Extent::Below { below } else { 0 }
    };
    let mut reachable = 1;
    for segment in template {
        reachable = step(reachable, segment);
        if matches!(segment, TemplateSegment::Several(_)) {
            for _ in 0..=pattern.len() + 1 {
                reachable |= step(reachable, segment);
            }
        }
        if reachable == 0 {
            return false;
        }
    }
    match extent {
        Extent::Exact => reachable & (below >> 1) != 0,
        Extent::Below => reachable & below != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_overlaps_what_its_calls_can_name() {
        let overlaps = |template: &str, pattern: &str| {
            let pattern = crate::policy::object_pattern(pattern).unwrap();
            ObjectTemplate::parse(template).unwrap().overlaps(&pattern)
        };
        assert!(overlaps("table/{key}", "table/*"));
        assert!(overlaps("table/{key}", "table/a"));
        assert!(overlaps("table/{key}", "**"));
        assert!(overlaps("table/{key}", "{self}/**"));
        assert!(!overlaps("table/{key}", "tabel/a"));
        assert!(!overlaps("table/{key}", "table/a/b"));
        assert!(!overlaps("table/{key}", "table/*/**"));
        assert!(!overlaps("table", "table/**"));
        assert!(overlaps("files/{path..}", "files/a/b/c"));
        assert!(overlaps("files/{path..}/meta", "files/a/b/meta"));
        assert!(!overlaps("files/{path..}/meta", "files/a/b/data"));
        assert!(!overlaps("files/{path..}", "files"));
    }

    #[test]
    fn an_argument_fills_its_segment() {
        assert_eq!(
            ObjectTemplate::parse("a/x{key}"),
            Err(TemplateError::Segment("x{key}".to_owned()))
        );
        assert!(matches!(
            ObjectTemplate::parse("a//b"),
            Err(TemplateError::NotCanonical { reason: object::BadObject::Empty, .. })
        ));
    }
}
