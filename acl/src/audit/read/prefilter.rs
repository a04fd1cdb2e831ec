//! Throws lines away by their bytes, before any JSON is parsed; most lines of a search end here.
//!
//! It may let through what is not wanted, and never throws away what is. A text that a record must
//! hold stands in its line as it is, unless the line has a backslash: JSON has no other way to write
//! it differently. So a line without the text and without a backslash cannot be wanted. A line that
//! does not look like one of our records goes through too, so that it can be told of.

use jiff::Timestamp;
use memchr::memchr;
use memchr::memmem::Finder;

use super::filter::{Filter, Outcome};
use crate::policy::{Extent, Pattern, Segment};

/// How each of our records begins and ends.
const BEGINNING: &[u8] = b"{\"v\":1,\"seq\":";
const END: &[u8] = b"\"}";

/// What stands between the number of one of our records and its time.
const BEFORE_TIME: &[u8] = b",\"ts\":\"";

/// A time as our records have it, `2026-11-22T12:16:07.123456Z`: such texts sort as the times do.
type Time = [u8; 27];

/// What the bytes of a line must hold.
#[derive(Debug)]
pub(super) struct Prefilter {
    texts: Vec<OneOf>,
    since: Option<Time>,
    until: Option<Time>,
}

/// Texts of which one must be there.
#[derive(Debug)]
struct OneOf(Vec<Finder<'static>>);

impl Prefilter {
    pub(super) fn of(filter: &Filter, since: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        let mut texts = Vec::new();
        let mut add = |text: &str| texts.push(OneOf::of(&[text]));
        if let Some(seq) = filter.seq {
            add(&seq.to_string());
        }
        for field in [
            &filter.principal,
            &filter.verb,
            &filter.event,
            &filter.reason,
            &filter.service,
            &filter.method,
            &filter.mode,
        ] {
            field.iter().for_each(|text| add(&format!("\"{text}\"")));
        }
        filter.peer.iter().for_each(|peer| add(super::entry::bare(peer)));
        filter.object.iter().flat_map(spelled_out).for_each(|text| add(&text));
        match filter.outcome {
            Outcome::Any => {}
            Outcome::Allowed => add("\"allow\""),
            Outcome::Refused => texts.push(OneOf::of(&[
                "\"deny\"",
                "\"handshake.refused\"",
                "\"session.broken\"",
                "\"session.revoked\"",
                "\"summary\"",
            ])),
        }
        Self { texts, since: since.and_then(time_text), until: until.and_then(time_text) }
    }

    /// Whether the line may be a wanted record, or is perhaps no record.
    pub(super) fn may_match(&self, line: &[u8]) -> bool {
        if !(line.starts_with(BEGINNING) && line.ends_with(END)) {
            return true;
        }
        self.may_be_in_time(line)
            && (self.texts.iter().all(|texts| texts.is_in(line)) || memchr(b'\\', line).is_some())
    }

    fn may_be_in_time(&self, line: &[u8]) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        time_of(line).is_none_or(|time| {
            self.since.is_none_or(|since| since <= time)
                && self.until.is_none_or(|until| time <= until)
        })
    }
}

impl OneOf {
    fn of(texts: &[&str]) -> Self {
        Self(texts.iter().map(|text| Finder::new(text.as_bytes()).into_owned()).collect())
    }

    fn is_in(&self, line: &[u8]) -> bool {
        self.0.iter().any(|text| text.find(line).is_some())
    }
}

/// The number of a record in the form that is ours.
pub(super) fn seq_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(BEGINNING)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

/// The parts of `pattern` that an object must hold, with the quotes around it.
fn spelled_out(pattern: &Pattern) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::from("\"");
    for (at, segment) in pattern.segments.iter().enumerate() {
        if at > 0 {
            part.push('/');
        }
        match segment {
            Segment::Literal(text) => part.push_str(text),
            Segment::Any | Segment::Caller => parts.push(std::mem::take(&mut part)),
        }
    }
    match (pattern.extent, pattern.segments.is_empty()) {
        (Extent::Exact, _) => part.push('"'),
        (Extent::Below, false) => part.push('/'),
        (Extent::Below, true) => {}
    }
    parts.push(part);
    // A lone quote or slash is in nearly every line.
    parts.retain(|part| part.len() > 1);
    parts
}

fn time_text(time: Timestamp) -> Option<Time> {
    format!("{time:.6}").into_bytes().try_into().ok()
}

/// The time of a record in the form that is ours.
fn time_of(line: &[u8]) -> Option<Time> {
    const FORM: &Time = b"0000-00-00T00:00:00.000000Z";
    let rest = line.strip_prefix(BEGINNING)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let time: Time = *rest[digits..].strip_prefix(BEFORE_TIME)?.first_chunk()?;
    let fits = time.iter().zip(FORM).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    });
    // A leap second is read as the second before, so its text does not sort as its time does.
    (fits && time[17] < b'6').then_some(time)
}
