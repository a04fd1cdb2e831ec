//! The next revision of a policy: read, built aside, put in force, or refused with the reason on
//! record and the one before left as it is.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bailiwick_acl::{
    Monitor, Policy, PolicyErrors,
    monitor::{Mode, Rejected, ReplaceError},
    policy::{Loaded, PolicyWarning, ServiceFacts},
};
use miette::Diagnostic;
use tokio::{sync::watch, task};

use super::{Origin, PolicyFileError, Refusal, SignedPolicyError, Texts};
use crate::{audit::AuditError, metrics::PolicyLoads, net::revisions::Revisions};

/// Where the next revisions of a server's policy come from.
pub(crate) struct Reloader {
    pub(super) origin: Origin,
    services: Vec<ServiceFacts>,
    monitor: Arc<Monitor>,
    revisions: Arc<Revisions>,
    /// Whether it is the policy in force or its shadow.
    mode: Mode,
    loads: PolicyLoads,
    /// One at a time; what was refused last, so that it goes on record once.
    refused: Mutex<Option<String>>,
    outcomes: watch::Sender<Option<Outcome>>,
}

type Outcome = Result<Reloaded, ReloadError>;

/// Asks a server for its policy, and to read it again; see
/// [`Server::policy_handle`](crate::Server::policy_handle). Clones ask the same server.
#[derive(Clone)]
pub struct PolicyHandle(pub(crate) Arc<Reloader>);

/// One load of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Differs for every load within this process.
    pub number: u64,
    /// The file's `serial`, if it has one.
    pub serial: Option<u64>,
    /// SHA-256 of the file, as `sha256sum` prints it; with a file of principals, SHA-256 of the two
    /// digests one after the other.
    pub digest: [u8; 32],
}

/// A policy that is in force, as its files say.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The policy; the one from before if its files have not changed.
    pub revision: Revision,
    /// What is doubtful about it, if it is new.
    pub warnings: Vec<PolicyWarning>,
}

/// Why a policy did not come into force; the one before stays.
#[derive(Clone, Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum ReloadError {
    /// A file cannot be read, or is gone.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] PolicyFileError),
    /// The file is empty.
    #[error("the policy file {name} is empty")]
    #[diagnostic(help(
        "it may be half written; a policy that is to deny everything has a comment line at least"
    ))]
    Empty {
        /// The file.
        name: String,
    },
    /// It is not signed as it must be.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Signature(#[from] SignedPolicyError),
    /// It has errors.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Policy(#[from] PolicyErrors),
    /// It is older than the one in force, perhaps replayed.
    #[error("the serial of {name} is {}, lower than {in_force}, the one in force",
        new.map_or_else(|| "missing".to_owned(), |serial| serial.to_string()))]
    #[diagnostic(help("raise it above {in_force}, if this policy is the newer one"))]
    Older {
        /// The file.
        name: String,
        /// Its serial.
        new: Option<u64>,
        /// The serial of the policy in force.
        in_force: u64,
    },
    /// It is signed, differs from the one in force, and has the same serial.
    #[error("{name} has changed, and its serial is still {serial}")]
    #[diagnostic(help(
        "each signed policy has a higher serial than the one before: raise it, and \
                       sign again"
    ))]
    SameSerial {
        /// The file.
        name: String,
        /// Both serials.
        serial: u64,
    },
    /// The policy was given as text, so there is nothing to read.
    #[error("the policy was given as text, and not read from a file")]
    #[diagnostic(help("use `PolicyFile::read` or `PolicyFile::watch`"))]
    GivenAsText,
    /// The change cannot be put on record.
    #[error("the change cannot be put on record: {0}")]
    Audit(#[source] Arc<AuditError>),
    /// The runtime ended, or the load panicked.
    #[error("the load was cut short")]
    Aborted,
}

impl PolicyHandle {
    /// The policy in force.
    #[must_use]
    pub fn in_force(&self) -> Revision {
        Revision::of(&self.0.monitor.policy())
    }

    /// Reads the policy's files now, and puts them in force if they differ from what is. Calls that
    /// run, and those that come meanwhile, do not wait.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]; the policy before stays in force, and the reason is on record, once for the
    /// same error of the same content.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        self.0.reload().await
    }

    /// The outcomes to come: of files that changed, of SIGHUP, and of [`reload`](Self::reload). Each
    /// is told once, and of several at once the last.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        Outcomes(self.0.outcomes.subscribe())
    }
}

/// What has become of changes of a policy; see [`PolicyHandle::outcomes`].
#[derive(Debug)]
pub struct Outcomes(watch::Receiver<Option<Outcome>>);

impl Outcomes {
    /// The next: a policy that came into force, or one that was refused. Nothing is lost if this is
    /// dropped before it is done. `None` once the server is gone.
    pub async fn next(&mut self) -> Option<Result<Reloaded, ReloadError>> {
        self.0.changed().await.ok()?;
        self.0.borrow_and_update().clone()
    }
}

impl Reloader {
    pub(crate) fn new(
        origin: Origin,
        services: Vec<ServiceFacts>,
        monitor: Arc<Monitor>,
        revisions: Arc<Revisions>,
        mode: Mode,
        loads: PolicyLoads,
    ) -> Self {
        let (refused, (outcomes, _)) = (Mutex::default(), watch::channel(None));
        Self { origin, services, monitor, revisions, mode, loads, refused, outcomes }
    }

    pub(super) async fn reload(self: &Arc<Self>) -> Result<Reloaded, ReloadError> {
        let this = Arc::clone(self);
        task::spawn_blocking(move || this.attempt()).await.unwrap_or(Err(ReloadError::Aborted))
    }

    fn attempt(&self) -> Result<Reloaded, ReloadError> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current();
        let mut digest = None;
        let outcome = self.replace(before.as_deref(), &mut digest);
        match &outcome {
            Ok(reloaded) => {
                *refused = None;
                if before.is_none_or(|before| before.revision() != reloaded.revision.number) {
                    tracing::info!(revision = %reloaded.revision, mode = %self.mode, "policy loaded");
                    self.outcomes.send_replace(Some(outcome.clone()));
                }
            }
            Err(error) => {
                let detail = error.first();
                let complaint = format!("{digest:?} {detail}");
                if refused.as_ref() != Some(&complaint) {
                    *refused = Some(complaint);
                    if self.mode != Mode::Shadow {
                        self.loads.refused();
                    }
                    self.complain(error, &detail, digest);
                    self.outcomes.send_replace(Some(outcome.clone()));
                }
            }
        }
        outcome
    }

    /// The policy whose place a new one takes.
    fn current(&self) -> Option<Arc<Policy>> {
        match self.mode {
            Mode::Shadow => self.monitor.shadow_policy(),
            _ => Some(self.monitor.policy()),
        }
    }

    fn replace(
        &self,
        before: Option<&Policy>,
        digest: &mut Option<[u8; 32]>,
    ) -> Result<Reloaded, ReloadError> {
        let texts = Texts::read(&self.origin)?.ok_or(ReloadError::GivenAsText)?;
        let found = *digest.insert(texts.digest());
        let unchanged = before.filter(|before| before.digest() == found);
        if let Some(before) = unchanged {
            texts.check_signature(&self.origin)?;
            return Ok(Reloaded { revision: Revision::of(before), warnings: Vec::new() });
        }
        if texts.policy.bytes.trim_ascii().is_empty() {
            return Err(ReloadError::Empty { name: texts.policy.name });
        }
        let Loaded { policy, warnings } = texts.load(&self.origin, &self.services)?;
        let revision = Revision::of(&policy);
        match self.mode {
            Mode::Shadow => self.monitor.shadow(policy).map_err(ReloadError::audit)?,
            _ => self.put_in_force(policy)?,
        }
        Ok(Reloaded { revision, warnings })
    }

    fn put_in_force(&self, policy: Policy) -> Result<(), ReloadError> {
        let (name, new) = (policy.name().to_owned(), policy.serial());
        // No other but this one replaces the policy.
        if let Some(in_force) = self.monitor.policy().serial() {
            if new.is_none_or(|new| new < in_force) {
                return Err(ReloadError::Older { name, new, in_force });
            }
            if self.origin.signer.is_some() && new == Some(in_force) {
                return Err(ReloadError::SameSerial { name, serial: in_force });
            }
        }
        match self.monitor.replace(policy) {
            Ok(()) => {
                self.loads.loaded(&self.monitor.policy());
                self.revisions.changed();
                Ok(())
            }
            Err(ReplaceError::Serial { new, in_force }) => {
                Err(ReloadError::Older { name, new, in_force })
            }
            Err(ReplaceError::Audit(error)) => Err(ReloadError::audit(error)),
            Err(_) => Err(ReloadError::Aborted),
        }
    }

    /// The audit log gets the first error, and whoever reads the log on stderr all of them.
    fn complain(&self, error: &ReloadError, detail: &str, digest: Option<[u8; 32]>) {
        let name = match &self.origin.policy {
            Some(path) => path.display().to_string(),
            None => "the policy".to_owned(),
        };
        let reason = error.reason();
        let rejected = Rejected { name: &name, digest, reason, detail, mode: self.mode };
        // A log that cannot be written counts what it misses, and nothing runs meanwhile.
        let _ = self.monitor.rejected(&rejected);
        let findings = match error {
            ReloadError::Policy(errors) => errors.errors(),
            _ => &[],
        };
        tracing::warn!(mode = %self.mode, reason, "the policy in force stays: {detail}");
        for finding in findings.iter().skip(1) {
            tracing::warn!("{finding}; {}", finding.help);
        }
    }
}

impl Revision {
    fn of(policy: &Policy) -> Self {
        Self { number: policy.revision(), serial: policy.serial(), digest: policy.digest() }
    }
}

/// The serial, if there is one, and the digest as `sha256sum` shows it.
impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(serial) = self.serial {
            write!(f, "serial {serial}, ")?;
        }
        f.write_str("sha256:")?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl ReloadError {
    fn audit(error: AuditError) -> Self {
        Self::Audit(Arc::new(error))
    }

    /// What is wrong, and the mend; of several errors the first.
    fn first(&self) -> String {
        match self {
            Self::Policy(errors) => match errors.errors().first() {
                Some(first) => format!("{first}; {}", first.help),
                None => self.to_string(),
            },
            Self::Unreadable(error) => match std::error::Error::source(error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
            _ => self.to_string(),
        }
    }

    /// The word of the audit log.
    fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Empty { .. } => "empty",
            Self::Signature(SignedPolicyError::Unsigned { .. }) => "unsigned",
            Self::Signature(SignedPolicyError::Refused { .. }) => "signature",
            Self::Signature(SignedPolicyError::NoSerial { .. })
            | Self::Older { .. }
            | Self::SameSerial { .. } => "serial",
            Self::Policy(_) => "errors",
            Self::GivenAsText => "given_as_text",
            Self::Audit(_) => "audit_unavailable",
            Self::Aborted => "aborted",
        }
    }
}

impl From<Refusal> for ReloadError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Signature(error) => Self::Signature(error),
            Refusal::Policy(errors) => Self::Policy(errors),
        }
    }
}

impl fmt::Debug for PolicyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PolicyHandle").field(&self.in_force()).finish()
    }
}
