//! The audit log's refusals, as the story shows them.

use std::fmt;

use bailiwick_acl::audit::{Entry, Filter, Outcome, escape, query};
use miette::Report;

/// A refusal, its texts made fit for a terminal; those that a record does not have are empty.
#[derive(Debug)]
pub(super) struct Refusal {
    seq: u64,
    pub(super) principal: String,
    pub(super) verb: String,
    pub(super) object: String,
    /// Why, and the deciding row if there is one.
    pub(super) reason: String,
    key: String,
}

/// The refusals in a log, in their order.
pub(super) fn refusals(log: &[u8]) -> Result<Vec<Refusal>, Report> {
    let filter = Filter { outcome: Outcome::Refused, ..Filter::default() };
    let entries: Result<Vec<_>, _> = query(log, filter).collect();
    Ok(entries.map_err(Report::from_err)?.into_iter().map(Refusal::from).collect())
}

impl From<Entry> for Refusal {
    fn from(entry: Entry) -> Self {
        let text = |field: Option<String>| field.as_deref().map(escape).unwrap_or_default();
        let reason = [text(entry.reason), text(entry.row)].join(" ").trim_end().to_owned();
        Self {
            seq: entry.seq,
            principal: text(entry.principal),
            verb: text(entry.verb),
            object: text(entry.object),
            reason,
            key: text(entry.key),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seq, principal, verb, object, reason, key } = self;
        if principal.is_empty() {
            return write!(f, "#{seq}  handshake refused: {reason}, key {key}");
        }
        write!(f, "#{seq}  {principal:<6} {verb} {object:<15} {reason}")
    }
}
