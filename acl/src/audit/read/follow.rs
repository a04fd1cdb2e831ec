//! Reads all the files of a log, and goes on with what is appended, across rotations.
//!
//! It is polled: the caller says when, so there is no clock and no sleep in here.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::entry::{Entry, Fields};
use super::filter::{Filter, Matcher};
use super::lines::{Lines, Next};
use super::prefilter::seq_of;
use super::query::QueryError;
use crate::audit::{MAX_LINE, files};

/// Most entries, and lines that are none, of a [`Batch`].
pub const MAX_BATCH: usize = 256;

/// Most bytes that are searched for one [`Batch`], so that the caller gets a word in.
const MAX_SEARCHED: u64 = 64 << 20;

/// How far a clock may have been set back: a file whose last record is older than wanted by less than
/// this is still searched. Default: 1 hour.
const CLOCK_STEP: SignedDuration = SignedDuration::from_hours(1);

/// How often the list of files is taken anew while a rotation is under way.
const MAX_LISTINGS: u32 = 16;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest file that may have what is wanted.
    Oldest,
    /// After the last record that is there now.
    End,
}

/// A log under observation: its files, oldest first, and then what is appended to the last.
///
/// A file that was rotated is read to its end before the next; nothing is lost or given twice. A log
/// that is not there yet is waited for.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    matcher: Matcher,
    place: Option<Place>,
    /// The last record before the present file, or before its beginning was read again.
    given: Option<Mark>,
    start: Start,
}

/// A part of a log.
#[derive(Debug)]
pub struct Batch {
    /// The file, by the name it had when it was opened.
    pub path: PathBuf,
    /// What was found in it, at most [`MAX_BATCH`].
    pub found: Vec<Result<Entry, QueryError>>,
    /// What to do next.
    pub then: Then,
}

/// What to do after a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Take the next one.
    GoOn,
    /// There is nothing more for now: wait a little, or stop.
    Wait {
        /// Bytes of a last line without its end; not 0 while a record is being written, or after a
        /// crash.
        torn: u64,
    },
}

/// A file of the log and how far it is read.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    id: Id,
    lines: Lines<File>,
    stream: Option<String>,
    last: u64,
    /// Nothing is appended to it any more.
    retired: bool,
}

/// A file's identity, whatever its name: device and inode, which no other file takes while this one
/// is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id(u64, u64);

type Listed = (PathBuf, Id);

/// A record within a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    stream: String,
    seq: u64,
}

impl Follow {
    /// Follows the log at `path`, which need not be there yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, filter: Filter, start: Start) -> Self {
        let matcher = Matcher::new(filter);
        Self { path: path.into(), matcher, place: None, given: None, start }
    }

    /// Reads on: what is there now, up to a batch of it.
    ///
    /// # Errors
    ///
    /// [`QueryError::Io`]; a further call tries again. Other errors are within the batch.
    pub fn next_batch(&mut self) -> Result<Batch, QueryError> {
        let mut batch = Batch { path: self.path.clone(), found: Vec::new(), then: Then::GoOn };
        let line = self.place.as_ref().map_or(0, |place| place.lines.number());
        self.fill(&mut batch).map_err(|source| QueryError::Io { line, source })?;
        Ok(batch)
    }

    fn fill(&mut self, batch: &mut Batch) -> io::Result<()> {
        if self.place.is_none() {
            self.place = self.first()?;
            self.start = Start::Oldest;
        }
        let Some(place) = &mut self.place else {
            batch.then = Then::Wait { torn: 0 };
            return Ok(());
        };
        batch.path.clone_from(&place.path);
        let torn = match place.read(&self.matcher, &mut self.given, batch)? {
            Progress::Enough => return Ok(()),
            Progress::AllThereIs { torn } => torn,
        };
        if place.retired {
            return self.turn_the_page(torn, batch);
        }
        match Id::at(&self.path)? {
            // What was appended before the rotation is read before the next file.
            Some(id) if id != place.id => place.retired = true,
            _ => batch.then = Then::Wait { torn },
        }
        place.lines.forget_torn()
    }

    /// Goes on with the file after the one that is read to its end.
    fn turn_the_page(&mut self, torn: u64, batch: &mut Batch) -> io::Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        let Some(next) = self.open_after(place)? else {
            // A rotation is under way; the next call looks again.
            batch.then = Then::Wait { torn };
            return Ok(());
        };
        if torn > 0 {
            let line = place.lines.number() + 1;
            batch.found.push(Err(QueryError::NotARecord { line }));
        }
        // What follows must be the next record; what was given already is passed over.
        self.given = place.mark();
        self.place = Some(next);
        Ok(())
    }

    /// Opens the file after `place`; where that was removed, the oldest one.
    fn open_after(&self, place: &Place) -> io::Result<Option<Place>> {
        for _ in 0..MAX_LISTINGS {
            let Some(next) = self.after(place)? else { return Ok(None) };
            let Some(opened) = self.open(&next)? else { continue };
            // A rotation between the listing and the opening would have put a file in between.
            if self.after(place)?.is_some_and(|(_, id)| id == opened.id) {
                return Ok(Some(opened));
            }
        }
        Ok(None)
    }

    fn after(&self, place: &Place) -> io::Result<Option<Listed>> {
        let mut listed = self.list()?;
        let next = position(&listed, place.id).map_or(0, |at| at + 1);
        Ok((next < listed.len()).then(|| listed.swap_remove(next)))
    }

    /// The file to begin with; `None` if there is none yet.
    fn first(&self) -> io::Result<Option<Place>> {
        for _ in 0..MAX_LISTINGS {
            let listed = self.list()?;
            let Some(last) = listed.len().checked_sub(1) else { return Ok(None) };
            let from = if self.start == Start::End { last } else { 0 };
            for (at, file) in listed.iter().enumerate().skip(from) {
                let Some(mut place) = self.open(file)? else { break };
                if self.start == Start::End {
                    place.go_to_end()?;
                } else if at < last && self.is_too_old(&mut place)? {
                    continue;
                }
                // Unless a rotation has put another file before it.
                if position(&self.list()?, place.id) == Some(at) {
                    return Ok(Some(place));
                }
                break;
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// The files that are there, with their identities.
    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed: Vec<Listed> = Vec::new();
        let names = match files(&self.path) {
            // Its folder is not there yet either.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names?,
        };
        for path in names {
            // One that goes away while we look is not there.
            let Some(id) = Id::at(&path)? else { continue };
            // The active file may have been rotated since its name was listed.
            if listed.last().is_none_or(|(_, last)| *last != id) {
                listed.push((path, id));
            }
        }
        Ok(listed)
    }

    /// Opens a file if it is still the one that was listed.
    fn open(&self, (path, id): &Listed) -> io::Result<Option<Place>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok((Id::of(&metadata) == *id).then(|| Place {
            path: path.clone(),
            id: *id,
            lines: Lines::new(file),
            stream: None,
            last: 0,
            retired: *path != self.path,
        }))
    }

    /// Whether all that a file holds is older than what is wanted.
    fn is_too_old(&self, place: &mut Place) -> io::Result<bool> {
        let Some(since) = self.matcher.since() else { return Ok(false) };
        let last = last_time(place.lines.reader())?;
        place.lines.start_again()?;
        Ok(last.is_some_and(|last| last.checked_add(CLOCK_STEP).is_ok_and(|latest| latest < since)))
    }
}

/// How far a file was read.
enum Progress {
    /// As far as a batch goes.
    Enough,
    /// To its end, and so many bytes of a line without an end.
    AllThereIs { torn: u64 },
}

impl Place {
    /// Reads on, passing over what has been `given` already.
    fn read(
        &mut self,
        matcher: &Matcher,
        given: &mut Option<Mark>,
        batch: &mut Batch,
    ) -> io::Result<Progress> {
        let enough = self.lines.offset() + MAX_SEARCHED;
        while batch.found.len() < MAX_BATCH && self.lines.offset() < enough {
            let line = self.lines.number() + 1;
            let text = match self.lines.next()? {
                Next::Line(text) => text,
                Next::TooLong => {
                    batch.found.push(Err(QueryError::NotARecord { line }));
                    continue;
                }
                next => {
                    let torn = if let Next::Torn(bytes) = next { bytes } else { 0 };
                    if self.lines.reader().metadata()?.len() >= self.lines.offset() {
                        return Ok(Progress::AllThereIs { torn });
                    }
                    // Records that we gave are gone from it. What is there now is read anew.
                    let line = self.lines.number();
                    batch.found.push(Err(QueryError::Cut { line }));
                    *given = self.mark();
                    self.lines.start_again()?;
                    self.stream = None;
                    return Ok(Progress::Enough);
                }
            };
            if self.stream.is_none() {
                self.stream = stream_of(text);
            }
            let seq = seq_of(text);
            self.last = seq.unwrap_or(self.last);
            if let Some(mark) = given {
                let same = self.stream.as_ref() == Some(&mark.stream);
                if same && seq.is_some_and(|seq| seq <= mark.seq) {
                    continue;
                }
                if !(same && seq == mark.seq.checked_add(1)) {
                    batch.found.push(Err(QueryError::Missing { line }));
                }
                *given = None;
            }
            batch.found.extend(matcher.find(text, line));
        }
        Ok(Progress::Enough)
    }

    /// Passes over all that is there.
    fn go_to_end(&mut self) -> io::Result<()> {
        loop {
            match self.lines.next()? {
                Next::Line(text) => {
                    self.last = seq_of(text).unwrap_or(self.last);
                    if self.stream.is_none() {
                        self.stream = stream_of(text);
                    }
                }
                Next::TooLong => {}
                Next::Torn(_) | Next::End => return self.lines.forget_torn(),
            }
        }
    }

    fn mark(&self) -> Option<Mark> {
        Some(Mark { stream: self.stream.clone()?, seq: self.last })
    }
}

impl Id {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }

    /// Of the file that has this name now.
    fn at(path: &Path) -> io::Result<Option<Self>> {
        match path.metadata() {
            Ok(metadata) => Ok(Some(Self::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn position(listed: &[Listed], id: Id) -> Option<usize> {
    listed.iter().position(|(_, other)| *other == id)
}

fn stream_of(line: &[u8]) -> Option<String> {
    Some(Fields::read(line)?.stream?.0.into_owned())
}

/// The time of the last record of a file.
fn last_time(mut file: &File) -> io::Result<Option<Timestamp>> {
    // The last whole line, and before its end a torn one, each of the longest kind.
    let tail = 2 * MAX_LINE as u64;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(tail)))?;
    let mut bytes = Vec::new();
    file.take(tail).read_to_end(&mut bytes)?;
    let last = bytes.rsplit(|byte| *byte == b'\n').nth(1);
    Ok(last.and_then(Fields::read).and_then(|fields| fields.ts.0.parse().ok()))
}
