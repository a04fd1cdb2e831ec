//! Checks verbs and objects against the services that the policy governs.
//!
//! A typo in a deny is the worst typo, so a verb that no service declares and an object that no
//! method can name are errors.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::facts::{MethodFacts, ObjectTemplate, ServiceFacts, TemplateSegment};
use super::fault::{Fault, Span};
use super::pattern::{Object, Pattern, Segment};
use super::row::Verbs;
use super::suggest::nearest;
use super::syntax::{Name, Syntax};

/// Checks every row, expectation and invariant; does nothing when no services are known.
pub(super) fn check(syntax: &Syntax<'_>, services: &[ServiceFacts], faults: &mut Vec<Fault>) {
    if services.is_empty() {
        return;
    }
    let methods: Vec<_> = services.iter().flat_map(|service| &service.methods).collect();
    let known = Known { verbs: methods.iter().map(|method| &*method.verb).collect(), methods };
    for row in syntax.rows.iter().chain(syntax.nevers.iter().map(|never| &never.row)) {
        let verbs = match row.verbs() {
            Verbs::Every => None,
            Verbs::Listed(verbs) => Some(verbs.iter()),
        };
        let object = row.object().map(|(parts, extent)| Object { parts: parts.collect(), extent });
        known.check(verbs.into_iter().flatten(), object, row.object_span(), faults);
    }
    for line in &syntax.expects {
        let object = line.object.as_ref().map(Object::of);
        known.check(line.verb.into_iter(), object, line.object_span, faults);
    }
}

struct Known<'s> {
    verbs: BTreeSet<&'s str>,
    methods: Vec<&'s MethodFacts>,
}

impl Known<'_> {
    fn check<'a>(
        &self,
        verbs: impl Iterator<Item = Name<'a>>,
        object: Option<Object<'_>>,
        span: Span,
        faults: &mut Vec<Fault>,
    ) {
        let mut declared: SmallVec<[&str; 8]> = SmallVec::new();
        for verb in verbs {
            if self.verbs.contains(verb.text) {
                declared.push(verb.text);
            } else {
                faults.push(self.unknown_verb(verb));
            }
        }
        // A list of which nothing is known says nothing about the object.
        let listed =
            |method: &MethodFacts| declared.is_empty() || declared.contains(&&*method.verb);
        let listed = self.methods.iter().copied().filter(|method| listed(method));
        if let Some(object) = object
            && !listed.clone().any(|method| method.object.overlaps_parts(&object))
        {
            let listed: Vec<_> = listed.collect();
            faults.push(self.unknown_object(&object.pattern(), &listed, span));
        }
    }

    fn unknown_verb(&self, verb: Name<'_>) -> Fault {
        let help = match nearest(verb.text, self.verbs.iter().copied()) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("the verbs are {}", some(self.verbs.iter())),
        };
        Fault::new(verb.span, format!("verb `{}` is declared by no service", verb.text), help)
            .with_code("acl::unknown-verb")
    }

    /// `listed` are the methods with one of the row's verbs.
    fn unknown_object(&self, object: &Pattern, listed: &[&MethodFacts], span: Span) -> Fault {
        let other = self.methods.iter().find(|method| method.object.overlaps(object));
        let message = match other {
            Some(_) => format!("no method with this verb can name `{object}`"),
            None => format!("no method can name `{object}`"),
        };
        let help = match (mended(object, listed).or_else(|| mended(object, &self.methods)), other) {
            (Some(mended), _) => format!("did you mean `{mended}`?"),
            (None, Some(method)) => format!("the verb for it is `{}`", method.verb),
            (None, None) => {
                let templates: BTreeSet<_> =
                    self.methods.iter().map(|method| method.object.to_string()).collect();
                format!("methods name {}", some(templates.iter()))
            }
        };
        Fault::new(span, message, help).with_code("acl::unknown-object")
    }
}

/// The object with the literals of some method's template where they are nearly the same.
fn mended(object: &Pattern, methods: &[&MethodFacts]) -> Option<Pattern> {
    methods.iter().find_map(|method| {
        let ObjectTemplate::Template(template) = &method.object else { return None };
        let mut mended = object.clone();
        for (segment, wanted) in mended.segments.iter_mut().zip(template) {
            if let (Segment::Literal(text), TemplateSegment::Literal(wanted)) = (&segment, wanted)
                && nearest(text, [&**wanted]).is_some()
            {
                *segment = Segment::Literal((&**wanted).into());
            }
        }
        (mended != *object && method.object.overlaps(&mended)).then_some(mended)
    })
}

/// The first few of many, quoted.
fn some<T: std::fmt::Display>(all: impl ExactSizeIterator<Item = T>) -> String {
    const SHOWN: usize = 6;
    let more = all.len().saturating_sub(SHOWN);
    let mut text: Vec<_> = all.take(SHOWN).map(|item| format!("`{item}`")).collect();
    if more > 0 {
        text.push(format!("and {more} more"));
    }
    text.join(", ")
}
