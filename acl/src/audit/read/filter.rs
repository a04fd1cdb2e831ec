//! Which records are wanted.

use std::time::SystemTime;

use jiff::Timestamp;

use super::entry::{Entry, Fields, Text, bare, host, text};
use super::prefilter::Prefilter;
use super::query::QueryError;
use crate::policy::Pattern;

/// Which records to find; the default is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only refusals, or only what was allowed.
    pub outcome: Outcome,
    /// Only those of this principal.
    pub principal: Option<String>,
    /// Only those with this verb.
    pub verb: Option<String>,
    /// Only those whose object this pattern means, with the wildcards of the policy. A summary of
    /// many refusals names no object.
    pub object: Option<Pattern>,
    /// Only those from this time on. A record without a time that can be read does not fit.
    pub since: Option<SystemTime>,
    /// Only those up to this time.
    pub until: Option<SystemTime>,
    /// Only those of this event.
    pub event: Option<String>,
    /// Only those for this reason.
    pub reason: Option<String>,
    /// Only those about this service.
    pub service: Option<String>,
    /// Only those about this method.
    pub method: Option<String>,
    /// Only those of this peer: an address, with its port or without.
    pub peer: Option<String>,
    /// Only those of this mode, such as `shadow`.
    pub mode: Option<String>,
    /// Only the one with this number.
    pub seq: Option<u64>,
}

/// Which outcomes to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// All.
    #[default]
    Any,
    /// Denied requests, refused handshakes and sessions that were ended, and the summaries that
    /// stand for them; see [`Entry::is_refusal`].
    Refused,
    /// Requests that were allowed.
    Allowed,
}

/// A filter, ready for many lines.
#[derive(Debug)]
pub(super) struct Matcher {
    filter: Filter,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    prefilter: Prefilter,
}

impl Matcher {
    pub(super) fn new(filter: Filter) -> Self {
        // A time that jiff cannot hold lies before or after all records.
        let timestamp = |time: SystemTime| {
            Timestamp::try_from(time).unwrap_or(match time < SystemTime::UNIX_EPOCH {
                true => Timestamp::MIN,
                false => Timestamp::MAX,
            })
        };
        let since = filter.since.map(timestamp);
        let until = filter.until.map(timestamp);
        let prefilter = Prefilter::of(&filter, since, until);
        Self { filter, since, until, prefilter }
    }

    pub(super) const fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// The entry that `line` is, if it is wanted.
    ///
    /// A line that is no record is an error, unless it looks like one that is not wanted: those are
    /// not looked at more closely.
    pub(super) fn find(&self, line: &[u8], number: u64) -> Option<Result<Entry, QueryError>> {
        if !self.prefilter.may_match(line) {
            return None;
        }
        match Fields::read(line) {
            None => Some(Err(QueryError::NotARecord { line: number })),
            Some(fields) if self.wants(&fields) => Some(Ok(fields.into_entry(line, number))),
            Some(_) => None,
        }
    }

    fn wants(&self, fields: &Fields<'_>) -> bool {
        let filter = &self.filter;
        let is = |wanted: &Option<String>, found: &Option<Text<'_>>| {
            let found = found.as_ref().map(|text| &*text.0);
            wanted.is_none() || wanted.as_deref() == found
        };
        let outcome = match filter.outcome {
            Outcome::Any => true,
            Outcome::Refused => fields.is_refusal(),
            // A permissive principal's request ran, though the policy would deny it.
            Outcome::Allowed => text(&fields.decision) == "allow",
        };
        let object = filter.object.as_ref().is_none_or(|pattern| {
            let object = fields.object.as_ref();
            object.is_some_and(|object| pattern.matches(&object.0, text(&fields.principal)))
        });
        let peer = filter.peer.as_ref().is_none_or(|wanted| {
            let peer = fields.peer.as_ref();
            peer.is_some_and(|peer| *wanted == peer.0 || bare(wanted) == host(&peer.0))
        });
        outcome
            && object
            && peer
            && self.in_time(fields)
            && filter.seq.is_none_or(|seq| seq == fields.seq)
            && filter.event.as_ref().is_none_or(|event| *event == fields.event.0)
            && is(&filter.principal, &fields.principal)
            && is(&filter.verb, &fields.verb)
            && is(&filter.reason, &fields.reason)
            && is(&filter.service, &fields.service)
            && is(&filter.method, &fields.method)
            && is(&filter.mode, &fields.mode)
    }

    fn in_time(&self, fields: &Fields<'_>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        fields.ts.0.parse::<Timestamp>().is_ok_and(|time| {
            self.since.is_none_or(|since| since <= time)
                && self.until.is_none_or(|until| time <= until)
        })
    }
}
