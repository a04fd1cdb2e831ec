//! Opens a log: its files, its key, its other sinks, and its bounds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::chain::{Chain, Sealed};
use super::checkpoint::End;
use super::checkpoint_file::CheckpointFile;
use super::error::AuditError;
use super::file::{FileSink, Found};
use super::key_file::{Ends, KeyFile, Random};
use super::lane::{self, Lane, Takes};
use super::log::AuditLog;
use super::sealing::{Keyring, Sealing};
use super::sink::Sink;
use super::state::{Core, Gap, State};
use super::{CHECKPOINT_EVERY, DEADLINE, RESERVE, ROTATE_AT};

/// Opens a log with several sinks, or with other bounds than the defaults.
///
/// The same records go to all sinks, and a record counts as written once one of them has it. The
/// first file is the one whose names the log uses; a file that misses records is completed from the
/// one that has most when the log is opened.
#[must_use]
pub struct Builder {
    node: String,
    random: Random,
    files: Vec<PathBuf>,
    key_file: Option<PathBuf>,
    sinks: Vec<(Box<dyn Sink>, Takes)>,
    checkpoints: Vec<PathBuf>,
    rotate_at: u64,
    reserve: u64,
    deadline: Duration,
}

impl Builder {
    pub(super) fn new(node: &str, random: Random) -> Self {
        Self {
            node: node.to_owned(),
            random,
            files: Vec::new(),
            key_file: None,
            sinks: Vec::new(),
            checkpoints: Vec::new(),
            rotate_at: ROTATE_AT,
            reserve: RESERVE,
            deadline: DEADLINE,
        }
    }

    /// Adds a file. At least one is needed; put a second one on another disk.
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.files.push(path.as_ref().to_owned());
        self
    }

    /// Where the private keys of the checkpoints are kept. Default: beside the first file, with
    /// `.key` behind its name.
    pub fn key_file(mut self, path: impl AsRef<Path>) -> Self {
        self.key_file = Some(path.as_ref().to_owned());
        self
    }

    /// Adds a sink that takes all records from now on.
    pub fn sink(mut self, sink: Box<dyn Sink>) -> Self {
        self.sinks.push((sink, Takes::Everything));
        self
    }

    /// Adds a witness: a sink that takes the checkpoints alone, once they are on the log's own disk.
    /// One out of the reach of this machine's root, such as a
    /// [`CheckpointFile`](super::CheckpointFile) on another host, is what makes a cut tail known.
    pub fn witness(mut self, sink: Box<dyn Sink>) -> Self {
        self.sinks.push((sink, Takes::Checkpoints));
        self
    }

    /// Adds a [`CheckpointFile`] as a witness.
    pub fn checkpoints(mut self, path: impl AsRef<Path>) -> Self {
        self.checkpoints.push(path.as_ref().to_owned());
        self
    }

    /// Bytes at which the next checkpoint ends a file. Default: [`ROTATE_AT`].
    pub fn rotate_at(mut self, bytes: u64) -> Self {
        self.rotate_at = bytes;
        self
    }

    /// Bytes of the disk that each file holds ready for refusals. Default: [`RESERVE`].
    pub fn reserve(mut self, bytes: u64) -> Self {
        self.reserve = bytes;
        self
    }

    /// How long a record may take to be written. Default: [`DEADLINE`]. A server's first ones may take
    /// [`START_DEADLINE`](super::START_DEADLINE) at least.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Opens the log; see [`AuditLog::open`].
    ///
    /// # Errors
    ///
    /// [`AuditError`]; a server that meets one must not start.
    pub fn open(mut self) -> Result<AuditLog, AuditError> {
        let first = self.files.first().ok_or(AuditError::NoFile)?.clone();
        let mut files = Vec::with_capacity(self.files.len());
        for path in &self.files {
            files.push(FileSink::open(path, self.reserve)?);
        }
        for path in std::mem::take(&mut self.checkpoints) {
            let sink = CheckpointFile::open(&path).map_err(|source| AuditError::Io {
                doing: "open",
                path,
                advice: "checkpoints are to go there: make its directory, and let this user write",
                source,
            })?;
            self.sinks.push((Box::new(sink), Takes::Checkpoints));
        }
        let found = super::complete::complete(&mut files)?;
        // What a crash left in the page cache alone: its key is erased next, so it must be on the disk.
        for (file, _) in &files {
            let synced = file.syncer().and_then(|mut sync| sync());
            synced.map_err(|error| error.of(file.name()))?;
        }
        let mut stream = [0; 16];
        (self.random)(&mut stream);
        let stream = found.chain.stream.unwrap_or(stream);
        let key_path = self.key_file.take().unwrap_or_else(|| beside(&first));
        let ends = ends(&found.chain);
        let (file, keys) = KeyFile::open(&key_path, ends.as_ref(), stream, &mut self.random)?;
        // A start that came to nothing may have left a key file and no record: that is its stream.
        let stream = found.chain.stream.unwrap_or(keys.stream);
        let mut sealing = Sealing::new(keys);
        sealing.rotated = found.rotated;
        sealing.bytes = found.bytes;
        sealing.owes_rotate = found.bytes == 0 && found.rotated > 0;
        sealing.closed = is_closed(&found.chain);
        let Found { chain, torn, .. } = found;
        sealing.unsealed = chain.unsealed_records();
        let gap = Gap { torn, unclosed: chain.last > 0 && !sealing.closed, ..Gap::default() };
        // What a crash left unsealed has waited long enough.
        if gap.unclosed {
            sealing.unsealed = sealing.unsealed.max(CHECKPOINT_EVERY);
        }
        let state = State {
            lanes: Vec::new(),
            memory: None,
            stream,
            last: chain.last,
            head: chain.head,
            denied: chain.denied,
            gap,
            sealing: Some(sealing),
            time: None,
            closing: false,
        };
        let random = self.random;
        let keyring = Some(Keyring { file, random });
        let core = Core::new(state, keyring, &self.node, self.deadline, self.rotate_at);
        let files =
            files.into_iter().map(|(file, _)| (Box::new(file) as Box<dyn Sink>, Takes::Everything));
        start(core, files.chain(self.sinks).collect())
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Starts the writers.
fn start(core: Core, sinks: Vec<(Box<dyn Sink>, Takes)>) -> Result<AuditLog, AuditError> {
    {
        let mut state = core.lock();
        let last = state.last;
        let lanes =
            sinks.iter().map(|(sink, takes)| Lane::new(sink.name().to_owned(), *takes, last));
        state.lanes = lanes.collect();
    }
    let core = Arc::new(core);
    let mut threads = Vec::with_capacity(2 * sinks.len());
    for (nth, (sink, _)) in sinks.into_iter().enumerate() {
        let name = sink.name().to_owned();
        let (writer, syncer) = (Arc::clone(&core), Arc::clone(&core));
        let started = thread::Builder::new()
            .name("audit".into())
            .spawn(move || lane::run(&writer, nth, sink))
            .and_then(|writer| {
                let syncer = thread::Builder::new()
                    .name("audit-sync".into())
                    .spawn(move || lane::run_syncs(&syncer, nth))?;
                Ok([writer, syncer])
            });
        let advice = "raise the limit of threads";
        threads.extend(started.map_err(|source| AuditError::Io {
            doing: "start a thread for",
            path: name,
            advice,
            source,
        })?);
    }
    Ok(AuditLog::with(core, threads))
}

fn is_closed(chain: &Chain) -> bool {
    matches!(&chain.sealed, Some(Sealed { end: End::Closed, seq, .. }) if *seq == chain.last)
}

fn ends(chain: &Chain) -> Option<Ends> {
    let (stream, sealed) = (chain.stream?, chain.sealed.as_ref()?);
    Some(Ends { stream, announced: sealed.next })
}

/// The default place of the key file.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".key");
    PathBuf::from(name)
}
