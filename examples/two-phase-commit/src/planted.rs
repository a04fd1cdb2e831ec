//! Bugs that a test build can be asked to have, to show that the tests see them.
//!
//! With `RUSTFLAGS="--cfg planted"` the variable `BAILIWICK_PLANTED` names one; without, all of this is
//! `false` and gone.

/// A step of the protocol that is left out or done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The participant says yes before PREPARED is on the disk.
    YesBeforeForce,
    /// The coordinator sends its commits before COMMIT is on the disk.
    CommitSentBeforeForced,
    /// A participant that comes back does not lock what is in doubt.
    LocksNotRetaken,
    /// "Aborted" is answered while it is not decided.
    AbortedWhilePending,
    /// The coordinator forgets at the first acknowledgement.
    EndBeforeAllAcks,
    /// A participant in doubt does not ask.
    InquiryForgotten,
    /// An acknowledgement from another log counts.
    WipedAckAccepted,
    /// A boot gives the names of the one before again.
    EpochReused,
    /// Locks are released with the yes.
    LocksReleasedAtYes,
    /// An inquiry is answered before recovery is over.
    PresumedWhileRecovering,
    /// A silent participant counts as one that said yes.
    SilenceIsYes,
    /// A participant in doubt gives up alone.
    AbortedAlone,
    /// "I was not prepared" is told to a peer, and not kept.
    TombstoneNotKept,
    /// A prepare need not name the execution that it builds on.
    AnyExecution,
    /// A checkpoint leaves out what is in doubt.
    SnapshotWithoutReady,
    /// A commit is acknowledged before it is on the disk.
    AckBeforeForce,
}

/// True if this build was asked to have the bug.
#[cfg(planted)]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    static NAME: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let name = NAME.get_or_init(|| std::env::var("BAILIWICK_PLANTED").ok());
    name.as_deref() == Some(format!("{bug:?}").as_str())
}

/// False: this build has none.
#[cfg(not(planted))]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}
