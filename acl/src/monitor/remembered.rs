//! What a caller asked last and was told, so that the same question is not looked up again.
//!
//! A decision follows from the policy's revision, the caller, the verb and the object, and from nothing
//! else. Each caller remembers for itself, so the other three say whether an answer still holds. Many
//! methods have one object for all calls, and many callers work on one object for a while.

use std::sync::Mutex;

use crate::policy::Decision;

/// Longest question that is remembered, in bytes of verb and object: a session may be idle for days.
const LONGEST: usize = 256;

/// What is asked: the policy's revision, the verb and the object.
pub(super) type Question<'q> = (u64, &'q str, &'q str);

/// The last question of one caller, and its answer.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<Option<Last>>);

#[derive(Debug)]
struct Last {
    revision: u64,
    /// The verb, and the object behind it.
    asked: String,
    verb: usize,
    decision: Decision,
}

impl Remembered {
    /// What was answered to this question the last time, if it was the last, or else what `decide` says.
    #[inline]
    pub(super) fn or_decide(
        &self,
        question: Question<'_>,
        decide: impl FnOnce() -> Decision,
    ) -> Decision {
        // Nobody waits for a thread that looks something up for the same caller.
        let Ok(mut last) = self.0.try_lock() else { return decide() };
        match &*last {
            Some(last) if last.is_of(question) => last.decision,
            _ => {
                let decision = decide();
                Last::keep(&mut last, question, decision);
                decision
            }
        }
    }
}

impl Last {
    #[inline]
    fn is_of(&self, (revision, verb, object): Question<'_>) -> bool {
        self.revision == revision
            && self.verb == verb.len()
            && self.asked.strip_prefix(verb) == Some(object)
    }

    #[inline(never)] // so that `or_decide` stays small
    fn keep(last: &mut Option<Self>, (revision, verb, object): Question<'_>, decision: Decision) {
        if verb.len() + object.len() > LONGEST {
            return;
        }
        let mut asked = last.take().map_or_else(String::new, |last| last.asked);
        asked.clear();
        asked.push_str(verb);
        asked.push_str(object);
        *last = Some(Self { revision, asked, verb: verb.len(), decision });
    }
}
