//! Rows on their way into an engine: what one says, in 32 bytes, and all of them by subject.

use super::fingerprint::Fingerprint;
use super::{EVERY_VERB, Found, VerbId};
use crate::policy::decision::Effect;
use crate::policy::people::SubjectId;

/// What a row says, or of one with many verbs a part.
#[derive(Clone, Copy)]
pub(super) struct Record {
    /// None if the object has a wildcard inside.
    pub(super) object: Fingerprint,
    pub(super) subject: SubjectId,
    pub(super) verbs: Verbs,
    pub(super) effect: Effect,
    pub(super) line: u32,
}

/// Some of the first verbs, or any one, in 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verbs(u32);

/// Verbs of which [`Verbs`] can hold several.
const FIRST: u32 = 31;

/// The bit before the number of a single verb.
const SINGLE: u32 = 1 << FIRST;

/// A verb that is asked for, with [`EVERY_VERB`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    among: u32,
    single: u32,
}

/// Records sorted by subject.
pub(super) struct BySubject {
    records: Vec<Record>,
    /// Where the records of each subject begin, and one more.
    begins: Vec<u32>,
}

impl Record {
    pub(super) const fn found(&self) -> Found {
        Found::row(self.effect, self.line)
    }
}

impl Verbs {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn one(verb: VerbId) -> Self {
        if verb < FIRST { Self(1 << verb) } else { Self(SINGLE | verb) }
    }

    /// Both, if they fit.
    pub(super) const fn with(self, other: Self) -> Option<Self> {
        if self.0 & SINGLE == 0 && other.0 & SINGLE == 0 {
            Some(Self(self.0 | other.0))
        } else {
            None
        }
    }

    #[inline]
    pub(super) const fn include(self, asked: Asked) -> bool {
        self.0 == asked.single || (self.0 & SINGLE == 0 && self.0 & asked.among != 0)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = VerbId> {
        let (single, mut rest) = match self.0 & SINGLE {
            0 => (None, self.0),
            _ => (Some(self.0 & !SINGLE), 0),
        };
        single.into_iter().chain(std::iter::from_fn(move || {
            let verb = rest.trailing_zeros();
            rest &= rest.checked_sub(1)?;
            Some(verb)
        }))
    }
}

impl Asked {
    #[inline]
    pub(super) const fn of(verb: VerbId) -> Self {
        let among = if verb < FIRST { 1 << verb } else { 0 };
        Self { among: among | 1 << EVERY_VERB, single: SINGLE | verb }
    }
}

impl BySubject {
    /// Sorts the records of `subjects` subjects.
    pub(super) fn of(records: &[Record], subjects: usize) -> Self {
        let mut begins = vec![0_u32; subjects + 1];
        for record in records {
            begins[record.subject as usize] += 1;
        }
        let mut total = 0;
        for begin in &mut begins {
            total += *begin;
            *begin = total;
        }
        let mut sorted = records.to_vec();
        for record in records {
            // What was the end of a subject's records becomes their begin.
            let at = &mut begins[record.subject as usize];
            *at -= 1;
            sorted[*at as usize] = *record;
        }
        Self { records: sorted, begins }
    }

    /// The records of each subject, from 0 on.
    pub(super) fn each(&self) -> impl Iterator<Item = &[Record]> {
        self.begins.windows(2).map(|ends| match *ends {
            [from, to] => &self.records[from as usize..to as usize],
            _ => &[],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_include_what_they_are_made_of_and_nothing_else() {
        for verb in [EVERY_VERB, 1, 30, 31, 32, 1_000, (1 << 30) - 1] {
            let one = Verbs::one(verb);
            assert_eq!(one.iter().collect::<Vec<_>>(), [verb]);
            for asked in [1, 2, 30, 31, 32, 33, 1_000, 1_001, u32::MAX] {
                let meant = verb == asked || verb == EVERY_VERB;
                assert_eq!(one.include(Asked::of(asked)), meant, "{verb} {asked}");
            }
        }
        let some = Verbs::one(3).with(Verbs::one(30)).unwrap();
        assert_eq!(some.iter().collect::<Vec<_>>(), [3, 30]);
        assert!(some.include(Asked::of(30)) && !some.include(Asked::of(4)));
        assert_eq!(some.with(Verbs::one(31)), None);
        assert!(!Verbs::NONE.include(Asked::of(1)) && Verbs::NONE.iter().next().is_none());
    }
}
