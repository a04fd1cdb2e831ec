//! Why a file of settings is not taken.

use std::{fmt, io};

use bailiwick_crypto::key_file::KeyFileError;
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

use super::{AuditError, PolicyFileError, Text, section::Fault};

/// A file of settings is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerFileError {
    /// It cannot be read.
    #[error("cannot read the settings {name}")]
    Unreadable {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It says what it must not, or not what it must.
    #[error("the settings {name} are refused")]
    Refused {
        /// The file.
        name: String,
        /// All that is wrong, in the order of the lines; never empty.
        errors: Vec<SettingError>,
    },
    /// A file that it names cannot be used.
    #[error("{setting}")]
    Unusable {
        /// Where it is named.
        setting: Box<SettingError>,
        /// Why.
        source: Unusable,
    },
}

/// Why a file that the settings name cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[non_exhaustive]
pub enum Unusable {
    /// It is no key, or others may read it.
    Identity(#[from] KeyFileError),
    /// The policy, its principals, its signature or its shadow cannot be read.
    Policy(#[from] PolicyFileError),
    /// The log cannot be opened.
    Audit(#[from] AuditError),
}

/// One thing that is wrong with a file of settings.
#[derive(Debug)]
pub struct SettingError {
    /// `file:line:column`, both from 1.
    pub(super) place: String,
    pub(super) message: String,
    pub(super) help: String,
    pub(super) label: LabeledSpan,
    pub(super) source: NamedSource<String>,
}

impl ServerFileError {
    pub(super) fn refused(text: &Text, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.span.start);
        let error = |fault: Fault| text.error(fault.span, fault.message, fault.help);
        let errors = faults.into_iter().map(error).collect();
        Self::Refused { name: text.name.clone(), errors }
    }

    /// What is named under `keys`, one within the other, cannot be used.
    pub(super) fn unusable(text: &Text, keys: &[&str], source: Unusable) -> Self {
        let message = format!("`{}` cannot be used", keys.join("."));
        let help = match &source {
            Unusable::Policy(error) => error.help().map(|help| help.to_string()),
            Unusable::Identity(_) | Unusable::Audit(_) => None,
        };
        let from = "relative paths begin at the folder of this file";
        let help = help.map_or_else(|| from.to_owned(), |help| format!("{help}; {from}"));
        let setting = Box::new(text.error(text.span_of(keys), message, help));
        Self::Unusable { setting, source }
    }
}

impl Diagnostic for ServerFileError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self {
            Self::Unreadable { .. } => Some(Box::new(
                "it is a TOML file of `identity`, `listen`, `[policy]` and `[audit]`",
            )),
            Self::Refused { .. } => None,
            Self::Unusable { setting, .. } => setting.help(),
        }
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        match self {
            Self::Unusable { setting, .. } => setting.source_code(),
            Self::Unreadable { .. } | Self::Refused { .. } => None,
        }
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        match self {
            Self::Unusable { setting, .. } => setting.labels(),
            Self::Unreadable { .. } | Self::Refused { .. } => None,
        }
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self {
            Self::Unreadable { .. } | Self::Unusable { .. } => None,
            Self::Refused { errors, .. } => {
                Some(Box::new(errors.iter().map(|error| error as &dyn Diagnostic)))
            }
        }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for SettingError {}

impl Diagnostic for SettingError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(self.label.clone())))
    }
}
