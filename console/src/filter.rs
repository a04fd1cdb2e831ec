//! Which refusals to show: by principal, verb, object, reason and age.

use std::time::SystemTime;

use bailiwick_acl::audit;
use bailiwick_acl::policy::{Pattern, object_pattern};
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde::Deserialize;

use crate::refusals::Refusal;

/// What the form asks for, as it was typed. Unknown fields are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    pub(crate) principal: String,
    pub(crate) verb: String,
    pub(crate) object: String,
    pub(crate) reason: String,
    pub(crate) since: String,
    /// Which refusals to look through: `all` for the whole log.
    pub(crate) log: String,
}

/// A filter that can be applied.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    principal: Option<String>,
    verb: Option<String>,
    reason: Option<String>,
    object: Option<Pattern>,
    since: Option<Timestamp>,
}

/// Why a filter cannot be applied: which field, and what to write there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadFilter {
    pub(crate) field: &'static str,
    pub(crate) message: String,
}

impl Asked {
    /// Whether anything at all is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        [&self.principal, &self.verb, &self.object, &self.reason, &self.since]
            .iter()
            .all(|field| field.trim().is_empty())
    }

    /// Whether the whole log is to be searched.
    pub(crate) fn wants_whole_log(&self) -> bool {
        self.log == "all"
    }

    /// The filter, for pages made at `now`.
    ///
    /// # Errors
    ///
    /// [`BadFilter`] for the first field that cannot be understood.
    pub(crate) fn filter(&self, now: SystemTime) -> Result<Filter, BadFilter> {
        let text = |field: &String| Some(field.trim()).filter(|t| !t.is_empty()).map(str::to_owned);
        let object = match text(&self.object) {
            None => None,
            Some(text) => Some(object_pattern(&text).map_err(|errors| {
                let first = errors.errors().first();
                let message =
                    first.map_or_else(String::new, |e| format!("{}; {}", e.message, e.help));
                BadFilter { field: "object", message }
            })?),
        };
        Ok(Filter {
            principal: text(&self.principal),
            verb: text(&self.verb),
            reason: text(&self.reason),
            object,
            since: text(&self.since).map(|text| since(&text, now)).transpose()?,
        })
    }
}

impl Filter {
    /// The same for a search in files, where fewer records need a closer look with it.
    pub(crate) fn in_files(&self) -> audit::Filter {
        audit::Filter {
            outcome: audit::Outcome::Refused,
            principal: self.principal.clone(),
            verb: self.verb.clone(),
            object: self.object.clone(),
            reason: self.reason.clone(),
            since: self.since.map(SystemTime::from),
            ..audit::Filter::default()
        }
    }

    pub(crate) fn wants(&self, refusal: &Refusal) -> bool {
        let entry = &refusal.entry;
        let is =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        let object = self.object.as_ref().is_none_or(|pattern| {
            let principal = entry.principal.as_deref().unwrap_or_default();
            entry.object.as_ref().is_some_and(|object| pattern.matches(object, principal))
        });
        // A record whose time cannot be read is not hidden by a filter for time.
        let recent = self.since.is_none_or(|since| refusal.at.is_none_or(|at| at >= since));
        object
            && recent
            && is(&self.principal, &entry.principal)
            && is(&self.verb, &entry.verb)
            && is(&self.reason, &entry.reason)
    }
}

/// A moment, or so long ago: `2026-11-22T12:00:00Z`, `90s`, `15m`, `1h 30m`, `2d`.
fn since(text: &str, now: SystemTime) -> Result<Timestamp, BadFilter> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let ago = || {
        let span: Span = text.parse().ok()?;
        let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        let ago = std::time::Duration::try_from(ago).ok()?;
        Timestamp::try_from(now).ok()?.checked_sub(ago).ok()
    };
    ago().ok_or_else(|| BadFilter {
        field: "since",
        message: "not a time; write `15m`, `1h`, `2d` or `2026-11-22T12:00:00Z`".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(since: &str) -> Result<Timestamp, BadFilter> {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        let asked = Asked { since: since.to_owned(), ..Asked::default() };
        asked.filter(now).map(|filter| filter.since.unwrap())
    }

    #[test]
    fn a_time_is_a_moment_or_an_age() {
        assert_eq!(at("90s").unwrap().as_second(), 1_000_000 - 90);
        assert_eq!(at(" 2d ").unwrap().as_second(), 1_000_000 - 2 * 86_400);
        assert_eq!(at("1970-01-01T00:00:07Z").unwrap().as_second(), 7);
        for text in ["yesterday", "1", "-1h", "99999999999999d", "15 apples"] {
            assert_eq!(at(text).unwrap_err().field, "since", "{text}");
        }
    }

    #[test]
    fn an_object_is_a_pattern_of_the_policy() {
        let asked = Asked { object: "exam*.txt".to_owned(), ..Asked::default() };
        let error = asked.filter(SystemTime::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.field, "object");
        assert!(error.message.contains("whole segment"), "{}", error.message);
    }
}
