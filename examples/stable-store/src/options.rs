//! What a store's user may choose.

use crate::{StoreId, format::MAX_PAYLOAD};

/// The bounds of a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest payload of a record and the longest item of a checkpoint, in bytes.
    /// Default, and most: 16 MiB ([`MAX_PAYLOAD`]).
    pub max_record: u32,
    /// The most bytes that [`append`](crate::Store::append) keeps in memory until the next
    /// [`sync`](crate::Store::sync). Default: 64 MiB.
    pub max_batch: usize,
    /// A checkpoint is due when the log is longer than this, in bytes, and than twice the state.
    /// Default: 64 MiB.
    pub checkpoint_bytes: u64,
    /// A checkpoint is due when the log has more files than this. Each boot begins one.
    /// Default: 64.
    pub max_segments: usize,
    /// The identity of a store that is made anew. Default: `None`, a random one. Tests that
    /// repeat themselves name one.
    pub new_id: Option<StoreId>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_record: MAX_PAYLOAD,
            max_batch: 64 << 20,
            checkpoint_bytes: 64 << 20,
            max_segments: 64,
            new_id: None,
        }
    }
}
