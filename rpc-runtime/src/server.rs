//! A server: services, a policy and an audit log behind one key and any number of ports.

use std::{
    convert::Infallible,
    fmt, future, io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bailiwick_acl::{
    Monitor, PolicyErrors,
    monitor::{Allows, Mode, ModeError},
    policy::{PolicyWarning, ServiceFacts},
};
use bailiwick_crypto::{Identity, Psk, PublicKey, RecordLimits, Transport, responder};
use miette::Diagnostic;
use tokio::{net::TcpListener, task::JoinSet, time};

use crate::{
    audit::{AuditError, AuditLog, CheckpointKey},
    clock,
    config::{LimitError, Limits},
    endpoint::Endpoint,
    metrics::{self, AuditFigures, PolicyLoads},
    net::{
        admission::Admission,
        dialer::{fresh_incarnation, params},
        drain, listener,
        orphans::Orphans,
        server_driver::Common,
        udp_server_driver::UdpServerDriver,
        udp_socket::{self, UdpSocket},
    },
    policy_file::{
        PolicyFile, Refusal, SignedPolicyError, facts,
        reload::{PolicyHandle, Reloader},
        watch,
    },
    proto::memories::Memories,
    router::{DuplicateMethod, Router},
    service::Service,
    status::ServerStatus,
};

/// A server that is ready to be asked: its ports are bound, its policy is in force.
pub struct Server {
    common: Arc<Common>,
    ports: Vec<Port>,
    addresses: Vec<SocketAddr>,
    warnings: Vec<PolicyWarning>,
    identity: PublicKey,
}

enum Port {
    Tcp(TcpListener),
    Udp(UdpSocket),
    #[cfg(feature = "simulation")]
    Accepting(crate::net::simulated_port::Accepting),
}

impl Port {
    async fn bind(endpoint: &Endpoint) -> io::Result<(Self, SocketAddr)> {
        Ok(match endpoint {
            Endpoint::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let address = listener.local_addr()?;
                (Self::Tcp(listener), address)
            }
            Endpoint::Udp(address) => {
                let socket = udp_socket::bind(address).await?;
                let address = socket.local_addr()?;
                (Self::Udp(socket), address)
            }
        })
    }
}

/// Collects what a server needs; see [`Server::builder`].
#[must_use = "a server serves once it is bound"]
pub struct ServerBuilder {
    identity: Identity,
    psk: Option<Psk>,
    policy: Option<PolicyFile>,
    shadow: Option<PolicyFile>,
    permissive: Vec<(String, SystemTime)>,
    audit: Option<AuditLog>,
    allowed: Allows,
    services: Vec<Box<dyn Service>>,
    endpoints: Vec<Endpoint>,
    /// Those that are not bound here.
    ports: Vec<Port>,
    limits: Limits,
}

impl Server {
    /// Begins a server that proves the key of `identity`. It needs a policy, an audit log, a
    /// service and an endpoint.
    pub fn builder(identity: Identity) -> ServerBuilder {
        ServerBuilder {
            identity,
            psk: None,
            policy: None,
            shadow: None,
            permissive: Vec::new(),
            audit: None,
            allowed: Allows::None,
            services: Vec::new(),
            endpoints: Vec::new(),
            ports: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// The addresses it listens at, in the order of the endpoints; with the port that the system
    /// chose where port 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The key that clients must know.
    #[must_use]
    pub fn identity(&self) -> PublicKey {
        self.identity
    }

    /// The key of the audit log's first checkpoint, for an operator to keep elsewhere; see
    /// [`AuditLog::anchor`]. None in memory.
    #[must_use]
    pub fn audit_anchor(&self) -> Option<CheckpointKey> {
        self.common.router.monitor.audit().anchor()
    }

    /// What is doubtful about the policy, though it is in force, and about its shadow.
    #[must_use]
    pub fn policy_warnings(&self) -> &[PolicyWarning] {
        &self.warnings
    }

    /// Whether it can be called, for probes; it can be asked for as long as somebody has it.
    #[must_use]
    pub fn status(&self) -> ServerStatus {
        self.common.router.status.clone()
    }

    /// Its policy: which revision is in force, and a way to have it read again. It can be kept while
    /// the server serves.
    #[must_use]
    pub fn policy_handle(&self) -> PolicyHandle {
        PolicyHandle(Arc::clone(&self.common.policy))
    }

    /// Serves until `shutdown` resolves, then drains: no new calls, those that run may end within
    /// [`Limits::drain_timeout`], also those whose connection has ended.
    pub async fn serve_until(self, shutdown: impl Future<Output = ()>) -> Drained {
        let (begin_drain, drain) = drain::drain();
        let router = &self.common.router;
        let admission = Admission::new(&router.limits);
        // Before the first second is over, somebody may look.
        metrics::audit(AuditFigures::of(router.monitor.audit()));
        let mut ports = JoinSet::new();
        for port in self.ports {
            let (common, drain) = (Arc::clone(&self.common), drain.clone());
            match port {
                Port::Tcp(listener) => {
                    ports.spawn(listener::serve(listener, common, admission.clone(), drain))
                }
                Port::Udp(socket) => ports.spawn(UdpServerDriver::new(socket, common, drain)),
                #[cfg(feature = "simulation")]
                Port::Accepting(serve) => ports.spawn(serve(common, admission.clone(), drain)),
            };
        }
        let mut attended = pin!(attend(&self.common));
        tokio::select! {
            () = shutdown => {}
            never = &mut attended => match never {},
        }
        router.status.drain();
        drop(begin_drain);
        let all_ended = async {
            while ports.join_next().await.is_some() {}
            self.common.orphans.all_ended().await;
        };
        // Calls run on: what they are refused goes on record, and who loses a right loses it now.
        let drained = tokio::select! {
            drained = time::timeout(router.limits.drain_timeout, all_ended) => drained,
            never = &mut attended => match never {},
        };
        ports.shutdown().await;
        router.monitor.tick();
        match drained {
            Ok(()) => Drained::Completely,
            Err(_) => Drained::CallsAborted,
        }
    }
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Each call that had begun was answered.
    Completely,
    /// The time for draining was over and connections were still open; their calls were dropped.
    CallsAborted,
}

/// What goes on while there are calls.
async fn attend(common: &Common) -> Infallible {
    tokio::select! {
        never = tick(common) => never,
        never = watch::follow(&common.policy) => never,
        never = follow_shadow(common) => never,
    }
}

/// What is only counted in the audit log is written out at least once a second, and clients whose
/// lease is over are forgotten.
async fn tick(common: &Common) -> Infallible {
    let mut every_second = time::interval(Duration::from_secs(1));
    loop {
        every_second.tick().await;
        common.router.monitor.tick();
        metrics::audit(AuditFigures::of(common.router.monitor.audit()));
        common.expire(clock::now());
    }
}

async fn follow_shadow(common: &Common) -> Infallible {
    match &common.shadow {
        Some(shadow) => watch::follow(shadow).await,
        None => future::pending().await,
    }
}

impl ServerBuilder {
    /// Who may do what. Without one a server does not start.
    pub fn policy(mut self, policy: PolicyFile) -> Self {
        self.policy = Some(policy);
        self
    }

    /// A policy that is judged beside the one in force, and changes no answer: where it would have
    /// answered otherwise is on record, with `"mode":"shadow"` and its own row, so that the next
    /// revision can be tried on real calls. It must load as the one in force must.
    pub fn shadow_policy(mut self, policy: PolicyFile) -> Self {
        self.shadow = Some(policy);
        self
    }

    /// Lets `principal` do until that time what no row speaks of, which is on record each time with
    /// `"mode":"permissive"`: to find out which rows it needs. Rows that deny count as ever. It ends by
    /// itself; a time that has passed changes nothing, and one more than
    /// [`MAX_PERMISSIVE`](crate::MAX_PERMISSIVE) ahead, or a name that the policy does not know, keeps
    /// the server from starting.
    pub fn permissive(mut self, principal: impl Into<String>, until: SystemTime) -> Self {
        self.permissive.push((principal.into(), until));
        self
    }

    /// Where refusals are recorded. Without one a server does not start.
    pub fn audit(mut self, audit: AuditLog) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Which allowed calls are recorded too, before they run; refused ones always are.
    /// Default: none, so that an allowed call waits for no file.
    pub fn audit_allowed(mut self, allowed: Allows) -> Self {
        self.allowed = allowed;
        self
    }

    /// Adds a service; any number share the ports.
    pub fn service(self, service: impl Service) -> Self {
        self.boxed_service(Box::new(service))
    }

    pub(crate) fn boxed_service(mut self, service: Box<dyn Service>) -> Self {
        self.services.push(service);
        self
    }

    /// Adds a port.
    pub fn listen(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Adds a port whose connections `accept` brings. For simulated networks. Nothing may be lost
    /// if what it returns is dropped before it is done.
    #[cfg(feature = "simulation")]
    #[doc(hidden)]
    pub fn listen_by<F, S>(mut self, accept: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<(S, SocketAddr)>> + Send + 'static,
        S: crate::net::simulated::Stream,
    {
        self.ports.push(Port::Accepting(crate::net::simulated_port::accepting(accept)));
        self
    }

    /// Replaces all limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A secret that each client is configured with too, mixed into the sessions' keys.
    pub fn psk(mut self, psk: Psk) -> Self {
        self.psk = Some(psk);
        self
    }

    /// Checks everything and binds the ports. While the disk of the audit log is busy this blocks its thread, for
    /// 10 s at most.
    ///
    /// # Errors
    ///
    /// [`ServeError`]: nothing is bound and nothing runs.
    pub async fn bind(mut self) -> Result<Server, ServeError> {
        let endpoints = std::mem::take(&mut self.endpoints);
        let mut ports = std::mem::take(&mut self.ports);
        if endpoints.is_empty() && ports.is_empty() {
            return Err(ServeError::NothingToListenAt);
        }
        let (mut addresses, mut tcp_port) = (Vec::new(), 0);
        for endpoint in endpoints {
            let bound = Port::bind(&endpoint).await;
            let (port, address) = bound.map_err(|source| ServeError::bind(&endpoint, source))?;
            if tcp_port == 0 && matches!(port, Port::Tcp(_)) {
                tcp_port = address.port();
            }
            addresses.push(address);
            ports.push(port);
        }
        let identity = self.identity.public_key();
        let (common, warnings) = self.into_common(tcp_port, SystemTime::now)?;
        Ok(Server { common: Arc::new(common), ports, addresses, warnings, identity })
    }

    /// Binds the ports and serves; see [`Server::serve_until`].
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub async fn serve_until(
        self,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Drained, ServeError> {
        Ok(self.bind().await?.serve_until(shutdown).await)
    }

    /// All but the ports. Clients are told the one for TCP; `clock` gives the audit its times.
    pub(crate) fn into_common(
        self,
        tcp_port: u16,
        clock: impl Fn() -> SystemTime + Send + Sync + 'static,
    ) -> Result<(Common, Vec<PolicyWarning>), ServeError> {
        self.limits.check()?;
        let descriptions: Vec<_> = self.services.iter().map(|it| it.description()).collect();
        if descriptions.is_empty() {
            return Err(ServeError::NoService);
        }
        let facts =
            descriptions.iter().map(|service| facts(service)).collect::<Result<Vec<_>, _>>();
        let facts = facts.map_err(ServeError::Template)?;
        let file = self.policy.ok_or(ServeError::NoPolicy)?;
        let loaded = file.load(&facts)?;
        let shadow = self.shadow.map(|file| file.load(&facts).map(|loaded| (file, loaded)));
        let shadow = shadow.transpose()?;
        let audit = self.audit.ok_or(ServeError::NoAudit)?;
        let redaction = audit.redaction();
        let mut monitor =
            Monitor::new(loaded.policy, audit.into_inner(), clock)?.recording(self.allowed);
        for (principal, until) in self.permissive {
            monitor = monitor.permissive(&principal, until)?;
        }
        let loads = PolicyLoads::new();
        loads.loaded(&monitor.policy());
        let (monitor, revisions) = (Arc::new(monitor), Arc::default());
        let reloader = |file: PolicyFile, mode, facts: Vec<ServiceFacts>| {
            let (monitor, revisions) = (Arc::clone(&monitor), Arc::clone(&revisions));
            let loads = loads.clone();
            Arc::new(Reloader::new(file.into_origin(), facts, monitor, revisions, mode, loads))
        };
        let mut warnings = loaded.warnings;
        let shadow = match shadow {
            Some((file, loaded)) => {
                warnings.extend(loaded.warnings);
                monitor.shadow(loaded.policy)?;
                Some(reloader(file, Mode::Shadow, facts.clone()))
            }
            None => None,
        };
        let policy = reloader(file, Mode::Enforce, facts);
        let handshake = responder::Config {
            transport: Transport::Tcp,
            params: params(&self.limits, fresh_incarnation()),
            identities: vec![(self.identity, self.psk)],
            records: RecordLimits::default(),
            proven: Arc::default(),
            spare: Arc::default(),
        };
        let memories = Memories::new(&self.limits);
        let router = Router::new(self.services, monitor, redaction, self.limits)?;
        let orphans = Orphans::default();
        let common =
            Common { router, handshake, memories, orphans, revisions, policy, shadow, tcp_port };
        Ok((common, warnings))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("identity", &self.identity)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.iter().map(|it| it.description().name).collect();
        f.debug_struct("ServerBuilder")
            .field("identity", &self.identity)
            .field("services", &services)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum ServeError {
    /// An address cannot be bound.
    #[error("cannot listen at {endpoint}")]
    Bind {
        /// What was asked for.
        endpoint: Endpoint,
        /// The operating system's error.
        #[source]
        source: io::Error,
        /// What to do about it.
        #[help]
        help: &'static str,
    },
    /// The policy has errors.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Policy(#[from] PolicyErrors),
    /// The policy is not signed as it must be.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Signature(#[from] SignedPolicyError),
    /// A principal cannot be permissive as was asked.
    #[error(transparent)]
    Mode(#[from] ModeError),
    /// No [`ServerBuilder::policy`].
    #[error("the server has no policy, so it would refuse every call")]
    #[diagnostic(help("give one: `.policy(PolicyFile::read(\"policy.acl\")?)`"))]
    NoPolicy,
    /// No [`ServerBuilder::audit`].
    #[error("the server has no audit log, and nothing runs unrecorded")]
    #[diagnostic(help("give one: `.audit(AuditLog::open(\"audit.jsonl\")?)`"))]
    NoAudit,
    /// No [`ServerBuilder::service`].
    #[error("the server has no service")]
    #[diagnostic(help("give one: `.service(TableServer::new(table))`"))]
    NoService,
    /// No [`ServerBuilder::listen`].
    #[error("the server has nothing to listen at")]
    #[diagnostic(help("give an endpoint: `.listen(Endpoint::tcp(\"127.0.0.1:7400\"))`"))]
    NothingToListenAt,
    /// The audit log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Two methods share an id.
    #[error(transparent)]
    DuplicateMethod(#[from] DuplicateMethod),
    /// A service that was not written by the macro describes an object that cannot be.
    #[error("a method's object is malformed")]
    Template(#[source] bailiwick_acl::policy::TemplateError),
    /// A limit is out of range.
    #[error(transparent)]
    Limits(#[from] LimitError),
}

impl From<Refusal> for ServeError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Signature(error) => Self::Signature(error),
            Refusal::Policy(errors) => Self::Policy(errors),
        }
    }
}

impl ServeError {
    fn bind(endpoint: &Endpoint, source: io::Error) -> Self {
        let help = match source.kind() {
            io::ErrorKind::AddrInUse => "another process has this port: stop it, or take another",
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege: take a higher one"
            }
            io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
            _ => "the address is `host:port`, such as 127.0.0.1:7400",
        };
        Self::Bind { endpoint: endpoint.clone(), source, help }
    }
}
