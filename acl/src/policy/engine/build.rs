//! Takes rows in, and bounds what a request can cost.

use super::ever::Ever;
use super::fingerprint::{Fingerprint, Points, Prefix};
use super::literals::{Literals, Reach};
use super::record::{BySubject, Record, Verbs};
use super::trie::TrieBuilder;
use super::{Engine, Found, MAX_VISITS, VerbId};
use crate::policy::decision::Effect;
use crate::policy::pattern::{Extent, Part};
use crate::policy::people::SubjectId;

/// A policy's rows on their way into an [`Engine`].
pub(in crate::policy) struct Builder {
    points: Points,
    records: Vec<Record>,
    /// By subject.
    reaches: Vec<Reach>,
    trie: TrieBuilder,
}

/// What a row says, but for its verbs and its object.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Says {
    pub(in crate::policy) subject: SubjectId,
    pub(in crate::policy) effect: Effect,
    pub(in crate::policy) line: u32,
}

impl Builder {
    /// A builder with room for so many rows before it has to grow.
    pub(in crate::policy) fn with_room(rows: usize) -> Self {
        Self {
            points: Points::random(),
            records: Vec::with_capacity(rows),
            reaches: Vec::new(),
            trie: TrieBuilder::new(),
        }
    }

    /// Adds a row about the object pattern that `parts` and `extent` are.
    pub(in crate::policy) fn add<'p>(
        &mut self,
        says: Says,
        (parts, extent): (impl Iterator<Item = Part<'p>> + Clone, Extent),
        verbs: impl Iterator<Item = VerbId>,
    ) {
        match self.literal(parts.clone(), extent) {
            Some((object, reach)) => self.record(says, object, reach, verbs),
            None => {
                let place = self.trie.place(parts, extent);
                let found = Found::row(says.effect, says.line);
                let mut granted = Vec::new();
                for verb in verbs {
                    self.trie.grant(place, verb, says.subject, found);
                    granted.push(verb);
                }
                self.record(says, Fingerprint::default(), Reach::WILD, granted.into_iter());
            }
        }
    }

    /// The fingerprint of an object without wildcards, and how deep it is.
    fn literal<'p>(
        &self,
        parts: impl Iterator<Item = Part<'p>>,
        extent: Extent,
    ) -> Option<(Fingerprint, Reach)> {
        let (mut prefix, mut depth) = (Prefix::ROOT, 0);
        for part in parts {
            let Part::Literal(text) = part else { return None };
            prefix = self.points.below(prefix, text.as_bytes());
            depth += 1;
        }
        Some((prefix.with(extent), Reach::literal(depth, extent)))
    }

    fn record(
        &mut self,
        Says { subject, effect, line }: Says,
        object: Fingerprint,
        reach: Reach,
        verbs: impl Iterator<Item = VerbId>,
    ) {
        let record = |verbs| Record { object, subject, verbs, effect, line };
        let mut together = Verbs::NONE;
        for verb in verbs {
            let one = Verbs::one(verb);
            match together.with(one) {
                Some(both) => together = both,
                None => self.records.push(record(one)),
            }
        }
        if together != Verbs::NONE {
            self.records.push(record(together));
        }
        let at = subject as usize;
        if at >= self.reaches.len() {
            self.reaches.resize(at + 1, Reach::default());
        }
        self.reaches[at].add(reach);
    }

    /// The engine.
    ///
    /// # Errors
    ///
    /// The most places where one request may have to look, if that is more than [`MAX_VISITS`].
    pub(in crate::policy) fn finish(self) -> Result<Engine, u64> {
        let Self { points, records, reaches, trie } = self;
        let mut reach = Reach::default();
        reaches.iter().for_each(|one| reach.add(*one));
        let worst = trie.worst_visits().saturating_add(reach.places());
        if worst > MAX_VISITS {
            return Err(worst);
        }
        let trie = trie.finish();
        let ever = Ever::of(&BySubject::of(&records, reaches.len()));
        let literals = Literals::of(reaches, records);
        Ok(Engine { points, literals, trie, ever })
    }
}

/// A file is no longer than 2^30 bytes, so that all it has can be counted in 32 bits.
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX - 8)
}
