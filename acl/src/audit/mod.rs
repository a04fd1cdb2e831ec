//! The audit log: one JSON object a line, chained by hashes.
//!
//! Each record carries `prev`, the `h` of the record before (64 zeros in the first), and
//! `h = SHA-256(`[`DOMAIN`]` ‖ prev's 32 bytes ‖ the exact bytes of the line before `,"h"`)`, in
//! lower-case hex. JSON is hashed as it stands and never rewritten. Fields without a value are left
//! out; the order of the others is fixed. `seq` counts from 1 without a hole.
//!
//! [`verify`] finds an edit, a deletion in the middle or at the front, an insertion, records out of
//! order, records of another stream and a torn end. **What it cannot find yet**: a tail cut off at
//! a record's end, and a log rewritten as a whole by someone who may write the file. Both need the
//! signed checkpoints that a later version adds.
//!
//! Strings hold no raw control character, DEL, C1 control or invisible mark: those are written as
//! `\uXXXX`, so that showing a line never steers a terminal.

mod file;
mod files;
mod log;
mod read;
mod record;
mod verify;

pub use files::files;
pub use log::{AuditError, AuditId, AuditLog, Memory};
pub use read::entry::Entry;
pub use read::filter::{Filter, Outcome};
pub use read::follow::{Batch, Follow, MAX_BATCH, Start, Then};
pub use read::ocsf::{OCSF_VERSION, ocsf};
pub use read::query::{QueryError, query};
pub use read::tally::{By, Counts, MAX_KEYS, Tally};
pub use record::{Event, MAX_FIELD, Record, escape};
pub use verify::{Report, Tampered, What, verify};

/// What the hash of each record begins with.
pub const DOMAIN: &[u8] = b"bailiwick audit record v1\0";

/// Most bytes of a line, its end included; a longer one was not written by us.
pub const MAX_LINE: usize = 64 * 1_024;
