//! The server of the sweep: a few places, each taken for some milliseconds by a call.

use std::{
    future::pending,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bailiwick::{
    AuditLog, CallError, Channel, ChannelConfig, ConnectError, Context, Endpoint, Limits,
    PolicyFile, ServeError, Server, rpc_service, testing::test_identity,
};
use clap::ValueEnum;
use serde::Serialize;
use thiserror::Error;
use tokio::{sync::Semaphore, time};

use crate::process::{self, ProcessError};

/// What there is too little of, and how long a call has it.
pub(super) const PLACES: usize = 8;
const TAKES: Duration = Duration::from_millis(4);

/// Keys that call, each over a connection of its own.
pub(super) const CLIENTS: usize = 16;

/// Whether the server bounds what it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protection {
    /// As many handlers at work as there are places; all else as by default.
    On,
    /// The control: each call begins at once.
    Off,
}

impl Protection {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }

    fn limits(self) -> Limits {
        let max_concurrent_calls = match self {
            // One is the reserve's.
            Self::On => PLACES + 1,
            Self::Off => usize::MAX,
        };
        Limits { max_concurrent_calls, ..Limits::default() }
    }
}

#[rpc_service(verb = "use", object = "quarry")]
pub(super) trait Cutting {
    /// At most once.
    async fn cut(&self, cx: &Context) -> Result<(), CallError>;
}

struct Places(Arc<Semaphore>);

impl Cutting for Places {
    async fn cut(&self, _: &Context) -> Result<(), CallError> {
        let places = Arc::clone(&self.0);
        let place = places.acquire_owned().await.map_err(|_| CallError::Internal)?;
        // It goes on when nobody waits for it any more.
        let work = tokio::spawn(async move {
            time::sleep(TAKES).await;
            drop(place);
        });
        work.await.map_err(|_| CallError::Internal)
    }
}

/// Why the server did not start.
#[derive(Debug, Error)]
pub(crate) enum QuarryError {
    /// It refused to.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Its input or output is not what it should be.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It could not be prepared.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It listens nowhere.
    #[error("the server of the sweep listens nowhere")]
    Nowhere,
}

/// Serves until nobody listens; the hidden command.
///
/// # Errors
///
/// [`QuarryError`].
pub(crate) fn serve(protection: Protection) -> Result<(), QuarryError> {
    process::pin(process::SERVER_CPU)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut policy = String::from("group @all = ");
    policy += &names().collect::<Vec<_>>().join(", ");
    for name in names() {
        policy += &format!("\nprincipal {name} = {}", test_identity(&name).public_key());
    }
    policy += "\n\n@all | quarry | use | allow\n";
    let address = runtime.block_on(async {
        let server = Server::builder(test_identity("server"))
            .policy(PolicyFile::from_text("policy", policy))
            .audit(AuditLog::memory())
            .service(CuttingServer::new(Places(Arc::new(Semaphore::new(PLACES)))))
            .limits(protection.limits())
            .listen(Endpoint::tcp("127.0.0.1:0"))
            .bind()
            .await?;
        let address = server.addresses().first().copied().ok_or(QuarryError::Nowhere)?;
        tokio::spawn(server.serve_until(pending()));
        Ok::<_, QuarryError>(address)
    })?;
    println!("{}", process::ready_line(address));
    // Whoever started us closes our stdin, by design or by ending.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn names() -> impl Iterator<Item = String> {
    (0..CLIENTS).map(|number| format!("client{number}"))
}

/// A channel for each key.
pub(super) async fn connect(address: SocketAddr) -> Result<Vec<CuttingClient>, ConnectError> {
    let mut clients = Vec::new();
    for name in names() {
        let (server, identity) = (test_identity("server").public_key(), test_identity(&name));
        let (endpoint, config) = (Endpoint::tcp(address.to_string()), ChannelConfig::default());
        let channel = Channel::connect_with(endpoint, server, identity, config).await?;
        clients.push(CuttingClient::new(channel));
    }
    Ok(clients)
}

/// A server as a process of its own, which ends with this.
#[derive(Debug)]
pub(crate) struct Quarry {
    pub(super) address: SocketAddr,
    pub(super) pid: u32,
    child: Child,
}

impl Quarry {
    pub(super) fn start(protection: Protection) -> Result<Self, ProcessError> {
        let what = || "the server of the sweep".to_owned();
        let failed = |source| ProcessError::Child { what: what(), source };
        let mut child = Command::new(process::this_binary()?)
            .args(["overload-serve", "--protection", protection.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        let mut words = line.split_whitespace().skip(1);
        let mut next = || words.next().ok_or_else(|| ProcessError::Ended { what: what() });
        let (address, pid) = (next()?.parse(), next()?.parse());
        match (address, pid) {
            (Ok(address), Ok(pid)) => Ok(Self { address, pid, child }),
            _ => Err(ProcessError::Ended { what: what() }),
        }
    }

    pub(super) fn stop(mut self) -> Result<(), ProcessError> {
        self.end().map_err(|source| ProcessError::Child {
            what: "the end of the sweep's server".to_owned(),
            source,
        })
    }

    fn end(&mut self) -> io::Result<()> {
        drop(self.child.stdin.take());
        self.child.wait().map(drop)
    }
}

impl Drop for Quarry {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("the sweep's server may still run as process {}: {error}", self.pid);
        }
    }
}
