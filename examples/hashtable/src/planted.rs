//! Bugs put in on purpose, to see that a test finds each; see `tests/planted` and
//! [`stable_store::planted`].

pub use stable_store::planted::planted;

/// A line that could be wrong in a table that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A call is answered before its record is durable.
    AnsweredBeforeDurable,
    /// The record holds the effect without the completion.
    NoCompletion,
    /// A checkpoint holds the table without the completions.
    CheckpointWithoutCompletions,
    /// Readers see what is decided and not durable.
    PendingIsRead,
    /// A call is decided on what is durable, and not on what comes before it.
    DecidedOnDurable,
    /// Calls are taken before the log is read.
    OpenBeforeRecovery,
}
