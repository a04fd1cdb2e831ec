//! How fast an audit log is searched: a gigabyte of records, and filters that few or many fit.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bailiwick_acl::audit::{AuditLog, Event, Filter, Follow, Outcome, Record, Start, Then};
use bailiwick_acl::policy::{Effect, Reason, object_pattern};
use serde::Serialize;

use crate::AnyError;

/// Bytes of the log; with `--quick`.
pub(crate) const BYTES: u64 = 1_000_000_000;
pub(crate) const QUICK_BYTES: u64 = 100_000_000;

/// What `query` must reach, in 10^6 bytes a second.
pub(crate) const GOAL: f64 = 300.0;

/// Records of a block, which is made as a log of its own: the chain is nothing to a query.
const BLOCK: u64 = 1_000;

/// One search.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Searched {
    /// The filter, as the command takes it.
    pub(crate) filter: &'static str,
    /// Records that fit.
    pub(crate) found: u64,
    /// Bytes of the log.
    pub(crate) bytes: u64,
    /// From the first byte to the last.
    pub(crate) seconds: f64,
}

impl Searched {
    /// 10^6 bytes a second.
    pub(crate) fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds
    }
}

/// Writes a log of about `bytes` into `dir`, and searches it by several filters, each `repetitions`
/// times; the fastest counts, since the others waited for the machine.
///
/// # Errors
///
/// What the disk said.
pub(crate) fn measure(dir: &Path, bytes: u64, repetitions: u32) -> Result<Vec<Searched>, AnyError> {
    let path = dir.join("audit.jsonl");
    let bytes = write(&path, bytes)?;
    let rare = || Some("mallory".to_owned());
    let object = object_pattern("course/secret/**").map_err(|errors| errors.to_string())?;
    let filters = [
        ("--principal mallory", Filter { principal: rare(), ..Filter::default() }),
        ("--object 'course/secret/**'", Filter { object: Some(object), ..Filter::default() }),
        (
            "--denied --principal mallory",
            Filter { outcome: Outcome::Refused, principal: rare(), ..Filter::default() },
        ),
        (
            "--since (the last hundredth)",
            Filter {
                since: Some(UNIX_EPOCH + Duration::from_secs(BLOCK - 10)),
                ..Filter::default()
            },
        ),
        ("--denied", Filter { outcome: Outcome::Refused, ..Filter::default() }),
    ];
    let mut searches = Vec::new();
    for (name, filter) in filters {
        let mut best: Option<Searched> = None;
        for _ in 0..repetitions {
            let start = Instant::now();
            let found = search(&path, filter.clone())?;
            let seconds = start.elapsed().as_secs_f64();
            if best.as_ref().is_none_or(|best| seconds < best.seconds) {
                best = Some(Searched { filter: name, found, bytes, seconds });
            }
        }
        searches.extend(best);
    }
    Ok(searches)
}

/// A table of what was measured.
pub(crate) fn text(searches: &[Searched]) -> String {
    let mut out = String::from("audit query                         MB/s      found   goal 300\n");
    for search in searches {
        let speed = search.megabytes_per_second();
        let met = if speed >= GOAL { "met" } else { "missed" };
        let line = format!("{:<32} {speed:>7.0} {:>10}   {met}\n", search.filter, search.found);
        out.push_str(&line);
    }
    out
}

fn search(path: &Path, filter: Filter) -> Result<u64, AnyError> {
    let mut follow = Follow::new(path, filter, Start::Oldest);
    let mut found = 0;
    loop {
        let batch = follow.next_batch()?;
        for entry in batch.found {
            entry?;
            found += 1;
        }
        if batch.then != Then::GoOn {
            return Ok(found);
        }
    }
}

/// Four denials in five records, of a hundred principals; one record in 10,000 is about a rare
/// principal, and another about a rare object.
fn write(path: &Path, bytes: u64) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut written = 0;
    let mut number = 0;
    while written < bytes {
        let log = AuditLog::memory();
        for second in 0..BLOCK {
            number += 1;
            append(&log, number, second)?;
        }
        for line in log.lines() {
            writeln!(out, "{line}")?;
            written += line.len() as u64 + 1;
        }
    }
    out.into_inner()?.sync_data()?;
    Ok(written)
}

fn append(log: &AuditLog, number: u64, second: u64) -> io::Result<()> {
    let (principal, object, call) = match number % 10_000 {
        1 => ("mallory".to_owned(), "course/list".to_owned(), number.to_string()),
        2 => ("alice".to_owned(), format!("course/secret/{number}"), number.to_string()),
        _ => {
            let principal = format!("principal-{}", number % 100);
            (principal, format!("course/{}/notes", number % 977), number.to_string())
        }
    };
    let effect = if number.is_multiple_of(5) { Effect::Allow } else { Effect::Deny };
    let record = Record {
        principal: Some(&principal),
        key: Some("sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"),
        session: Some(number.to_be_bytes()),
        peer: Some("10.0.0.7:5123"),
        service: Some("Course"),
        method: Some("put_notes"),
        verb: Some("write"),
        object: Some(&object),
        row: Some(("policy.acl", 7)),
        policy: Some([7; 32]),
        serial: Some(42),
        mode: Some("enforce"),
        call: Some(&call),
        ..Record::of(Event::Decision).judged(effect, Reason::Row)
    };
    let time = UNIX_EPOCH + Duration::from_secs(second);
    log.append(&record, time).map(|_| ()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_finds_what_was_written_for_it() {
        let dir = tempfile::tempdir().unwrap();
        // About 20 blocks of 720 bytes a record.
        let searches = measure(dir.path(), 14_000_000, 1).unwrap();
        let found: Vec<_> = searches.iter().map(|search| search.found).collect();
        let records = searches[4].found * 5 / 4;
        assert_eq!(
            found[..3],
            [records.div_ceil(10_000), records.div_ceil(10_000), records.div_ceil(10_000)]
        );
        assert_eq!(found[3], records / 100);
    }
}
