//! Bailiwick as its users get it: a trait, keys, a policy, an audit file, and all defaults.
//!
//! Both sides prove their keys, every record is encrypted, every call is judged by the policy, and
//! the method is at most once. The limits are the defaults, too.

use std::{
    fs,
    future::pending,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bailiwick::{
    AuditError, AuditLog, Bytes, CallError, Channel, ConnectError, Context, Endpoint, Identity,
    PolicyFile, PolicyFileError, ServeError, Server, key_file, key_file::KeyFileError, rpc_service,
};
use thiserror::Error;

use crate::peer::{Caller, Peer, PeerError};

/// tarpc's default, so that both keep a timer of the same length for each call.
const DEADLINE: Duration = Duration::from_secs(10);

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

/// Bailiwick over one of its transports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bailiwick {
    /// The endpoint at `host:port`.
    endpoint: fn(String) -> Endpoint,
}

impl Bailiwick {
    /// Bailiwick over TCP.
    pub(crate) const TCP: Self = Self { endpoint: Endpoint::tcp };

    /// Bailiwick over UDP.
    pub(crate) const UDP: Self = Self { endpoint: Endpoint::udp };
}

impl Bailiwick {
    fn at(self, address: impl Into<String>) -> Endpoint {
        (self.endpoint)(address.into())
    }
}

impl Peer for Bailiwick {
    type Caller = EchoClient;

    async fn serve(&self, site: &Path) -> Result<SocketAddr, PeerError> {
        let files = Files::in_folder(site);
        let server = bind(&files, self.at("127.0.0.1:0")).await.map_err(Box::new)?;
        let address = server.addresses().first().copied().ok_or(PeerError::Closed)?;
        tokio::spawn(server.serve_until(pending()));
        Ok(address)
    }

    async fn connect(&self, site: &Path, address: SocketAddr) -> Result<EchoClient, PeerError> {
        let files = Files::in_folder(site);
        let channel = dial(&files, self.at(address.to_string())).await.map_err(Box::new)?;
        Ok(EchoClient::new(channel))
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
}

async fn bind(files: &Files, endpoint: Endpoint) -> Result<Server, SetupError> {
    files.create()?;
    let server = Server::builder(Identity::read(&files.server)?)
        .policy(PolicyFile::read(&files.policy)?)
        .audit(AuditLog::open(&files.audit)?)
        .service(EchoServer::new(Echoing))
        .listen(endpoint);
    Ok(server.bind().await?)
}

async fn dial(files: &Files, endpoint: Endpoint) -> Result<Channel, SetupError> {
    // A user has the server's public key from its operator; here both are one.
    let server = Identity::read(&files.server)?.public_key();
    let caller = Identity::read(&files.caller)?;
    Ok(Channel::connect(endpoint, server, caller).await?)
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
        let address = Bailiwick::TCP.serve(site.path()).await.unwrap();
        let caller = Bailiwick::TCP.connect(site.path(), address).await.unwrap();
        let payload = Bytes::from(vec![5; 64]);
        assert_eq!(Caller::echo(&caller, &payload).await.unwrap(), payload);

        // Somebody whose key is in no policy.
        let files = Files::in_folder(site.path());
        fs::remove_file(&files.caller).unwrap();
        let stranger = Identity::generate(&mut rand::rng());
        key_file::create(&files.caller, &stranger, "", None).unwrap();
        let refused = dial(&files, Bailiwick::TCP.at(address.to_string())).await.unwrap_err();
        assert!(matches!(refused, SetupError::Connect(ConnectError::AccessDenied { .. })));
    }

    #[tokio::test]
    async fn the_policy_is_in_force_without_a_warning() {
        let site = tempfile::tempdir().unwrap();
        let server =
            bind(&Files::in_folder(site.path()), Bailiwick::TCP.at("127.0.0.1:0")).await.unwrap();
        assert_eq!(server.policy_warnings().len(), 0, "{:?}", server.policy_warnings());
    }
}
