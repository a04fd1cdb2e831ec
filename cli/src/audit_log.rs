//! Reads an audit log for a command: all its files, or a stream, and tells what could not be read.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use bailiwick_acl::audit::{self, Entry, Filter, Follow, QueryError, Start, Then};

use crate::files;
use crate::output::{Failure, Outcome, plain};

/// Most lines of a log of which it is told that they are no records.
const MAX_TOLD: u64 = 100;

/// Hands over the records of the log at `path`, oldest first: of the files that were rotated, too.
/// `-` is standard input. Bad if something in it was no record.
pub(crate) fn each(
    path: &Path,
    filter: Filter,
    mut take: impl FnMut(Entry) -> Result<ControlFlow<()>, Failure>,
) -> Result<Outcome, Failure> {
    let mut problems = Problems::default();
    if let Some(stream) = stream(path)? {
        for found in audit::query(stream, filter) {
            match found {
                Ok(entry) => {
                    if take(entry)?.is_break() {
                        break;
                    }
                }
                Err(error) => problems.tell(path, &error),
            }
        }
        return Ok(problems.outcome());
    }
    let mut follow = Follow::new(path, filter, Start::Oldest);
    loop {
        let batch = follow.next_batch().map_err(|error| unreadable(path, &error))?;
        for found in batch.found {
            match found {
                Ok(entry) => {
                    if take(entry)?.is_break() {
                        return Ok(problems.outcome());
                    }
                }
                Err(error) => problems.tell(&batch.path, &error),
            }
        }
        if let Then::Wait { torn } = batch.then {
            if torn > 0 {
                let path = plain(&batch.path.to_string_lossy());
                eprintln!(
                    "note: {path}: the last {torn} bytes are no whole record; it is being written, \
                     or was torn by a crash"
                );
            }
            return Ok(problems.outcome());
        }
    }
}

/// Whether there is any file of the log at `path`, rotated ones included.
pub(crate) fn is_there(path: &Path) -> bool {
    audit::files(path).is_ok_and(|files| files.iter().any(|file| file.exists()))
}

/// Why a log cannot be read on.
pub(crate) fn unreadable(path: &Path, error: &QueryError) -> Failure {
    Failure::new(format!("{}: {error}", path.display()), "run as a user who may read the log")
}

/// What was met that is no record.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    count: u64,
}

impl Problems {
    /// Tells of one on standard error.
    pub(crate) fn tell(&mut self, path: &Path, error: &QueryError) {
        let path = plain(&path.to_string_lossy());
        if let QueryError::Torn { .. } = error {
            return eprintln!("note: {path}: {error}");
        }
        self.count += 1;
        match self.count {
            ..=MAX_TOLD => eprintln!("error: {path}: {error}"),
            count if count == MAX_TOLD + 1 => eprintln!("error: {path}: and more of the kind"),
            _ => {}
        }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        if self.count == 0 { Outcome::Good } else { Outcome::Bad }
    }
}

/// The stream that `path` names; `None` if it names the files of a log.
fn stream(path: &Path) -> Result<Option<Box<dyn Read>>, Failure> {
    if path == Path::new("-") {
        return Ok(Some(Box::new(io::stdin())));
    }
    if path.is_file() || (!path.exists() && is_there(path)) {
        return Ok(None);
    }
    // A pipe is read to its end; of what is not there, opening says why.
    let file: File = files::open(path, "an audit log")?;
    Ok(Some(Box::new(file)))
}
