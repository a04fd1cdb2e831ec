//! Reads a directive: `acl`, `serial`, `principal`, `group`, `expect` or `never`.

use super::decision::Effect;
use super::fault::{Fault, Span};
use super::lines::{Line, Piece, list, trim, word};
use super::names::{self, Kind};
use super::object_column;
use super::pattern::Pattern;
use super::row::Row;
use super::row_line::{member, parse_effect, separators};
use super::syntax::{ExpectLine, GroupLine, KeyLine, Name, NeverLine, Syntax, Who};

/// The words that begin a directive.
pub(super) const KEYWORDS: [&str; 6] = ["acl", "serial", "principal", "group", "expect", "never"];

/// Reads the directive that begins with `keyword`; `rest` is what follows it.
pub(super) fn parse<'a>(
    line: Line<'a>,
    keyword: &str,
    rest: Piece<'a>,
    syntax: &mut Syntax<'a>,
    faults: &mut Vec<Fault>,
) {
    match keyword {
        "acl" => version(rest, syntax, faults),
        "serial" => serial(rest, syntax, faults),
        "principal" => syntax.keys.extend(principal(rest, faults)),
        "group" => syntax.groups.extend(group(rest, faults)),
        "expect" => syntax.expects.extend(expect(line, rest, faults)),
        _ => syntax.nevers.extend(never(line, rest, faults)),
    }
}

fn version(rest: Piece<'_>, syntax: &mut Syntax<'_>, faults: &mut Vec<Fault>) {
    let span = rest.1.span(0, rest.0.len().max(1));
    if rest.0 != "1" {
        let message = format!("version `{}` of the policy file is not known", rest.0);
        faults.push(Fault::new(span, message, "write `acl 1`"));
    } else if let Some(first) = syntax.version {
        let fault = Fault::new(span, "`acl` is given twice", "remove this line");
        faults.push(fault.with_related(first, "first here"));
    } else {
        syntax.version = Some(span);
    }
}

fn serial(rest: Piece<'_>, syntax: &mut Syntax<'_>, faults: &mut Vec<Fault>) {
    let span = rest.1.span(0, rest.0.len().max(1));
    let digits = !rest.0.is_empty() && rest.0.bytes().all(|byte| byte.is_ascii_digit());
    match rest.0.parse().ok().filter(|_| digits) {
        None => {
            let message = format!("`{}` is not a serial number", rest.0);
            let help = "write a whole number below 2^64, as `serial 42`";
            faults.push(Fault::new(span, message, help));
        }
        Some(serial) => match syntax.serial {
            Some((_, first)) => {
                let fault = Fault::new(span, "`serial` is given twice", "keep one of them");
                faults.push(fault.with_related(first, "first here"));
            }
            None => syntax.serial = Some((serial, span)),
        },
    }
}

fn principal<'a>(rest: Piece<'a>, faults: &mut Vec<Fault>) -> Option<KeyLine<'a>> {
    let help = "write `principal name = ed25519:<64 hex digits>`";
    let ((name, at), (list_text, list_at)) = assignment(rest, help, faults)?;
    let named = names::check(name, Kind::Principal, at, faults);
    let mut keys = Vec::new();
    for (text, place) in list(list_text, list_at) {
        let span = place.span(0, text.len().max(1));
        match parse_key(text) {
            Some(key) => keys.push((key, span)),
            None => {
                let help =
                    "a key is `ed25519:` and 64 hex digits; `bailiwick pubkey FILE` prints it";
                faults.push(Fault::new(span, "this is not a public key", help));
            }
        }
    }
    named.then(|| KeyLine { name: Name::new(name, at), keys })
}

fn parse_key(text: &str) -> Option<[u8; 32]> {
    let hex = text.strip_prefix("ed25519:")?.as_bytes();
    let mut key = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(hex.chunks_exact(2)) {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(key)
}

fn group<'a>(rest: Piece<'a>, faults: &mut Vec<Fault>) -> Option<GroupLine<'a>> {
    let help = "write `group @name = member, member`";
    let ((name, at), (list_text, list_at)) = assignment(rest, help, faults)?;
    let named = if let Some(bare) = name.strip_prefix('@') {
        names::check(bare, Kind::Group, at.after(1), faults)
    } else {
        let help = format!("write `@{name}`");
        faults.push(Fault::new(at.span(0, name.len()), "a group's name begins with `@`", help));
        false
    };
    let members = members((list_text, list_at), faults);
    Some(GroupLine { name: named.then(|| Name::new(name, at)), members })
}

fn members<'a>((text, place): Piece<'a>, faults: &mut Vec<Fault>) -> Vec<Who<'a>> {
    list(text, place).filter_map(|item| member(item, faults)).collect()
}

fn expect<'a>(line: Line<'a>, rest: Piece<'a>, faults: &mut Vec<Fault>) -> Option<ExpectLine<'a>> {
    let (effect, rest) = word(rest.0, rest.1);
    let (name, rest) = word(rest.0, rest.1);
    let (verb, object) = word(rest.0, rest.1);
    if object.0.is_empty() {
        let end = line.text.trim_end().len();
        let help = "write `expect allow alice read table/a`";
        let message = "`expect` takes an effect, a principal, a verb and an object";
        faults.push(Fault::new(line.place.span(end, end + 1), message, help));
        return None;
    }
    let object_span = object.1.span(0, object.0.len());
    // Taken as part of the name, it would make an `expect deny` hold for no reason.
    if let Some(at) = object.0.find(" #").or_else(|| object.0.find("\t#")) {
        let help = "put the comment on its own line; a `#` in a name is `\\u{23}` here";
        let span = object.1.span(at + 1, object.0.len());
        faults.push(Fault::new(span, "a comment cannot stand after `expect`", help));
    }
    Some(ExpectLine {
        effect: parse_effect(effect, faults),
        principal: names::check(name.0, Kind::Principal, name.1, faults)
            .then(|| Name::new(name.0, name.1)),
        verb: names::check(verb.0, Kind::Verb, verb.1, faults).then(|| Name::new(verb.0, verb.1)),
        object: object_column::parse(object.0, object.1, faults)
            .and_then(|object| literal(object, object_span, faults)),
        object_span,
        span: line.place.span(0, line.text.trim_end().len()),
    })
}

/// Refuses a pattern that means more than one object.
fn literal(object: Pattern, span: Span, faults: &mut Vec<Fault>) -> Option<Pattern> {
    let is_literal = object.literal().is_some();
    if !is_literal {
        let help = "name one object, as a request would; `\\*` is a literal star";
        faults.push(Fault::new(span, "`expect` is about a single object", help));
    }
    is_literal.then_some(object)
}

fn never<'a>(
    line: Line<'a>,
    (text, place): Piece<'a>,
    faults: &mut Vec<Fault>,
) -> Option<NeverLine<'a>> {
    let (cuts, _) = separators(text);
    let [first, second] = cuts[..] else {
        let message = format!("`never` takes 3 columns, {} found", cuts.len() + 1);
        let help = "write `never principal | object | verbs`, then `except` and names if need be";
        let end = text.len();
        let at = cuts.get(2).copied().unwrap_or(end);
        faults.push(Fault::new(place.span(at, at + 1), message, help));
        return None;
    };
    let object = trim(&text[first + 1..second], place.after(first + 1));
    let (verbs, except) = split_except(trim(&text[second + 1..], place.after(second + 1)));
    let mut row = Row::of(line, trim(&text[..first], place), object);
    row.read_who(faults);
    row.read_object(faults);
    row.read_verbs(verbs, faults);
    row.effect = Some(Effect::Allow);
    let except = except.map_or_else(Vec::new, |list| members(list, faults));
    Some(NeverLine { row, except })
}

/// Cuts `verbs except members` at the word in the middle.
pub(super) fn split_except((text, place): Piece<'_>) -> (Piece<'_>, Option<Piece<'_>>) {
    let is_space = |c: char| c == ' ' || c == '\t';
    let found = text.match_indices("except").find(|(at, word)| {
        text[..*at].ends_with(is_space)
            && (text[at + word.len()..].is_empty() || text[at + word.len()..].starts_with(is_space))
    });
    match found {
        Some((at, word)) => {
            let after = at + word.len();
            (trim(&text[..at], place), Some(trim(&text[after..], place.after(after))))
        }
        None => ((text, place), None),
    }
}

/// Cuts `left = right`.
fn assignment<'a>(
    (text, place): Piece<'a>,
    help: &str,
    faults: &mut Vec<Fault>,
) -> Option<(Piece<'a>, Piece<'a>)> {
    let Some(at) = text.find('=') else {
        let end = text.len();
        faults.push(Fault::new(place.span(end, end + 1), "`=` expected", help));
        return None;
    };
    Some((trim(&text[..at], place), trim(&text[at + 1..], place.after(at + 1))))
}
