//! A service in memory for users' tests: the same handshake, policy and audit as over TCP.
//!
//! ```
//! use bailiwick::{CallError, Context, rpc_service};
//! use std::time::Duration;
//!
//! #[rpc_service]
//! trait Greeter {
//!     #[rpc(verb = "greet", object = "people/{name}", readonly)]
//!     async fn greet(&self, cx: &Context, name: String) -> Result<String, CallError>;
//! }
//!
//! struct Polite;
//!
//! impl Greeter for Polite {
//!     async fn greet(&self, _: &Context, name: String) -> Result<String, CallError> {
//!         Ok(format!("Good day, {name}."))
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let greeter = GreeterClient::in_memory(Polite)
//!     .policy("alice | people/* | greet | allow\nbob | people/alice | greet | allow");
//! let cx = Context::within(Duration::from_secs(1));
//!
//! let alice = greeter.as_principal("alice").await;
//! assert_eq!(alice.greet(&cx, "Bob".into()).await, Ok("Good day, Bob.".into()));
//!
//! let bob = greeter.as_principal("bob").await;
//! assert!(matches!(bob.greet(&cx, "Bob".into()).await, Err(CallError::Denied(_))));
//! assert!(greeter.audit().last().unwrap().contains(r#""object":"people/Bob""#));
//! # });
//! ```

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use bailiwick_crypto::Identity;

use crate::{
    audit::AuditLog,
    client::{Channel, ChannelConfig},
    config::Limits,
    endpoint::Endpoint,
    error::ConnectError,
    net::{
        drain::{self, BeginDrain, Drain},
        server_driver::{Common, ServerDriver},
    },
    policy_file::PolicyFile,
    server::{ServeError, Server},
    service::{Service, Stub},
};

/// How many bytes a pipe in memory holds, each way.
const PIPE: usize = 64 * 1024;

/// A service in memory and the clients `C` that can be had of it.
///
/// Until [`policy`](Self::policy) says otherwise every call is denied. In a policy without
/// `principal` lines each name that it mentions gets a key, made from the name.
pub struct InMemory<C> {
    service: Mutex<Option<Box<dyn Service>>>,
    policy: String,
    limits: Limits,
    audit: AuditLog,
    identity: Identity,
    running: tokio::sync::OnceCell<Running>,
    client: PhantomData<fn() -> C>,
}

struct Running {
    common: Arc<Common>,
    drain: Drain,
    /// Dropped with the rest: the connections then drain.
    _begin_drain: BeginDrain,
}

impl<C: Stub> InMemory<C> {
    /// A service that runs nowhere yet.
    pub fn new(service: impl Service) -> Self {
        Self {
            service: Mutex::new(Some(Box::new(service))),
            policy: String::new(),
            limits: Limits::default(),
            audit: AuditLog::memory(),
            identity: Identity::generate(&mut rand::rng()),
            running: tokio::sync::OnceCell::new(),
            client: PhantomData,
        }
    }

    /// The policy in force, as it would stand in the file.
    #[must_use]
    pub fn policy(mut self, text: &str) -> Self {
        text.clone_into(&mut self.policy);
        self
    }

    /// Replaces the limits of both sides.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A client that calls as the principal `name`. To be called within a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the policy has errors, does not name the principal, or binds it to a key of its own;
    /// the message has the policy's errors.
    pub async fn as_principal(&self, name: &str) -> C {
        match self.connect(test_identity(name)).await {
            Ok(channel) => C::from_channel(channel),
            Err(error) => panic!("cannot call as {name}: {:?}", miette::Report::new(error)),
        }
    }

    /// Connects with a key of one's own, which the policy may not know.
    ///
    /// # Errors
    ///
    /// [`ConnectError::AccessDenied`] if it does not.
    ///
    /// # Panics
    ///
    /// If the policy has errors.
    pub async fn connect(&self, identity: Identity) -> Result<Channel, ConnectError> {
        let running = self.running.get_or_init(async || self.start()).await;
        let (near, far) = tokio::io::duplex(PIPE);
        let common = Arc::clone(&running.common);
        let peer = "memory".to_owned();
        tokio::spawn(ServerDriver::new(far, peer, None, common, running.drain.clone()));
        let config = ChannelConfig { limits: self.limits.clone(), ..ChannelConfig::default() };
        Channel::over(near, Endpoint::tcp("memory"), self.identity.public_key(), identity, config)
            .await
    }

    /// The audit log's records so far, one JSON object each.
    #[must_use]
    pub fn audit(&self) -> Vec<String> {
        self.audit.lines()
    }

    fn start(&self) -> Running {
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        let service = service.take().expect("a service is started once");
        let policy = PolicyFile::from_text("policy", self.policy.clone());
        let policy = policy.with_made_keys(|name| test_identity(name).public_key());
        let built = policy.map_err(ServeError::from).and_then(|policy| {
            let builder = Server::builder(self.identity.clone())
                .policy(policy)
                .audit(self.audit.clone())
                .limits(self.limits.clone());
            builder.boxed_service(service).into_common(0, SystemTime::now)
        });
        let common = match built {
            Ok((common, _warnings)) => Arc::new(common),
            Err(error) => panic!("{:?}", miette::Report::new(error)),
        };
        let (begin_drain, drain) = drain::drain();
        Running { common, drain, _begin_drain: begin_drain }
    }
}

/// The identity that tests give to a principal: its seed is the name, repeated. Known to all, so
/// of no use outside tests.
#[must_use]
pub fn test_identity(name: &str) -> Identity {
    let mut seed = [b'/'; 32];
    for (byte, letter) in seed.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    Identity::from_seed(&seed)
}

impl<C> fmt::Debug for InMemory<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory").field("policy", &self.policy).finish_non_exhaustive()
    }
}
