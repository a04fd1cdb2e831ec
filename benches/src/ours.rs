//! Bailiwick as its users get it: a trait, keys, a policy, an audit file, and all defaults.
//!
//! Both sides prove their keys, every record is encrypted, every call is held against the policy
//! (which is asked the same each time, and whose answer is remembered), and the method is at most once. Limits are the defaults but where a row goes beyond them.

use std::{
    fs,
    future::pending,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bailiwick::{
    AuditError, AuditLog, Bytes, CallError, Channel, ChannelConfig, ConnectError, Context,
    Endpoint, Identity, LimitError, Limits, PolicyFile, PolicyFileError, PublicKey, ServeError,
    Server, ServerBuilder, key_file, key_file::KeyFileError, rpc_service,
};
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::peer::{Caller, Peer, PeerError};

/// tarpc's default, so that both keep a timer of the same length for each call.
const DEADLINE: Duration = Duration::from_secs(10);

/// As long as `Limits::busy_poll` says is worth it.
const BUSY_POLL: Duration = Duration::from_micros(50);

/// Who calls. The policy's rows before and behind this principal's are those of others.
const CALLER: &str = "bench";

/// The policy but for the keys: ten rows, of which two concern the caller.
const ROWS: &str = "\
acl 1
group @operators = olga, omar
group @probes = bench, paul, petra

olga       | ** | * | allow
omar       | echo | call | allow
amir       | echo | call | allow
beth       | echo | call | allow
carol      | echo | call | deny
dthain     | echo | call | allow
@operators | echo | call | allow
@probes    | echo | call | allow
erik       | echo | call | allow
mallory    | ** | * | deny

expect allow bench call echo
expect deny mallory call echo
";

/// Everybody the rows name.
const PRINCIPALS: [&str; 11] =
    [CALLER, "olga", "omar", "paul", "petra", "amir", "beth", "carol", "dthain", "erik", "mallory"];

#[rpc_service]
pub(crate) trait Echo {
    #[rpc(verb = "call", object = "echo")]
    async fn echo(&self, cx: &Context, payload: Bytes) -> Result<Bytes, CallError>;
}

struct Echoing;

impl Echo for Echoing {
    async fn echo(&self, _: &Context, payload: Bytes) -> Result<Bytes, CallError> {
        Ok(payload)
    }
}

/// What a row asks for beyond the defaults. All of these bounds cost nothing unless they are reached.
fn limits(busy_poll: Duration) -> Limits {
    Limits {
        busy_poll,
        // 1 MiB and what is around it; 64 KiB over UDP and what is around it.
        max_frame: 2 << 20,
        max_message_udp: 128 << 10,
        // Eight calls of 1 MiB.
        max_unsent: 16 << 20,
        max_kept_answers: 16 << 20,
        // All clients are on this machine.
        max_connections_per_source: 16_384,
        // Thousands of handshakes a second by one key, each remembered for the lease of a minute.
        max_clients: 1 << 20,
        ..Limits::default()
    }
}

/// Bailiwick over one of its transports.
pub(crate) struct Bailiwick {
    /// The endpoint at `host:port`.
    endpoint: fn(String) -> Endpoint,
    /// How long both sides look for more before they sleep.
    busy_poll: Duration,
    /// Whether clients connect with their first call, or wait until they are let in.
    lazily: bool,
    /// The client's keys, read once.
    keys: OnceCell<Keys>,
}

struct Keys {
    server: PublicKey,
    caller: Identity,
}

impl Bailiwick {
    /// Bailiwick over TCP.
    pub(crate) fn tcp() -> Self {
        Self {
            endpoint: Endpoint::tcp,
            busy_poll: Duration::ZERO,
            lazily: true,
            keys: OnceCell::new(),
        }
    }

    /// Bailiwick over TCP, whose clients make sure that they are let in before they call.
    pub(crate) fn connecting() -> Self {
        Self { lazily: false, ..Self::tcp() }
    }

    /// Bailiwick over TCP where each side has a processor to spare.
    pub(crate) fn busy() -> Self {
        Self { busy_poll: BUSY_POLL, ..Self::tcp() }
    }

    /// Bailiwick over UDP. Over it no call leaves before the server has let the client in, and loss is put on
    /// a socket that is there.
    pub(crate) fn udp() -> Self {
        Self { endpoint: Endpoint::udp, ..Self::connecting() }
    }
}

impl Bailiwick {
    /// Serves with what `more` adds to the server.
    pub(crate) async fn serve_with(
        &self,
        site: &Path,
        more: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Result<SocketAddr, PeerError> {
        let endpoint = (self.endpoint)("127.0.0.1:0".to_owned());
        let server =
            builder(&Files::in_folder(site), endpoint, self.busy_poll).map_err(Box::new)?;
        let server = more(server).bind().await.map_err(SetupError::from).map_err(Box::new)?;
        let address = server.addresses().first().copied().ok_or(PeerError::Closed)?;
        tokio::spawn(server.serve_until(pending()));
        Ok(address)
    }
}

impl Peer for Bailiwick {
    type Caller = EchoClient;

    async fn serve(&self, site: &Path) -> Result<SocketAddr, PeerError> {
        self.serve_with(site, |server| server).await
    }

    async fn connect(&self, site: &Path, address: SocketAddr) -> Result<EchoClient, PeerError> {
        let read = async || Files::in_folder(site).keys();
        let keys = self.keys.get_or_try_init(read).await.map_err(Box::new)?;
        let endpoint = (self.endpoint)(address.to_string());
        let channel = dial(keys, endpoint, self.busy_poll, self.lazily).await;
        Ok(EchoClient::new(channel.map_err(Box::new)?))
    }
}

impl Caller for EchoClient {
    async fn echo(&self, payload: &Bytes) -> Result<Bytes, PeerError> {
        Ok(Echo::echo(self, &Context::within(DEADLINE), payload.clone()).await?)
    }
}

/// What server and clients of one run share.
struct Files {
    server: PathBuf,
    caller: PathBuf,
    policy: PathBuf,
    audit: PathBuf,
}

impl Files {
    fn in_folder(site: &Path) -> Self {
        Self {
            server: site.join("server.key"),
            caller: site.join("caller.key"),
            policy: site.join("policy.acl"),
            audit: site.join("audit.jsonl"),
        }
    }

    /// Makes all of them but the audit file, which the server makes.
    fn create(&self) -> Result<(), SetupError> {
        let generate = || Identity::generate(&mut rand::rng());
        let caller = generate();
        key_file::create(&self.server, &generate(), "", None)?;
        key_file::create(&self.caller, &caller, "", None)?;
        let mut policy = ROWS.to_owned();
        for name in PRINCIPALS {
            let key = if name == CALLER { caller.public_key() } else { generate().public_key() };
            policy += &format!("principal {name} = {key}\n");
        }
        Ok(fs::write(&self.policy, policy)?)
    }

    /// A user has the server's public key from its operator; here both are one.
    fn keys(&self) -> Result<Keys, SetupError> {
        let server = Identity::read(&self.server)?.public_key();
        Ok(Keys { server, caller: Identity::read(&self.caller)? })
    }
}

fn builder(
    files: &Files,
    endpoint: Endpoint,
    busy_poll: Duration,
) -> Result<ServerBuilder, SetupError> {
    files.create()?;
    Ok(Server::builder(Identity::read(&files.server)?)
        .policy(PolicyFile::read(&files.policy)?)
        .audit(AuditLog::open(&files.audit)?)
        .service(EchoServer::new(Echoing))
        .limits(limits(busy_poll))
        .listen(endpoint))
}

async fn dial(
    keys: &Keys,
    endpoint: Endpoint,
    busy_poll: Duration,
    lazily: bool,
) -> Result<Channel, SetupError> {
    let config = ChannelConfig { limits: limits(busy_poll), ..ChannelConfig::default() };
    let caller = keys.caller.clone();
    Ok(if lazily {
        Channel::connect_lazy_with(endpoint, keys.server, caller, config)?
    } else {
        Channel::connect_with(endpoint, keys.server, caller, config).await?
    })
}

/// Why our server did not start, or our client did not connect.
#[derive(Debug, Error)]
pub(crate) enum SetupError {
    /// The site's folder cannot be written.
    #[error("the policy cannot be written")]
    Write(#[from] io::Error),
    /// A key file cannot be made or read.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The policy cannot be read.
    #[error(transparent)]
    PolicyFile(#[from] PolicyFileError),
    /// The audit file cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The server refused to start, for example because of the policy.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A limit is out of range.
    #[error(transparent)]
    Limits(#[from] LimitError),
    /// The client was not let in.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn our_echo_answers_its_caller_and_admits_no_stranger() {
        let site = tempfile::tempdir().unwrap();
        let address = Bailiwick::tcp().serve(site.path()).await.unwrap();
        let caller = Bailiwick::tcp().connect(site.path(), address).await.unwrap();
        for length in [64, 1 << 20] {
            let payload = Bytes::from(vec![5; length]);
            assert_eq!(Caller::echo(&caller, &payload).await.unwrap(), payload);
        }

        let keys = Files::in_folder(site.path()).keys().unwrap();
        // Somebody whose key is in no policy.
        let stranger = Keys { caller: Identity::generate(&mut rand::rng()), ..keys };
        let endpoint = Endpoint::tcp(address.to_string());
        let refused = dial(&stranger, endpoint, Duration::ZERO, false).await.unwrap_err();
        assert!(matches!(refused, SetupError::Connect(ConnectError::AccessDenied { .. })));
    }

    #[tokio::test]
    async fn ours_over_udp_takes_64_kib() {
        let site = tempfile::tempdir().unwrap();
        let address = Bailiwick::udp().serve(site.path()).await.unwrap();
        let caller = Bailiwick::udp().connect(site.path(), address).await.unwrap();
        let payload = Bytes::from(vec![5; 64 << 10]);
        assert_eq!(Caller::echo(&caller, &payload).await.unwrap(), payload);
    }

    #[tokio::test]
    async fn the_policy_is_in_force_without_a_warning() {
        let site = tempfile::tempdir().unwrap();
        let files = Files::in_folder(site.path());
        let server = builder(&files, Endpoint::tcp("127.0.0.1:0".to_owned()), Duration::ZERO);
        let server = server.unwrap().bind().await.unwrap();
        assert_eq!(server.policy_warnings().len(), 0, "{:?}", server.policy_warnings());
    }
}
