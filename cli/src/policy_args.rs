//! The policy, its principals and its services, as the commands of `acl` take them.

use std::path::{Path, PathBuf};

use bailiwick_acl::policy::analysis::Ruleset;
use bailiwick_acl::policy::{
    KeysRequired, LoadOptions, Loaded, MAX_FILE, Policy, PolicyErrors, ServiceFacts, Source,
};
use clap::Args;

use crate::describe;
use crate::files;
use crate::output::Failure;

/// Files beside the policy itself.
#[derive(Debug, Args)]
pub(crate) struct Beside {
    /// A file of further `principal` lines.
    #[arg(long, value_name = "FILE")]
    principals: Option<PathBuf>,
    /// The description of a service that the policy governs, as its server's `describe --json` prints it.
    /// Verbs and objects are checked against all that are given.
    #[arg(long, value_name = "FILE.json")]
    service: Vec<PathBuf>,
}

/// A policy and what is beside it, for questions about it.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// The policy file.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    beside: Beside,
}

impl PolicyArgs {
    /// Reads the policy, and loads it with its rows kept. One with errors gives no answer.
    pub(crate) fn load(&self) -> Result<(PolicyFiles, Ruleset), Failure> {
        let files = PolicyFiles::read(&self.policy, &self.beside)?;
        let rules = files.ruleset().map_err(Failure::Unloadable)?;
        Ok((files, rules))
    }
}

impl Beside {
    /// Just a file of further `principal` lines.
    pub(crate) fn principals(path: Option<PathBuf>) -> Self {
        Self { principals: path, service: Vec::new() }
    }
}

/// The files of one policy, read.
pub(crate) struct PolicyFiles {
    name: String,
    text: Vec<u8>,
    principals: Option<(String, Vec<u8>)>,
    services: Vec<ServiceFacts>,
}

impl PolicyFiles {
    /// Reads the policy at `path` and what is beside it.
    pub(crate) fn read(path: &Path, beside: &Beside) -> Result<Self, Failure> {
        let text = files::read(path, "a policy file", MAX_FILE)?;
        Self::of_text(&path.display().to_string(), text, beside)
    }

    /// The policy that is this text, and what is beside it.
    pub(crate) fn of_text(name: &str, text: Vec<u8>, beside: &Beside) -> Result<Self, Failure> {
        let principals = match &beside.principals {
            Some(path) => {
                let text = files::read(path, "a file of `principal` lines", MAX_FILE)?;
                Some((path.display().to_string(), text))
            }
            None => None,
        };
        let mut services = Vec::new();
        for path in &beside.service {
            services.extend(describe::read(path)?.facts(path)?);
        }
        Ok(Self { name: name.to_owned(), text, principals, services })
    }

    /// Loads the policy with its rows kept, for the questions about it as a whole.
    pub(crate) fn ruleset(&self) -> Result<Ruleset, PolicyErrors> {
        Ruleset::load(self.source(), &self.options())
    }

    /// Loads the policy.
    pub(crate) fn load(&self) -> Result<Loaded, PolicyErrors> {
        Policy::load(self.source(), &self.options())
    }

    /// The policy's text as it was read.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The same files with another text of the policy.
    pub(crate) fn with_text(self, text: Vec<u8>) -> Self {
        Self { text, ..self }
    }

    pub(crate) fn source(&self) -> Source<'_> {
        Source { name: &self.name, text: &self.text }
    }

    pub(crate) fn options(&self) -> LoadOptions<'_> {
        let principals = self.principals.as_ref();
        LoadOptions {
            services: &self.services,
            principals: principals.map(|(name, text)| Source { name, text }),
            previous_serial: None,
            keys: KeysRequired::Tool,
        }
    }

    /// What the policy file is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the policy file says nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.iter().all(u8::is_ascii_whitespace)
    }

    /// The text of a line of the policy file.
    pub(crate) fn line(&self, number: u32) -> String {
        let lines = self.text.split(|byte| *byte == b'\n');
        let line = lines.into_iter().nth(number.saturating_sub(1) as usize).unwrap_or_default();
        String::from_utf8_lossy(line).trim().to_owned()
    }
}
