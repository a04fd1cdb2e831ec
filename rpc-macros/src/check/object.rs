//! Rules for objects: a template is canonical, and its names are arguments.

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::{Ident, LitStr};
use unicode_normalization::is_nfc;

use crate::ast::{Argument, Object, Segment, Template};
use crate::errors::Errors;
use crate::suggest::nearest;

/// The limits of an object (policy.md, `object`).
const SEGMENTS_MAX: usize = 32;
const BYTES_MAX: usize = 1_024;

/// The template in `literal`, unless a segment of it could never be in an object's name.
pub(crate) fn parse(literal: &LitStr, errors: &mut Errors) -> Option<Template> {
    let text = literal.value();
    let mut segments = Vec::new();
    let mut sound = true;
    for segment in text.split('/') {
        match parse_segment(segment) {
            Ok(segment) => segments.push(segment),
            Err(message) => {
                errors.at(literal, message);
                sound = false;
            }
        }
    }
    if segments.len() > SEGMENTS_MAX || text.len() > BYTES_MAX {
        let message = format!(
            "an object has at most {SEGMENTS_MAX} segments and {BYTES_MAX} bytes: shorten it"
        );
        errors.at(literal, message);
        sound = false;
    }
    sound.then(|| Template { span: literal.span(), text, segments })
}

/// `template` with every name an argument; an error at the template otherwise.
pub(crate) fn resolve(
    template: Template,
    arguments: &[Argument],
    errors: &mut Errors,
) -> Option<Object> {
    let span = template.span;
    resolve_at(template, arguments, errors, span, "")
}

/// Like [`resolve`] for a template of the whole trait; an error at the method that it does not fit.
pub(crate) fn resolve_default(
    template: &Template,
    method: &Ident,
    arguments: &[Argument],
    errors: &mut Errors,
) -> Option<Object> {
    let context = format!("`{method}` needs an `object` of its own, for in the service's default ");
    resolve_at(template.clone(), arguments, errors, method.span(), &context)
}

/// The object list `list`, if it is an argument.
pub(crate) fn listed(list: &Ident, arguments: &[Argument], errors: &mut Errors) -> Option<Object> {
    if arguments.iter().any(|argument| argument.name == *list) {
        return Some(Object::Listed(list.clone()));
    }
    let message = format!("`{list}` is no argument of this method: {}", mend(list, arguments));
    errors.at(list, message);
    None
}

fn resolve_at(
    template: Template,
    arguments: &[Argument],
    errors: &mut Errors,
    span: Span,
    context: &str,
) -> Option<Object> {
    let mut sound = true;
    for segment in &template.segments {
        let name = match segment {
            Segment::Literal(_) => continue,
            Segment::One(name) | Segment::Many(name) => name,
        };
        if !arguments.iter().any(|argument| argument.name.unraw() == name) {
            let mend = mend(name, arguments);
            errors.at_span(span, format!("{context}`{{{name}}}` names no argument: {mend}"));
            sound = false;
        }
    }
    sound.then_some(Object::Template(template))
}

fn mend(given: &impl ToString, arguments: &[Argument]) -> String {
    let given = given.to_string();
    let names = arguments.iter().map(|a| a.name.unraw().to_string()).collect::<Vec<_>>();
    let names = names.iter().map(String::as_str).collect::<Vec<_>>();
    match (nearest(&given, &names), names.as_slice()) {
        (Some(name), _) => format!("did you mean `{name}`?"),
        (None, []) => format!("add `{given}` after `cx`"),
        (None, names) => {
            let names = names.join("`, `");
            format!("expected one of `{names}`, or add an argument `{given}`")
        }
    }
}

fn parse_segment(segment: &str) -> Result<Segment, String> {
    if segment == "{self}" {
        return Err(
            "`{self}` is the caller's own name, and stands in a policy's rows alone: name \
                    an argument here"
                .to_owned(),
        );
    }
    if let Some(name) = placeholder(segment) {
        let (name, many) = match name.strip_suffix("..") {
            Some(name) => (name, true),
            None => (name, false),
        };
        return match (syn::parse_str::<Ident>(name).is_ok() || is_raw_name(name), many) {
            (false, _) => Err(format!(
                "`{segment}` names no argument: write `{{name}}` for one segment, or `{{name..}}` \
                 for one or more"
            )),
            (true, false) => Ok(Segment::One(name.to_owned())),
            (true, true) => Ok(Segment::Many(name.to_owned())),
        };
    }
    literal_segment(segment).map(|()| Segment::Literal(segment.to_owned()))
}

/// What stands between the braces, if nothing stands outside of them.
fn placeholder(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    (!name.contains(['{', '}'])).then_some(name)
}

/// Whether an argument `r#name` could be meant.
fn is_raw_name(name: &str) -> bool {
    syn::parse_str::<Ident>(&format!("r#{name}")).is_ok()
}

/// The canonical rule (policy.md): what is refused in a request can never match, so say it now.
fn literal_segment(segment: &str) -> Result<(), String> {
    let mistake = match segment {
        "" => "an object has no empty segments: remove the extra `/`, or write a name".to_owned(),
        "." | ".." => {
            format!("`{segment}` is not allowed in an object: write the name it leads to")
        }
        s if s.contains(['{', '}']) => format!(
            "`{s}` mixes an argument with other text: an argument fills a whole segment, such as \
             `table/{{key}}`"
        ),
        s if s.contains('*') => format!(
            "`{s}` holds a wildcard, and those stand in a policy's rows alone: name the object, \
             or fill the segment from an argument"
        ),
        s if s.contains('\\') => format!("`{s}` holds a backslash: separate segments with `/`"),
        s if s.chars().any(is_hidden) => {
            format!("`{}` holds a character that cannot be seen: remove it", s.escape_default())
        }
        s if !is_nfc(s) => format!("`{s}` is not in normal form C: compose its accents"),
        _ => return Ok(()),
    };
    Err(mistake)
}

/// Controls, and bidirectional and zero-width marks, as the monitor has them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Segment>, Vec<String>> {
        let mut errors = Errors::default();
        let template = parse(&LitStr::new(text, Span::call_site()), &mut errors);
        template.map(|template| template.segments).ok_or_else(|| errors.messages())
    }

    #[test]
    fn a_template_is_names_and_arguments() {
        assert_eq!(
            parsed("a b/{key}/c|d/{path..}/é/{type}"),
            Ok(vec![
                Segment::Literal("a b".into()),
                Segment::One("key".into()),
                Segment::Literal("c|d".into()),
                Segment::Many("path".into()),
                Segment::Literal("é".into()),
                Segment::One("type".into()),
            ])
        );
    }

    #[test]
    fn what_no_request_may_name_no_template_may() {
        for text in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "a/../b",
            "*",
            "a*b",
            "a\\b",
            "a\nb",
            "a\u{200b}b",
            "a\u{202e}b",
            "e\u{301}",
            "k-{key}",
            "{key}.txt",
            "{a}{b}",
            "{",
            "}",
            "{}",
            "{..}",
            "{a b}",
            "{self}",
            "{{a}}",
            "{a...}",
        ] {
            assert!(parsed(text).is_err(), "{text:?}");
        }
        assert!(parsed(&["a"; 32].join("/")).is_ok());
        assert!(parsed(&["a"; 33].join("/")).is_err());
        assert!(parsed(&"a".repeat(1_025)).is_err());
    }

    #[test]
    fn the_monitor_and_the_macro_hide_the_same_characters() {
        for c in '\0'..=char::MAX {
            let refused = c.is_control() || bailiwick_acl::object::is_invisible(c);
            assert_eq!(is_hidden(c), refused, "{}", c.escape_unicode());
        }
    }

    #[test]
    fn every_mistake_of_a_template_is_reported() {
        assert_eq!(parsed("../*/k{a}").map_err(|messages| messages.len()), Err(3));
    }
}
