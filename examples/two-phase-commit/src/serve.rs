//! A node as a process: everything is checked, the log recovered, and only then is anybody
//! listened to.

mod coordinator;
mod engine;
mod figures;
mod links;
mod mortal;
mod participant;
mod signals;
mod waiters;

use std::{
    io::{self, IsTerminal as _},
    process,
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick::{
    Drained, Endpoint, Health, Identity, Server, metrics::Prometheus, service::Service,
};
use miette::{Report, miette};
use stable_store::{FileStorage, Opening, Options, Recovery};
use two_phase_commit::{
    machine::Machine,
    message,
    node::{Node, Opened},
    txid::LogId,
};

use crate::{
    exit::{Exit, Failure, INTERRUPTED},
    nodes::{self, Nodes},
    output,
    settings::Settings,
};
use engine::{Engine, Start};
use links::{Heard, Links};
use mortal::{Fate, Mortal};
use signals::Signals;

use figures::Figures;

pub(crate) use coordinator::Service as CoordinatorService;
pub(crate) use figures::{of_coordinator, of_participant};
pub(crate) use mortal::Fate as CoordinatorFate;
pub(crate) use participant::Service as ParticipantService;

/// A machine's node on this machine's disk.
pub(crate) type DiskNode<M> = Node<M, Mortal>;

/// A node that has been checked, and nothing has been opened.
pub(crate) struct Checked {
    settings: Settings,
    identity: Identity,
    pub(crate) nodes: Nodes,
}

/// A node that has recovered.
pub(crate) struct Recovered<M: Machine> {
    checked: Checked,
    pub(crate) start: Start<M, Mortal>,
    pub(crate) recovery: Recovery,
    took: Duration,
    signals: Signals,
}

impl Checked {
    /// Reads what the settings name, and compares the key with what others expect.
    pub(crate) fn read(settings: Settings) -> Result<Self, Failure> {
        tracing_subscriber::fmt()
            .with_writer(io::stderr)
            .with_max_level(settings.log)
            .with_ansi(io::stderr().is_terminal())
            // It would say by `eprintln` that stderr is gone, and panic.
            .log_internal_errors(false)
            .init();
        let nodes = Nodes::read(&settings.nodes).map_err(refused_with_help)?;
        let (identity, name) = settings.identity()?;
        let name = name.display().to_string();
        let checked = Self { settings, identity, nodes };
        let (expected, found) = (checked.address()?.key, checked.identity.public_key());
        if expected != found {
            return Err(Failure::new(
                Exit::Refused,
                miette!(
                    help = "whoever calls this node would not trust it: take the other key file, or \
                            mend the file of nodes everywhere",
                    "{name} has the key {found}, and the file of nodes says {expected}",
                ),
            ));
        }
        Ok(checked)
    }

    /// Takes the directory and recovers the machine that `make` makes for its log.
    pub(crate) fn recover<M: Machine>(
        self,
        fate: Fate,
        make: impl FnOnce(LogId, &Nodes) -> M,
    ) -> Result<Recovered<M>, Failure> {
        let signals = Signals::listen().map_err(refused)?;
        let files = FileStorage::open(&self.settings.data).map_err(refused)?;
        let opening = Opening::new(Mortal::new(files, fate), Options::default());
        let mut opening = opening.map_err(|error| self.unopened(error))?;
        if self.settings.salvage {
            opening = self.salvage(opening)?;
        }
        let machine = make(opening.id().into(), &self.nodes);
        let mut tell = |progress: stable_store::Progress| {
            output::tell(format_args!(
                "recovering: {} of {} bytes, {} records",
                progress.read, progress.total, progress.records
            ));
        };
        let begun = Instant::now();
        let opened = Node::open(opening, machine, Duration::ZERO, &mut tell);
        let Opened { node, effects, recovery, .. } =
            opened.map_err(|error| self.unopened(error))?;
        let start = Start { node, effects, origin: Instant::now() };
        Ok(Recovered { checked: self, start, recovery, took: begun.elapsed(), signals })
    }

    fn salvage(&self, opening: Opening<Mortal>) -> Result<Opening<Mortal>, Failure> {
        let (opening, salvaged) = opening.salvage().map_err(|error| self.unopened(error))?;
        match salvaged.lost_from {
            None => output::tell("salvage: nothing is damaged, and nothing was changed"),
            Some(lsn) => output::tell(format_args!(
                "salvage: all from record {lsn} on is lost ({}); kept aside: {}. Promises to other \
                 nodes may be among it: compare the books",
                salvaged.reason.unwrap_or_default(),
                salvaged.kept.join(", ")
            )),
        }
        Ok(opening)
    }

    fn unopened(&self, error: stable_store::OpenError) -> Failure {
        let report = Report::from_err(error).wrap_err(format!(
            "the log in {} cannot be used, and nothing was changed",
            self.settings.data.display()
        ));
        Failure::new(Exit::Refused, report)
    }

    fn address(&self) -> Result<&nodes::Address, Failure> {
        match self.settings.me {
            message::Address::Coordinator => Ok(&self.nodes.coordinator),
            message::Address::Participant(id) => {
                self.nodes.participant(id).map_err(refused_with_help)
            }
        }
    }

    /// Reads every file and binds every port, or refuses as a whole.
    async fn bind(&self, service: impl Service) -> Result<Server, Failure> {
        let server = self.settings.builder(self.identity.clone(), &self.address()?.endpoint)?;
        let server = server.service(service).service(Health::default());
        server.bind().await.map_err(refused_with_help)
    }

    fn endpoints(&self) -> Result<Vec<Endpoint>, Failure> {
        Ok(self.settings.listen(&self.address()?.endpoint))
    }
}

impl<M> Recovered<M>
where
    M: Machine + Send + 'static,
    M::Request: Send,
    M::Answer: Send,
    M::Record: Send,
    Node<M, Mortal>: Send,
{
    /// Serves what `serve` makes of the machine until SIGINT or SIGTERM.
    pub(crate) async fn serve<S: Service>(
        self,
        serve: impl FnOnce(Engine<M>) -> S,
        figures: Figures<M>,
    ) -> Result<(), Failure> {
        let Self { checked, start, recovery, took, mut signals } = self;
        let metrics = checked.settings.metrics;
        let prometheus =
            metrics.map(|_| Prometheus::install()).transpose().map_err(refused_with_help)?;
        let prepared = Engine::prepare();
        let engine = prepared.engine.clone();
        // The ports first: a node that cannot be asked must not take part.
        let server = checked.bind(serve(engine.clone())).await?;
        for warning in server.policy_warnings() {
            output::tell(format_args!("{:?}", Report::new(warning.clone())));
        }
        let hear = engine.clone();
        let heard: Heard = Arc::new(move |from, message| hear.heard(from, message));
        let links = Links::open(&checked.nodes, checked.settings.me, &checked.identity, &heard);
        let mut end = prepared.start(start, links);
        announce(&checked, &recovery, took)?;
        if let Some(anchor) = server.audit_anchor() {
            output::tell(format_args!(
                "audit: the log's anchor is {anchor}: keep it elsewhere, for `bailiwick audit verify \
                 --anchor`"
            ));
        }
        let page = match prometheus.zip(metrics) {
            // An operator who names the address has been told what it means.
            Some((it, address)) => Some(it.listen_beyond_loopback(address, server.status()).await),
            None => None,
        };
        let page = page.transpose().map_err(refused_with_help)?;
        if let Some(page) = &page {
            // A node goes on, whether or not somebody reads this.
            let _ = output::line(format_args!("metrics: http://{}/metrics", page.address()));
        }
        let counting = figures::watch(engine.clone(), figures);
        tokio::pin!(counting);
        let outcomes = server.policy_handle().outcomes();
        tokio::spawn(outcomes.tell(|words| output::tell(words)));

        let shutdown = async {
            signals.next().await;
            output::tell("draining: calls that run may end; a second signal ends them");
            tokio::spawn(async move {
                signals.next().await;
                process::exit(INTERRUPTED);
            });
        };
        tokio::select! {
            // Nobody is answered any more; what is in the log counts at the next start.
            ended = &mut end => return Err(unwritable(ended.ok().and_then(Result::err))),
            never = counting => match never {},
            drained = server.serve_until(shutdown) => if drained == Drained::CallsAborted {
                output::tell("stopped with calls under way: their outcome can be asked for");
            }
        }
        engine.stop();
        match end.await {
            Ok(Ok(())) => Ok(()),
            ended => Err(unwritable(ended.ok().and_then(Result::err))),
        }
    }
}

/// Scripts wait for this line.
fn announce(checked: &Checked, recovery: &Recovery, took: Duration) -> Result<(), Failure> {
    let at: Vec<_> = checked.endpoints()?.iter().map(ToString::to_string).collect();
    let name = match checked.settings.me {
        message::Address::Coordinator => nodes::COORDINATOR.to_owned(),
        message::Address::Participant(id) => id.to_string(),
    };
    let Recovery { records, bytes, torn, epoch, .. } = recovery;
    let (megabytes, seconds) = (*bytes as f64 / 1e6, took.as_secs_f64());
    let rate = megabytes / seconds.max(1e-6);
    let tail = match torn {
        None => "no torn tail".to_owned(),
        Some(torn) => format!("a torn tail of {} bytes was cut off", torn.bytes),
    };
    let line = format!(
        "ready: {name} at {}, boot {epoch}, recovered {records} records, {megabytes:.1} MB in \
         {seconds:.3} s ({rate:.0} MB/s), {tail}",
        at.join(" ")
    );
    // A node goes on, whether or not somebody reads this.
    let _ = output::line(line);
    Ok(())
}

fn unwritable(error: Option<stable_store::StoreError>) -> Failure {
    let report = match error {
        Some(error) => Report::from_err(error).wrap_err("the log cannot be written any more"),
        None => miette!("the thread that keeps the log is gone"),
    };
    Failure::new(
        Exit::Refused,
        report.wrap_err("nothing was acknowledged that is not in the log; start again to recover"),
    )
}

pub(crate) fn refused(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::of(Exit::Refused, error)
}

pub(crate) fn refused_with_help(error: impl miette::Diagnostic + Send + Sync + 'static) -> Failure {
    Failure::new(Exit::Refused, error)
}
