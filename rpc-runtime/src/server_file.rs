//! A server's settings as a file, `bailiwick.toml`: what [`Server::builder`](crate::Server::builder)
//! takes, each value checked, and nothing that is not known.
//!
//! ```toml
//! # The whole file, with every default. `identity`, `listen`, and a `file` for the policy and for the
//! # audit must be there; where "none" stands, the key is left out for it.
//! identity = "server.key"         # from `bailiwick keygen`; nobody but its owner may read it
//! listen = ["tcp://127.0.0.1:7400", "udp://127.0.0.1:7400"]
//!
//! [policy]                        # followed: a change counts without a restart
//! file = "policy.acl"
//! principals = "principals.acl"   # further `principal` lines; none
//! signer = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" # who must have signed; none
//! at_least = 7                    # the lowest `serial` that is taken, also at the start; none
//! shadow = "next.acl"             # judged beside it, on record where it differs; none
//!
//! [policy.permissive]             # who may until then what no row speaks of, at most 7 days; none
//! alice = 2026-12-31T18:00:00Z
//!
//! [audit]
//! file = "audit.jsonl"
//! second = "/mnt/second/audit.jsonl"              # the same records on another disk; none
//! checkpoints = "/mnt/elsewhere/checkpoints.jsonl" # for `audit verify --checkpoints`; none
//! key_file = "audit.jsonl.key"                    # signs the checkpoints; beside `file`
//! redaction_key = "audit.jsonl.hmac"              # marks arguments; beside `file`
//! rotate_at = 268_435_456         # bytes at which a file gives way to the next
//! reserve = 16_777_216            # bytes of the disk that are held ready for refusals
//! allowed = "none"                # which allowed calls are recorded too: none, mutating or all
//!
//! [audit.witness]                 # a server that keeps the checkpoints (`bailiwick::witness`); none
//! endpoint = "tcp://witness.example:7400"
//! server = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
//! identity = "server.key"         # as whom it is called; the server's own
//!
//! [limits]                        # of `Limits`, by the same names
//! max_frame = 1_048_576
//! max_calls_in_flight = 1_024
//! max_calls_in_flight_udp = 64
//! max_concurrent_calls = 1_024
//! max_queued_calls = 4_096
//! max_message_udp = 65_536
//! max_reassembly_total = 67_108_864
//! max_clients = 16_384
//! lease = "60s"
//! max_kept_answers = 4_194_304
//! max_unsent = 4_194_304
//! max_metadata = 4_096
//! max_deadline = "1h"
//! max_connections = 16_384
//! max_connections_per_source = 4_096
//! max_half_open = 1_024
//! max_half_open_per_source = 16
//! handshake_timeout = "5s"
//! initial_rto = "100ms"
//! min_rto = "10ms"
//! idle_timeout = "30s"
//! keepalive = "10s"
//! drain_timeout = "10s"
//! busy_poll = "0s"
//! ```
//!
//! ```no_run
//! # async fn serve(service: impl bailiwick::service::Service) -> Result<(), Box<dyn std::error::Error>> {
//! use bailiwick::server_file::ServerFile;
//!
//! let server = ServerFile::read("bailiwick.toml")?.builder()?.service(service);
//! server.serve_until(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Relative paths begin at the folder of the file. A file with any error is refused as a whole, each
//! error with its line, column and mend.

mod error;
mod place;
mod section;
mod settings;

use std::{
    cell::RefCell,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bailiwick_crypto::Identity;
use toml::de::DeTable;

use crate::{
    audit::{AuditError, AuditLog},
    config::Limits,
    endpoint::Endpoint,
    policy_file::{PolicyFile, PolicyFileError},
    regular_file,
    server::{Server, ServerBuilder},
    witness::WitnessSink,
};
use place::Text;
use section::Fault;

pub use error::{ServerFileError, SettingError, Unusable};
pub use section::{Section, Setting, Unfit, Value};
pub use settings::{AuditSettings, PolicySettings, WitnessSettings};

/// Most bytes of a file.
const MAX_FILE: usize = 1 << 20;

/// The settings of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerFile {
    /// The server's key file.
    pub identity: PathBuf,
    /// Where it listens.
    pub listen: Vec<Endpoint>,
    /// Who may do what.
    pub policy: PolicySettings,
    /// What is recorded, and where.
    pub audit: AuditSettings,
    /// Bounds and times.
    pub limits: Limits,
    text: Arc<Text>,
}

impl ServerFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// [`ServerFileError`]: it cannot be read, or says what it must not.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ServerFileError> {
        Self::read_with(path, |_| {})
    }

    /// The same for a program that has settings of its own: `own` asks for them by
    /// [`Section::section`].
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_with(
        path: impl AsRef<Path>,
        own: impl FnOnce(&mut Section<'_>),
    ) -> Result<Self, ServerFileError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let text = read(path)
            .map_err(|source| ServerFileError::Unreadable { name: name.clone(), source })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&name, &text, folder, own)
    }

    /// The settings that `text` gives; relative paths begin at `folder`.
    ///
    /// # Errors
    ///
    /// [`ServerFileError::Refused`] with all that is wrong.
    pub fn parse(
        name: &str,
        text: &str,
        folder: &Path,
        own: impl FnOnce(&mut Section<'_>),
    ) -> Result<Self, ServerFileError> {
        let whole = Arc::new(Text { name: name.to_owned(), text: text.to_owned() });
        let faults = RefCell::<Vec<Fault>>::default();
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let help = "the file is TOML: https://toml.io has its rules".to_owned();
            let span = error.span().unwrap_or(0..0);
            let message = error.message().to_owned();
            faults.borrow_mut().push(Fault { span, message, help });
        }
        let mut root = Section::root(table.get_ref(), &faults, folder);
        let file = Self::of(&mut root, &whole);
        own(&mut root);
        root.finish();
        match file {
            Some(file) if faults.borrow().is_empty() => Ok(file),
            _ => Err(ServerFileError::refused(&whole, faults.into_inner())),
        }
    }

    /// The server's key, for a program that needs it before its server is built.
    ///
    /// # Errors
    ///
    /// [`ServerFileError::Unusable`].
    pub fn read_identity(&self) -> Result<Identity, ServerFileError> {
        self.using(&["identity"], Identity::read(&self.identity))
    }

    /// A server with all of it, which lacks its services and what a file cannot say. Reads the key
    /// and the policy, which is [followed](PolicyFile::watch), and opens the log.
    ///
    /// # Errors
    ///
    /// [`ServerFileError::Unusable`] for the first file that cannot be used, and where it is named. What
    /// the policy says is judged when the server is built.
    pub fn builder(&self) -> Result<ServerBuilder, ServerFileError> {
        self.builder_as(self.read_identity()?)
    }

    /// The same with a key that was read before.
    ///
    /// # Errors
    ///
    /// As for [`builder`](Self::builder).
    pub fn builder_as(&self, identity: Identity) -> Result<ServerBuilder, ServerFileError> {
        let mut policy = self.watch(&self.policy.file, "file")?;
        if let Some(signer) = self.policy.signer {
            policy = self.using(&["policy", "signer"], policy.signed_by(signer))?;
        }
        if let Some(serial) = self.policy.at_least {
            policy = policy.at_least(serial);
        }
        let shadow = self.policy.shadow.as_deref();
        let shadow = shadow.map(|file| self.watch(file, "shadow")).transpose()?;
        let witness = self.witness(&identity)?;
        // Last, since it makes files.
        let audit = self.using(&["audit", "file"], self.audit.open(witness))?;
        let mut server = Server::builder(identity)
            .policy(policy)
            .audit(audit)
            .audit_allowed(self.audit.allowed)
            .limits(self.limits.clone());
        if let Some(shadow) = shadow {
            server = server.shadow_policy(shadow);
        }
        for (principal, until) in &self.policy.permissive {
            server = server.permissive(principal, *until);
        }
        Ok(self.listen.iter().cloned().fold(server, ServerBuilder::listen))
    }

    /// The policy in `file`, which is named under `key`, with the principals.
    fn watch(&self, file: &Path, key: &str) -> Result<PolicyFile, ServerFileError> {
        let policy = self.using(&["policy", key], PolicyFile::watch(file))?;
        match &self.policy.principals {
            Some(path) => self.using(&["policy", "principals"], policy.with_principals(path)),
            None => Ok(policy),
        }
    }

    fn witness(&self, own: &Identity) -> Result<Option<WitnessSink>, ServerFileError> {
        let Some(witness) = &self.audit.witness else { return Ok(None) };
        let identity = match &witness.identity {
            Some(path) => self.using(&["audit", "witness", "identity"], Identity::read(path))?,
            None => own.clone(),
        };
        Ok(Some(WitnessSink::new(witness.endpoint.clone(), witness.server, identity)))
    }

    /// What came of using what is named under `keys`.
    fn using<T>(
        &self,
        keys: &[&str],
        result: Result<T, impl Into<Unusable>>,
    ) -> Result<T, ServerFileError> {
        result.map_err(|cause| ServerFileError::unusable(&self.text, keys, cause.into()))
    }

    fn of(root: &mut Section<'_>, text: &Arc<Text>) -> Option<Self> {
        let identity = root.require("identity");
        let listen = root.require::<Vec<_>>("listen");
        if listen.as_ref().is_some_and(Vec::is_empty) {
            let help = "name an endpoint, such as \"tcp://127.0.0.1:7400\"".to_owned();
            root.refuse("listen", "a server with no endpoint serves nobody".to_owned(), help);
        }
        let policy = PolicySettings::of(root.section("policy"));
        let audit = AuditSettings::of(root.section("audit"));
        let limits = settings::limits(root.section("limits"));
        Some(Self {
            identity: identity?,
            listen: listen?,
            policy: policy?,
            audit: audit?,
            limits,
            text: Arc::clone(text),
        })
    }
}

/// A whole file as text.
fn read(path: &Path) -> io::Result<String> {
    let text = regular_file::read(path, MAX_FILE)?;
    String::from_utf8(text)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
#[path = "server_file/start_tests.rs"]
mod start_tests;
#[cfg(test)]
#[path = "server_file_tests.rs"]
mod tests;
