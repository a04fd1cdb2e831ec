//! A server on a port of its own, the policy it enforces, and clients of it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick::{
    Allows, AuditLog, Channel, ChannelConfig, ConnectError, Context, Drained, Endpoint, Limits,
    PolicyFile, Psk, PublicKey, Reconnect, Server, ServerBuilder, ServerStatus,
    testing::test_identity,
};
use tokio::{sync::oneshot, task::JoinHandle, time};

use crate::probe::{Counting, GreeterServer, ProbeClient, ProbeServer, State};

/// Alice may do all, Bob may write one key, Mallory has a key and nothing else.
const ROWS: &str = "\
alice | probe | read | allow
alice | table/* | write | allow
alice | people/* | greet | allow
bob | table/bob | write | allow
";

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    endpoints: Vec<Endpoint>,
    pub(crate) server: PublicKey,
    pub(crate) audit: AuditLog,
    pub(crate) state: Arc<State>,
    pub(crate) status: ServerStatus,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Drained>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }

    pub(crate) async fn with_limits(limits: Limits) -> Self {
        Self::of(Server::builder(test_identity("server")).limits(limits)).await
    }

    pub(crate) async fn with_psk(psk: Psk) -> Self {
        Self::of(Server::builder(test_identity("server")).psk(psk)).await
    }

    pub(crate) async fn recording(allowed: Allows) -> Self {
        Self::of(Server::builder(test_identity("server")).audit_allowed(allowed)).await
    }

    async fn of(builder: ServerBuilder) -> Self {
        Self::at(&[Endpoint::tcp("127.0.0.1:0")], builder, &["alice", "bob", "mallory"]).await
    }

    /// A server of calls over UDP.
    pub(crate) async fn over_udp(limits: Limits, beside: Beside) -> Self {
        let udp = Endpoint::udp("127.0.0.1:0");
        let endpoints = match beside {
            Beside::Nothing => vec![udp],
            Beside::Tcp => vec![udp, Endpoint::tcp("127.0.0.1:0")],
        };
        let builder = Server::builder(test_identity("server")).limits(limits);
        Self::at(&endpoints, builder, &["alice", "bob", "mallory"]).await
    }

    /// The policy knows the keys of `known` alone.
    async fn at(endpoints: &[Endpoint], builder: ServerBuilder, known: &[&str]) -> Self {
        Self::under(policy(known), endpoints, builder).await
    }

    /// A server of the builder's counter too, to which Alice may do all.
    pub(crate) async fn counting(builder: ServerBuilder) -> Self {
        Self::counting_at(&[Endpoint::tcp("127.0.0.1:0")], builder, "allow").await
    }

    /// The same over UDP.
    pub(crate) async fn counting_over_udp(builder: ServerBuilder) -> Self {
        Self::counting_at(&[Endpoint::udp("127.0.0.1:0")], builder, "allow").await
    }

    /// The same where Alice may do nothing to the counter.
    pub(crate) async fn counting_for_nobody(builder: ServerBuilder) -> Self {
        Self::counting_at(&[Endpoint::tcp("127.0.0.1:0")], builder, "deny").await
    }

    /// A server of the builder's services too, whose health Alice may ask for.
    pub(crate) async fn watched(builder: ServerBuilder) -> Self {
        let rows = "alice | health | read | allow\nalice | health/* | read | allow\n";
        let policy = policy(&["alice", "bob", "mallory"]) + rows;
        Self::under(policy, &[Endpoint::tcp("127.0.0.1:0")], builder).await
    }

    async fn counting_at(endpoints: &[Endpoint], builder: ServerBuilder, alice: &str) -> Self {
        let row = format!("alice | counter | read,write | {alice}\n");
        Self::under(policy(&["alice", "bob", "mallory"]) + &row, endpoints, builder).await
    }

    async fn under(policy: String, endpoints: &[Endpoint], builder: ServerBuilder) -> Self {
        let (audit, state) = (AuditLog::memory(), State::new());
        let mut builder = builder
            .policy(PolicyFile::from_text("policy.acl", policy))
            .audit(audit.clone())
            .service(ProbeServer::new(Counting(Arc::clone(&state))))
            .service(GreeterServer::new(Counting(Arc::clone(&state))));
        for endpoint in endpoints {
            builder = builder.listen(endpoint.clone());
        }
        let bound = builder.bind().await.unwrap();
        let (addresses, server) = (bound.addresses().to_vec(), bound.identity());
        let status = bound.status();
        let bound_at = endpoints.iter().zip(&addresses).map(|(endpoint, address)| match endpoint {
            Endpoint::Udp(_) => Endpoint::udp(address.to_string()),
            _ => Endpoint::tcp(address.to_string()),
        });
        let endpoints = bound_at.collect();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(bound.serve_until(async {
            let _ = stopped.await;
        }));
        let address = addresses[0];
        Self { address, endpoints, server, audit, state, status, stop: Some(stop), serving }
    }

    /// Ends the server as a crash does: nobody is told anything.
    pub(crate) async fn kill(self) -> Dead {
        self.serving.abort();
        let _ = self.serving.await;
        Dead { endpoints: self.endpoints }
    }

    /// The server has ended in good order.
    pub(crate) async fn end(mut self) -> Dead {
        self.stop();
        let endpoints = self.endpoints.clone();
        assert_eq!(self.drained().await, Drained::Completely);
        Dead { endpoints }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoints[0].clone()
    }

    /// A client that calls as `name`.
    pub(crate) async fn client(&self, name: &str) -> ProbeClient {
        ProbeClient::new(self.channel(name, Limits::default()).await.unwrap())
    }

    /// A client whose calls end with its connection.
    pub(crate) async fn client_for_one_connection(&self, name: &str) -> ProbeClient {
        let config = ChannelConfig { reconnect: Reconnect::Never, ..ChannelConfig::default() };
        let (endpoint, identity) = (self.endpoint(), test_identity(name));
        let channel = Channel::connect_with(endpoint, self.server, identity, config).await;
        ProbeClient::new(channel.unwrap())
    }

    pub(crate) async fn channel(
        &self,
        name: &str,
        limits: Limits,
    ) -> Result<Channel, ConnectError> {
        let config = ChannelConfig { limits, ..ChannelConfig::default() };
        let identity = test_identity(name);
        Channel::connect_with(self.endpoint(), self.server, identity, config).await
    }

    /// Begins the drain; [`drained`](Self::drained) says how it ended.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn drained(self) -> Drained {
        self.serving.await.unwrap()
    }

    /// The records whose field `key` is `value`.
    pub(crate) fn records(&self, key: &str, value: &str) -> Vec<String> {
        let field = format!("\"{key}\":\"{value}\"");
        self.audit.lines().into_iter().filter(|line| line.contains(&field)).collect()
    }

    /// Waits until there is a record whose field `key` is `value`.
    pub(crate) async fn recorded(&self, key: &str, value: &str) {
        eventually(value, || !self.records(key, value).is_empty()).await;
    }
}

/// A server that was, and the ports it had.
pub(crate) struct Dead {
    endpoints: Vec<Endpoint>,
}

impl Dead {
    /// Another life at the same ports.
    pub(crate) async fn restart(self) -> World {
        self.restart_knowing(&["alice", "bob", "mallory"]).await
    }

    pub(crate) async fn restart_knowing(self, known: &[&str]) -> World {
        World::at(&self.endpoints, Server::builder(test_identity("server")), known).await
    }

    /// The same with the builder's counter.
    pub(crate) async fn restart_counting(self, builder: ServerBuilder) -> World {
        World::counting_at(&self.endpoints, builder, "allow").await
    }
}

/// What a server of UDP offers beside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beside {
    Nothing,
    Tcp,
}

fn policy(known: &[&str]) -> String {
    let all = ["alice", "bob", "mallory"].map(|name| {
        // A name in the rows must have a key, though it be nobody's.
        let key = if known.contains(&name) { name.to_owned() } else { format!("not {name}") };
        format!("principal {name} = {}\n", test_identity(&key).public_key())
    });
    all.concat() + ROWS
}

/// More time than any call here needs.
pub(crate) fn cx() -> Context {
    Context::within(Duration::from_secs(20))
}

/// Waits until `claim` holds.
pub(crate) async fn eventually(what: &str, claim: impl Fn() -> bool) {
    let begun = Instant::now();
    while !claim() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never came to this: {what}");
        time::sleep(Duration::from_millis(5)).await;
    }
}
