//! Reading a log: what a record says, which ones are wanted, and how to come by them.
//!
//! The chain is not checked here: that is [`verify`](super::verify())'s. A reader takes what it can
//! and says what it could not; memory is bounded by one line, one batch and, for counts, by
//! [`MAX_KEYS`](super::MAX_KEYS).

pub(super) mod entry;
pub(super) mod filter;
pub(super) mod follow;
mod lines;
pub(super) mod ocsf;
mod prefilter;
pub(super) mod query;
pub(super) mod tally;
