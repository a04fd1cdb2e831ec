//! Log and checkpoint: what was acknowledged stays, across `kill -9` and power cuts.

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
pub use store::Store;
