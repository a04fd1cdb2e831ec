//! What a caller was allowed last, so that one which asks the same again is not looked up again.
//!
//! A decision follows from the policy's revision, the caller, the verb and the object, and from nothing
//! else. Each caller remembers for itself, so the other three say whether it still holds. Many methods
//! have one object for all calls, and many callers work on one object for a while.

use crate::policy::RowRef;

/// Longest question that is remembered, in bytes of verb and object: a session may be idle for days.
const LONGEST: usize = 256;

/// The policy's revision, the verb and the object.
pub(super) type Question<'q> = (u64, &'q str, &'q str);

/// The last question about one object that a row allowed, and which row. Long ones are not kept.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    revision: u64,
    /// The verb, and the object behind it.
    asked: String,
    verb: usize,
    row: Option<RowRef>,
}

impl Remembered {
    /// The row that allowed this, if it is the question that is kept.
    #[inline]
    pub(super) fn row(&self, (revision, verb, object): Question<'_>) -> Option<RowRef> {
        let is_kept = self.revision == revision
            && self.verb == verb.len()
            && self.asked.strip_prefix(verb) == Some(object);
        self.row.filter(|_| is_kept)
    }

    #[inline(never)] // so that `Monitor::authorize` stays small
    pub(super) fn keep(&mut self, (revision, verb, object): Question<'_>, row: RowRef) {
        if verb.len() + object.len() > LONGEST {
            return;
        }
        self.asked.clear();
        self.asked.reserve_exact(verb.len() + object.len());
        self.asked.push_str(verb);
        self.asked.push_str(object);
        (self.revision, self.verb, self.row) = (revision, verb.len(), Some(row));
    }
}
