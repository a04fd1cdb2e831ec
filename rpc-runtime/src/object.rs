//! The names of what a call touches, built from its arguments and never rewritten.

use std::{mem, sync::Arc};

use bailiwick_acl::object;

/// A type that can fill one segment of an object's name, such as `{key}` in `table/{key}`.
///
/// The text is checked when a call is judged: a segment that is empty, `.` or `..`, holds `/`,
/// a control, a bidirectional or zero-width mark or a backslash, or is not in Unicode's NFC, is
/// refused, and the call denied.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot name an object of the policy",
    label = "this argument fills a segment of the method's object",
    note = "strings, integers and `bool` can; implement `bailiwick::service::ObjectSegment` for your own types"
)]
pub trait ObjectSegment {
    /// Appends the segment's text to `name`.
    fn write(&self, name: &mut String);
}

impl ObjectSegment for str {
    fn write(&self, name: &mut String) {
        name.push_str(self);
    }
}

impl ObjectSegment for char {
    fn write(&self, name: &mut String) {
        name.push(*self);
    }
}

impl<T: ObjectSegment + ?Sized> ObjectSegment for &T {
    fn write(&self, name: &mut String) {
        (**self).write(name);
    }
}

macro_rules! segments_as_str {
    ($($type:ty),*) => {$(
        impl ObjectSegment for $type {
            fn write(&self, name: &mut String) {
                name.push_str(self);
            }
        }
    )*};
}

macro_rules! segments_as_displayed {
    ($($type:ty),*) => {$(
        impl ObjectSegment for $type {
            fn write(&self, name: &mut String) {
                name.push_str(&self.to_string());
            }
        }
    )*};
}

segments_as_str!(String, Box<str>, Arc<str>);
segments_as_displayed!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, bool);

/// An argument that lists the objects a call touches (`objects = argument`): all must be allowed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not list objects of the policy",
    label = "the method says `objects = …` with this argument",
    note = "lists of strings do; implement `bailiwick::service::ObjectList` for your own types"
)]
pub trait ObjectList {
    /// Gives the whole name of each object to `each`.
    fn for_each(&self, each: &mut dyn FnMut(&str));
}

impl<S: AsRef<str>> ObjectList for [S] {
    fn for_each(&self, each: &mut dyn FnMut(&str)) {
        self.iter().map(AsRef::as_ref).for_each(each);
    }
}

impl<S: AsRef<str>> ObjectList for Vec<S> {
    fn for_each(&self, each: &mut dyn FnMut(&str)) {
        self.as_slice().for_each(each);
    }
}

/// The names of the objects one call touches; filled by generated code.
#[derive(Debug)]
pub struct Objects<'a> {
    names: &'a mut Names,
}

/// The text of the names, kept between calls for its memory.
#[derive(Debug, Default)]
pub(crate) struct Names {
    text: String,
    /// Where each name ends in `text`.
    ends: Vec<usize>,
    /// An argument holds what may not stand in a segment.
    bad_segment: bool,
}

impl<'a> Objects<'a> {
    pub(crate) fn new(names: &'a mut Names) -> Self {
        names.text.clear();
        names.ends.clear();
        names.bad_segment = false;
        Self { names }
    }

    /// Adds segments that the template spells out.
    pub fn literal(&mut self, segments: &'static str) -> &mut Self {
        self.separate();
        self.names.text.push_str(segments);
        self
    }

    /// Adds an argument that fills exactly one segment.
    pub fn segment<S: ObjectSegment + ?Sized>(&mut self, value: &S) -> &mut Self {
        self.separate();
        let start = self.names.text.len();
        value.write(&mut self.names.text);
        let segment = &self.names.text[start..];
        self.names.bad_segment |= object::check_segment(segment).is_err();
        self
    }

    /// Adds an argument that fills one segment or more.
    pub fn segments<S: AsRef<str> + ?Sized>(&mut self, value: &S) -> &mut Self {
        self.separate();
        self.names.text.push_str(value.as_ref());
        // Alone at the front it would leave no trace in the name.
        self.names.bad_segment |= value.as_ref().is_empty();
        self
    }

    /// Names all objects that an argument lists.
    pub fn listed<L: ObjectList + ?Sized>(&mut self, list: &L) -> &mut Self {
        list.for_each(&mut |name| {
            self.names.text.push_str(name);
            self.names.ends.push(self.names.text.len());
        });
        self
    }

    fn separate(&mut self) {
        if !self.names.text.is_empty() {
            self.names.text.push('/');
        }
    }
}

impl Names {
    /// Closes the last name. A call that names no object has one without a name, which no policy
    /// allows.
    pub(crate) fn finish(&mut self) {
        if self.ends.is_empty() {
            self.ends.push(self.text.len());
        }
    }

    /// Gives the names to `judge`; for one name, the usual case, without an allocation.
    pub(crate) fn with<R>(&self, judge: impl FnOnce(&[&str]) -> R) -> R {
        let mut start = 0;
        let mut names = self.ends.iter().map(|&end| &self.text[mem::replace(&mut start, end)..end]);
        match (self.ends.len(), names.next()) {
            (1, Some(only)) => judge(&[only]),
            (_, first) => judge(&first.into_iter().chain(names).collect::<Vec<_>>()),
        }
    }

    /// Gives memory back while no call is judged: one call may have listed a whole frame of names.
    pub(crate) fn rest(&mut self) {
        const KEEP: usize = 1024;
        self.text.clear();
        self.text.shrink_to(KEEP);
        self.ends.clear();
        self.ends.shrink_to(KEEP / 8);
    }

    /// Whether an argument holds what may not stand in a segment, `/` for example.
    pub(crate) fn has_bad_segment(&self) -> bool {
        self.bad_segment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: impl FnOnce(&mut Objects<'_>)) -> (Vec<String>, bool) {
        let mut names = Names::default();
        name(&mut Objects::new(&mut names));
        names.finish();
        (
            names.with(|all| all.iter().map(|&name| name.to_owned()).collect()),
            names.has_bad_segment(),
        )
    }

    #[test]
    fn a_name_is_its_literals_and_arguments() {
        let (names, bad) = named(|objects| {
            objects.literal("a/b").segment(&7_u32).segments("x/y");
        });
        assert_eq!((names, bad), (vec!["a/b/7/x/y".to_owned()], false));
    }

    #[test]
    fn an_argument_cannot_reach_into_another_segment() {
        for value in ["a/b", "", ".", "..", "a\\b", "a\u{202e}b"] {
            let (_, bad) = named(|objects| {
                objects.literal("table").segment(value);
            });
            assert!(bad, "{value:?}");
        }
    }

    #[test]
    fn an_argument_of_segments_cannot_vanish() {
        let leading = named(|objects| {
            objects.segments("").segment("secret");
        });
        assert!(leading.1, "{leading:?}");
    }

    #[test]
    fn names_of_one_large_call_are_not_kept_until_the_next() {
        let mut names = Names::default();
        Objects::new(&mut names).listed(&vec!["x"; 100_000]);
        names.rest();
        assert!(names.text.capacity() <= 1024 && names.ends.capacity() <= 128);
    }

    #[test]
    fn listed_objects_are_judged_one_by_one() {
        let (names, _) = named(|objects| {
            objects.listed(&["a/1", "b/2"][..]);
        });
        assert_eq!(names, ["a/1", "b/2"]);
    }

    #[test]
    fn a_call_that_lists_nothing_has_an_object_that_no_policy_allows() {
        let (names, _) = named(|objects| {
            objects.listed(&Vec::<String>::new());
        });
        assert_eq!(names, [""]);
    }
}
