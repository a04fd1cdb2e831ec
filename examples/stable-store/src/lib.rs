//! Log and checkpoint: what was acknowledged stays, across `kill -9` and power cuts.

#[cfg(feature = "simulation")]
pub mod disk;
#[cfg(feature = "simulation")]
pub mod faults;
pub mod storage;
