//! What a server is told: by its options, or by a file of settings.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bailiwick::{
    AuditLog, Endpoint, Identity, PolicyFile, Server, ServerBuilder,
    server_file::{Section, ServerFile},
};
use hashtable::machine::Bounds;
use miette::miette;
use tracing_subscriber::filter::LevelFilter;

use crate::{
    args::ServeArgs,
    exit::{Exit, Failure},
    process::{refused, refused_with_help},
};

/// What `hashtable serve` needs to know.
pub(crate) struct Settings {
    pub(crate) listen: Vec<Endpoint>,
    pub(crate) start: Start,
    /// `None` for a table in memory.
    pub(crate) kept: Option<Kept>,
    pub(crate) bounds: Bounds,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) log: LevelFilter,
}

/// Where a table is kept, and how.
pub(crate) struct Kept {
    pub(crate) dir: PathBuf,
    pub(crate) salvage: bool,
    pub(crate) checkpoint_after: u64,
    pub(crate) progress_every: Duration,
}

/// The files that a server needs before it can be built.
pub(crate) enum Start {
    Options { identity: PathBuf, policy: PathBuf, principals: Option<PathBuf>, audit: PathBuf },
    File(Box<ServerFile>),
}

/// `[hashtable]`, by the names of the options that it replaces.
#[derive(Default)]
struct TableSettings {
    data: Option<PathBuf>,
    checkpoint_after: Option<u64>,
    bounds: Bounds,
    metrics: Option<SocketAddr>,
    log: Option<LevelFilter>,
}

impl Settings {
    /// Reads the file, if one was given.
    ///
    /// # Errors
    ///
    /// It cannot be read or used.
    pub(crate) fn of(args: ServeArgs) -> Result<Self, Failure> {
        if let Some(path) = &args.config {
            return Self::read(path, &args);
        }
        let (Some(identity), Some(policy), Some(audit)) = (args.identity, args.policy, args.audit)
        else {
            // The command line is not taken without them.
            return Err(Failure::new(
                Exit::Usage,
                miette!("give --config, or all three of them: --identity, --policy, --audit"),
            ));
        };
        let data = args.data;
        let kept = |dir| Kept {
            dir,
            salvage: data.salvage,
            checkpoint_after: data.checkpoint_after,
            progress_every: data.progress_every,
        };
        Ok(Self {
            listen: args.listen,
            start: Start::Options { identity, policy, principals: args.principals, audit },
            kept: data.dir.map(kept),
            bounds: Bounds { keys: args.max_keys, bytes: args.max_bytes },
            metrics: args.metrics,
            log: args.log,
        })
    }

    fn read(path: &Path, args: &ServeArgs) -> Result<Self, Failure> {
        let mut table = TableSettings::default();
        let file = ServerFile::read_with(path, |root| table = TableSettings::of(root));
        let file = file.map_err(refused_with_help)?;
        if args.data.salvage && table.data.is_none() {
            let help = "set `data` below `[hashtable]`, or leave --salvage out";
            let nothing = miette!(help = help, "a table in memory has nothing to salvage");
            return Err(Failure::new(Exit::Usage, nothing));
        }
        let kept = |dir| Kept {
            dir,
            salvage: args.data.salvage,
            checkpoint_after: table.checkpoint_after.unwrap_or(args.data.checkpoint_after),
            progress_every: args.data.progress_every,
        };
        Ok(Self {
            listen: file.listen.clone(),
            start: Start::File(Box::new(file)),
            kept: table.data.map(kept),
            bounds: table.bounds,
            metrics: table.metrics,
            log: table.log.unwrap_or(args.log),
        })
    }
}

impl TableSettings {
    fn of(root: &mut Section<'_>) -> Self {
        let mut section = root.section("hashtable");
        let mut settings = Self {
            data: section.get("data"),
            checkpoint_after: section.get("checkpoint_after"),
            bounds: Bounds::default(),
            metrics: section.get("metrics"),
            log: section.get("log"),
        };
        section.set("max_keys", &mut settings.bounds.keys);
        section.set("max_bytes", &mut settings.bounds.bytes);
        if settings.checkpoint_after.is_some() && settings.data.is_none() {
            let help = "set `data`, or leave it out".to_owned();
            let message = "`checkpoint_after` is for a table that is kept".to_owned();
            section.refuse("checkpoint_after", message, help);
        }
        section.finish();
        settings
    }
}

impl Start {
    /// Reads every file; a server with anything wrong refuses to start.
    ///
    /// # Errors
    ///
    /// The first file that cannot be used.
    pub(crate) fn builder(&self, listen: &[Endpoint]) -> Result<ServerBuilder, Failure> {
        let (identity, policy, principals, audit) = match self {
            Self::File(file) => return file.builder().map_err(refused_with_help),
            Self::Options { identity, policy, principals, audit } => {
                (identity, policy, principals, audit)
            }
        };
        let identity = Identity::read(identity).map_err(refused)?;
        let mut policy = PolicyFile::watch(policy).map_err(refused_with_help)?;
        if let Some(principals) = principals {
            policy = policy.with_principals(principals).map_err(refused_with_help)?;
        }
        let audit = AuditLog::open(audit).map_err(refused)?;
        let server = Server::builder(identity).policy(policy).audit(audit);
        Ok(listen.iter().cloned().fold(server, ServerBuilder::listen))
    }
}
