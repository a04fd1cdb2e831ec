//! Bugs put in on purpose, to see that a test finds each: `tests/planted` builds with
//! `--cfg planted` and chooses one by `BAILIWICK_PLANTED`.
//!
//! Without the cfg [`planted`] is constantly false, and nothing of this is in a binary.

/// A line that could be wrong in a store. Each breaks one promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A checkpoint is renamed before it is synced.
    NoSyncBeforeRename,
    /// The directory is not synced after the checkpoint was renamed.
    NoDirSyncAfterRename,
    /// The directory is not synced after a segment was made.
    NoDirSyncAfterSegment,
    /// The durable LSN moves before the sync that it speaks of.
    DurableBeforeSync,
    /// Records that the checkpoint has are replayed too.
    ReplayFromTheStart,
    /// Segments go before the checkpoint that replaces them is certain to stay.
    SegmentsGoTooEarly,
    /// A sync that failed is tried again, and believed the second time.
    SyncErrorRetried,
    /// Checksums say nothing about whose bytes they are.
    ChecksumNotSeeded,
    /// Recovery answers before it has synced what it read.
    RecoveryDoesNotSync,
    /// Whatever is wrong with the log is taken for the end of it.
    DamageTakenForTorn,
    /// What was torn is left where it is.
    TornTailStays,
    /// The epoch of a boot is not on disk when the boot goes on.
    EpochNotForced,
    /// A hole is skipped, and what lies behind it is replayed.
    HoleSkipped,
    /// A temporary checkpoint is as good as one.
    TemporaryTaken,
    /// A checkpoint without its footer is as good as one with it.
    FooterNotChecked,
    /// A store that failed goes on.
    PoisonForgotten,
}

/// Whether this bug is put in.
#[cfg(not(planted))]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Whether this bug is put in.
#[cfg(planted)]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    use std::sync::LazyLock;
    static CHOSEN: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("BAILIWICK_PLANTED").ok());
    CHOSEN.as_deref() == Some(&format!("{bug:?}"))
}
