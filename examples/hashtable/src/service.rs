//! The service: what a table does, and what each method touches in the eyes of the policy.

use bailiwick::{Bytes, CallError, Context, rpc_service};
use serde::{Deserialize, Serialize};

/// Most bytes of a key. Its object, `table/{key}`, then stays below the policy's 1,024.
pub const MAX_KEY: usize = 512;

/// Most bytes of a value.
pub const MAX_VALUE: usize = 64 * 1024;

/// Most keys of one answer of [`Table::keys`], so that it fits a frame: 512 KiB of 1 MiB.
pub const KEYS_PER_PAGE: usize = 1024;

/// A table of values under keys.
///
/// A policy gives rights on one key as `table/{key}`, with the verbs `read` and `write`, and on
/// the list of all keys as `table`, with the verb `list`. A key is one segment of the object: one
/// that holds a `/`, for example, is denied whoever asks.
#[rpc_service]
pub trait Table {
    /// The value under `key`; `None` if there is none.
    #[rpc(verb = "read", object = "table/{key}", readonly)]
    async fn get(&self, cx: &Context, key: String) -> Result<Option<Bytes>, CallError<TableError>>;

    /// Puts `value` under `key`, over the one that may be there.
    #[rpc(verb = "write", object = "table/{key}", durable)]
    async fn put(
        &self,
        cx: &Context,
        key: String,
        value: Bytes,
    ) -> Result<(), CallError<TableError>>;

    /// Puts `value` under `key` if what is there is `expected`; `None` is nothing. Answers whether
    /// it was.
    ///
    /// It does not answer what was there instead: who may write need not be allowed to read.
    #[rpc(verb = "write", object = "table/{key}", durable)]
    async fn compare_and_swap(
        &self,
        cx: &Context,
        key: String,
        expected: Option<Bytes>,
        value: Bytes,
    ) -> Result<bool, CallError<TableError>>;

    /// Removes `key`; answers whether it was there.
    #[rpc(verb = "write", object = "table/{key}", durable)]
    async fn delete(&self, cx: &Context, key: String) -> Result<bool, CallError<TableError>>;

    /// Adds `by` to the number under `key`, which counts from 0, and answers the sum.
    #[rpc(verb = "write", object = "table/{key}", durable)]
    async fn increment(
        &self,
        cx: &Context,
        key: String,
        by: i64,
    ) -> Result<i64, CallError<TableError>>;

    /// The keys that begin with `prefix` and come after `after`, in order, at most
    /// [`KEYS_PER_PAGE`]. The last one is the next page's `after`.
    ///
    /// Whoever may list sees all names, also of keys that he may not read.
    #[rpc(verb = "list", object = "table", readonly)]
    async fn keys(
        &self,
        cx: &Context,
        prefix: String,
        after: Option<String>,
    ) -> Result<Vec<String>, CallError<TableError>>;

    /// How much there is, and how it is kept. Whoever may list may know.
    #[rpc(verb = "list", object = "table", readonly)]
    async fn stats(&self, cx: &Context) -> Result<Stats, CallError<TableError>>;
}

/// What [`Table::stats`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Keys in the table.
    pub keys: u64,
    /// Bytes of all keys and values.
    pub bytes: u64,
    /// How the table is kept; `None` if it is in memory only.
    pub kept: Option<Kept>,
}

/// The log and checkpoints of a table that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// How often the store was opened, this time included.
    pub epoch: u64,
    /// Records that became durable since the server was started.
    pub records: u64,
    /// How often the disk was made to keep them: many share one time.
    pub forced: u64,
    /// Checkpoints that were finished since the server was started.
    pub checkpoints: u64,
}

/// Why a table refuses; nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The key is longer than [`MAX_KEY`].
    #[error("the key has more than {MAX_KEY} bytes; choose a shorter one")]
    KeyTooLong,
    /// The value is longer than [`MAX_VALUE`].
    #[error("the value has more than {MAX_VALUE} bytes; put it in pieces, under a key each")]
    ValueTooLong,
    /// The table holds as much as it may.
    #[error("the table is full; delete something first")]
    Full,
    /// The value to increment is no decimal number.
    #[error("the value is not a decimal number; put one there, or take another key")]
    NotANumber,
    /// The sum is out of range.
    #[error("the sum does not fit 64 bits; the value stays as it was")]
    Overflow,
    /// More changes wait for the disk than may.
    #[error("the disk is slower than those who write; try again later")]
    Busy,
}
