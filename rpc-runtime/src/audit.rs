//! The audit log as a server opens it: a file, or memory in tests.

use std::path::Path;

use bailiwick_acl::audit;
use rand::Rng;

pub use bailiwick_acl::audit::AuditError;

/// Where refusals are recorded: one JSON object a line, each chained to the one before, so that
/// `bailiwick audit verify` finds an edit. Clones write to the same log.
#[derive(Clone, Debug)]
pub struct AuditLog(audit::AuditLog);

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
        audit::AuditLog::open(path, &node, |bytes| rand::rng().fill_bytes(bytes)).map(Self)
    }

    /// A log in memory, for tests.
    #[must_use]
    pub fn memory() -> Self {
        Self(audit::AuditLog::memory())
    }

    /// The records of a log in memory, one JSON object each; none for a file.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lines()
    }

    /// The log itself, for `bailiwick-acl`.
    #[must_use]
    pub fn into_inner(self) -> audit::AuditLog {
        self.0
    }
}
