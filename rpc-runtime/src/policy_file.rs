//! The policy as a file: read at once, checked against the services when the server is built.

use std::{fs, io, path::Path};

use bailiwick_acl::{
    Policy, PolicyErrors, Principal,
    policy::{
        KeysRequired, LoadOptions, Loaded, MethodFacts, ObjectTemplate, ServiceFacts, Source,
        TemplateError,
    },
};
use bailiwick_crypto::PublicKey;

use crate::service::{MethodDescription, ObjectDescription, ServiceDescription};

/// A policy that has been read and not checked.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    policy: Text,
    principals: Option<Text>,
}

#[derive(Clone, Debug)]
struct Text {
    name: String,
    bytes: Vec<u8>,
}

impl PolicyFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// [`PolicyFileError`] if it cannot be read. What it says is judged when the server is built.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, PolicyFileError> {
        Ok(Self { policy: Text::read(path.as_ref())?, principals: None })
    }

    /// A policy given as text; `name` stands for the file in messages and records.
    pub fn from_text(name: impl Into<String>, text: impl Into<Vec<u8>>) -> Self {
        Self { policy: Text { name: name.into(), bytes: text.into() }, principals: None }
    }

    /// Adds a file of `principal` lines.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn with_principals(mut self, path: impl AsRef<Path>) -> Result<Self, PolicyFileError> {
        self.principals = Some(Text::read(path.as_ref())?);
        Ok(self)
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
        let policy = Policy::load(self.policy.source(), &options)?.policy;
        if policy.keys().next().is_none() {
            let line = |name: &Principal| format!("principal {name} = {}\n", key_of(name.as_str()));
            let lines: String = policy.principals().map(line).collect();
            self.principals = Some(Text { name: "keys".to_owned(), bytes: lines.into_bytes() });
        }
        Ok(self)
    }

    /// Checks the policy against the services it governs.
    pub(crate) fn load(&self, services: &[ServiceFacts]) -> Result<Loaded, PolicyErrors> {
        let options = LoadOptions {
            services,
            principals: self.principals.as_ref().map(Text::source),
            previous_serial: None,
            keys: KeysRequired::Server,
        };
        Policy::load(self.policy.source(), &options)
    }
}

impl Text {
    fn read(path: &Path) -> Result<Self, PolicyFileError> {
        let name = path.display().to_string();
        match fs::read(path) {
            Ok(bytes) => Ok(Self { name, bytes }),
            Err(source) => Err(PolicyFileError { name, source }),
        }
    }

    fn source(&self) -> Source<'_> {
        Source { name: &self.name, text: &self.bytes }
    }
}

/// A policy file cannot be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot read the policy file {name}")]
#[diagnostic(help("a policy is a text file of rows such as `alice | table/** | read | allow`"))]
pub struct PolicyFileError {
    name: String,
    source: io::Error,
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
