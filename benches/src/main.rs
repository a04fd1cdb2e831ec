//! The peers' comparison: one command that measures every system side by side and prints a table.
//!
//! The binary runs itself again as servers and clients, through commands hidden from its help.

#![forbid(unsafe_code)]
// A benchmark divides counts by seconds; a count above 2^53 would take centuries.
#![allow(clippy::cast_precision_loss)]

mod audit;
mod audit_query;
mod compare;
mod durable;
mod floor;
mod goals;
mod idle;
mod load;
mod loss;
mod machine;
mod ours;
mod overload;
mod peer;
mod ping_pong;
mod policy;
mod process;
mod quinn_peer;
mod report;
mod slots;
mod stats;
mod syscalls;
mod tarpc_peer;
mod udp_floor;
mod workload;

use std::{
    error::Error,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::{
    compare::Extent,
    floor::{Floor, Flush},
    loss::LossError,
    ours::Bailiwick,
    peer::{Peer, System},
    ping_pong::PingPong,
    quinn_peer::Quinn,
    report::Document,
    tarpc_peer::Tarpc,
    udp_floor::UdpFloor,
};

/// Bailiwick and its peers, side by side in one run.
#[derive(Debug, Parser)]
#[command(name = "bailiwick-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure latency, throughput, processor time and idle memory of every system.
    Compare(Output),
    /// Count the write system calls of each server with `strace`.
    Syscalls(Output),
    /// Measure what durability costs: updates, recovery, checkpoints.
    Durable {
        /// Where the files lie while it runs: on a disk, not in memory.
        #[arg(long, default_value = durable::DEFAULT_DIR)]
        dir: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Measure how fast an audit log is searched.
    AuditQuery {
        /// Where the log lies while it runs.
        #[arg(long, default_value = durable::DEFAULT_DIR)]
        dir: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Measure what a policy decision costs: ours, casbin and Cedar on the same rows.
    Policy(Output),
    #[command(hide = true)]
    PolicyDecide(policy::Task),
    /// Measure the audit log: denials a second, and the speed of `verify`.
    Audit(Output),
    /// Offer a server up to ten times what it can do, with protection and without.
    Overload(Output),
    #[command(hide = true)]
    OverloadServe(overload::Site),
    #[command(hide = true)]
    OverloadLoad(overload::Task),
    #[command(hide = true)]
    DurableCheckpoint(durable::Site),
    #[command(hide = true)]
    Serve(Site),
    #[command(hide = true)]
    Load(Load),
    #[command(hide = true)]
    Hold(Hold),
}

#[derive(Debug, Args)]
struct Output {
    /// Take under two minutes in place of ten.
    #[arg(long)]
    quick: bool,
    /// Also write everything that was measured to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Repetitions, in place of 9 (5 with --quick).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: Option<u32>,
    /// Seconds of each window, in place of 2 (0.4 with --quick).
    #[arg(long, value_name = "SECONDS", value_parser = compare::seconds)]
    window: Option<Duration>,
}

#[derive(Debug, Args)]
struct Site {
    system: System,
    #[arg(long)]
    site: PathBuf,
    /// The share of datagrams that come to this process and are to be lost.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
}

impl Site {
    /// Call it when the sockets are open, so that there is something to lose from.
    fn lose(&self) -> Result<(), LossError> {
        if self.loss == 0.0 { Ok(()) } else { loss::lose(self.loss) }
    }
}

#[derive(Debug, Args)]
struct Load {
    #[command(flatten)]
    site: Site,
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    server_pid: u32,
    #[arg(long)]
    outstanding: u32,
    #[arg(long, value_parser = compare::seconds)]
    warm_up: Duration,
    #[arg(long, value_parser = compare::seconds)]
    window: Duration,
}

#[derive(Debug, Args)]
struct Hold {
    #[command(flatten)]
    site: Site,
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    connections: u32,
}

type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Compare(output) => compare(&output),
        Command::Syscalls(output) => syscalls(&output),
        Command::Durable { dir, output } => durable(&dir, &output),
        Command::AuditQuery { dir, output } => audit_query(&dir, &output),
        Command::Policy(output) => policy(&output),
        Command::PolicyDecide(task) => policy_decide(&task),
        Command::Audit(output) => audit(&output),
        Command::Overload(output) => overload(&output),
        Command::OverloadServe(site) => overload::serve(site.protection).map_err(Into::into),
        Command::OverloadLoad(task) => overload_load(&task),
        Command::DurableCheckpoint(site) => durable_checkpoint(&site),
        Command::Serve(site) => on(site.system, Serve(site)),
        Command::Load(load) => on(load.site.system, load),
        Command::Hold(hold) => on(hold.site.system, hold),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bailiwick-bench: {}", with_sources(&*error));
            ExitCode::FAILURE
        }
    }
}

fn compare(output: &Output) -> Result<(), AnyError> {
    let comparison = compare::run(output.extent())?;
    let goals = goals::judge(&comparison, System::SUBJECTS);
    println!("{}", report::text(&comparison, &goals));
    let summary = report::summary(&comparison);
    output.write_json(&Document { comparison: &comparison, summary, goals: &goals })
}

fn syscalls(output: &Output) -> Result<(), AnyError> {
    let counts = syscalls::run(output.extent())?;
    println!("{}", report::syscalls_text(&counts));
    output.write_json(&counts)
}

fn durable(dir: &Path, output: &Output) -> Result<(), AnyError> {
    let amount = if output.quick { durable::Amount::QUICK } else { durable::Amount::FULL };
    let measured = durable::run(output.extent(), amount, dir)?;
    let goals = durable::judge(&measured);
    println!("{}", durable::text(&measured, &goals));
    output.write_json(&durable::Document { measured: &measured, goals: &goals })
}

fn audit_query(dir: &Path, output: &Output) -> Result<(), AnyError> {
    let bytes = if output.quick { audit_query::QUICK_BYTES } else { audit_query::BYTES };
    fs::create_dir_all(dir)?;
    let folder = tempfile::tempdir_in(dir)?;
    let searches = audit_query::measure(folder.path(), bytes, output.extent().repetitions)?;
    print!("{}", audit_query::text(&searches));
    output.write_json(&searches)
}

fn policy(output: &Output) -> Result<(), AnyError> {
    let peers = if output.quick { policy::Peers::Quick } else { policy::Peers::Full };
    let measured = policy::run(output.extent(), peers)?;
    let goals = policy::judge(&measured);
    println!("{}", policy::text(&measured, &goals));
    output.write_json(&policy::Document { measured: &measured, goals: &goals })
}

fn policy_decide(task: &policy::Task) -> Result<(), AnyError> {
    println!("{}", serde_json::to_string(&policy::play(task)?)?);
    Ok(())
}

fn audit(output: &Output) -> Result<(), AnyError> {
    let measured = audit::run(output.extent().repetitions, output.quick)?;
    println!("{}", audit::text(&measured));
    output.write_json(&measured)
}

fn overload(output: &Output) -> Result<(), AnyError> {
    let (repetitions, window_seconds) = if output.quick { (1, 1.0) } else { (5, 3.0) };
    let measured = overload::run(overload::Extent {
        repetitions: output.repetitions.unwrap_or(repetitions),
        window_seconds: output.window.map_or(window_seconds, |time| time.as_secs_f64()),
        quick: output.quick,
    })?;
    let goals = overload::judge(&measured);
    println!("{}", overload::text(&measured, &goals));
    output.write_json(&overload::Document { measured: &measured, goals: &goals })
}

fn overload_load(task: &overload::Task) -> Result<(), AnyError> {
    println!("{}", serde_json::to_string(&overload::play(task)?)?);
    Ok(())
}

fn durable_checkpoint(site: &durable::Site) -> Result<(), AnyError> {
    println!("{}", serde_json::to_string(&durable::play(site)?)?);
    Ok(())
}

impl Output {
    fn extent(&self) -> Extent {
        let preset = if self.quick { Extent::QUICK } else { Extent::FULL };
        Extent {
            repetitions: self.repetitions.unwrap_or(preset.repetitions),
            window_seconds: self.window.map_or(preset.window_seconds, |time| time.as_secs_f64()),
            ..preset
        }
    }

    fn write_json(&self, document: &impl Serialize) -> Result<(), AnyError> {
        if let Some(file) = &self.json {
            fs::write(file, serde_json::to_vec_pretty(document)?)
                .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        }
        Ok(())
    }
}

/// What a child process does, whichever the system.
trait Role {
    fn play<P: Peer>(self, peer: P) -> Result<(), AnyError>;
}

/// The one place that knows which type stands for which system.
fn on(system: System, role: impl Role) -> Result<(), AnyError> {
    match system {
        System::FloorAfterYield => role.play(Floor { flush: Flush::AfterYield }),
        System::FloorAtOnce => role.play(Floor { flush: Flush::AtOnce }),
        System::Tarpc => role.play(Tarpc),
        System::Bailiwick => role.play(Bailiwick::TCP),
        System::UdpFloor => role.play(UdpFloor),
        System::UdpPingPong => role.play(PingPong),
        System::Quinn => role.play(Quinn),
        System::BailiwickUdp => role.play(Bailiwick::UDP),
        System::BailiwickDocuments => role.play(policy::Documented),
    }
}

struct Serve(Site);

impl Role for Serve {
    fn play<P: Peer>(self, peer: P) -> Result<(), AnyError> {
        process::pin(process::SERVER_CPU)?;
        process::allow_descriptors(DESCRIPTORS)?;
        let runtime = one_worker()?;
        let Self(site) = self;
        let address = run(&runtime, async move {
            let address = peer.serve(&site.site).await?;
            site.lose()?;
            Ok::<_, AnyError>(address)
        })??;
        println!("{}", process::ready_line(address));
        // Whoever started us closes our stdin, by design or by ending.
        io::copy(&mut io::stdin(), &mut io::sink())?;
        Ok(())
    }
}

impl Role for Load {
    fn play<P: Peer>(self, peer: P) -> Result<(), AnyError> {
        process::pin(process::CLIENT_CPU)?;
        let plan = load::Plan {
            outstanding: self.outstanding,
            warm_up: self.warm_up,
            window: self.window,
            server: self.server_pid,
        };
        let sample = run(&one_worker()?, async move {
            let caller = peer.connect(&self.site.site, self.address).await?;
            self.site.lose()?;
            Ok::<_, AnyError>(load::run(caller, plan).await?)
        })??;
        println!("{}", serde_json::to_string(&sample)?);
        Ok(())
    }
}

impl Role for Hold {
    fn play<P: Peer>(self, peer: P) -> Result<(), AnyError> {
        process::pin(process::CLIENT_CPU)?;
        process::allow_descriptors(DESCRIPTORS)?;
        let site: &Path = &self.site.site;
        one_worker()?.block_on(idle::hold(&peer, site, self.address, self.connections))?;
        Ok(())
    }
}

/// Descriptors for the idle connections and everything else a process has open.
const DESCRIPTORS: u64 = 2_000;

/// The runtime that users get from `#[tokio::main]`, with one worker for every system.
fn one_worker() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Runs `work` on the worker itself; `block_on` would run it on a second thread.
fn run<T: Send + 'static>(
    runtime: &Runtime,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, AnyError> {
    Ok(runtime.block_on(runtime.spawn(work))?)
}

fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
