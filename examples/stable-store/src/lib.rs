//! Log and checkpoint: what was acknowledged stays, across `kill -9` and power cuts.

pub mod storage;
