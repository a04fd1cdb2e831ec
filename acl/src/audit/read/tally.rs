//! Counts records by who, what, which way, why or from where; summaries by what they stand for.

use std::borrow::Cow;
use std::collections::HashMap;

use super::entry::Entry;
use crate::audit::MAX_FIELD;

/// Most keys that are counted apart; events of keys that come later are counted together. With keys of
/// at most [`MAX_FIELD`] bytes a tally stays below 80 MB.
pub const MAX_KEYS: usize = 65_536;

/// What to count by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Who asked.
    #[default]
    Principal,
    /// What they asked for.
    Object,
    /// The way they asked, `Service.method`.
    Method,
    /// Why it was judged so.
    Reason,
    /// From where, without the port.
    Peer,
}

/// Counts, while records come.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    by: By,
    counts: HashMap<Box<str>, u64>,
    others: u64,
    unnamed: u64,
}

/// What a [`Tally`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Each key with its count: the highest first, and then by name.
    pub keys: Vec<(Box<str>, u64)>,
    /// Events of keys that came after the first [`MAX_KEYS`].
    pub others: u64,
    /// Events whose record has no such field, such as the object in a summary.
    pub unnamed: u64,
    /// All events.
    pub total: u64,
}

impl Tally {
    /// An empty one.
    #[must_use]
    pub fn new(by: By) -> Self {
        Self { by, ..Self::default() }
    }

    /// Counts one record, by its [`weight`](Entry::weight).
    pub fn add(&mut self, entry: &Entry) {
        let weight = entry.weight();
        if weight == 0 {
            return;
        }
        let add = |count: &mut u64| *count = count.saturating_add(weight);
        let Some(key) = self.by.key(entry) else { return add(&mut self.unnamed) };
        // Ours are not longer, but the file may be anybody's.
        let key = &key[..key.floor_char_boundary(MAX_FIELD)];
        if let Some(count) = self.counts.get_mut(key) {
            add(count);
        } else if self.counts.len() < MAX_KEYS {
            self.counts.insert(key.into(), weight);
        } else {
            add(&mut self.others);
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn finish(self) -> Counts {
        let mut keys: Vec<_> = self.counts.into_iter().collect();
        keys.sort_unstable_by(|left, right| {
            right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0))
        });
        let named = keys.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        let total = named.saturating_add(self.others).saturating_add(self.unnamed);
        Counts { keys, others: self.others, unnamed: self.unnamed, total }
    }
}

impl By {
    fn key(self, entry: &Entry) -> Option<Cow<'_, str>> {
        match self {
            Self::Principal => entry.principal.as_deref().map(Cow::from),
            Self::Object => entry.object.as_deref().map(Cow::from),
            Self::Method => match (entry.service.as_deref(), entry.method.as_deref()) {
                (Some(service), Some(method)) => Some(format!("{service}.{method}").into()),
                (service, method) => service.or(method).map(Cow::from),
            },
            Self::Reason => entry.reason.as_deref().map(Cow::from),
            Self::Peer => entry.peer_host().map(Cow::from),
        }
    }
}
