//! What rows of several subjects or verbs say at one place: ranges of grants, each of which is searched
//! from end to end if it is short, and by hash if it is long.

use std::ops::Range;

use super::key::Key;
use super::table::Table;
use super::{EVERY_VERB, Found, VerbId, both};
use crate::policy::people::SubjectId;

/// Grants up to this many are searched from end to end, more by hash.
const SHORT: u32 = 8;

/// What rows say to one subject of one verb.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Grant {
    pub(super) verb: VerbId,
    pub(super) subject: SubjectId,
    pub(super) found: Found,
}

/// Grants in ranges, each sorted by verb and subject.
#[derive(Debug)]
pub(super) struct Grants {
    all: Vec<Grant>,
    /// The grants of long ranges, by (begin of the range, verb, subject).
    long: Table,
}

impl Grants {
    /// `all` in `ranges`, each of which is [merged](merge).
    pub(super) fn of(all: Vec<Grant>, ranges: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let long = ranges.filter(|(from, to)| to - from > SHORT).flat_map(|(from, to)| {
            let all = &all;
            (from..to).map(move |at| {
                let grant = &all[at as usize];
                (at, [from, grant.verb, grant.subject])
            })
        });
        let long = Table::of(&long, Key::triple);
        Self { all, long }
    }

    /// Adds what the grants of a range say to the subjects, which are sorted.
    #[inline]
    pub(super) fn collect(
        &self,
        (from, to): (u32, u32),
        subjects: &[SubjectId],
        verb: VerbId,
        found: &mut Found,
    ) {
        if from == to {
        } else if to - from <= SHORT {
            for grant in &self.all[from as usize..to as usize] {
                if (grant.verb == EVERY_VERB || grant.verb == verb)
                    && includes(subjects, grant.subject)
                {
                    found.add(grant.found);
                }
            }
        } else {
            self.collect_long((from, to), subjects, verb, found);
        }
    }

    /// Looks for each subject among the grants of a long range.
    #[inline(never)] // so that `collect` stays small
    fn collect_long(
        &self,
        (from, to): (u32, u32),
        subjects: &[SubjectId],
        verb: VerbId,
        found: &mut Found,
    ) {
        for verb in both(verb) {
            for subject in subjects {
                let hash = self.long.key().triple([from, verb, *subject]);
                let at = self.long.find(hash, |at| {
                    let grant = &self.all[at as usize];
                    (from..to).contains(&at) && (grant.verb, grant.subject) == (verb, *subject)
                });
                if let Some(at) = at {
                    found.add(self.all[at as usize].found);
                }
            }
        }
    }
}

/// Whether the sorted `subjects` include this one; most people are in few groups.
#[inline]
pub(super) fn includes(subjects: &[SubjectId], subject: SubjectId) -> bool {
    if subjects.len() <= SHORT as usize {
        subjects.contains(&subject)
    } else {
        subjects.binary_search(&subject).is_ok()
    }
}

/// Moves the grants in `from` down to `kept`, sorted and merged; returns where they end.
pub(super) fn merge(grants: &mut [Grant], from: Range<usize>, mut kept: usize) -> usize {
    grants[from.clone()].sort_unstable_by_key(|grant| (grant.verb, grant.subject));
    let begin = kept;
    for at in from {
        let grant = grants[at];
        match grants[begin..kept].last_mut() {
            Some(last) if (last.verb, last.subject) == (grant.verb, grant.subject) => {
                last.found.add(grant.found);
            }
            _ => {
                grants[kept] = grant;
                kept += 1;
            }
        }
    }
    kept
}
