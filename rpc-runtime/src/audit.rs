//! The audit log as a server opens it: files and their key, or memory in tests.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bailiwick_acl::audit::{self, Sink};
use rand::Rng;

use crate::{redaction_file, shown::RedactionKey};

pub use bailiwick_acl::audit::{AuditError, CheckpointKey};

/// Where refusals are recorded: one JSON object a line, each chained to the one before and sealed by
/// signed checkpoints, so that `bailiwick audit verify` finds an edit. Clones write to the same log.
#[derive(Clone, Debug)]
pub struct AuditLog {
    log: audit::AuditLog,
    redaction: Arc<RedactionKey>,
}

impl AuditLog {
    /// Opens the file at `path`, made with mode 0600 if it is not there, and goes on with its
    /// chain. The keys of its checkpoints are beside it, in `path` with `.key` behind. Records name
    /// this machine by its host name.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if the file cannot be written, is in use by another process, has been
    /// tampered with, or is not the one of its key.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, AuditError> {
        Self::builder().file(path).open()
    }

    /// A log with several files, a witness elsewhere, or other bounds than the defaults.
    ///
    /// ```no_run
    /// use bailiwick::AuditLog;
    ///
    /// let log = AuditLog::builder()
    ///     .file("/var/log/bailiwick/audit.jsonl")
    ///     .file("/mnt/second/audit.jsonl")
    ///     .checkpoints("/mnt/elsewhere/checkpoints.jsonl")
    ///     .open()?;
    /// # Ok::<(), bailiwick::AuditError>(())
    /// ```
    pub fn builder() -> AuditLogBuilder {
        let system = rustix::system::uname();
        let node = system.nodename().to_string_lossy();
        let log = audit::AuditLog::builder(&node, |bytes| rand::rng().fill_bytes(bytes));
        AuditLogBuilder { log, redaction: None }
    }

    /// A log in memory, for tests.
    #[must_use]
    pub fn memory() -> Self {
        let redaction = Arc::new(RedactionKey::random());
        Self { log: audit::AuditLog::memory(), redaction }
    }

    /// The records of a log in memory, one JSON object each; none for a file.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// The key of the log's first checkpoint. Keep it elsewhere: `bailiwick audit verify --anchor`
    /// tells by it whether the log was written anew as a whole. None in memory.
    #[must_use]
    pub fn anchor(&self) -> Option<CheckpointKey> {
        self.log.anchor()
    }

    /// The log itself, for `bailiwick-acl`.
    #[must_use]
    pub fn into_inner(self) -> audit::AuditLog {
        self.log
    }

    /// Makes the marks that stand in records for arguments.
    pub(crate) fn redaction(&self) -> Arc<RedactionKey> {
        Arc::clone(&self.redaction)
    }
}

/// Opens an [`AuditLog`].
#[must_use]
#[derive(Debug)]
pub struct AuditLogBuilder {
    log: audit::Builder,
    /// Where the redaction key is.
    redaction: Option<PathBuf>,
}

impl AuditLogBuilder {
    /// Adds a file; at least one is needed. Refusals wait until one of the files has them, so a
    /// second one on another disk keeps calls going when the first one hangs.
    pub fn file(self, path: impl AsRef<Path>) -> Self {
        let beside = || redaction_file::beside(path.as_ref());
        let redaction = Some(self.redaction.unwrap_or_else(beside));
        Self { log: self.log.file(path), redaction }
    }

    /// Where the private keys of the checkpoints are kept. Default: beside the first file, with
    /// `.key` behind its name.
    pub fn key_file(self, path: impl AsRef<Path>) -> Self {
        Self { log: self.log.key_file(path), ..self }
    }

    /// Where the key is kept by which `#[audit(hmac)]` marks arguments. Default: beside the first file,
    /// with `.hmac` behind its name.
    pub fn redaction_key(self, path: impl AsRef<Path>) -> Self {
        Self { redaction: Some(path.as_ref().to_owned()), ..self }
    }

    /// Adds a file elsewhere that takes the checkpoints alone, for `audit verify --checkpoints`.
    pub fn checkpoints(self, path: impl AsRef<Path>) -> Self {
        Self { log: self.log.checkpoints(path), ..self }
    }

    /// Adds a sink of your own (`bailiwick_acl::audit::Sink`) that takes the checkpoints alone.
    pub fn witness(self, sink: Box<dyn Sink>) -> Self {
        Self { log: self.log.witness(sink), ..self }
    }

    /// Adds a sink of your own that takes all records from now on.
    pub fn sink(self, sink: Box<dyn Sink>) -> Self {
        Self { log: self.log.sink(sink), ..self }
    }

    /// Bytes at which the next checkpoint ends a file. Default: 256 MiB.
    pub fn rotate_at(self, bytes: u64) -> Self {
        Self { log: self.log.rotate_at(bytes), ..self }
    }

    /// Bytes of the disk that each file holds ready for refusals. Default: 16 MiB.
    pub fn reserve(self, bytes: u64) -> Self {
        Self { log: self.log.reserve(bytes), ..self }
    }

    /// Opens the log.
    ///
    /// # Errors
    ///
    /// As [`AuditLog::open`].
    pub fn open(self) -> Result<AuditLog, AuditError> {
        // First the log: it is locked, so nobody else makes its redaction key now.
        let log = self.log.open()?;
        let redaction = match &self.redaction {
            Some(path) => redaction_file::open(path)?,
            None => RedactionKey::random(),
        };
        Ok(AuditLog { log, redaction: Arc::new(redaction) })
    }
}
