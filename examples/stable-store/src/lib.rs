//! Log and checkpoint: what was acknowledged stays, across `kill -9` and power cuts.

mod checkpoint;
#[cfg(feature = "simulation")]
pub mod disk;
mod error;
#[cfg(feature = "simulation")]
pub mod faults;
mod files;
pub mod format;
mod lsn;
mod options;
mod recovery;
mod salvage;
mod scan;
mod segment;
pub mod storage;
mod store;

pub use checkpoint::{CheckpointWriter, Written};
pub use error::{OpenDirError, OpenError, StoreError};
pub use files::{FileStorage, RealFile};
pub use lsn::{Epoch, Lsn, StoreId};
pub use options::Options;
pub use recovery::{Opening, Progress, Record, Recovery, Rejected, Replay, Torn};
pub use salvage::Salvaged;
pub use storage::Storage;
pub use store::Store;
