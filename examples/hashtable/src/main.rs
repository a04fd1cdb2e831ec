//! A hashtable served over Bailiwick: server and client in one binary.
//!
//! The library beside it is the service; the files here are commands, one each.

mod args;
mod call;
mod data;
mod demo;
mod describe;
mod dial;
mod exit;
mod hammer;
mod health;
mod output;
mod paint;
mod process; // what each server does beside its service
mod serve;
mod settings;
mod witness;

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
                "hashtable: the system gives no threads or no epoll: {error}"
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
        Command::Serve(args) => serve::run(args).await,
        Command::Witness(args) => witness::run(args).await,
        Command::Call(args) => call::run(args).await,
        Command::Hammer(args) => hammer::run(args).await,
        Command::Health(args) => health::run(args).await,
        Command::Describe(args) => describe::run(&args),
        Command::Demo(args) => demo::run(args).await,
    }
}
