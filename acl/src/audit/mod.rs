//! The audit log: one JSON object a line, chained by hashes and sealed by signed checkpoints.
//!
//! # The chain
//!
//! Each record carries `prev`, the `h` of the record before (64 zeros in the first), and
//! `h = SHA-256(`[`DOMAIN`]` ‖ prev's 32 bytes ‖ the exact bytes of the line before `,"h"`)`, in
//! lower-case hex. JSON is hashed as it stands and never rewritten. Fields without a value are left
//! out; the order of the others is fixed. `seq` counts from 1 without a hole, over all files.
//!
//! Strings hold no raw control character, DEL, C1 control or invisible mark: those are written as
//! `\uXXXX`, so that showing a line never steers a terminal.
//!
//! # Checkpoints
//!
//! A `checkpoint` says how many records stand before it (`size`) and how many requests were refused
//! (`denied`: the `decision`s that deny, and the counts of the `summary`s of them), and names the
//! key of the next one (`next`). `sig` is an Ed25519 signature of [`CHECKPOINT_DOMAIN`] and the exact
//! bytes of the line before `,"sig"`, `prev` included, by the key that the checkpoint before named.
//! The first record of a log is a checkpoint signed by the key that it names itself: its *anchor*.
//! One comes every [`CHECKPOINT_EVERY`] records or [`HEARTBEAT`], and every [`IDLE_HEARTBEAT`] where
//! nothing happens; one with `closed` ends a log that was closed in order. Records are written before the
//! answer, and the log is synced at each checkpoint, by a thread of its own; then the key that signed
//! it is erased, and its successor's successor made. While the disk is slow to do that no other
//! checkpoint is made, for [`MAX_UNSEALED_FOR`] at most. Private keys are in a file beside the log,
//! `audit.jsonl.key`.
//!
//! # What is proven
//!
//! [`verify_files`] finds edits, deletions, insertions, disorder, splices of other logs or files,
//! truncation, checkpoints signed with a later key, and records that no checkpoint seals.
//! [`Expected`] says what each thing kept elsewhere adds. Whoever controls the machine can rewrite
//! what came after the last checkpoint, and, without a witness elsewhere, cut off a tail and leave
//! it like a crash, or cut it back to where it was closed in order once: that reads as closed, whatever
//! the time. A server that is started with it finds that its key does not fit. Without the anchor he
//! can write another log as a whole.
//!
//! # Files
//!
//! The active file is `audit.jsonl`. At [`ROTATE_AT`] bytes, or on request, it becomes
//! `audit.jsonl.000001` and so on, ending with a checkpoint; the next one begins with a `rotate`
//! record. The old one is synced before it is renamed; that alone may make a record wait for the disk.
//! [`files`] lists them. None is ever deleted by us. All of them together are the log.
//!
//! # When it cannot be written
//!
//! Records wait for each sink in a ring of [`RING`] bytes; a caller waits for [`DEADLINE`] at most,
//! by a monotonic clock. A full disk first refuses calls whose *allow* must be recorded, then, once
//! the [`RESERVE`] is used up, all. When it can be written again a `gap` tells what is missing.

mod builder;
mod chain;
mod checkpoint;
mod checkpoint_file;
mod complete;
mod error;
mod file;
mod files;
mod hex;
mod key_file;
mod lane;
mod line;
mod log;
mod push;
mod read;
mod record;
mod scan;
mod sealing;
mod sink;
mod state;
mod tampered;
mod verify;
mod witness;

use std::time::Duration;

pub use builder::Builder;
pub use checkpoint::{BadKey, CHECKPOINT_DOMAIN, CheckpointKey};
pub use checkpoint_file::CheckpointFile;
pub use error::AuditError;
pub use files::files;
pub use lane::RING;
pub use line::{MAX_ARGUMENT, MAX_FIELD, escape};
pub use log::{AuditId, AuditLog, Memory};
pub use read::entry::Entry;
pub use read::filter::{Filter, Outcome};
pub use read::follow::{Batch, Follow, MAX_BATCH, Start, Then};
pub use read::ocsf::{OCSF_VERSION, ocsf};
pub use read::query::{QueryError, query};
pub use read::tally::{By, Counts, MAX_KEYS, Tally};
pub use record::{Event, MAX_ARGUMENTS, Record};
pub use sink::{Health, Sink, SinkError, SinkStatus, Space, Syncer};
pub use tampered::{Tampered, Truncation, What};
pub use verify::{Expected, NotACheckpoint, Report, Witnessed, verify, verify_chain, verify_files};
pub use witness::{AttestError, MAX_STREAMS, MAX_WITNESSED, WitnessFolder, stream_of_checkpoint};

/// What the hash of each record begins with.
pub const DOMAIN: &[u8] = b"bailiwick audit record v1\0";

/// Most bytes of a line, its end included; a longer one was not written by us.
pub const MAX_LINE: usize = 64 * 1_024;

/// Records after which a checkpoint follows.
pub const CHECKPOINT_EVERY: u64 = 1_000;

/// How long a record waits for its checkpoint, about.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// How often there is a checkpoint where there is nothing new.
pub const IDLE_HEARTBEAT: Duration = Duration::from_secs(60);

/// How much later than that, or than [`MAX_UNSEALED_FOR`] where records wait for it, a checkpoint may
/// come before [`verify_files`] complains.
pub const HEARTBEAT_GRACE: Duration = Duration::from_secs(20);

/// Most records after a checkpoint: there are more than [`CHECKPOINT_EVERY`] while the disk takes
/// its time to sync the one before. Beyond, records are refused.
pub const MAX_UNSEALED: u64 = 100_000;

/// How long records may wait for a checkpoint that cannot be made; then no more are taken.
pub const MAX_UNSEALED_FOR: Duration = Duration::from_secs(60);

/// How long a caller waits for a record to be written.
pub const DEADLINE: Duration = Duration::from_millis(250);

/// How long a server that starts waits for each of its first records to be written: the policy's, and those of
/// its modes.
pub const START_DEADLINE: Duration = Duration::from_secs(10);

/// Bytes of the disk that each file holds ready for refusals when it is full.
pub const RESERVE: u64 = 16 * 1_024 * 1_024;

/// Bytes at which a file gives way to the next.
pub const ROTATE_AT: u64 = 256 * 1_024 * 1_024;
