//! Reads a whole log and says whether anyone has touched it.

mod walk;
mod witnessed;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use super::chain::Start;
use super::checkpoint::CheckpointKey;
use super::files::files;
use super::tampered::{Tampered, What};
use walk::Walk;

pub use witnessed::{NotACheckpoint, Witnessed};

/// Bytes that are read at once.
const BUFFER: usize = 256 * 1_024;

/// How long a record that looks torn is given to be written to its end.
const PAUSE: Duration = Duration::from_millis(50);

/// What is known about a log from elsewhere. All of it is optional, and each part proves more.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The key of its first checkpoint. Without it the log's own is believed, and a log that was
    /// written anew as a whole is not found out.
    pub anchor: Option<CheckpointKey>,
    /// Checkpoints that were shipped to another place. Without them a tail that was cut off after
    /// a checkpoint is found by the heartbeat alone.
    pub checkpoints: Vec<Witnessed>,
    /// When the files were as they are: now, for those of a running server. Without it a missed
    /// heartbeat at the end is not noticed.
    pub at: Option<SystemTime>,
}

/// What a whole log says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Files that it is in.
    pub files: u64,
    /// Records in it.
    pub records: u64,
    /// Requests refused: those in full, and those in summaries.
    pub denials: u64,
    /// Of these, the ones that are only counted in summaries.
    pub summarized: u64,
    /// Records that were lost while the log could not be written, as its `gap`s say.
    pub missing: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Records after the last checkpoint: nothing but their chain protects them yet.
    pub unsealed: u64,
    /// When the last checkpoint was written, RFC 3339.
    pub sealed_at: Option<String>,
    /// Whether the log was closed in order, and nothing came after.
    pub closed: bool,
    /// The stream they belong to; `None` in an empty log.
    pub stream: Option<String>,
    /// The key of the first checkpoint; `None` in an empty log.
    pub anchor: Option<CheckpointKey>,
    /// The `h` of the last record.
    pub head: String,
    /// The last of the checkpoints kept elsewhere, all of which are in the log.
    pub witnessed: Option<u64>,
}

/// Verifies the log whose active file is `path`, with all its rotated files beside it.
///
/// # Errors
///
/// [`Tampered`] at the first line that does not fit.
pub fn verify_files(path: &Path, expected: &Expected) -> Result<Report, Tampered> {
    loop {
        let before = listed(path)?;
        let verified = verify_listed(path, &before, expected, &mut || thread::sleep(PAUSE));
        // A running server may have rotated its log meanwhile.
        if verified.is_ok() || listed(path)? == before {
            return verified;
        }
    }
}

fn listed(path: &Path) -> Result<Vec<PathBuf>, Tampered> {
    files(path).map_err(|error| unreadable(path, &error))
}

fn verify_listed(
    path: &Path,
    files: &[PathBuf],
    expected: &Expected,
    pause: &mut dyn FnMut(),
) -> Result<Report, Tampered> {
    let mut walk = Walk::new(Start::Anchor, expected);
    for (nth, file) in files.iter().enumerate() {
        let in_file = |tampered: Tampered| Tampered { file: Some(file.clone()), ..tampered };
        if nth > 0 {
            walk.begin_file()
                .map_err(|tampered| Tampered { file: Some(files[nth - 1].clone()), ..tampered })?;
        }
        let reader = File::open(file).map_err(|error| unreadable(file, &error))?;
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        let is_last = nth + 1 == files.len();
        let walked = walk.file(&mut reader);
        let walked = if is_last { walk.on(walked, &mut reader, pause) } else { walked };
        if let Err(tampered) = walked {
            let rest = files[nth + 1..].iter().filter_map(|file| File::open(file).ok());
            return Err(in_file(tampered.diagnosed(&mut reader, rest)));
        }
    }
    walk.finish().map_err(|tampered| Tampered { file: Some(path.to_owned()), ..tampered })
}

fn unreadable(file: &Path, error: &io::Error) -> Tampered {
    let what = What::Unreadable(error.to_string());
    Tampered { file: Some(file.to_owned()), line: 1, what }
}

/// Verifies a log that is in one file.
///
/// # Errors
///
/// [`Tampered`] at the first line that does not fit.
pub fn verify(reader: impl BufRead) -> Result<Report, Tampered> {
    verify_reader(reader, Start::Anchor)
}

/// Verifies nothing but the chain: all that a log in memory has.
///
/// # Errors
///
/// [`Tampered`] at the first line that does not fit.
pub fn verify_chain(reader: impl BufRead) -> Result<Report, Tampered> {
    verify_reader(reader, Start::Bare)
}

fn verify_reader(mut reader: impl BufRead, start: Start) -> Result<Report, Tampered> {
    let expected = Expected::default();
    let mut walk = Walk::new(start, &expected);
    walk.file(&mut reader).map_err(|tampered| tampered.diagnosed(&mut reader, []))?;
    walk.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::audit::{AuditLog, Event, Record};

    #[test]
    fn a_record_that_is_being_written_is_not_torn() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let log = AuditLog::open(&path, "n", |bytes: &mut [u8]| bytes.fill(7)).expect("a log");
        log.append(&Record::of(Event::PolicyLoad), UNIX_EPOCH).expect("a record");
        drop(log);
        let whole = fs::read(&path).expect("a file");
        let cut = |by: usize| fs::write(&path, &whole[..whole.len() - by]).expect("a file");
        let verify = |pause: &mut dyn FnMut()| {
            verify_listed(&path, std::slice::from_ref(&path), &Expected::default(), pause)
        };
        // It comes in three parts.
        cut(100);
        let mut left = [40, 0].into_iter();
        let report = verify(&mut || left.next().into_iter().for_each(cut)).expect("whole");
        assert_eq!((report.records, report.closed), (3, true));
        // Or it does not go on.
        cut(100);
        let mut left = [40].into_iter();
        let torn = verify(&mut || left.next().into_iter().for_each(cut)).expect_err("torn");
        assert_eq!((torn.line, torn.what), (3, What::TornEnd));
    }
}
