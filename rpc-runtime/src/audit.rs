//! The audit log as a server opens it: a file, or memory in tests.

use std::{path::Path, sync::Arc};

use bailiwick_acl::audit;
use rand::Rng;
use zeroize::Zeroizing;

use crate::{redaction_file, shown::RedactionKey};

pub use bailiwick_acl::audit::AuditError;

/// Where refusals are recorded: one JSON object a line, each chained to the one before, so that
/// `bailiwick audit verify` finds an edit. Clones write to the same log.
#[derive(Clone, Debug)]
pub struct AuditLog {
    log: audit::AuditLog,
    redaction: Arc<RedactionKey>,
}

impl AuditLog {
    /// Opens the file at `path`, made with mode 0600 if it is not there, and goes on with its
    /// chain. Records name this machine by its host name.
    ///
    /// # Errors
    ///
    /// [`AuditError`] if the file cannot be written, is in use by another process, or has been
    /// tampered with.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, AuditError> {
        let system = rustix::system::uname();
        let node = system.nodename().to_string_lossy();
        let redaction = Arc::new(redaction_file::open(&redaction_file::beside(path.as_ref()))?);
        let log = audit::AuditLog::open(path, &node, |bytes| rand::rng().fill_bytes(bytes))?;
        Ok(Self { log, redaction })
    }

    /// A log in memory, for tests.
    #[must_use]
    pub fn memory() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(&mut *key);
        Self { log: audit::AuditLog::memory(), redaction: Arc::new(RedactionKey::new(key)) }
    }

    /// The records of a log in memory, one JSON object each; none for a file.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.log.lines()
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
