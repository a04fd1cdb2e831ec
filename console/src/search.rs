//! Looks through the whole log, for what is no longer held: bounded in time and in what it finds.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use bailiwick_acl::audit::{Entry, Filter, QueryError, query};

use crate::follow::{Follow, Progress, Start, Stop, Then, Watch};

/// Longest time for one search.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(10);

/// Most records that a search gives: the newest that fit.
pub(crate) const MAX_FOUND: usize = 500;

/// Most bytes of their JSON together.
const MAX_BYTES: usize = 8 << 20;

/// Searches at once.
pub(crate) const MAX_SEARCHES: usize = 2;

/// What a search found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The newest that fit, oldest first.
    pub(crate) entries: VecDeque<Entry>,
    /// How many fit.
    pub(crate) count: u64,
    /// Whether the whole log was looked through; else time was up.
    pub(crate) complete: bool,
}

/// The records that fit `filter`.
///
/// # Errors
///
/// The file system's.
pub(crate) fn search(path: &Path, filter: &Filter) -> io::Result<Found> {
    let until = Until { deadline: Instant::now() + MAX_TIME, late: false };
    let mut log = Follow::open(path, Start::Oldest, &Stop::default(), until)?;
    let mut found = Found::default();
    let mut bytes = 0;
    while log.ended().is_none() {
        for entry in query(&mut log, filter.clone()) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(QueryError::Io { source, .. }) => return Err(source),
                Err(_) => continue,
            };
            found.count += 1;
            bytes += entry.json.len();
            found.entries.push_back(entry);
            while found.entries.len() > MAX_FOUND || bytes > MAX_BYTES {
                let Some(oldest) = found.entries.pop_front() else { break };
                bytes -= oldest.json.len();
            }
        }
    }
    found.complete = !log.watch.late;
    Ok(found)
}

/// Reads what is there, until time is up.
struct Until {
    deadline: Instant,
    late: bool,
}

impl Watch for Until {
    fn then(&mut self, progress: &Progress) -> Then {
        self.late = !progress.at_end && Instant::now() > self.deadline;
        if progress.at_end || self.late { Then::End } else { Then::GoOn }
    }
}
