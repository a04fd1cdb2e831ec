//! What the children of a comparison do: serve, call, offer calls, hold connections open.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, spawn_blocking},
};

use crate::{
    AnyError, compare,
    growth::{Grown, Shape, crowded::Crowded},
    idle,
    load::{self, Progress, closed::Callers, handshakes, open},
    loss,
    ours::Bailiwick,
    peer::{Caller, Flavor, Peer, System},
    peers::{
        capnp::Capnp,
        floor::{Floor, Flush},
        ping_pong::PingPong,
        quinn::Quinn,
        tarpc::{Tarpc, TarpcTls},
        tonic::{Ciphers, Tonic},
        udp_floor::UdpFloor,
    },
    policy, process,
    workload::Workload,
};

/// Descriptors for the idle connections and everything else a process has open.
const DESCRIPTORS: u64 = 12_000;

/// Which system, and the folder that its server and its clients share.
#[derive(Debug, Args)]
pub(crate) struct Site {
    pub(crate) system: System,
    #[arg(long)]
    site: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) site: Site,
    /// The share of datagrams that come to this process and are to be lost.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
}

/// A server to call, and for how long.
#[derive(Debug, Args)]
struct Target {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long, value_parser = compare::seconds)]
    warm_up: Duration,
    #[arg(long, value_parser = compare::seconds)]
    window: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) site: Site,
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    workload: Workload,
    #[arg(long)]
    server_pid: u32,
}

/// As [`Load`], shaped freely.
#[derive(Debug, Args)]
pub(crate) struct Grow {
    #[command(flatten)]
    pub(crate) site: Site,
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    connections: u32,
    #[arg(long)]
    outstanding: u32,
    #[arg(long)]
    payload: usize,
    #[arg(long)]
    server_pid: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Offer {
    #[command(flatten)]
    pub(crate) site: Site,
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    per_second: f64,
}

#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[command(flatten)]
    pub(crate) site: Site,
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    connections: u32,
}

/// What a child process does, whichever the system.
pub(crate) trait Role {
    /// Does it, and prints the result for the parent to read.
    fn play<P: Peer>(self, peer: P) -> Result<(), AnyError>;
}

/// The one place that knows which type stands for which system.
pub(crate) fn on(system: System, role: impl Role) -> Result<(), AnyError> {
    match system {
        System::FloorAfterYield => role.play(Floor { flush: Flush::AfterYield, is_sealed: false }),
        System::FloorAtOnce => role.play(Floor { flush: Flush::AtOnce, is_sealed: false }),
        System::FloorSealed => role.play(Floor { flush: Flush::AfterYield, is_sealed: true }),
        System::Tarpc => role.play(Tarpc),
        System::TarpcTls => role.play(TarpcTls::default()),
        System::Tonic => role.play(Tonic::plain()),
        System::TonicTls => role.play(Tonic::tls(Ciphers::Default)),
        System::TonicTlsChacha => role.play(Tonic::tls(Ciphers::ChaCha20Poly1305)),
        System::Capnp => role.play(Capnp),
        System::Bailiwick => role.play(Bailiwick::tcp()),
        System::BailiwickConnect => role.play(Bailiwick::connecting()),
        System::BailiwickBusy => role.play(Bailiwick::busy()),
        System::UdpFloor => role.play(UdpFloor),
        System::UdpPingPong => role.play(PingPong),
        System::Quinn => role.play(Quinn::default()),
        System::BailiwickUdp => role.play(Bailiwick::udp()),
        System::BailiwickDocuments => role.play(policy::Documented),
        System::BailiwickCrowded => role.play(Crowded::new()),
    }
}

impl Role for Serve {
    fn play<P: Peer>(self, peer: P) -> Result<(), AnyError> {
        process::pin(process::SERVER_CPU)?;
        process::allow_descriptors(DESCRIPTORS)?;
        let runtime = one_worker::<P>()?;
        let address = run(&runtime, async move {
            let address = peer.serve(&self.site.site).await?;
            if self.loss > 0.0 {
                loss::lose(self.loss)?;
            }
            Ok::<_, AnyError>(address)
        })??;
        println!("{}", process::ready_line(address));
        // Whoever started us closes our stdin, by design or by ending.
        run(&runtime, async {
            spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await
        })???;
        Ok(())
    }
}

impl Role for Load {
    fn play<P: Peer>(self, peer: P) -> Result<(), AnyError> {
        process::pin(process::CLIENT_CPU)?;
        process::allow_descriptors(DESCRIPTORS)?;
        let sample = run(&one_worker::<P>()?, async move {
            let plan = load::Plan {
                warm_up: self.target.warm_up,
                window: self.target.window,
                server: self.server_pid,
            };
            let progress = Arc::<Progress>::default();
            let tasks = self.callers(peer, &progress).await?;
            Ok::<_, AnyError>(load::run(tasks, progress, plan).await?)
        })??;
        println!("{}", serde_json::to_string(&sample)?);
        Ok(())
    }
}

impl Load {
    /// The tasks that call, on connections that are open already unless the workload opens them.
    async fn callers<P: Peer>(
        &self,
        peer: P,
        progress: &Arc<Progress>,
    ) -> Result<JoinSet<load::Ended>, AnyError> {
        let (workload, place) = (self.workload, (&*self.site.site, self.target.address));
        if workload.is_handshake() {
            return Ok(handshakes::spawn(peer, place, workload, progress));
        }
        let mut connections = Vec::new();
        for number in 0..workload.connections() {
            connections.push(idle::open(&peer, place.0, place.1, number).await?);
        }
        // When the sockets are open, so that there is something to lose from.
        if workload.loss() > 0.0 {
            loss::lose(workload.loss())?;
        }
        let mut tasks = JoinSet::new();
        for (connection, number) in connections.into_iter().zip(0..) {
            connection.keep_calling(Callers::of(workload, number, progress), &mut tasks);
        }
        Ok(tasks)
    }
}

impl Role for Grow {
    fn play<P: Peer>(self, peer: P) -> Result<(), AnyError> {
        process::pin(process::CLIENT_CPU)?;
        process::allow_descriptors(DESCRIPTORS)?;
        let (connections, outstanding, payload) =
            (self.connections, self.outstanding, self.payload);
        let shape = Shape { connections, outstanding, payload };
        let grown = run(&one_worker::<P>()?, async move {
            let Target { address, warm_up, window } = self.target;
            let progress = Arc::<Progress>::default();
            let mut open = Vec::new();
            for number in 0..shape.connections {
                open.push(idle::open(&peer, &self.site.site, address, number).await?);
            }
            let held = open.clone();
            let mut tasks = JoinSet::new();
            for (connection, number) in open.into_iter().zip(0..) {
                connection.keep_calling(Callers::shaped(shape, number, &progress), &mut tasks);
            }
            let plan = load::Plan { warm_up, window, server: self.server_pid };
            let sample = load::run(tasks, progress, plan).await?;
            let server_bytes = process::resident_bytes(self.server_pid)?;
            drop(held);
            Ok::<_, AnyError>(Grown { server_bytes, sample })
        })??;
        println!("{}", serde_json::to_string(&grown)?);
        Ok(())
    }
}

impl Role for Offer {
    fn play<P: Peer>(self, peer: P) -> Result<(), AnyError> {
        process::pin(process::CLIENT_CPU)?;
        let served = run(&one_worker::<P>()?, async move {
            let connection = idle::open(&peer, &self.site.site, self.target.address, 0).await?;
            let offer = open::Offer {
                per_second: self.per_second,
                warm_up: self.target.warm_up,
                window: self.target.window,
            };
            Ok::<_, AnyError>(open::run(connection, offer).await?)
        })??;
        println!("{}", serde_json::to_string(&served)?);
        Ok(())
    }
}

impl Role for Hold {
    fn play<P: Peer>(self, peer: P) -> Result<(), AnyError> {
        process::pin(process::CLIENT_CPU)?;
        process::allow_descriptors(DESCRIPTORS)?;
        let site: &Path = &self.site.site;
        one_worker::<P>()?.block_on(idle::hold(&peer, site, self.address, self.connections))?;
        Ok(())
    }
}

/// The runtime that users get from `#[tokio::main]`, with one worker for every system.
fn one_worker<P: Peer>() -> io::Result<Runtime> {
    match P::FLAVOR {
        Flavor::MultiThread => Builder::new_multi_thread().worker_threads(1).enable_all().build(),
        Flavor::CurrentThread => Builder::new_current_thread().enable_all().build(),
    }
}

/// Runs `work` on the worker itself; `block_on` would run it on a second thread.
fn run<T: Send + 'static>(
    runtime: &Runtime,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, AnyError> {
    Ok(runtime.block_on(runtime.spawn(work))?)
}
