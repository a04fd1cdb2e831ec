//! Log and checkpoint: what was acknowledged stays, across `kill -9` and power cuts.
//!
//! A [`Store`] is a log that is forced to disk before anyone is answered, and now and then a
//! checkpoint, so that the log stays short. What the records mean is the business of whoever
//! implements [`Replay`]. The order of an update is always the same: decide, [`append`](Store::append),
//! [`sync`](Store::sync), apply, answer. Whoever applies first shows others what a crash undoes.
//!
//! ```
//! use stable_store::{FileStorage, Opening, Options, Record, Rejected, Replay};
//!
//! /// A counter: its log says how much was added, its checkpoint has the sum.
//! #[derive(Default)]
//! struct Counter(u64);
//!
//! fn number(bytes: &[u8]) -> Result<u64, Rejected> {
//!     let bytes = bytes.try_into().map_err(|_| Rejected("a number has 8 bytes".to_owned()))?;
//!     Ok(u64::from_le_bytes(bytes))
//! }
//!
//! impl Replay for Counter {
//!     fn restore(&mut self, item: &[u8]) -> Result<(), Rejected> {
//!         self.0 = number(item)?;
//!         Ok(())
//!     }
//!     fn apply(&mut self, record: Record<'_>) -> Result<(), Rejected> {
//!         self.0 = self.0.wrapping_add(number(record.payload)?);
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let parent = tempfile::tempdir()?;
//! # let dir = parent.path().join("counter");
//! const ADD: u8 = 1;
//! for expected in [0, 5, 10] {
//!     // Each time as if after a crash: the directory is all that is left.
//!     let opening = Opening::new(FileStorage::open(&dir)?, Options::default())?;
//!     let mut counter = Counter::default();
//!     let (mut store, recovery) = opening.recover(&mut counter, &mut |_| ())?;
//!     assert_eq!(counter.0, expected);
//!
//!     let payload = 5_u64.to_le_bytes();
//!     let lsn = store.append(ADD, &payload)?;
//!     store.sync()?; // Now it stays.
//!     counter.apply(Record { lsn, kind: ADD, payload: &payload })?;
//!
//!     if store.wants_checkpoint(8) || recovery.records > 0 {
//!         let mut writer = store.begin_checkpoint()?;
//!         writer.item(&counter.0.to_le_bytes())?;
//!         let written = writer.finish()?;
//!         store.finish_checkpoint(written)?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Journal`] does this for many callers at once: one sync for all that came while the last one
//! ran, and checkpoints beside them.
//!
//! An error of a [`Store`]'s storage is its last word: end the process, and let recovery find out what
//! is on disk.

mod checkpoint;
#[cfg(feature = "simulation")]
pub mod disk;
mod error;
#[cfg(feature = "simulation")]
pub mod faults;
mod files;
pub mod format;
mod journal;
mod log;
mod lsn;
mod options;
#[doc(hidden)]
pub mod planted;
mod recovery;
mod salvage;
mod scan;
mod segment;
pub mod storage;
mod store;
#[cfg(test)]
mod tests;

pub use checkpoint::{CheckpointWriter, Written};
pub use error::{OpenDirError, OpenError, StoreError};
pub use files::{FileStorage, RealFile};
pub use journal::{
    Appender, Committed, Journal, JournalError, JournalOptions, Machine, RecordTooLong, Refused,
    Stats,
};
pub use lsn::{Epoch, Lsn, StoreId};
pub use options::Options;
pub use recovery::{Opening, Progress, Record, Recovery, Rejected, Replay, Torn};
pub use salvage::Salvaged;
pub use storage::Storage;
pub use store::{Replaced, Store};
