//! The policy file as it is now: read again when it changes, with all that is wrong with it.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bailiwick_acl::policy::analysis::Ruleset;
use bailiwick_acl::policy::{Finding, KeysRequired, LoadOptions, Source};

use crate::follow::Stop;
use crate::news::News;

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(1);

/// Longest policy or file of principals that the console loads, in bytes.
pub(crate) const MAX_POLICY: u64 = 256 << 20;

/// Most errors or warnings that a page shows.
pub(crate) const MAX_FINDINGS: usize = 500;

/// The state of the file.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// It has not been read yet.
    Reading,
    /// It loads.
    Good,
    /// It has errors: a server keeps the revision before.
    Refused(Arc<[Finding]>),
    /// It cannot be read.
    Unreadable(String),
}

/// A file that loads, or did before.
#[derive(Debug)]
pub(crate) struct Good {
    pub(crate) rules: Ruleset,
    /// Lines of the file.
    pub(crate) lines: usize,
}

/// A line of the file.
pub(crate) struct Line {
    pub(crate) number: u32,
    pub(crate) text: String,
}

/// The lines around one, as far as there are any that say something.
pub(crate) fn around(rules: &Ruleset, line: u32, more: u32) -> Vec<Line> {
    let numbers = line.saturating_sub(more).max(1)..=line.saturating_add(more);
    let mut lines: Vec<_> =
        numbers.map(|number| Line { number, text: rules.line(number) }).collect();
    while lines.last().is_some_and(|last| last.text.is_empty()) {
        lines.pop();
    }
    lines
}

/// What is known of the policy.
#[derive(Clone, Debug)]
pub(crate) struct Now {
    pub(crate) state: State,
    /// The last file that loaded since the console started.
    pub(crate) good: Option<Arc<Good>>,
}

/// Watches the files in a thread of its own until [`Stop`].
#[derive(Debug)]
pub(crate) struct Watched {
    file: PathBuf,
    now: Arc<Mutex<Now>>,
}

/// What tells one version of the files from another.
type Stamp = Vec<Option<(u64, u64, u64, i64, i64)>>;

impl Watched {
    pub(crate) fn start(
        policy: PathBuf,
        principals: Option<PathBuf>,
        stop: Stop,
        news: News,
    ) -> io::Result<Self> {
        let now = Arc::new(Mutex::new(Now { state: State::Reading, good: None }));
        let (ours, file) = (Arc::clone(&now), policy.clone());
        let watch = move || {
            let mut seen: Option<Stamp> = None;
            loop {
                let files = [Some(policy.as_path()), principals.as_deref()];
                let stamp = files.into_iter().flatten().map(stamp).collect();
                if seen.as_ref() != Some(&stamp) {
                    let read = read(&policy, principals.as_deref());
                    let mut now = ours.lock().unwrap_or_else(PoisonError::into_inner);
                    now.state = match read {
                        Ok(good) => {
                            now.good = Some(Arc::new(good));
                            State::Good
                        }
                        Err(state) => state,
                    };
                    drop(now);
                    seen = Some(stamp);
                    news.tell();
                }
                if stop.wait(POLL) {
                    return;
                }
            }
        };
        thread::Builder::new().name("policy".to_owned()).spawn(watch)?;
        Ok(Self { file, now })
    }

    /// The policy file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn now(&self) -> Now {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn stamp(path: &Path) -> Option<(u64, u64, u64, i64, i64)> {
    let metadata = fs::metadata(path).ok()?;
    let (dev, ino, size) = (metadata.dev(), metadata.ino(), metadata.size());
    Some((dev, ino, size, metadata.mtime(), metadata.mtime_nsec()))
}

fn read(policy: &Path, principals: Option<&Path>) -> Result<Good, State> {
    let text = bytes(policy)?;
    let beside = principals.map(|path| Ok((path.display().to_string(), bytes(path)?)));
    let beside: Option<(String, Vec<u8>)> = beside.transpose()?;
    let options = LoadOptions {
        services: &[],
        principals: beside.as_ref().map(|(name, text)| Source { name, text }),
        previous_serial: None,
        keys: KeysRequired::Tool,
    };
    let name = policy.display().to_string();
    match Ruleset::load(Source { name: &name, text: &text }, &options) {
        Ok(rules) => Ok(Good { rules, lines: text.split(|byte| *byte == b'\n').count() }),
        Err(errors) => Err(State::Refused(errors.errors().into())),
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, State> {
    let unreadable = |why: String| State::Unreadable(format!("{}: {why}", path.display()));
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unreadable("no such file".to_owned()),
        _ => unreadable(error.to_string()),
    })?;
    // Opening a pipe or a device may block or do things.
    if !metadata.is_file() {
        return Err(unreadable("not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let read = file.take(MAX_POLICY + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > MAX_POLICY {
        let most = MAX_POLICY >> 20;
        return Err(unreadable(format!("longer than {most} MiB; use `bailiwick acl explain`")));
    }
    Ok(bytes)
}
