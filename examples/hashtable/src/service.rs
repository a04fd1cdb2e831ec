//! The service: what a table does, and what each method touches in the eyes of the policy.

use bailiwick::{Bytes, CallError, Context, rpc_service};
use serde::{Deserialize, Serialize};

/// Most bytes of a key. Its object, `table/{key}`, then stays below the policy's 1,024.
pub(crate) const MAX_KEY: usize = 512;

/// Most bytes of a value.
pub(crate) const MAX_VALUE: usize = 64 * 1024;

/// Most keys of one answer of [`Table::keys`], so that it fits a frame: 512 KiB of 1 MiB.
pub(crate) const KEYS_PER_PAGE: usize = 1024;

/// A table of values under keys.
///
/// A policy gives rights on one key as `table/{key}`, with the verbs `read` and `write`, and on
/// the list of all keys as `table`, with the verb `list`. A key is one segment of the object: one
/// that holds a `/`, for example, is denied whoever asks.
#[rpc_service]
pub(crate) trait Table {
    /// The value under `key`; `None` if there is none.
    #[rpc(verb = "read", object = "table/{key}", readonly)]
    async fn get(&self, cx: &Context, key: String) -> Result<Option<Bytes>, CallError<TableError>>;

    /// Puts `value` under `key`, over the one that may be there.
    #[rpc(verb = "write", object = "table/{key}", idempotent)]
    async fn put(
        &self,
        cx: &Context,
        key: String,
        value: Bytes,
    ) -> Result<(), CallError<TableError>>;

    /// Removes `key`. That it was not there is no error.
    #[rpc(verb = "write", object = "table/{key}", idempotent)]
    async fn delete(&self, cx: &Context, key: String) -> Result<(), CallError<TableError>>;

    /// Adds `by` to the number under `key`, which counts from 0, and answers the sum. At most
    /// once: nobody repeats it behind the caller's back.
    #[rpc(verb = "write", object = "table/{key}")]
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
}

/// Why a table refuses; nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TableError {
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
}
