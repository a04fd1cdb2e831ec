//! Two-phase commit over Bailiwick: nodes, clients, a demo and a bank under fire, in one binary.
//!
//! The protocol is in the library. Here it gets its files, its sockets and its people: `services.rs`
//! is the contract, `serve.rs` a node as a process, the other files are commands.

mod args;
mod bank;
mod client;
mod cluster;
mod commands;
mod demo;
mod exit;
mod nodes;
mod output;
mod paint;
mod serve;
mod services;
mod settings;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use exit::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    exit::plain_reports();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::tell(format_args!(
                "two-phase-commit: the system gives no threads or no epoll: {error}"
            ));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(args.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Coordinator(args) => commands::coordinator(args).await,
        Command::Participant(args) => commands::participant(args).await,
        Command::Transfer(args) => commands::transfer(args).await,
        Command::Balance(args) => commands::balance(args).await,
        Command::Outcome(args) => commands::outcome(args).await,
        Command::InDoubt(args) => commands::in_doubt(args).await,
        Command::Resolve(args) => commands::resolve(args).await,
        Command::Demo => demo::run().await,
        Command::Bank(args) => bank::run(args).await,
        Command::Judge(args) => bank::judge(&args),
    }
}
