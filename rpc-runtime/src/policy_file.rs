//! The policy as a file: read at once, checked against the services when the server is built, and
//! followed from then on if that is asked for.

#[cfg(feature = "net")]
mod notices;
#[cfg(feature = "net")]
pub(crate) mod reload;
mod text;
#[cfg(feature = "net")]
mod told;
#[cfg(feature = "net")]
pub(crate) mod watch;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bailiwick_acl::{
    Policy, PolicyErrors, Principal,
    policy::{
        KeysRequired, LoadOptions, Loaded, MethodFacts, ObjectTemplate, ServiceFacts, Source,
        TemplateError, digest_of,
    },
};
use bailiwick_crypto::{
    PublicKey,
    detached::{self, Detached, SignatureError},
};
use miette::Diagnostic;

use crate::service::{MethodDescription, ObjectDescription, ServiceDescription};
use text::Text;

pub use text::PolicyFileError;

/// How often a policy that is followed is looked at, whether or not the system tells of a change.
const POLL: Duration = Duration::from_secs(2);

/// The shortest time between two looks.
const MIN_POLL: Duration = Duration::from_millis(100);

/// A policy that has been read and not checked.
///
/// ```no_run
/// use bailiwick::PolicyFile;
///
/// // Rows that are saved to policy.acl count for the next call of every session.
/// let policy = PolicyFile::watch("policy.acl")?.with_principals("principals.acl")?;
/// # Ok::<(), bailiwick::PolicyFileError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PolicyFile {
    texts: Texts,
    origin: Origin,
}

/// What the files of one policy hold.
#[derive(Clone, Debug)]
struct Texts {
    policy: Text,
    principals: Option<Text>,
    signature: Option<Text>,
}

/// Where a policy comes from, and what is asked of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// `None`: it was given as text.
    policy: Option<PathBuf>,
    principals: Option<PathBuf>,
    signer: Option<PublicKey>,
    at_least: Option<u64>,
    /// How often to look; `None` if it is not followed.
    poll: Option<Duration>,
}

impl PolicyFile {
    /// Reads the file at `path`, once.
    ///
    /// # Errors
    ///
    /// [`PolicyFileError`] if it cannot be read. What it says is judged when the server is built.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, PolicyFileError> {
        let path = path.as_ref();
        let texts = Texts { policy: Text::read(path)?, principals: None, signature: None };
        Ok(Self { texts, origin: Origin { policy: Some(path.to_owned()), ..Origin::default() } })
    }

    /// Reads the file at `path`, and again whenever it changes while the server serves: as the
    /// system tells of a change in its directory (a file written and closed, one renamed over it, a
    /// symbolic link switched), on SIGHUP, and every 2 s if there is one. The same holds for the file of principals and for the
    /// signature.
    ///
    /// Each new revision is built aside, checked as at the start, and put in force at once for the
    /// next call of every session; a session whose key it no longer binds is ended. A revision with
    /// any error, with a lower serial, empty, or without the signature that is asked for does not
    /// come into force: the one before stays, and the audit log says why. A file is given 50 ms to come
    /// to rest, so that what is half written is seldom read, but only a signature rules it out.
    ///
    /// From then on SIGHUP does not end the process.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn watch(path: impl AsRef<Path>) -> Result<Self, PolicyFileError> {
        let mut file = Self::read(path)?;
        file.origin.poll = Some(POLL);
        Ok(file)
    }

    /// A policy given as text; `name` stands for the file in messages and records.
    pub fn from_text(name: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        let policy = Text::new(name, text);
        let texts = Texts { policy, principals: None, signature: None };
        Self { texts, origin: Origin::default() }
    }

    /// Adds a file of `principal` lines.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn with_principals(mut self, path: impl AsRef<Path>) -> Result<Self, PolicyFileError> {
        self.texts.principals = Some(Text::read(path.as_ref())?);
        self.origin.principals = Some(path.as_ref().to_owned());
        Ok(self)
    }

    /// Accepts the policy, now and later, only with a signature by `signer` in the file beside it
    /// whose name has `.sig` behind, as `bailiwick acl sign` writes it. It covers the policy's text and
    /// that of the principals, and counts for every server that asks for this signer.
    ///
    /// A signed policy must have a `serial`, and each later one a higher, so that an old one cannot be
    /// put in its place. A server that starts knows of no policy before; see
    /// [`at_least`](Self::at_least).
    ///
    /// # Errors
    ///
    /// [`PolicyFileError`] if there is such a file and it cannot be read.
    pub fn signed_by(mut self, signer: PublicKey) -> Result<Self, PolicyFileError> {
        self.origin.signer = Some(signer);
        self.texts.signature = self.origin.read_signature()?;
        Ok(self)
    }

    /// Accepts the policy only with this `serial` or a higher one, also at the start: against an
    /// old policy that was put in place while no server ran.
    #[must_use]
    pub fn at_least(mut self, serial: u64) -> Self {
        self.origin.at_least = Some(serial);
        self
    }

    /// How often a policy that is [watched](Self::watch) is looked at besides. Default: 2 s; at least
    /// 100 ms.
    #[must_use]
    pub fn polled_every(mut self, poll: Duration) -> Self {
        self.origin.poll = self.origin.poll.map(|_| poll.max(MIN_POLL));
        self
    }

    /// For tests: makes a key by `key_of` for each principal of a policy that gives none.
    ///
    /// # Errors
    ///
    /// The policy's, but for the missing keys.
    pub(crate) fn with_made_keys(
        mut self,
        key_of: impl Fn(&str) -> PublicKey,
    ) -> Result<Self, PolicyErrors> {
        let options = LoadOptions { keys: KeysRequired::Tool, ..LoadOptions::default() };
        let policy = Policy::load(self.texts.policy.source(), &options)?.policy;
        if policy.keys().next().is_none() {
            let line = |name: &Principal| format!("principal {name} = {}\n", key_of(name.as_str()));
            let lines: String = policy.principals().map(line).collect();
            self.texts.principals = Some(Text::new("keys", lines));
        }
        Ok(self)
    }

    /// Checks the policy against the services it governs.
    pub(crate) fn load(&self, services: &[ServiceFacts]) -> Result<Loaded, Refusal> {
        self.texts.load(&self.origin, services)
    }

    /// Where it came from, once what it said is no longer needed.
    #[cfg(feature = "net")]
    pub(crate) fn into_origin(self) -> Origin {
        self.origin
    }
}

impl Origin {
    /// The files, as far as there are any.
    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let signature = self.signer.and(self.policy.as_deref()).map(detached::path_of);
        [self.policy.clone(), self.principals.clone(), signature].into_iter().flatten()
    }

    fn read_signature(&self) -> Result<Option<Text>, PolicyFileError> {
        let Some(policy) = &self.policy else { return Ok(None) };
        Text::read_if_there(&detached::path_of(policy), detached::MAX_FILE)
    }
}

impl Texts {
    /// Reads all files; `None` if the policy was given as text.
    #[cfg(feature = "net")]
    fn read(origin: &Origin) -> Result<Option<Self>, PolicyFileError> {
        let Some(policy) = &origin.policy else { return Ok(None) };
        Ok(Some(Self {
            policy: Text::read(policy)?,
            principals: origin.principals.as_deref().map(Text::read).transpose()?,
            signature: match origin.signer {
                Some(_) => origin.read_signature()?,
                None => None,
            },
        }))
    }

    /// The very bytes whose signature is checked are those that are loaded.
    fn load(&self, origin: &Origin, services: &[ServiceFacts]) -> Result<Loaded, Refusal> {
        self.check_signature(origin)?;
        let options = LoadOptions {
            services,
            principals: self.principals.as_ref().map(Text::source),
            previous_serial: origin.at_least,
            keys: KeysRequired::Server,
        };
        let loaded = Policy::load(self.policy.source(), &options)?;
        if origin.signer.is_some() && loaded.policy.serial().is_none() {
            return Err(SignedPolicyError::NoSerial { policy: self.policy.name.clone() }.into());
        }
        Ok(loaded)
    }

    fn check_signature(&self, origin: &Origin) -> Result<(), SignedPolicyError> {
        let Some(signer) = &origin.signer else { return Ok(()) };
        let policy = self.policy.name.clone();
        let Some(signature) = &self.signature else {
            return Err(SignedPolicyError::Unsigned { policy, signer: *signer });
        };
        let parts: Vec<_> =
            [Some(&self.policy), self.principals.as_ref()].into_iter().flatten().collect();
        let parts: Vec<_> = parts.iter().map(|text| &text.bytes[..]).collect();
        Detached::parse(&signature.bytes)
            .and_then(|detached| detached.verify(signer, detached::POLICY, &parts))
            .map_err(|source| SignedPolicyError::Refused { policy, source })
    }

    fn digest(&self) -> [u8; 32] {
        let principals: Option<Source<'_>> = self.principals.as_ref().map(Text::source);
        digest_of(self.policy.source(), principals)
    }
}

/// Why a policy that was read is not loaded.
#[derive(Debug)]
pub(crate) enum Refusal {
    Signature(SignedPolicyError),
    Policy(PolicyErrors),
}

/// Why a policy that must be signed is refused.
#[derive(Clone, Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum SignedPolicyError {
    /// There is no signature.
    #[error("the policy {policy} has no signature by {signer}: there is no {policy}.sig")]
    #[diagnostic(help("sign it: `bailiwick acl sign --key FILE {policy}`"))]
    Unsigned {
        /// The file.
        policy: String,
        /// Who must sign.
        signer: PublicKey,
    },
    /// The signature is not by that signer over these files.
    #[error("the policy {policy} is not signed as it must be: {policy}.sig: {source}")]
    #[diagnostic(help(
        "the signature is over the policy and its file of principals, as `bailiwick acl sign` was \
         given them"
    ))]
    Refused {
        /// The file.
        policy: String,
        /// What is wrong with its signature.
        source: SignatureError,
    },
    /// Without serials an old policy with its signature could be put in place of a newer one.
    #[error("the signed policy {policy} has no serial")]
    #[diagnostic(help("add a line `serial 1`, raise it with every change, and sign again"))]
    NoSerial {
        /// The file.
        policy: String,
    },
}

impl From<SignedPolicyError> for Refusal {
    fn from(error: SignedPolicyError) -> Self {
        Self::Signature(error)
    }
}

impl From<PolicyErrors> for Refusal {
    fn from(errors: PolicyErrors) -> Self {
        Self::Policy(errors)
    }
}

/// What a policy may say about a service.
pub(crate) fn facts(service: &ServiceDescription) -> Result<ServiceFacts, TemplateError> {
    let methods = service.methods.iter().map(method_facts).collect::<Result<_, _>>()?;
    Ok(ServiceFacts { service: service.name.to_owned(), methods })
}

fn method_facts(method: &MethodDescription) -> Result<MethodFacts, TemplateError> {
    let object = match method.object {
        ObjectDescription::Template(template) => ObjectTemplate::parse(template)?,
        ObjectDescription::Listed(_) => ObjectTemplate::Anything,
    };
    Ok(MethodFacts { name: method.name.to_owned(), verb: method.verb.to_owned(), object })
}
