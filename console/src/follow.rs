//! Reads an audit log as one stream, rotated files first, and waits at its end for what is appended.
//!
//! Only whole lines are handed out. What a crash or a full disk leaves behind the last of them may
//! yet be cut back and written anew by the server, so it is read again each time.

use std::fs::{self, File};
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bailiwick_acl::audit::files;

/// How often the end of the log is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Bytes read at once; more than any record.
const CHUNK: usize = 256 * 1_024;

/// Tells a thread that follows a log to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    pub(crate) fn now(&self) {
        *self.flag() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.flag()
    }

    /// Waits so long, or until it is set; says whether it is.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let waited = self.0.1.wait_timeout_while(self.flag(), time, |set| !*set);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn flag(&self) -> MutexGuard<'_, bool> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the oldest file.
    Oldest,
    /// So many bytes before the end, at the next line.
    Newest(u64),
}

/// Looks on while a log is read.
pub(crate) trait Watch {
    /// A line, without its end, that is being handed out.
    fn line(&mut self, _line: &[u8]) {}

    /// All lines so far have been dealt with. At the end this is asked again and again.
    fn then(&mut self, progress: &Progress) -> Then;
}

/// Whether to read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Read what comes, and wait for it.
    GoOn,
    /// Take this for the end.
    End,
}

/// Why a reader came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As [`Watch::then`] said, or by [`Stop`].
    AsTold,
    /// The file is shorter than what was read of it.
    Shrunk {
        /// Bytes that had been read.
        was: u64,
        /// Bytes that are there.
        is: u64,
    },
    /// Another file stands in its place, and it is not among the rotated ones.
    Replaced,
    /// There is no such file.
    Missing,
}

/// A file, whatever it is called by now.
type Identity = (u64, u64);

/// One log as one reader.
pub(crate) struct Follow<W> {
    /// Who looks on.
    pub(crate) watch: W,
    path: PathBuf,
    stop: Stop,
    progress: Progress,
    open: Option<Open>,
    buffer: Vec<u8>,
    /// What of the buffer waits to be taken.
    ready: std::ops::Range<usize>,
    ended: Option<Ended>,
    /// Whether older lines were left out at the start.
    late: bool,
}

struct Open {
    file: File,
    identity: Identity,
    /// Where the next read begins.
    offset: u64,
}

/// How far a reader has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Lines taken.
    pub(crate) lines: u64,
    /// Bytes taken.
    pub(crate) bytes: u64,
    /// Whether this is all there is.
    pub(crate) at_end: bool,
    /// Whether it was reached just now, for the first time or with more lines than before.
    pub(crate) news: bool,
    /// The files so far, and how many lines stood before each.
    pub(crate) files: Vec<(Identity, u64)>,
}

impl<W: Watch> Follow<W> {
    /// Opens the log whose active file is `path`.
    ///
    /// # Errors
    ///
    /// The file system's; also if it is not a regular file.
    pub(crate) fn open(path: &Path, start: Start, stop: &Stop, watch: W) -> io::Result<Self> {
        let mut follow = Self {
            watch,
            path: path.to_owned(),
            stop: stop.clone(),
            progress: Progress::default(),
            open: None,
            buffer: vec![0; CHUNK],
            ready: 0..0,
            ended: None,
            late: false,
        };
        match start {
            Start::Oldest => {
                let first = files(path)?.into_iter().next().unwrap_or_else(|| path.to_owned());
                follow.enter(&first, 0)?;
            }
            Start::Newest(bytes) => follow.enter_before_end(bytes)?,
        }
        Ok(follow)
    }

    /// Why it ended; `None` while it has not.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// Whether it began after the oldest line.
    pub(crate) fn starts_late(&self) -> bool {
        self.late
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    fn enter(&mut self, path: &Path, offset: u64) -> io::Result<()> {
        let mut file = open_regular(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let identity = identity(&file.metadata()?);
        self.progress.files.push((identity, self.progress.lines));
        self.open = Some(Open { file, identity, offset });
        Ok(())
    }

    /// Enters the file, and the place in it, from which `bytes` are left to the end of the log.
    fn enter_before_end(&mut self, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        let mut first = (self.path.clone(), 0);
        for file in files(&self.path)?.into_iter().rev() {
            let length = fs::metadata(&file)?.len();
            let offset = length.saturating_sub(left);
            left = left.saturating_sub(length);
            first = (file, offset);
            if left == 0 {
                break;
            }
        }
        let (file, offset) = first;
        self.enter(&file, offset)?;
        self.late = offset > 0 || files(&self.path)?.first() != Some(&file);
        if offset > 0 {
            self.skip_to_next_line()?;
        }
        Ok(())
    }

    /// Leaves out the rest of a line in whose middle we stand.
    fn skip_to_next_line(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        // A record fits the buffer; where none ends in it, the reader meets what is there.
        let read = read_full(&mut open.file, &mut self.buffer)?;
        if let Some(end) = self.buffer[..read].iter().position(|byte| *byte == b'\n') {
            open.offset += end as u64 + 1;
        }
        open.file.seek(SeekFrom::Start(open.offset))?;
        Ok(())
    }

    /// Reads until there are whole lines, or there is no more to come.
    fn fill(&mut self) -> io::Result<()> {
        while self.ready.is_empty() && self.ended.is_none() {
            if self.stop.is_set() {
                self.ended = Some(Ended::AsTold);
                return Ok(());
            }
            let Some(open) = &mut self.open else {
                self.ended = Some(Ended::Missing);
                return Ok(());
            };
            open.file.seek(SeekFrom::Start(open.offset))?;
            let read = read_full(&mut open.file, &mut self.buffer)?;
            let whole = self.buffer[..read].iter().rposition(|byte| *byte == b'\n');
            let ready = match whole {
                Some(end) => end + 1,
                // Longer than any record: the reader must see it to refuse it.
                None if read == self.buffer.len() => read,
                None => 0,
            };
            if ready > 0 {
                open.offset += ready as u64;
                self.ready = 0..ready;
                return Ok(());
            }
            self.await_more()?;
        }
        Ok(())
    }

    /// At the end of one file: the next one, or more of this one, or the end.
    fn await_more(&mut self) -> io::Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let length = open.file.metadata()?.len();
        if length < open.offset {
            self.ended = Some(Ended::Shrunk { was: open.offset, is: length });
            return Ok(());
        }
        let active = match fs::metadata(&self.path) {
            Ok(metadata) => identity(&metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A rotation renames one file and makes another: look once more before it counts.
                if self.stop.wait(POLL) || !self.path.exists() {
                    self.ended = Some(Ended::Missing);
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if active != open.identity {
            return self.enter_next();
        }
        self.progress.news = !self.progress.at_end;
        self.progress.at_end = true;
        if self.watch.then(&self.progress) == Then::End || self.stop.wait(POLL) {
            self.ended = Some(Ended::AsTold);
        }
        Ok(())
    }

    /// What is left of this file, which was rotated away, and then the next one.
    fn enter_next(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        // The last records before the rotation may have come after our last look. A torn one is
        // handed out too: nobody will mend it here any more.
        open.file.seek(SeekFrom::Start(open.offset))?;
        let read = read_full(&mut open.file, &mut self.buffer)?;
        if read > 0 {
            open.offset += read as u64;
            self.ready = 0..read;
            return Ok(());
        }
        let identity = open.identity;
        let files = files(&self.path)?;
        match files.iter().skip_while(|file| !is(file, identity)).nth(1) {
            Some(next) => self.enter(next, 0),
            None => {
                self.ended = Some(Ended::Replaced);
                Ok(())
            }
        }
    }
}

impl<W: Watch> Read for Follow<W> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let taken = ready.len().min(out.len());
        out[..taken].copy_from_slice(&ready[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl<W: Watch> BufRead for Follow<W> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.ready.is_empty() && self.ended.is_none() {
            // At the end it is asked there.
            match self.watch.then(&self.progress) {
                Then::GoOn => self.fill()?,
                Then::End => self.ended = Some(Ended::AsTold),
            }
        }
        Ok(&self.buffer[self.ready.clone()])
    }

    fn consume(&mut self, amount: usize) {
        let taken = &self.buffer[self.ready.start..self.ready.end.min(self.ready.start + amount)];
        for line in taken.split_inclusive(|byte| *byte == b'\n') {
            if let Some(line) = line.strip_suffix(b"\n") {
                self.progress.lines += 1;
                self.watch.line(line);
            }
        }
        self.progress.bytes += taken.len() as u64;
        (self.progress.at_end, self.progress.news) = (false, false);
        self.ready.start = self.ready.end.min(self.ready.start + amount);
    }
}

/// What the file is called now, for people: its path may have changed since it was opened.
pub(crate) fn name_of(path: &Path, identity: Identity) -> String {
    let files = files(path).unwrap_or_default();
    let file = files.iter().find(|file| is(file, identity)).map_or(path, PathBuf::as_path);
    file.display().to_string()
}

/// Which file stands at `path` at the moment.
pub(crate) fn identity_at(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().map(|metadata| identity(&metadata))
}

/// The length of all files of the log together.
pub(crate) fn total_bytes(path: &Path) -> u64 {
    let files = files(path).unwrap_or_default();
    files.iter().filter_map(|file| fs::metadata(file).ok()).map(|metadata| metadata.len()).sum()
}

fn is(file: &Path, wanted: Identity) -> bool {
    identity_at(file) == Some(wanted)
}

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Opening a pipe or a device may block or do things; look first.
fn open_regular(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    File::open(path)
}

/// Fills as much of the buffer as the file has.
fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
