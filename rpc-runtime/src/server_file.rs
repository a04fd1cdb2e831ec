//! A server's settings as a file, `bailiwick.toml`: what [`Server::builder`](crate::Server::builder)
//! takes, each value checked, and nothing that is not known.
//!
//! ```toml
//! identity = "server.key"
//! listen = ["tcp://127.0.0.1:7400", "udp://127.0.0.1:7400"]
//!
//! [policy]
//! file = "policy.acl"            # followed: a change is in force without a restart
//! principals = "principals.acl"  # optional
//!
//! [audit]
//! file = "audit.jsonl"
//! allowed = "mutating"           # default: none
//!
//! [limits]                       # of `Limits`, by the same names
//! idle_timeout = "1m"
//! max_connections = 1_000
//! ```
//!
//! Relative paths begin at the folder of the file. A file with any error is refused as a whole, each
//! error with its line, column and mend.

mod section;

use std::{
    cell::RefCell,
    fmt, io,
    path::{Path, PathBuf},
};

use bailiwick_acl::monitor::Allows;
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use toml::de::DeTable;

use crate::{config::Limits, endpoint::Endpoint};
use section::Fault;

pub use section::{Section, Setting, Unfit, Value};

/// Most bytes of a file.
const MAX_FILE: u64 = 1 << 20;

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
}

/// `[policy]`
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PolicySettings {
    /// `file`: the policy.
    pub file: PathBuf,
    /// `principals`: a file of further `principal` lines.
    pub principals: Option<PathBuf>,
}

/// `[audit]`
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AuditSettings {
    /// `file`: the log.
    pub file: PathBuf,
    /// `allowed`: which allowed calls are recorded too: `none`, `mutating` or `all`.
    pub allowed: Allows,
}

impl Setting for Allows {
    const EXPECTED: &'static str = "\"none\", \"mutating\" or \"all\"";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        match value.text()? {
            "none" => Ok(Self::None),
            "mutating" => Ok(Self::Mutating),
            "all" => Ok(Self::All),
            other => Err(Unfit::Value(format!("`{other}` is none of them"))),
        }
    }
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
        let faults = RefCell::<Vec<Fault>>::default();
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let help = "the file is TOML: https://toml.io has its rules".to_owned();
            let span = error.span().unwrap_or(0..0);
            let message = error.message().to_owned();
            faults.borrow_mut().push(Fault { span, message, help });
        }
        let mut root = Section::root(table.get_ref(), &faults, folder);
        let file = Self::of(&mut root);
        own(&mut root);
        root.finish();
        match file {
            Some(file) if faults.borrow().is_empty() => Ok(file),
            _ => Err(ServerFileError::refused(name, text, faults.into_inner())),
        }
    }

    fn of(root: &mut Section<'_>) -> Option<Self> {
        let identity = root.require("identity");
        let listen = root.require::<Vec<_>>("listen");
        if listen.as_ref().is_some_and(Vec::is_empty) {
            let help = "name an endpoint, such as \"tcp://127.0.0.1:7400\"".to_owned();
            root.refuse("listen", "a server with no endpoint serves nobody".to_owned(), help);
        }
        let mut section = root.section("policy");
        let policy = section.require("file");
        let principals = section.get("principals");
        section.finish();
        let mut section = root.section("audit");
        let audit = section.require("file");
        let allowed = section.get("allowed").unwrap_or_default();
        section.finish();
        let limits = limits(root.section("limits"));
        Some(Self {
            identity: identity?,
            listen: listen?,
            policy: PolicySettings { file: policy?, principals },
            audit: AuditSettings { file: audit?, allowed },
            limits,
        })
    }
}

fn limits(mut section: Section<'_>) -> Limits {
    let mut limits = Limits::default();
    section.set("max_frame", &mut limits.max_frame);
    section.set("max_calls_in_flight", &mut limits.max_calls_in_flight);
    section.set("max_calls_in_flight_udp", &mut limits.max_calls_in_flight_udp);
    section.set("max_message_udp", &mut limits.max_message_udp);
    section.set("max_reassembly_total", &mut limits.max_reassembly_total);
    section.set("max_clients", &mut limits.max_clients);
    section.set("lease", &mut limits.lease);
    section.set("max_kept_answers", &mut limits.max_kept_answers);
    section.set("max_unsent", &mut limits.max_unsent);
    section.set("max_metadata", &mut limits.max_metadata);
    section.set("max_deadline", &mut limits.max_deadline);
    section.set("max_connections", &mut limits.max_connections);
    section.set("max_connections_per_source", &mut limits.max_connections_per_source);
    section.set("max_half_open", &mut limits.max_half_open);
    section.set("max_half_open_per_source", &mut limits.max_half_open_per_source);
    section.set("handshake_timeout", &mut limits.handshake_timeout);
    section.set("initial_rto", &mut limits.initial_rto);
    section.set("min_rto", &mut limits.min_rto);
    section.set("idle_timeout", &mut limits.idle_timeout);
    section.set("keepalive", &mut limits.keepalive);
    section.set("drain_timeout", &mut limits.drain_timeout);
    if let Err(error) = limits.check() {
        let message = format!("`{}` is out of range", error.field);
        section.refuse(error.field, message, format!("it must be {}", error.range));
    }
    section.finish();
    limits
}

/// A whole file as text, of bounded length.
fn read(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 MiB"));
    }
    Ok(text)
}

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
}

/// One thing that is wrong with a file of settings.
#[derive(Debug)]
pub struct SettingError {
    /// `file:line:column`, both from 1.
    place: String,
    message: String,
    help: String,
    label: LabeledSpan,
    source: NamedSource<String>,
}

impl ServerFileError {
    fn refused(name: &str, text: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| fault.span.start);
        let error = |fault: Fault| {
            let start = text.floor_char_boundary(fault.span.start);
            let before = &text[..start];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            SettingError {
                place: format!("{name}:{line}:{column}"),
                message: fault.message,
                help: fault.help,
                label: LabeledSpan::new(Some("here".to_owned()), start, fault.span.len()),
                source: NamedSource::new(name, text.to_owned()),
            }
        };
        let errors = faults.into_iter().map(error).collect();
        Self::Refused { name: name.to_owned(), errors }
    }
}

impl Diagnostic for ServerFileError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self {
            Self::Unreadable { .. } => Some(Box::new(
                "it is a TOML file of `identity`, `listen`, `[policy]` and `[audit]`",
            )),
            Self::Refused { .. } => None,
        }
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self {
            Self::Unreadable { .. } => None,
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

#[cfg(test)]
#[path = "server_file_tests.rs"]
mod tests;
