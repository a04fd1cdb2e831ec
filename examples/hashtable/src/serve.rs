//! `hashtable serve`: checks everything, says how to be reached, serves until a signal.

use std::{cell::OnceCell, io, process};

use bailiwick::{Drained, Endpoint, Health, Outcomes, Server};
use hashtable::{kept::KeptTable, service::TableServer, store::Store};
use miette::{Report, miette};
use stable_store::Journal;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    args::ServeArgs,
    data::{self, Data},
    exit::{Exit, Failure, INTERRUPTED},
    metrics::Metrics,
    output,
    settings::Settings,
};

/// Serves until SIGINT or SIGTERM.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    let Settings { listen: asked, start, kept, bounds, metrics, log } = Settings::of(args)?;
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(log)
        // It would say by `eprintln` that stderr is gone, and panic.
        .log_internal_errors(false)
        .init();
    let mut signals = Signals::listen().map_err(refused)?;
    let data = kept.map(Data::take).transpose()?;
    let table = match &data {
        Some(data) => data.table(),
        None => Store::in_memory(bounds),
    };
    let metrics = Metrics::install(metrics).map_err(refused_with_help)?;
    let server = start
        .builder(&asked)?
        .service(TableServer::new(table.clone()))
        .service(Health::default())
        .bind()
        .await
        .map_err(refused_with_help)?;
    for warning in server.policy_warnings() {
        output::tell(format_args!("{:?}", Report::new(warning.clone())));
    }
    announce(&server, &asked);
    let _page = metrics.serve(server.status()).await.map_err(refused_with_help)?;
    tokio::spawn(tell_of_policies(server.policy_handle().outcomes()));

    let shutdown = async {
        signals.next().await;
        output::tell("draining: calls that run are answered; a second signal ends them");
        tokio::spawn(async move {
            signals.next().await;
            process::exit(INTERRUPTED);
        });
    };
    let serve = server.serve_until(shutdown);
    let drained = match data {
        Some(data) => keep(serve, data.recover(table, bounds)).await?,
        None => serve.await,
    };
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

/// Serves while the table is recovered and then kept; ends at once if it cannot be, so that nobody
/// is told of what may be lost.
async fn keep(
    serve: impl Future<Output = Drained>,
    recover: impl Future<Output = Result<Journal<KeptTable>, Failure>>,
) -> Result<Drained, Failure> {
    let journal = OnceCell::new();
    let kept = async {
        match recover.await {
            Ok(recovered) => data::failed(journal.get_or_init(|| recovered)).await,
            Err(failure) => failure,
        }
    };
    let drained = tokio::select! {
        biased;
        failure = kept => return Err(failure),
        drained = serve => drained,
    };
    match journal.into_inner() {
        Some(journal) => data::stop(journal).await.map(|()| drained),
        None => Ok(drained),
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

/// Tells people what has become of each change of the policy.
async fn tell_of_policies(mut outcomes: Outcomes) {
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(reloaded) => {
                for warning in reloaded.warnings {
                    output::tell(format_args!("{:?}", Report::new(warning)));
                }
                output::tell(format_args!("policy: now in force: {}", reloaded.revision));
            }
            Err(error) => {
                output::tell(format_args!("{:?}", Report::new(error)));
                output::tell("policy: the one before stays in force: mend the file and save it");
            }
        }
    }
}

/// A line for each endpoint, of what `hashtable call` takes; scripts wait for it. The addresses
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

/// The signals that ask a server to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
