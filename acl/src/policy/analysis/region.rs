//! Sets of objects: patterns for one caller, what lies in them, and what is cut out of them.

use std::fmt;

use serde::{Serialize, Serializer};

use super::index::Index;
use crate::object::MAX_SEGMENTS;
use crate::policy::pattern::{Extent, Pattern, Segment};
use crate::policy::people::EVERYONE;

/// The objects of a pattern without those of some others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    /// The pattern; `{self}` is the caller's own name.
    pub objects: Pattern,
    /// What is cut out of it: patterns within the first, none within another.
    pub except: Vec<Pattern>,
}

/// Whether every object that `inner` means, `outer` means too. With a caller, `{self}` is that
/// name; without, this must hold whoever calls.
pub(super) fn contains(outer: &Pattern, inner: &Pattern, caller: Option<&str>) -> bool {
    let (ours, theirs) = (outer.segments.len(), inner.segments.len());
    let reaches = match (outer.extent, inner.extent) {
        (Extent::Exact, Extent::Exact) => ours == theirs,
        (Extent::Exact, Extent::Below) => false,
        (Extent::Below, Extent::Exact) => ours < theirs,
        (Extent::Below, Extent::Below) => ours <= theirs,
    };
    let admits = |(outer, inner): (&Segment, &Segment)| match (outer, inner, caller) {
        (Segment::Any, ..) | (Segment::Caller, Segment::Caller, _) => true,
        (Segment::Literal(outer), Segment::Literal(inner), _) => outer == inner,
        (Segment::Literal(text), Segment::Caller, Some(name))
        | (Segment::Caller, Segment::Literal(text), Some(name)) => **text == *name,
        _ => false,
    };
    reaches && outer.segments.iter().zip(&inner.segments).all(admits)
}

/// The pattern with the caller's name for `{self}`.
pub(super) fn bound(pattern: &Pattern, caller: &str) -> Pattern {
    let bind = |segment: &Segment| match segment {
        Segment::Caller => Segment::Literal(caller.into()),
        other => other.clone(),
    };
    Pattern { segments: pattern.segments.iter().map(bind).collect(), extent: pattern.extent }
}

/// Whether a caller of this name has any object of this pattern: the stranger has no name.
pub(super) fn is_empty(pattern: &Pattern, caller: &str) -> bool {
    let nameless = caller.is_empty() && pattern.segments.contains(&Segment::Caller);
    let too_deep = pattern.extent == Extent::Below && pattern.segments.len() >= MAX_SEGMENTS;
    nameless || too_deep || pattern.is_dead()
}

/// The lengths that objects of this pattern have.
pub(super) fn lengths(pattern: &Pattern) -> std::ops::RangeInclusive<usize> {
    match pattern.extent {
        Extent::Exact => pattern.segments.len()..=pattern.segments.len(),
        Extent::Below => pattern.segments.len() + 1..=MAX_SEGMENTS,
    }
}

/// The objects of `pattern` that have `length` segments: again a pattern.
pub(super) fn of_length(pattern: &Pattern, length: usize) -> Pattern {
    let mut segments = pattern.segments.clone();
    segments.resize(length, Segment::Any);
    Pattern { segments, extent: Extent::Exact }
}

/// One object of `pattern`, its free segments filled with `filling`.
pub(super) fn example(pattern: &Pattern, caller: &str, filling: &str) -> String {
    let texts = pattern.segments.iter().map(|segment| match segment {
        Segment::Literal(text) => &**text,
        Segment::Caller => caller,
        Segment::Any => filling,
    });
    let below = (pattern.extent == Extent::Below).then_some(filling);
    texts.chain(below).collect::<Vec<_>>().join("/")
}

/// The pattern that means this one object and no other.
pub(super) fn literal(object: &str) -> Pattern {
    let segments = object.split('/').map(|text| Segment::Literal(text.into())).collect();
    Pattern { segments, extent: Extent::Exact }
}

impl Region {
    /// What `objects` and none of `others` mean for this caller; `None` if that is nothing.
    pub(super) fn of(objects: Pattern, others: &[&Pattern], caller: &str) -> Option<Self> {
        if is_empty(&objects, caller) || !objects.escapes(others, caller) {
            return None;
        }
        let met = others.iter().filter_map(|other| objects.meet(other, caller));
        let except = widest(met.filter(|met| !is_empty(met, caller)).collect());
        Some(Self { objects, except })
    }

    /// Its spelling, to sort by.
    pub(super) fn to_key(&self) -> (String, Vec<String>) {
        (self.objects.to_string(), self.except.iter().map(ToString::to_string).collect())
    }

    /// Whether this literal object lies in the region.
    #[must_use]
    pub fn includes(&self, object: &str, caller: &str) -> bool {
        self.objects.matches(object, caller)
            && !self.except.iter().any(|pattern| pattern.matches(object, caller))
    }
}

/// The patterns that lie in no other of them, sorted; each is for one caller, without `{self}`.
pub(super) fn widest(mut patterns: Vec<Pattern>) -> Vec<Pattern> {
    patterns.sort_by_cached_key(|pattern| (pattern.segments.len(), pattern.to_string()));
    patterns.dedup();
    let everyone = &[EVERYONE][..];
    let index = Index::of(patterns.iter().map(|pattern| (EVERYONE, pattern)));
    let alone = |at: u32, pattern: &Pattern| {
        index.containing(everyone, "", pattern, |other| other == at).is_none()
    };
    let alone: Vec<_> = (0..).zip(&patterns).map(|(at, pattern)| alone(at, pattern)).collect();
    drop(index);
    let mut alone = alone.into_iter();
    patterns.retain(|_| alone.next().unwrap_or(true));
    patterns
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Exceptions that are shown to people.
        const SHOWN: usize = 8;
        write!(f, "{}", self.objects)?;
        for (at, pattern) in self.except.iter().take(SHOWN).enumerate() {
            write!(f, "{}{pattern}", if at == 0 { " but not " } else { ", " })?;
        }
        match self.except.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}

/// `{"objects":…,"except":[…]}`, patterns as a row spells them.
impl Serialize for Region {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let except: Vec<_> = self.except.iter().map(ToString::to_string).collect();
        let mut region = serializer.serialize_struct("Region", 2)?;
        region.serialize_field("objects", &self.objects.to_string())?;
        region.serialize_field("except", &except)?;
        region.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pattern of up to two segments.
    fn patterns() -> Vec<Pattern> {
        let one = ["a", "b", "*", "{self}"].map(str::to_owned);
        let two = one.iter().flat_map(|left| one.each_ref().map(|right| format!("{left}/{right}")));
        let exact: Vec<_> = one.iter().cloned().chain(two).collect();
        let below = exact.iter().map(|text| format!("{text}/**"));
        let all = below.chain(["**".to_owned()]).chain(exact.iter().cloned());
        all.map(|text| crate::policy::object_pattern(&text).unwrap()).collect()
    }

    /// Every object of up to four segments that matter, `new` standing for what no pattern says.
    fn objects() -> Vec<String> {
        let mut all = Vec::new();
        let mut longest = vec![String::new()];
        for _ in 0..4 {
            let names = ["a", "b", "me", "new"];
            let longer = |object: &String| names.map(|name| format!("{object}/{name}"));
            longest = longest.iter().flat_map(longer).collect();
            all.extend(longest.iter().map(|object| object[1..].to_owned()));
        }
        all
    }

    /// For each pattern, which of the objects it means.
    fn meanings(patterns: &[Pattern], caller: &str) -> Vec<Vec<bool>> {
        let objects = objects();
        let meant =
            |pattern: &Pattern| objects.iter().map(|o| pattern.matches(o, caller)).collect();
        patterns.iter().map(meant).collect()
    }

    #[test]
    fn a_pattern_contains_another_exactly_when_it_means_all_its_objects() {
        let patterns = patterns();
        let mut always = vec![vec![true; patterns.len()]; patterns.len()];
        for caller in ["a", "me"] {
            let meant = meanings(&patterns, caller);
            for (at, outer) in patterns.iter().enumerate() {
                for (other, inner) in patterns.iter().enumerate() {
                    let all =
                        meant[at].iter().zip(&meant[other]).all(|(outer, inner)| outer >= inner);
                    let claim = format!("{outer} contains {inner} for {caller}");
                    assert_eq!(contains(outer, inner, Some(caller)), all, "{claim}");
                    always[at][other] &= all;
                }
            }
        }
        for (at, outer) in patterns.iter().enumerate() {
            for (other, inner) in patterns.iter().enumerate() {
                let claim = format!("{outer} contains {inner} for everyone");
                assert_eq!(contains(outer, inner, None), always[at][other], "{claim}");
            }
        }
    }

    #[test]
    fn a_region_is_what_is_left_and_none_only_if_nothing_is() {
        let patterns = patterns();
        let objects = objects();
        for caller in ["a", "me"] {
            let meant = meanings(&patterns, caller);
            for (at, base) in patterns.iter().enumerate() {
                // All pairs would take long; with one chosen by the other they are of all kinds.
                for first in 0..patterns.len() {
                    let others = [first, (first * 7 + at) % patterns.len()];
                    let cut: Vec<_> = others.iter().map(|other| &patterns[*other]).collect();
                    let region = Region::of(bound(base, caller), &cut, caller);
                    let mut left = (0..objects.len()).filter(|object| {
                        meant[at][*object] && !others.iter().any(|other| meant[*other][*object])
                    });
                    let claim = format!("{base} without {} and {} for {caller}", cut[0], cut[1]);
                    let Some(region) = region else {
                        assert_eq!(left.next(), None, "{claim}");
                        continue;
                    };
                    let includes = |at: &usize| region.includes(&objects[*at], caller);
                    let included: Vec<_> = (0..objects.len()).filter(includes).collect();
                    assert_eq!(included, left.collect::<Vec<_>>(), "{claim}: {region}");
                }
            }
        }
    }
}
