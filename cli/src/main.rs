//! The command `bailiwick`: keys, policies, audit logs and descriptions of services.
//!
//! A file a command. Exit codes: 0 done, or allowed; 1 denied, errors found, or tampered with;
//! 2 the command could not do its work: wrong usage, or a file that cannot be read.
#![forbid(unsafe_code)]

mod acl_can_i;
mod acl_check;
mod acl_diff;
mod acl_explain;
mod acl_fmt;
mod acl_suggest;
mod acl_test;
mod acl_what_can;
mod acl_who_can;
mod audit_export;
mod audit_filter;
mod audit_log;
mod audit_query;
mod audit_top;
mod audit_verify;
mod audit_why;
mod completions;
mod describe;
mod files;
mod keys;
mod man;
mod output;
mod policy_args;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::{Failure, Outcome};

/// Keys, policies and audit logs of Bailiwick.
#[derive(Debug, Parser)]
#[command(
    name = "bailiwick",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done or allowed; 1 denied, errors found or tampered with; 2 not done.\n\n\
                  Examples:\n  \
                  bailiwick keygen -o alice.key --comment 'alice at her laptop'\n  \
                  bailiwick acl check policy.acl\n  \
                  bailiwick acl explain --policy policy.acl alice read table/a\n  \
                  bailiwick audit query audit.jsonl --denied"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Keygen(keys::Keygen),
    Pubkey(keys::Pubkey),
    Fingerprint(keys::Fingerprint),
    /// Check a policy file, ask it who may do what, compare, mend and test it.
    #[command(subcommand)]
    Acl(AclCommand),
    /// Verify an audit log, search it, and ask why.
    #[command(subcommand)]
    Audit(AuditCommand),
    Describe(describe::Describe),
    Completions(completions::Completions),
    Man(man::Man),
}

#[derive(Debug, Subcommand)]
enum AclCommand {
    Check(acl_check::Check),
    Explain(acl_explain::Explain),
    CanI(acl_can_i::CanI),
    WhoCan(acl_who_can::WhoCan),
    WhatCan(acl_what_can::WhatCan),
    Diff(acl_diff::Diff),
    Suggest(acl_suggest::Suggest),
    Test(acl_test::Test),
    Fmt(acl_fmt::Fmt),
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    Verify(audit_verify::Verify),
    Query(Box<audit_query::Query>),
    Top(Box<audit_top::Top>),
    Why(audit_why::Why),
    Export(Box<audit_export::Export>),
}

fn main() -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = run(Cli::parse().command, &mut out).and_then(|outcome| {
        out.flush()?;
        Ok(outcome)
    });
    match done {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Bad) => ExitCode::from(1),
        // Whoever reads us has seen enough, as `head` has.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // What was found before the failure is shown before it.
            let _ = out.flush();
            failure.show();
            failure.exit_code()
        }
    }
}

fn run(command: Command, out: &mut impl Write) -> Result<Outcome, Failure> {
    match command {
        Command::Keygen(command) => command.run(out),
        Command::Pubkey(command) => command.run(out),
        Command::Fingerprint(command) => command.run(out),
        Command::Acl(AclCommand::Check(command)) => command.run(out),
        Command::Acl(AclCommand::Explain(command)) => command.run(out),
        Command::Acl(AclCommand::CanI(command)) => command.run(out),
        Command::Acl(AclCommand::WhoCan(command)) => command.run(out),
        Command::Acl(AclCommand::WhatCan(command)) => command.run(out),
        Command::Acl(AclCommand::Diff(command)) => command.run(out),
        Command::Acl(AclCommand::Suggest(command)) => command.run(out),
        Command::Acl(AclCommand::Test(command)) => command.run(out),
        Command::Acl(AclCommand::Fmt(command)) => command.run(out),
        Command::Audit(AuditCommand::Verify(command)) => command.run(out),
        Command::Audit(AuditCommand::Query(command)) => command.run(out),
        Command::Audit(AuditCommand::Top(command)) => command.run(out),
        Command::Audit(AuditCommand::Why(command)) => command.run(out),
        Command::Audit(AuditCommand::Export(command)) => command.run(out),
        Command::Describe(command) => command.run(out),
        Command::Completions(command) => command.run(out),
        Command::Man(command) => command.run(out),
    }
}
