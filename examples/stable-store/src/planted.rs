//! Bugs put in on purpose, to see that a test finds each: `tests/planted` builds with
//! `--cfg planted` and chooses one by `BAILIWICK_PLANTED`.
//!
//! Without the cfg [`planted`] is constantly false, and nothing of this is in a binary.

use std::fmt::Debug;

/// A line that could be wrong in a store. Each breaks one promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A batch is answered for before it is synced.
    BatchNotSynced,
    /// A sync that failed is tried again, and believed the second time.
    SyncErrorRetried,
    /// A store that failed goes on.
    PoisonForgotten,
    /// A record says that it was synced before it was.
    DurableLsnAhead,
    /// A segment gets its name before its header is synced.
    SegmentNotSynced,
    /// The directory is not synced after a segment was made.
    NoDirSyncAfterSegment,
    /// A checkpoint is renamed before it is synced.
    NoSyncBeforeRename,
    /// The directory is not synced after the checkpoint was renamed.
    NoDirSyncAfterRename,
    /// Segments go before the checkpoint that replaces them is certain to stay.
    SegmentsGoTooEarly,
    /// Records that the checkpoint has are replayed too.
    ReplayFromTheStart,
    /// A temporary checkpoint is as good as one.
    TemporaryTaken,
    /// A checkpoint without its footer is as good as one with it.
    FooterNotChecked,
    /// Checksums say nothing about whose bytes they are.
    ChecksumNotSeeded,
    /// Any whole record is taken for the next one.
    LsnNotChecked,
    /// Whatever is wrong with the end of the log is taken for a torn tail.
    DamageTakenForTorn,
    /// Recovery answers without having synced what it read.
    RecoveryDoesNotSync,
    /// Recovery syncs, and reads what memory has, which the disk may not.
    RecoveryReadsFromMemory,
    /// Recovery clears away what a checkpoint replaced before the checkpoint's name is synced.
    RecoveryDoesNotSyncDir,
    /// The epoch of a boot is not on disk when the boot goes on.
    EpochNotForced,
    /// A journal's writers are woken before their batch is synced.
    WokenBeforeSync,
    /// A journal's machine sees a batch before it is synced, and so do its readers.
    AppliedBeforeSync,
}

/// Whether this bug is put in. Other crates have bugs of their own.
#[cfg(not(planted))]
#[must_use]
pub const fn planted<B: Debug + Copy>(_: B) -> bool {
    false
}

/// Whether this bug is put in. Other crates have bugs of their own.
#[cfg(planted)]
#[must_use]
pub fn planted<B: Debug + Copy>(bug: B) -> bool {
    use std::sync::LazyLock;
    static CHOSEN: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("BAILIWICK_PLANTED").ok());
    CHOSEN.as_ref().is_some_and(|chosen| *chosen == format!("{bug:?}"))
}
