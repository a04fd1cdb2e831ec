//! `two-phase-commit bank`: nodes are killed again and again while clients transfer and audit; then
//! all is healed, and the books are judged.

mod claims;
mod evidence;
mod nodes;
mod tellers;
mod town;
mod verdict;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bailiwick::{CallError, Context, Identity};
use miette::{Report, miette};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;
use tokio::{task::JoinSet, time};

use crate::{
    args::{BankArgs, JudgeArgs},
    client,
    cluster::NODES,
    exit::{Exit, Failure},
    nodes::{Address, Nodes},
    output,
    services::{Coordinator as _, CoordinatorClient, Participant as _, ParticipantClient, Refusal},
};
use nodes::Node;
use tellers::{Found, Teller};
use town::{OPERATOR, Town};
use verdict::{Run, Verdict};

/// How long a healed bank may take until nothing is in doubt.
const HEALING: Duration = Duration::from_secs(60);

/// Runs the bank, judges it, and prints the verdict.
pub(crate) async fn run(args: BankArgs) -> Result<(), Failure> {
    let folder = Folder::make(args.keep.as_deref())?;
    let verdict = torture(&args, folder.path()).await;
    let kept = folder.keep_if(verdict.is_violated());
    conclude(&verdict, &kept)
}

/// Judges what an earlier run left.
pub(crate) fn judge(args: &JudgeArgs) -> Result<(), Failure> {
    let evidence = evidence::gather(&args.folder);
    let evidence = evidence.map_err(|report| Failure::new(Exit::Refused, report))?;
    let judgement = two_phase_commit::judge::judge(&evidence);
    conclude(&Verdict::of_books(&judgement), &Some(args.folder.clone()))
}

fn conclude(verdict: &Verdict, kept: &Option<PathBuf>) -> Result<(), Failure> {
    let line = serde_json::to_string(verdict).map_err(|error| Failure::of(Exit::Refused, error))?;
    output::line(line)?;
    if !verdict.is_violated() {
        return Ok(());
    }
    let at = kept.as_ref().map(|kept| kept.display().to_string()).unwrap_or_default();
    Err(Failure::new(
        Exit::Refused,
        miette!(
            help = format!("the books, logs and claims are in {at}"),
            "the bank is not consistent"
        ),
    ))
}

/// Whatever fails, there is a verdict, with all that is known by then.
async fn torture(args: &BankArgs, folder: &Path) -> Verdict {
    let seed = args.seed.unwrap_or_else(|| rand::rng().random());
    output::tell(format_args!("seed {seed}, in {}", folder.display()));
    let mut run = Run::new(args, seed);
    let mut found = Found::default();
    let mut nodes = Vec::new();
    let mut failures = Vec::new();
    let tortured = match Town::found(folder, args.participants, args.clients, args.accounts) {
        Ok(town) => fire(args, &town, &mut nodes, &mut run, &mut found).await,
        Err(report) => Err(report),
    };
    failures.extend(tortured.err());
    for node in nodes {
        run.count_kills(&node);
        failures.extend(node.stop().await.err());
    }
    let written = claims::write(folder, &found.begun).map_err(Report::from_err);
    let judgement = match written.and_then(|()| evidence::gather(folder)) {
        Ok(evidence) => two_phase_commit::judge::judge(&evidence),
        Err(report) => {
            failures.push(report.wrap_err("the books cannot be judged"));
            found.unjudged()
        }
    };
    let failures = failures.iter().map(|report| format!("{report:#}"));
    Verdict::of_run(&judgement, found.contradictions.into_iter().chain(failures), run)
}

/// Opens the bank, lets the clients work and the nodes die, and heals it. `nodes` are to be stopped
/// whether or not this fails.
async fn fire(
    args: &BankArgs,
    town: &Town,
    nodes: &mut Vec<Node>,
    run: &mut Run,
    found: &mut Found,
) -> Result<(), Report> {
    for (name, more) in town.nodes() {
        nodes.push(Node::start(&town.cluster, &name, &more).await?);
    }
    let last_kill = work(args, town, nodes, run.seed, found).await?;
    heal(town, nodes).await?;
    run.healed = last_kill.elapsed();
    Ok(())
}

/// Lets the clients work and the nodes die; when the dying ended.
async fn work(
    args: &BankArgs,
    town: &Town,
    nodes: &[Node],
    seed: u64,
    all: &mut Found,
) -> Result<Instant, Report> {
    let mut random = StdRng::seed_from_u64(seed);
    let addresses = Nodes::read(&town.cluster.path(NODES))?;
    let (accounts, hush) = (Arc::new(town.accounts.clone()), Arc::default());
    let end = Instant::now() + Duration::from_secs(args.seconds.into());
    let mut tellers = JoinSet::new();
    for name in &town.clients {
        let cx = Context::within(Duration::from_secs(10));
        let identity = town.cluster.identity(name)?;
        let channel = client::connect(&addresses.coordinator, &identity, &cx).await?;
        let coordinator = CoordinatorClient::new(channel);
        let (accounts, hush) = (Arc::clone(&accounts), Arc::clone(&hush));
        let teller = Teller::new(coordinator, accounts, hush, random.random());
        tellers.spawn(teller.work(end));
    }
    tokio::select! {
        () = nodes::kill_at_random(nodes, args.kill_every, &mut random) => {}
        () = time::sleep_until(end.into()) => {}
    }
    let last_kill = Instant::now();
    // Those that wait for an answer need the nodes, and lose patience without.
    for node in nodes {
        node.is_healed().await;
    }
    while let Some(found) = tellers.join_next().await {
        let found = found.map_err(Report::from_err)?;
        all.begun.extend(found.begun);
        all.contradictions.extend(found.contradictions);
    }
    Ok(last_kill)
}

/// Waits until nothing is in doubt and no account is locked, or it has taken too long: then the
/// judge will say so.
async fn heal(town: &Town, nodes: &[Node]) -> Result<(), Report> {
    for node in nodes {
        if !node.is_healed().await {
            return Err(miette!("{} is gone: the bank cannot be healed", node.name()));
        }
    }
    let addresses = Nodes::read(&town.cluster.path(NODES))?;
    let operator = town.cluster.identity(OPERATOR)?;
    let cx = Context::within(HEALING);
    while cx.remaining() > Duration::ZERO {
        if is_quiet(&addresses, &operator, &cx).await? {
            return Ok(());
        }
        time::sleep(Duration::from_millis(50)).await;
    }
    output::tell(format_args!("something is still in doubt after {HEALING:?}"));
    Ok(())
}

async fn is_quiet(
    Nodes { coordinator, participants }: &Nodes,
    operator: &Identity,
    cx: &Context,
) -> Result<bool, Report> {
    let failed = |error: CallError<Refusal>| Report::from_err(error);
    let dial = |address: &Address| {
        let address = address.clone();
        async move { client::connect(&address, operator, cx).await }
    };
    let channel = dial(coordinator).await?;
    let under_way = CoordinatorClient::new(channel).unfinished(cx).await.map_err(failed)?;
    if under_way.gauges.undecided + under_way.gauges.unfinished > 0 {
        return Ok(false);
    }
    for address in participants.values() {
        let channel = dial(address).await?;
        let doubts = ParticipantClient::new(channel).in_doubt(cx).await.map_err(failed)?;
        if doubts.total > 0 || doubts.gauges.locked > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where a bank's files are.
enum Folder {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn make(keep: Option<&Path>) -> Result<Self, Failure> {
        match keep {
            Some(path) => match fs::create_dir(path) {
                Ok(()) => Ok(Self::Kept(path.to_owned())),
                Err(error) => Err(Failure::new(
                    Exit::Usage,
                    Report::from_err(error).wrap_err(format!("cannot make {}", path.display())),
                )),
            },
            None => match tempfile::Builder::new().prefix("two-phase-commit-bank-").tempdir() {
                Ok(folder) => Ok(Self::Temporary(folder)),
                Err(error) => Err(Failure::of(Exit::Refused, error)),
            },
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }

    /// What was found must stay, to be looked into.
    fn keep_if(self, violated: bool) -> Option<PathBuf> {
        match self {
            Self::Temporary(folder) if violated => Some(folder.keep()),
            Self::Temporary(_) => None,
            Self::Kept(path) => Some(path),
        }
    }
}
