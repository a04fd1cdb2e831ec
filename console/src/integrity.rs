//! Whether the log's chain is whole: verified as it grows, and again from its first line.
//!
//! What was appended is verified within a moment. What was verified before may be edited later, so
//! the whole log is read anew from time to time, at most a twentieth of the time. The console also
//! remembers the last record that it verified: a log that was rewritten as a whole, or whose tail
//! was cut, no longer has it. The checkpoints are for [`seals`](crate::seals).

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bailiwick_acl::audit;

use crate::follow::{self, Ended, Follow, Progress, Start, Stop, Then, Watch};
use crate::news::News;

/// Shortest time between two readings of the whole log.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A reading that took a second is repeated after so many.
pub(crate) const REST: u32 = 20;

/// How often a log that is broken or missing is looked at again.
const RETRY: Duration = Duration::from_secs(1);

/// How often the page is told of progress within a long reading.
const TELL: Duration = Duration::from_millis(500);

/// What is known of the log.
#[derive(Clone, Debug)]
pub(crate) struct Integrity {
    pub(crate) verdict: Verdict,
    /// The last record that was verified; 0 if there is none.
    pub(crate) record: u64,
    /// Its hash, in hex; empty if there is none.
    pub(crate) head: String,
    /// Bytes of the reading under way.
    pub(crate) bytes: u64,
    /// Bytes of the whole log when that reading began.
    pub(crate) total: u64,
    /// When the log was last found whole from its first line to its last.
    pub(crate) whole_at: Option<SystemTime>,
}

/// Whether it is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The first reading is not done.
    Reading,
    /// It is, up to [`Integrity::record`].
    Whole,
    /// It is not.
    Tampered {
        /// The file and the line, where that is known.
        place: String,
        /// How.
        what: String,
    },
    /// It cannot be read.
    Unreadable(String),
}

/// Verifies the log in a thread of its own until [`Stop`].
#[derive(Debug)]
pub(crate) struct Verifier {
    now: Arc<Mutex<Integrity>>,
}

impl Verifier {
    pub(crate) fn start(path: PathBuf, stop: Stop, news: News) -> io::Result<Self> {
        let now = Integrity {
            verdict: Verdict::Reading,
            record: 0,
            head: String::new(),
            bytes: 0,
            total: 0,
            whole_at: None,
        };
        let now = Arc::new(Mutex::new(now));
        let reading = Reading { path, stop, news, now: Arc::clone(&now), known: None };
        thread::Builder::new().name("verify".to_owned()).spawn(move || reading.run())?;
        Ok(Self { now })
    }

    pub(crate) fn now(&self) -> Integrity {
        lock(&self.now).clone()
    }
}

/// A record that was verified: the log must have it for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    seq: u64,
    h: String,
}

impl Known {
    /// The number and the hash of a line that was verified, or soon will be.
    fn of(line: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Links {
            seq: u64,
            h: String,
        }
        let Links { seq, h } = serde_json::from_slice(line).ok()?;
        Some(Self { seq, h })
    }
}

struct Reading {
    path: PathBuf,
    stop: Stop,
    news: News,
    now: Arc<Mutex<Integrity>>,
    known: Option<Known>,
}

impl Reading {
    fn run(mut self) {
        while !self.stop.is_set() {
            let Some(verdict) = self.once() else { continue };
            let broken = follow::identity_at(&self.path);
            let tampered = matches!(verdict, Verdict::Tampered { .. });
            let before = std::mem::replace(&mut lock(&self.now).verdict, verdict.clone());
            if before != verdict {
                self.news.tell();
            }
            // What was tampered with stays so. Whoever keeps it as evidence begins another log in
            // its place; and a rotation is a reason to look again.
            while !self.stop.wait(RETRY) && tampered && follow::identity_at(&self.path) == broken {}
        }
    }

    /// Reads the log from its first line until it is time to do so again. Gives what is wrong with
    /// it, if anything is.
    fn once(&mut self) -> Option<Verdict> {
        let watch = Witness {
            known: self.known.clone(),
            last: Vec::new(),
            broken: None,
            began: Instant::now(),
            due: None,
            told: None,
            total: follow::total_bytes(&self.path),
            now: Arc::clone(&self.now),
            news: self.news.clone(),
        };
        let mut log = match Follow::open(&self.path, Start::Oldest, &self.stop, watch) {
            Ok(log) => log,
            Err(error) => return Some(self.unreadable(&error)),
        };
        // Files are handed out one after the other, which the chain does not mind.
        let verified = audit::verify_chain(&mut log);
        if let Some(known) = log.watch.newest() {
            self.known = Some(known);
        }
        if self.stop.is_set() {
            return None;
        }
        if let Err(tampered) = verified {
            let place = self.place(log.progress(), tampered.line);
            return Some(Verdict::Tampered { place, what: tampered.what.to_string() });
        }
        let place = self.path.display().to_string();
        let tampered = |what| Some(Verdict::Tampered { place, what });
        match (log.watch.broken.take(), log.ended()) {
            (Some(what), _) => tampered(what),
            (None, Some(Ended::Shrunk { was, is })) => {
                tampered(format!("the file had {was} bytes and now has {is}: its tail was cut"))
            }
            (None, Some(Ended::Missing)) => Some(self.unreadable(&io::ErrorKind::NotFound.into())),
            (None, Some(Ended::AsTold | Ended::Replaced) | None) => None,
        }
    }

    fn unreadable(&self, error: &io::Error) -> Verdict {
        match (error.kind(), &self.known) {
            (io::ErrorKind::NotFound, Some(known)) => Verdict::Tampered {
                place: self.path.display().to_string(),
                what: format!("the file is gone; record {} was its last", known.seq),
            },
            (io::ErrorKind::NotFound, None) => {
                Verdict::Unreadable("no such file; it is made when the server starts".to_owned())
            }
            _ => Verdict::Unreadable(error.to_string()),
        }
    }

    /// The file and its line, of a line of the whole log.
    fn place(&self, progress: &Progress, line: u64) -> String {
        let files = progress.files.iter().rev();
        let (file, before) = files.into_iter().find(|(_, before)| *before < line).copied().unzip();
        let name = file.map_or_else(
            || self.path.display().to_string(),
            |file| follow::name_of(&self.path, file),
        );
        format!("{name}:{}", line - before.unwrap_or(0))
    }
}

/// Looks on while the log is verified, with the last record of the reading before.
struct Witness {
    /// What must come; `None` once it has.
    known: Option<Known>,
    /// The last line that was handed out.
    last: Vec<u8>,
    broken: Option<String>,
    began: Instant,
    /// When to begin anew, once the end was reached.
    due: Option<Instant>,
    told: Option<Instant>,
    total: u64,
    now: Arc<Mutex<Integrity>>,
    news: News,
}

impl Witness {
    /// The newest record there is proof of; `None` before the reading has come to it again.
    fn newest(&self) -> Option<Known> {
        if self.known.is_some() {
            return None;
        }
        let now = lock(&self.now);
        Some(Known { seq: now.record, h: now.head.clone() }).filter(|known| known.seq > 0)
    }

    /// All lines so far are verified: shows it.
    fn show(&mut self, progress: &Progress) {
        let newest = if self.known.is_some() { None } else { Known::of(&self.last) };
        let mut now = lock(&self.now);
        now.bytes = progress.bytes;
        now.total = self.total.max(progress.bytes);
        let mut news = false;
        if let Some(newest) = newest {
            news = now.record != newest.seq;
            now.record = newest.seq;
            now.head = newest.h;
        }
        if progress.at_end && self.broken.is_none() {
            news |= now.verdict != Verdict::Whole;
            now.verdict = Verdict::Whole;
            now.whole_at = Some(SystemTime::now());
        }
        drop(now);
        let fresh = self.told.is_some_and(|told| told.elapsed() < TELL);
        if news && (progress.at_end || !fresh) {
            self.told = Some(Instant::now());
            self.news.tell();
        }
    }
}

impl Watch for Witness {
    fn line(&mut self, line: &[u8]) {
        self.last.clear();
        self.last.extend_from_slice(line);
        let Some(known) = &self.known else { return };
        let Some(found) = Known::of(line).filter(|found| found.seq == known.seq) else { return };
        if found != *known {
            self.broken = Some(format!(
                "record {} is not the one that was verified before: the log was written anew",
                known.seq
            ));
        }
        self.known = None;
    }

    fn then(&mut self, progress: &Progress) -> Then {
        if progress.at_end
            && self.broken.is_none()
            && let Some(known) = &self.known
        {
            self.broken = Some(format!(
                "record {} was verified before and is gone: the tail was cut, or another log \
                 stands in its place; if that was you, start the console again",
                known.seq
            ));
        }
        self.show(progress);
        if self.broken.is_some() {
            return Then::End;
        }
        if !progress.at_end {
            return Then::GoOn;
        }
        let took = self.began.elapsed();
        let due = *self.due.get_or_insert(self.began + AGAIN_AFTER.max(took * REST));
        if Instant::now() < due { Then::GoOn } else { Then::End }
    }
}

fn lock(now: &Mutex<Integrity>) -> MutexGuard<'_, Integrity> {
    // It is replaced field by field, and any mixture of fields may be shown.
    now.lock().unwrap_or_else(PoisonError::into_inner)
}
