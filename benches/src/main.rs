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
mod goals;
mod growth;
mod idle;
mod instructions;
mod knee;
mod load;
mod loss;
mod machine;
mod ours;
mod overload;
mod peer;
mod peers;
mod plots;
mod policy;
mod process;
mod report;
mod roles;
mod stats;
mod syscalls;
mod system;
mod workload;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::compare::Extent;

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
    Compare {
        #[command(flatten)]
        output: Output,
        /// Also draw calls a second by system, as SVG files in this folder.
        #[arg(long, value_name = "DIR")]
        plots: Option<PathBuf>,
    },
    /// Offer ever more calls, and measure what is answered and how late.
    Knee {
        #[command(flatten)]
        output: Output,
        /// Also draw latency by throughput, as an SVG file in this folder.
        #[arg(long, value_name = "DIR")]
        plots: Option<PathBuf>,
    },
    /// Let connections, calls outstanding, bytes, rows and services grow, one at a time.
    Growth {
        #[command(flatten)]
        output: Output,
        /// Also draw each as an SVG file in this folder.
        #[arg(long, value_name = "DIR")]
        plots: Option<PathBuf>,
    },
    /// Count the write system calls of each server with `strace`.
    Syscalls(Output),
    /// Count the instructions that some servers spend on a call, with `valgrind`.
    Instructions(Output),
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
    Serve(roles::Serve),
    #[command(hide = true)]
    Load(roles::Load),
    #[command(hide = true)]
    Grow(roles::Grow),
    #[command(hide = true)]
    Offer(roles::Offer),
    #[command(hide = true)]
    Hold(roles::Hold),
}

#[derive(Debug, Args)]
struct Output {
    /// Measure less: fewer repetitions of shorter windows.
    #[arg(long)]
    quick: bool,
    /// Also write everything that was measured to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Repetitions, in place of the command's own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: Option<u32>,
    /// Seconds of each window, in place of the command's own.
    #[arg(long, value_name = "SECONDS", value_parser = compare::seconds)]
    window: Option<Duration>,
}

pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Compare { output, plots } => compare(&output, plots.as_deref()),
        Command::Knee { output, plots } => knee(&output, plots.as_deref()),
        Command::Growth { output, plots } => growth(&output, plots.as_deref()),
        Command::Syscalls(output) => syscalls(&output),
        Command::Instructions(output) => instructions(&output),
        Command::Durable { dir, output } => durable(&dir, &output),
        Command::AuditQuery { dir, output } => audit_query(&dir, &output),
        Command::Policy(output) => policy(&output),
        Command::PolicyDecide(task) => policy_decide(&task),
        Command::Audit(output) => audit(&output),
        Command::Overload(output) => overload(&output),
        Command::OverloadServe(site) => overload::serve(site.protection).map_err(Into::into),
        Command::OverloadLoad(task) => overload_load(&task),
        Command::DurableCheckpoint(site) => durable_checkpoint(&site),
        Command::Serve(serve) => roles::on(serve.site.system, serve),
        Command::Load(load) => roles::on(load.site.system, load),
        Command::Grow(grow) => roles::on(grow.site.system, grow),
        Command::Offer(offer) => roles::on(offer.site.system, offer),
        Command::Hold(hold) => roles::on(hold.site.system, hold),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bailiwick-bench: {}", with_sources(&*error));
            ExitCode::FAILURE
        }
    }
}

fn compare(output: &Output, plots: Option<&Path>) -> Result<(), AnyError> {
    let preset = if output.quick { Extent::COMPARE_QUICK } else { Extent::COMPARE };
    let comparison = compare::run(output.extent_of(preset))?;
    let goals = compare::judge(&comparison);
    println!("{}", compare::text(&comparison, &goals));
    if let Some(folder) = plots {
        fs::create_dir_all(folder)?;
        plots::calls(&comparison, folder)?;
    }
    let summary = compare::summary(&comparison);
    output.write_json(&compare::Document { comparison: &comparison, summary, goals: &goals })
}

fn knee(output: &Output, plots: Option<&Path>) -> Result<(), AnyError> {
    let preset = if output.quick { Extent::KNEE_QUICK } else { Extent::KNEE };
    let measured = knee::run(output.extent_of(preset))?;
    println!("{}", knee::text(&measured));
    if let Some(folder) = plots {
        fs::create_dir_all(folder)?;
        plots::knee(&measured, folder)?;
    }
    output.write_json(&measured)
}

fn growth(output: &Output, plots: Option<&Path>) -> Result<(), AnyError> {
    let preset = if output.quick { Extent::KNEE_QUICK } else { Extent::KNEE };
    let measured = growth::run(output.extent_of(preset))?;
    println!("{}", growth::text(&measured));
    if let Some(folder) = plots {
        fs::create_dir_all(folder)?;
        plots::growth(&measured, folder)?;
    }
    output.write_json(&measured)
}

fn syscalls(output: &Output) -> Result<(), AnyError> {
    let counts = syscalls::run(output.extent())?;
    println!("{}", syscalls::text(&counts));
    output.write_json(&counts)
}

fn instructions(output: &Output) -> Result<(), AnyError> {
    let counts = instructions::run(output.extent())?;
    println!("{}", instructions::text(&counts));
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
    /// How much to measure, by a command whose rows are few.
    fn extent(&self) -> Extent {
        self.extent_of(if self.quick { Extent::QUICK } else { Extent::FULL })
    }

    fn extent_of(&self, preset: Extent) -> Extent {
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

fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
