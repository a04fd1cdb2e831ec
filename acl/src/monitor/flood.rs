//! Keeps a flood of events from filling the log, without losing count.
//!
//! Of each kind the first [`FULL_PER_SECOND`] of a second are recorded in full, and the others as
//! one `summary`. Conservation: records in full + the counts of the summaries = events.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::audit::AuditId;

/// Events of one kind that a second records in full.
pub const FULL_PER_SECOND: u32 = 10;

/// Most kinds that are counted apart; further ones are counted together, as `other`.
pub const MAX_KINDS: usize = 4_096;

/// Most distinct objects that a summary counts; beyond, it says "at least".
pub const MAX_DISTINCT: usize = 256;

const OTHER: Kind<'_> = Kind { reason: "other", asked: None };

/// What events are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind<'a> {
    pub(super) reason: &'a str,
    /// None for events that are no request.
    pub(super) asked: Option<Asked<'a>>,
}

/// Who asked for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked<'a> {
    pub(super) principal: &'a str,
    pub(super) service: &'a str,
    pub(super) method: &'a str,
    pub(super) verb: &'a str,
}

/// The second under way, for each kind.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// By a hash whose key nobody knows: two kinds do not meet but by a chance of 2^-40.
    windows: HashMap<u64, Window>,
    hash: RandomState,
}

#[derive(Debug)]
struct Window {
    texts: Texts,
    second: u64,
    full: u32,
    /// The last record in full.
    like: Option<AuditId>,
    owed: Owed,
}

/// Events that are in no record yet.
#[derive(Debug, Default)]
struct Owed {
    count: u64,
    /// Hashes of the objects.
    objects: HashSet<u64>,
}

/// The texts of a kind.
#[derive(Clone, Debug)]
struct Texts {
    reason: Box<str>,
    asked: Option<[Box<str>; 4]>,
}

/// What becomes of an event.
#[derive(Debug)]
pub(super) enum Admitted {
    /// It goes on record in full; say so with [`Flood::recorded`].
    InFull,
    /// It is counted, and is like the one in this record.
    Counted(Option<AuditId>),
}

/// A summary that is due.
#[derive(Debug)]
pub(super) struct Summary {
    key: u64,
    texts: Texts,
    owed: Owed,
    pub(super) like: Option<AuditId>,
}

impl Flood {
    /// Counts so many events of a kind, about this object; and gives the summary of the second
    /// before, which goes on record first.
    pub(super) fn admit(
        &mut self,
        kind: &Kind<'_>,
        count: u64,
        object: Option<&str>,
        now: SystemTime,
    ) -> (Admitted, Option<Summary>) {
        let (key, kind) = self.key(kind);
        let window = self.windows.entry(key).or_insert_with(|| Window::new(kind));
        let mut due = None;
        let second = second(now);
        if window.second != second {
            due = window.settle(key);
            window.second = second;
            window.full = 0;
        }
        // Where the records in full are still on their way there is none to point at yet.
        if window.full < FULL_PER_SECOND || (kind.asked.is_some() && window.like.is_none()) {
            window.full += 1;
            return (Admitted::InFull, due);
        }
        window.owed.count = window.owed.count.saturating_add(count);
        if let Some(object) = object
            && window.owed.objects.len() < MAX_DISTINCT
        {
            window.owed.objects.insert(self.hash.hash_one(object));
        }
        (Admitted::Counted(window.like), due)
    }

    /// Says which record an event that was admitted in full has become.
    pub(super) fn recorded(&mut self, kind: &Kind<'_>, record: AuditId) {
        let (key, _) = self.key(kind);
        if let Some(window) = self.windows.get_mut(&key) {
            window.like = window.like.max(Some(record));
        }
    }

    /// The summaries of all seconds but the present one. Kinds that are quiet are forgotten.
    pub(super) fn due(&mut self, now: SystemTime) -> Vec<Summary> {
        let second = second(now);
        let over = |window: &Window| window.second != second;
        let due = self.settle(over);
        self.windows.retain(|_, window| !over(window));
        due
    }

    /// All summaries, of the present second too.
    pub(super) fn all(&mut self) -> Vec<Summary> {
        self.settle(|_| true)
    }

    /// Takes back a summary that could not be written.
    pub(super) fn owe(&mut self, summary: Summary) {
        let Summary { key, texts, owed, like } = summary;
        let window = self.windows.entry(key).or_insert_with(|| Window::with(texts));
        window.like = window.like.max(like);
        window.owed.count = window.owed.count.saturating_add(owed.count);
        window.owed.objects.extend(owed.objects);
    }

    fn settle(&mut self, which: impl Fn(&Window) -> bool) -> Vec<Summary> {
        let windows = self.windows.iter_mut().filter(|(_, window)| which(window));
        windows.filter_map(|(key, window)| window.settle(*key)).collect()
    }

    fn key<'k>(&self, kind: &Kind<'k>) -> (u64, Kind<'k>) {
        let key = self.hash.hash_one(kind);
        if self.windows.len() < MAX_KINDS || self.windows.contains_key(&key) {
            return (key, *kind);
        }
        (self.hash.hash_one(OTHER), OTHER)
    }
}

impl Window {
    fn new(kind: Kind<'_>) -> Self {
        let asked = kind
            .asked
            .map(|asked| [asked.principal, asked.service, asked.method, asked.verb].map(Box::from));
        Self::with(Texts { reason: kind.reason.into(), asked })
    }

    fn with(texts: Texts) -> Self {
        Self { texts, second: 0, full: 0, like: None, owed: Owed::default() }
    }

    fn settle(&mut self, key: u64) -> Option<Summary> {
        let owed = std::mem::take(&mut self.owed);
        let texts = self.texts.clone();
        (owed.count > 0).then_some(Summary { key, texts, owed, like: self.like })
    }
}

impl Summary {
    pub(super) fn count(&self) -> u64 {
        self.owed.count
    }

    /// Distinct objects, and whether there may be more.
    pub(super) fn distinct(&self) -> (u64, More) {
        let distinct = self.owed.objects.len();
        let more = if distinct < MAX_DISTINCT { More::None } else { More::Perhaps };
        (distinct as u64, more)
    }

    pub(super) fn kind(&self) -> Kind<'_> {
        let asked = self.texts.asked.as_ref().map(|[principal, service, method, verb]| Asked {
            principal,
            service,
            method,
            verb,
        });
        Kind { reason: &self.texts.reason, asked }
    }
}

/// Whether a count is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    None,
    Perhaps,
}

fn second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
