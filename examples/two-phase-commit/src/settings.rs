//! What a node is told: by its options, or by a file of settings.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bailiwick::{
    AuditLog, Endpoint, Identity, Limits, PolicyFile, Server, ServerBuilder,
    server_file::{Section, ServerFile, Setting, Unfit, Value},
};
use miette::miette;
use tracing_subscriber::filter::LevelFilter;
use two_phase_commit::{message, txid::NodeId};

use crate::{
    args::NodeArgs,
    exit::{Exit, Failure},
    serve::{refused, refused_with_help},
};

/// How long calls that run may take when a node that has no file of settings is asked to end. What
/// is not over then goes on at the next start.
const DRAIN: Duration = Duration::from_secs(1);

/// Handshakes under way from one address, without a file of settings: a bank on one machine has all its
/// clients there.
const MAX_HALF_OPEN: usize = 512;

/// What a node needs to know.
pub(crate) struct Settings {
    pub(crate) me: message::Address,
    pub(crate) data: PathBuf,
    pub(crate) nodes: PathBuf,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) log: LevelFilter,
    pub(crate) salvage: bool,
    start: Start,
}

/// Which of the nodes it is to be.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    Coordinator,
    /// By the name that was given as an option.
    Participant(Option<NodeId>),
}

/// The files that its server needs before it can be built.
enum Start {
    Options {
        /// None to listen where the file of nodes says.
        listen: Vec<Endpoint>,
        identity: PathBuf,
        policy: PathBuf,
        principals: Option<PathBuf>,
        audit: PathBuf,
    },
    File(Box<ServerFile>),
}

/// `[two-phase-commit]`, by the names of the options that it replaces.
#[derive(Default)]
struct NodeSettings {
    /// A participant's.
    name: Option<Name>,
    data: Option<PathBuf>,
    nodes: Option<PathBuf>,
    metrics: Option<SocketAddr>,
    log: Option<LevelFilter>,
}

impl Settings {
    /// Reads the file, if one was given.
    ///
    /// # Errors
    ///
    /// It cannot be read or used.
    pub(crate) fn of(args: NodeArgs, role: Role) -> Result<Self, Failure> {
        if let Some(path) = &args.config {
            return Self::read(path, &args, role);
        }
        let me = match role {
            Role::Coordinator => Some(message::Address::Coordinator),
            Role::Participant(name) => name.map(message::Address::Participant),
        };
        let given = (me, args.data, args.nodes, args.identity, args.policy, args.audit);
        let (Some(me), Some(data), Some(nodes), Some(identity), Some(policy), Some(audit)) = given
        else {
            return Err(incomplete());
        };
        let (listen, principals) = (args.listen, args.principals);
        let start = Start::Options { listen, identity, policy, principals, audit };
        let NodeArgs { metrics, log, salvage, .. } = args;
        Ok(Self { me, data, nodes, metrics, log, salvage, start })
    }

    fn read(path: &Path, args: &NodeArgs, role: Role) -> Result<Self, Failure> {
        let mut own = NodeSettings::default();
        let file = ServerFile::read_with(path, |root| own = NodeSettings::of(root, role));
        let file = file.map_err(refused_with_help)?;
        let me = match (role, own.name) {
            (Role::Coordinator, _) => Some(message::Address::Coordinator),
            (Role::Participant(_), name) => name.map(|Name(id)| message::Address::Participant(id)),
        };
        let (Some(me), Some(data), Some(nodes)) = (me, own.data, own.nodes) else {
            return Err(incomplete());
        };
        Ok(Self {
            me,
            data,
            nodes,
            metrics: own.metrics,
            log: own.log.unwrap_or(args.log),
            salvage: args.salvage,
            start: Start::File(Box::new(file)),
        })
    }

    /// The node's key, and what names the file that has it.
    ///
    /// # Errors
    ///
    /// The file cannot be used.
    pub(crate) fn identity(&self) -> Result<(Identity, &Path), Failure> {
        match &self.start {
            Start::Options { identity, .. } => {
                Ok((Identity::read(identity).map_err(refused)?, identity))
            }
            Start::File(file) => {
                Ok((file.read_identity().map_err(refused_with_help)?, &file.identity))
            }
        }
    }

    /// Where to listen; `expected` is where others call.
    pub(crate) fn listen(&self, expected: &Endpoint) -> Vec<Endpoint> {
        match &self.start {
            Start::Options { listen, .. } if listen.is_empty() => vec![expected.clone()],
            Start::Options { listen, .. } => listen.clone(),
            Start::File(file) => file.listen.clone(),
        }
    }

    /// A server with this key, which [`identity`](Self::identity) gave. Reads every other file; a node with
    /// anything wrong refuses to start.
    ///
    /// # Errors
    ///
    /// The first file that cannot be used.
    pub(crate) fn builder(
        &self,
        identity: Identity,
        expected: &Endpoint,
    ) -> Result<ServerBuilder, Failure> {
        let (policy, principals, audit) = match &self.start {
            Start::File(file) => return file.builder_as(identity).map_err(refused_with_help),
            Start::Options { policy, principals, audit, .. } => (policy, principals, audit),
        };
        let mut policy = PolicyFile::watch(policy).map_err(refused_with_help)?;
        if let Some(principals) = principals {
            policy = policy.with_principals(principals).map_err(refused_with_help)?;
        }
        let audit = AuditLog::open(audit).map_err(refused)?;
        let limits = Limits {
            drain_timeout: DRAIN,
            max_half_open_per_source: MAX_HALF_OPEN,
            ..Limits::default()
        };
        let server = Server::builder(identity).policy(policy).audit(audit).limits(limits);
        Ok(self.listen(expected).into_iter().fold(server, ServerBuilder::listen))
    }
}

/// Neither the command line nor a file is taken without what a node needs.
fn incomplete() -> Failure {
    Failure::new(Exit::Usage, miette!("give --config, or all the options that it stands for"))
}

impl NodeSettings {
    fn of(root: &mut Section<'_>, role: Role) -> Self {
        let mut section = root.section("two-phase-commit");
        let settings = Self {
            name: match role {
                Role::Coordinator => None,
                Role::Participant(_) => section.require("name"),
            },
            data: section.require("data"),
            nodes: section.require("nodes"),
            metrics: section.get("metrics"),
            log: section.get("log"),
        };
        section.finish();
        settings
    }
}

/// A participant's name.
struct Name(NodeId);

impl Setting for Name {
    const EXPECTED: &'static str = "a participant's name in quotes, such as \"p1\"";

    fn read(value: &Value<'_>, _: &Path) -> Result<Self, Unfit> {
        let text = value.text()?;
        let id = text.parse().map_err(|_| Unfit::Value(format!("`{text}` is no participant")))?;
        Ok(Self(id))
    }
}
