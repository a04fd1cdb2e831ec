//! The newest refusals, kept in bounded memory as the log grows, and how many came when.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use bailiwick_acl::audit::{self, Entry, Filter};
use jiff::Timestamp;

use crate::follow::{Ended, Follow, Progress, Start, Stop, Then, Watch};
use crate::news::News;

/// Most refusals that are kept for the page.
pub(crate) const MAX_HELD: usize = 10_000;

/// Most bytes of their JSON together; the oldest go first.
pub(crate) const MAX_HELD_BYTES: usize = 16 << 20;

/// How much of the end of the log is read at the start.
pub(crate) const MAX_BACKLOG: u64 = 64 << 20;

/// How long a bar of the plot is, and how many there are: half an hour.
pub(crate) const BAR: Duration = Duration::from_secs(30);
pub(crate) const BARS: usize = 60;

/// How often a log that is missing is looked for.
const RETRY: Duration = Duration::from_secs(1);

/// What the log told, as far as it is kept.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Refusals, the newest last.
    refusals: VecDeque<Arc<Refusal>>,
    bytes: usize,
    /// How many fell in each interval of [`BAR`] since 1970; the newest last.
    bars: VecDeque<(u64, u64)>,
    /// Whether older refusals were let go, or never read.
    pub(crate) more: bool,
    /// Whether all there is has been read once.
    pub(crate) caught_up: bool,
    /// The last checkpoint.
    pub(crate) checkpoint: Option<Arc<Entry>>,
    /// The last policy that came into force.
    pub(crate) policy: Option<Arc<Entry>>,
}

/// One refusal.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) entry: Entry,
    /// Its time; `None` if that cannot be read.
    pub(crate) at: Option<Timestamp>,
}

impl Refusal {
    pub(crate) fn new(entry: Entry) -> Self {
        let at = entry.ts.parse().ok();
        Self { entry, at }
    }
}

impl Held {
    fn take(&mut self, entry: Entry) {
        match &*entry.event {
            "checkpoint" => self.checkpoint = Some(Arc::new(entry)),
            "policy.load" => self.policy = Some(Arc::new(entry)),
            _ if entry.is_refusal() => self.add(Refusal::new(entry)),
            _ => {}
        }
    }

    fn add(&mut self, refusal: Refusal) {
        if let Some(at) = refusal.at {
            self.count(at, refusal.entry.weight());
        }
        self.bytes += refusal.entry.json.len();
        self.refusals.push_back(Arc::new(refusal));
        while self.refusals.len() > MAX_HELD || self.bytes > MAX_HELD_BYTES {
            let Some(oldest) = self.refusals.pop_front() else { break };
            self.bytes -= oldest.entry.json.len();
            self.more = true;
        }
    }

    fn count(&mut self, at: Timestamp, weight: u64) {
        let bar = bar_of(at.as_second());
        // Records come in order, but clocks are set back now and then.
        match self.bars.iter_mut().rev().find(|(known, _)| *known == bar) {
            Some((_, count)) => *count = count.saturating_add(weight),
            None => self.bars.push_back((bar, weight)),
        }
        while self.bars.len() > BARS {
            self.bars.pop_front();
        }
    }

    /// The refusals, the newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Arc<Refusal>> {
        self.refusals.iter().rev()
    }

    /// The refusal with this number, if it is among them.
    pub(crate) fn find(&self, seq: u64) -> Option<Arc<Refusal>> {
        self.newest_first().find(|refusal| refusal.entry.seq == seq).cloned()
    }

    /// How many refusals fell in each of the last [`BARS`] intervals; the newest last.
    pub(crate) fn bars(&self, now: SystemTime) -> Vec<u64> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let last = now / BAR.as_secs();
        let count =
            |bar| self.bars.iter().find(|(at, _)| *at == bar).map_or(0, |(_, count)| *count);
        (0..BARS as u64).rev().map(|back| count(last.saturating_sub(back))).collect()
    }
}

fn bar_of(second: i64) -> u64 {
    u64::try_from(second).unwrap_or(0) / BAR.as_secs()
}

/// Reads the log in a thread of its own until [`Stop`].
#[derive(Debug)]
pub(crate) struct Feed {
    held: Arc<Mutex<Held>>,
}

impl Feed {
    pub(crate) fn start(path: PathBuf, stop: Stop, news: News) -> io::Result<Self> {
        let held = Arc::new(Mutex::new(Held::default()));
        let ours = Arc::clone(&held);
        let read = move || {
            while !stop.is_set() {
                read(&path, &stop, &news, &ours);
                stop.wait(RETRY);
            }
        };
        thread::Builder::new().name("refusals".to_owned()).spawn(read)?;
        Ok(Self { held })
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }
}

/// Reads the log to the end of all ends: it is gone, or another stands in its place.
fn read(path: &Path, stop: &Stop, news: &News, held: &Arc<Mutex<Held>>) {
    let waiting = Waiting { held: Arc::clone(held), news: news.clone() };
    let start = Start::Newest(MAX_BACKLOG);
    let Ok(mut log) = Follow::open(path, start, stop, waiting) else { return };
    *lock(held) = Held { more: log.starts_late(), ..Held::default() };
    // A line that is too long ends a query, and the next one goes on behind it.
    while log.ended().is_none() {
        for found in audit::query(&mut log, Filter::default()) {
            match found {
                Ok(entry) => lock(held).take(entry),
                Err(audit::QueryError::Io { .. }) => return,
                // The chain's reader tells of lines that are no records.
                Err(_) => {}
            }
        }
    }
    // What a vanished or shorter file said stays on the page until there is something else.
    if matches!(log.ended(), Some(Ended::Replaced)) {
        news.tell();
    }
}

/// Tells the pages when the end is reached again.
struct Waiting {
    held: Arc<Mutex<Held>>,
    news: News,
}

impl Watch for Waiting {
    fn then(&mut self, progress: &Progress) -> Then {
        if progress.at_end {
            lock(&self.held).caught_up = true;
        }
        if progress.news {
            self.news.tell();
        }
        Then::GoOn
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    // Whatever a panic left undone, the list itself is whole.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
