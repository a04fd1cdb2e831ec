//! Looks for records in a log, line by line.

use std::io::{self, BufRead};

use serde::Deserialize;
use thiserror::Error;

use super::record::escape;
use super::verify::{RawLine, read_line};
use crate::policy::Pattern;

/// Which records to find; the default is all of them.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only refusals: denied requests and refused handshakes.
    pub outcome: Outcome,
    /// Only those of this principal.
    pub principal: Option<String>,
    /// Only those with this verb.
    pub verb: Option<String>,
    /// Only those whose object this pattern means, with the wildcards of the policy.
    pub object: Option<Pattern>,
}

/// Which outcomes to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// All.
    #[default]
    Any,
    /// Denied requests and refused handshakes, and the summaries that stand for them.
    Refused,
}

/// One record, as read from a log. Texts are as the peer sent them: pass them through
/// [`escape`] before showing them.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// When, RFC 3339 in UTC.
    pub ts: String,
    /// What happened.
    pub event: String,
    /// `allow` or `deny`.
    pub decision: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Who.
    pub principal: Option<String>,
    /// The fingerprint of the key.
    pub key: Option<String>,
    /// From where.
    pub peer: Option<String>,
    /// The service.
    pub service: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The verb.
    pub verb: Option<String>,
    /// The object.
    pub object: Option<String>,
    /// The deciding row, `file:line`.
    pub row: Option<String>,
    /// What is done about a refusal; only under `enforce` was a request refused.
    pub mode: Option<String>,
    /// How many events it stands for.
    pub count: Option<u64>,
    /// What people should know besides.
    pub detail: Option<String>,
    /// The line of the file; 1 is the first.
    #[serde(skip)]
    pub line: u64,
    /// The record as JSON, fit for a terminal.
    #[serde(skip)]
    pub json: String,
}

/// Why a log could not be searched to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A line is not a record; run `audit verify`.
    #[error("line {line} is not a record; `bailiwick audit verify` says more")]
    NotARecord {
        /// The line.
        line: u64,
    },
    /// The file could not be read.
    #[error("cannot read on after line {line}: {source}")]
    Io {
        /// The last good line.
        line: u64,
        /// Why.
        source: io::Error,
    },
}

/// Finds records, in their order. The chain is not checked: that is [`verify`](super::verify)'s.
pub fn query<R: BufRead>(
    mut reader: R,
    filter: Filter,
) -> impl Iterator<Item = Result<Entry, QueryError>> {
    let mut line = 0;
    let mut buffer = Vec::new();
    let mut over = false;
    std::iter::from_fn(move || {
        loop {
            if over {
                return None;
            }
            let read = match read_line(&mut reader, &mut buffer) {
                Ok(read) => read,
                Err(source) => {
                    over = true;
                    return Some(Err(QueryError::Io { line, source }));
                }
            };
            if matches!(read, RawLine::End) {
                over = true;
                continue;
            }
            line += 1;
            // After a line without an end there is nothing that could be trusted to be a line.
            over = !matches!(read, RawLine::Whole);
            match entry(&buffer, line).filter(|_| !over) {
                None => return Some(Err(QueryError::NotARecord { line })),
                Some(entry) if filter.wants(&entry) => return Some(Ok(entry)),
                Some(_) => {}
            }
        }
    })
}

fn entry(raw: &[u8], line: u64) -> Option<Entry> {
    let text = std::str::from_utf8(raw).ok()?;
    let mut entry: Entry = serde_json::from_str(text).ok()?;
    entry.line = line;
    // Inside a valid JSON object such characters can only stand in strings, where the escape means
    // the same; quotes and backslashes are part of the JSON and stay.
    entry.json = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => c.to_string(),
            c => escape(c.encode_utf8(&mut [0; 4])),
        })
        .collect();
    Some(entry)
}

impl Filter {
    fn wants(&self, entry: &Entry) -> bool {
        let is =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        let outcome = match self.outcome {
            Outcome::Any => true,
            Outcome::Refused => {
                let enforced = matches!(entry.mode.as_deref(), None | Some("enforce"));
                let denied = entry.decision.as_deref() == Some("deny");
                let ended = ["handshake.refused", "session.broken", "session.revoked", "summary"];
                enforced && (denied || ended.contains(&&*entry.event))
            }
        };
        let object = self.object.as_ref().is_none_or(|pattern| {
            let principal = entry.principal.as_deref().unwrap_or_default();
            entry.object.as_ref().is_some_and(|object| pattern.matches(object, principal))
        });
        outcome && object && is(&self.principal, &entry.principal) && is(&self.verb, &entry.verb)
    }
}
