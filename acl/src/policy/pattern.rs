//! Object patterns: what a row's second column may say, which names it matches, where two overlap.

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use crate::object::MAX_SEGMENTS;

/// The objects that a row is about: whole segments, with `*`, `{self}` and a trailing `/**`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The segments before a trailing `/**`; none for a bare `**`.
    pub segments: Vec<Segment>,
    /// Whether the pattern names the segments' object itself or what lies below it.
    pub extent: Extent,
}

/// One segment of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Exactly this text, compared byte by byte.
    Literal(Box<str>),
    /// `*`: any one segment.
    Any,
    /// `{self}`: the caller's own name.
    Caller,
}

/// A [`Segment`] that is read from a row's own text, and takes no memory if it has no escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part<'t> {
    Literal(Cow<'t, str>),
    Any,
    Caller,
}

/// A [`Pattern`] of borrowed parts, to be looked at and dropped.
#[derive(Clone, Debug)]
pub(crate) struct Object<'t> {
    pub(crate) parts: SmallVec<[Part<'t>; 8]>,
    pub(crate) extent: Extent,
}

/// How far a [`Pattern`] reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Extent {
    /// The object itself.
    Exact,
    /// One or more segments strictly below it (`/**`); below nothing (`**`) is everything.
    Below,
}

impl Pattern {
    /// Whether the literal name `object` is one that this pattern means for the caller named
    /// `principal`. The name is not checked for being canonical.
    #[must_use]
    pub fn matches(&self, object: &str, principal: &str) -> bool {
        let mut names = object.split('/');
        for segment in &self.segments {
            match names.next() {
                Some(name) if segment.matches(name, principal) => {}
                _ => return false,
            }
        }
        match self.extent {
            Extent::Exact => names.next().is_none(),
            Extent::Below => names.next().is_some(),
        }
    }

    /// The objects that both patterns mean for the caller `principal`: again one pattern, because
    /// wildcards are whole segments. `None` if there are none.
    pub(crate) fn meet(&self, other: &Self, principal: &str) -> Option<Self> {
        let (long, short) =
            if self.segments.len() >= other.segments.len() { (self, other) } else { (other, self) };
        let reaches = match (long.extent, short.extent) {
            (_, Extent::Exact) => long.segments.len() == short.segments.len(),
            // Strictly below: an exact pattern of the same length lies outside.
            (Extent::Exact, Extent::Below) => long.segments.len() > short.segments.len(),
            (Extent::Below, Extent::Below) => true,
        };
        if !reaches || (long.extent == Extent::Below && short.extent == Extent::Exact) {
            return None;
        }
        let mut segments = Vec::with_capacity(long.segments.len());
        for (at, segment) in long.segments.iter().enumerate() {
            segments.push(match short.segments.get(at) {
                Some(other) => segment.meet(other, principal)?,
                None => segment.bound(principal),
            });
        }
        Some(Self { segments, extent: long.extent })
    }

    /// Whether this pattern and the one that `parts` and `extent` are may [`meet`](Self::meet) for
    /// some caller or other.
    pub(crate) fn may_meet<'t>(
        &self,
        parts: impl Iterator<Item = Part<'t>>,
        extent: Extent,
    ) -> bool {
        let mut ours = self.segments.iter();
        let mut theirs_is_longer = false;
        for part in parts {
            match (ours.next(), part) {
                (Some(Segment::Literal(left)), Part::Literal(right)) if **left != *right => {
                    return false;
                }
                (Some(_), _) => {}
                (None, _) => theirs_is_longer = true,
            }
        }
        let ours_is_longer = ours.next().is_some();
        match (self.extent, extent) {
            (Extent::Exact, Extent::Exact) => !ours_is_longer && !theirs_is_longer,
            // Strictly below: an exact pattern of the same length lies outside.
            (Extent::Exact, Extent::Below) => ours_is_longer,
            (Extent::Below, Extent::Exact) => theirs_is_longer,
            (Extent::Below, Extent::Below) => true,
        }
    }

    /// Whether one of the objects of `self`, a result of [`meet`](Self::meet), escapes all of
    /// `others` for the caller `principal`.
    ///
    /// Exact: a segment that no pattern spells out escapes at least as many patterns as any other
    /// choice, so only the length of the name has to be tried.
    pub(crate) fn escapes(&self, others: &[&Self], principal: &str) -> bool {
        let lengths = match self.extent {
            Extent::Exact => self.segments.len()..=self.segments.len(),
            Extent::Below => self.segments.len() + 1..=MAX_SEGMENTS,
        };
        lengths.into_iter().any(|length| {
            !others.iter().any(|other| other.covers_freshest(self, length, principal))
        })
    }

    /// Whether `self` matches the object of `length` segments that takes `shape`'s literals and,
    /// where it leaves a choice, a text that nobody has written down.
    fn covers_freshest(&self, shape: &Self, length: usize, principal: &str) -> bool {
        let long_enough = match self.extent {
            Extent::Exact => length == self.segments.len(),
            Extent::Below => length > self.segments.len(),
        };
        long_enough
            && self.segments.iter().enumerate().all(|(at, segment)| match shape.segments.get(at) {
                Some(Segment::Literal(text)) => segment.matches(text, principal),
                _ => *segment == Segment::Any,
            })
    }

    /// The one object that this pattern means, if it is literal throughout.
    pub(crate) fn literal(&self) -> Option<String> {
        let texts = self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => Some(&**text),
            Segment::Any | Segment::Caller => None,
        });
        let texts: Vec<_> = texts.collect::<Option<_>>()?;
        (self.extent == Extent::Exact).then(|| texts.join("/"))
    }

    /// Whether no request can name an object of this pattern, as with a literal backslash.
    pub(crate) fn is_dead(&self) -> bool {
        self.segments.iter().any(|segment| match segment {
            Segment::Literal(text) => crate::object::check_segment(text).is_err(),
            Segment::Any | Segment::Caller => false,
        })
    }
}

impl<'t> Object<'t> {
    pub(crate) fn of(pattern: &'t Pattern) -> Self {
        Self { parts: pattern.segments.iter().map(Part::from).collect(), extent: pattern.extent }
    }

    pub(crate) fn pattern(&self) -> Pattern {
        Pattern {
            segments: self.parts.iter().cloned().map(Segment::from).collect(),
            extent: self.extent,
        }
    }
}

impl<'t> From<Part<'t>> for Segment {
    fn from(part: Part<'t>) -> Self {
        match part {
            Part::Literal(text) => Self::Literal(text.into()),
            Part::Any => Self::Any,
            Part::Caller => Self::Caller,
        }
    }
}

impl<'s> From<&'s Segment> for Part<'s> {
    fn from(segment: &'s Segment) -> Self {
        match segment {
            Segment::Literal(text) => Self::Literal(Cow::Borrowed(text)),
            Segment::Any => Self::Any,
            Segment::Caller => Self::Caller,
        }
    }
}

impl Segment {
    fn matches(&self, name: &str, principal: &str) -> bool {
        match self {
            Self::Literal(text) => **text == *name,
            Self::Any => true,
            Self::Caller => name == principal,
        }
    }

    fn bound(&self, principal: &str) -> Self {
        match self {
            Self::Caller => Self::Literal(principal.into()),
            other => other.clone(),
        }
    }

    fn meet(&self, other: &Self, principal: &str) -> Option<Self> {
        match (self.bound(principal), other.bound(principal)) {
            (Self::Any, segment) | (segment, Self::Any) => Some(segment),
            (left, right) => (left == right).then_some(left),
        }
    }
}

/// The pattern as a row spells it, escapes included.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.segments.iter().enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            match segment {
                Segment::Literal(text) => f.write_str(&escape(text))?,
                Segment::Any => f.write_str("*")?,
                Segment::Caller => f.write_str("{self}")?,
            }
        }
        match self.extent {
            Extent::Exact => Ok(()),
            Extent::Below if self.segments.is_empty() => f.write_str("**"),
            Extent::Below => f.write_str("/**"),
        }
    }
}

/// Spells a literal text as the policy file wants it.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '\\' | '{' => out.extend(['\\', c]),
            c if c.is_control() || crate::object::is_invisible(c) => {
                out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        crate::policy::object_pattern(text).unwrap()
    }

    #[test]
    fn star_is_one_segment_and_below_is_strictly_below() {
        assert!(pattern("a/*").matches("a/b", "x"));
        assert!(!pattern("a/*").matches("a/b/c", "x"));
        assert!(!pattern("a/*").matches("a", "x"));
        assert!(pattern("a/**").matches("a/b/c", "x"));
        assert!(!pattern("a/**").matches("a", "x"));
        assert!(pattern("**").matches("a", "x"));
        assert!(pattern("home/{self}/**").matches("home/x/y", "x"));
        assert!(!pattern("home/{self}/**").matches("home/z/y", "x"));
        assert!(pattern(r"\*\|\u{41}").matches("*|A", "x"));
    }

    #[test]
    fn patterns_print_as_they_are_written() {
        for text in ["**", "a/**", "*/{self}/b", r"a\*b\|c\\d\{e"] {
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    #[test]
    fn two_patterns_meet_in_one() {
        let meet = |a: &str, b: &str| pattern(a).meet(&pattern(b), "x").map(|p| p.to_string());
        assert_eq!(meet("a/*", "*/b").as_deref(), Some("a/b"));
        assert_eq!(meet("a/**", "*/b/**").as_deref(), Some("a/b/**"));
        assert_eq!(meet("a/**", "a/*").as_deref(), Some("a/*"));
        assert_eq!(meet("a/b/**", "a/*"), None);
        assert_eq!(meet("a/**", "a"), None);
        assert_eq!(meet("{self}", "x").as_deref(), Some("x"));
        assert_eq!(meet("{self}", "y"), None);
        assert_eq!(meet("**", "{self}/**").as_deref(), Some("x/**"));
    }

    #[test]
    fn denies_together_cover_only_what_each_length_allows() {
        let escapes = |shape: &str, denies: &[&str]| {
            let denies: Vec<_> = denies.iter().map(|text| pattern(text)).collect();
            pattern(shape).escapes(&denies.iter().collect::<Vec<_>>(), "x")
        };
        assert!(escapes("a/**", &["a/*"]));
        assert!(!escapes("a/**", &["a/*", "a/*/**"]));
        assert!(!escapes("a/**", &["*/**"]));
        assert!(escapes("a/*", &["a/b"]));
        assert!(!escapes("a/b", &["a/b"]));
        assert!(escapes("**", &["*/**"]));
    }
}
