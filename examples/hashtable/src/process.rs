//! A server as a process: what it says on stderr, how it is reached, and how signals end it.

use std::{io, process};

use bailiwick::{Drained, Endpoint, Server};
use miette::{Report, miette};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use crate::{
    exit::{Exit, Failure, INTERRUPTED},
    output,
};

/// Logs on stderr from `level` on.
pub(crate) fn log(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level)
        // It would say by `eprintln` that stderr is gone, and panic.
        .log_internal_errors(false)
        .init();
}

/// Says what is doubtful about the policy, how to reach the server, and from then on what becomes of
/// changes of the policy.
pub(crate) fn introduce(server: &Server, asked: &[Endpoint]) {
    for warning in server.policy_warnings() {
        output::tell(format_args!("{:?}", Report::new(warning.clone())));
    }
    announce(server, asked);
    let outcomes = server.policy_handle().outcomes();
    tokio::spawn(outcomes.tell(|words| output::tell(words)));
}

/// A line for each endpoint, of what clients take; scripts wait for it. The addresses
/// stand in the order in which they were asked for. People are told the key that proves the audit log.
fn announce(server: &Server, asked: &[Endpoint]) {
    for (asked, address) in asked.iter().zip(server.addresses()) {
        let endpoint = match asked {
            Endpoint::Udp(_) => Endpoint::udp(address.to_string()),
            _ => Endpoint::tcp(address.to_string()),
        };
        let line = format!("ready: --connect {endpoint} --server {}", server.identity());
        // A server goes on serving, whether or not somebody reads this.
        let _ = output::line(line);
    }
    if let Some(anchor) = server.audit_anchor() {
        output::tell(format_args!(
            "audit: the log's anchor is {anchor}: keep it elsewhere, for `bailiwick audit verify --anchor`"
        ));
    }
}

/// What a server that was asked to stop has come to.
pub(crate) fn ended(drained: Drained) -> Result<(), Failure> {
    match drained {
        Drained::Completely => {
            output::tell("stopped: every call that had begun was answered");
            Ok(())
        }
        Drained::CallsAborted => Err(Failure::new(
            Exit::Service,
            miette!(
                help = "their callers are told that the outcome is unknown",
                "stopped: the time for draining was over, and open connections were cut off"
            ),
        )),
    }
}

/// The signals that ask a server to stop.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the first; a second one ends the process.
    pub(crate) async fn shutdown(mut self) {
        self.next().await;
        output::tell("draining: calls that run are answered; a second signal ends them");
        tokio::spawn(async move {
            self.next().await;
            process::exit(INTERRUPTED);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// It does not start, and the error has its mend in its own words.
pub(crate) fn refused(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::of(Exit::Service, error)
}

/// It does not start, and the error brings its help.
pub(crate) fn refused_with_help(error: impl miette::Diagnostic + Send + Sync + 'static) -> Failure {
    Failure::new(Exit::Service, error)
}
