//! What each subject may ever do with a verb, on whatever object.

use super::build::number;
use super::fingerprint::Fingerprint;
use super::record::BySubject;
use super::{Found, VerbId};
use crate::policy::people::SubjectId;

/// For each subject and verb, the first row that denies everything and the first that allows
/// anything.
#[derive(Debug)]
pub(super) struct Ever {
    /// Sorted by subject and verb.
    verbs: Vec<(VerbId, Found)>,
    /// Where the verbs of each subject begin, and one more.
    begins: Vec<u32>,
}

impl Ever {
    pub(super) fn of(records: &BySubject) -> Self {
        let mut ever = Self { verbs: Vec::new(), begins: vec![0] };
        // By verb; all are nothing between two subjects.
        let mut sums: Vec<Found> = Vec::new();
        let mut met: Vec<VerbId> = Vec::new();
        for records in records.each() {
            for record in records {
                let mut says = record.found();
                if record.object != Fingerprint::EVERYTHING {
                    says.deny = Found::default().deny;
                }
                for verb in record.verbs.iter() {
                    let at = verb as usize;
                    if at >= sums.len() {
                        sums.resize(at + 1, Found::default());
                    }
                    if sums[at] == Found::default() && says != Found::default() {
                        met.push(verb);
                    }
                    sums[at].add(says);
                }
            }
            met.sort_unstable();
            let sums = met.drain(..).map(|verb| (verb, std::mem::take(&mut sums[verb as usize])));
            ever.verbs.extend(sums);
            ever.begins.push(number(ever.verbs.len()));
        }
        ever.verbs.shrink_to_fit();
        ever
    }

    fn of_subject(&self, subject: SubjectId) -> &[(VerbId, Found)] {
        let at = subject as usize;
        match self.begins.get(at..).and_then(<[u32]>::first_chunk) {
            Some([from, to]) => &self.verbs[*from as usize..*to as usize],
            None => &[],
        }
    }

    /// What the subject's rows for this very verb come to.
    pub(super) fn find(&self, subject: SubjectId, verb: VerbId) -> Found {
        let verbs = self.of_subject(subject);
        let at = verbs.binary_search_by_key(&verb, |(verb, _)| *verb);
        at.map_or(Found::default(), |at| verbs[at].1)
    }
}
