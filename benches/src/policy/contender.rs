//! One engine with one number of rows, in a process of its own: how long it loads, what memory it
//! takes, how long it decides.

use std::{
    collections::HashSet,
    fs, hint,
    path::{Path, PathBuf},
    process,
    time::{Duration, Instant},
};

use bailiwick_acl::{
    Policy,
    policy::{LoadOptions, Source},
};
use casbin::CoreApi as _;
use cedar_policy::{Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{
    PolicyBenchError,
    rows::{Files, Request},
};
use crate::{
    compare::seconds,
    process::{CLIENT_CPU, peak_resident_bytes, pin, reset_peak, resident_bytes},
};

/// Answers that are compared between the engines.
const COMPARED: usize = 32;

/// Decisions between two looks at the clock, where a decision takes less than the look.
const BATCH: usize = 16;

/// The fewest samples, however long they take.
const SAMPLES: usize = 3;

/// The engines, in the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    Bailiwick,
    Casbin,
    CedarPolicy,
}

impl Contender {
    pub(super) const ALL: [Self; 3] = [Self::Bailiwick, Self::Casbin, Self::CedarPolicy];

    /// The name on the command line, in tables and in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bailiwick => "bailiwick",
            Self::Casbin => "casbin",
            Self::CedarPolicy => "cedar-policy",
        }
    }
}

/// The hidden command of the process that is measured.
#[derive(Debug, Args)]
pub(crate) struct Task {
    contender: Contender,
    #[arg(long)]
    folder: PathBuf,
    #[arg(long, value_parser = seconds)]
    window: Duration,
}

/// What one process has seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Figures {
    /// From the file to the first decision.
    pub(super) load_seconds: f64,
    /// Growth of what is in RAM by the loaded policy, in bytes.
    pub(super) resident_bytes: u64,
    /// The most that the process had in RAM until it was loaded, the file's text included.
    pub(super) peak_bytes: u64,
    /// Decisions that were timed.
    pub(super) decisions: usize,
    /// The middle decision, in nanoseconds.
    pub(super) p50_nanos: f64,
    /// The slowest in a hundred.
    pub(super) p99_nanos: f64,
    /// Which of the first requests are allowed.
    pub(super) answers: Vec<bool>,
}

/// Runs the task.
///
/// # Errors
///
/// What the engine or the system said.
pub(crate) fn play(task: &Task) -> Result<impl Serialize, PolicyBenchError> {
    pin(CLIENT_CPU)?;
    let files = Files::in_folder(&task.folder);
    let window = task.window;
    match task.contender {
        Contender::Bailiwick => {
            let loaded = load(|| ours(&files.ours))?;
            let requests = requests(&files)?;
            let known: Vec<_> = requests
                .iter()
                .filter_map(|it| Some((loaded.engine.subjects(&it.user)?, it)))
                .collect();
            loaded.measure(&known, BATCH, window, |policy, (subjects, request)| {
                Ok(policy.decide(subjects, &request.verb, &request.object).is_allowed())
            })
        }
        Contender::Casbin => {
            let loaded = load(|| casbin(&files))?;
            loaded.measure(&requests(&files)?, 1, window, |enforcer, request| {
                Ok(enforcer.enforce((&*request.user, &*request.object, &*request.verb))?)
            })
        }
        Contender::CedarPolicy => {
            let loaded = load(|| cedar(&files.cedar))?;
            let requests = requests(&files)?;
            let (entities, requests) = cedar_world(&files, &requests)?;
            let authorizer = Authorizer::new();
            loaded.measure(&requests, 1, window, |policies, request| {
                let answer = authorizer.is_authorized(request, policies, &entities);
                Ok(answer.decision() == Decision::Allow)
            })
        }
    }
}

/// A loaded engine, and what that took.
struct Loaded<E> {
    engine: E,
    seconds: f64,
    resident_bytes: u64,
    peak_bytes: u64,
}

fn load<E>(
    engine: impl FnOnce() -> Result<E, PolicyBenchError>,
) -> Result<Loaded<E>, PolicyBenchError> {
    let this = process::id();
    reset_peak()?;
    let before = resident_bytes(this)?;
    let begin = Instant::now();
    let engine = engine()?;
    let seconds = begin.elapsed().as_secs_f64();
    let resident_bytes = resident_bytes(this)?.saturating_sub(before);
    Ok(Loaded { engine, seconds, resident_bytes, peak_bytes: peak_resident_bytes()? })
}

impl<E> Loaded<E> {
    /// Asks `requests` again and again until `window` is over.
    fn measure<R>(
        &self,
        requests: &[R],
        batch: usize,
        window: Duration,
        decide: impl Fn(&E, &R) -> Result<bool, PolicyBenchError>,
    ) -> Result<Figures, PolicyBenchError> {
        let mut answers = Vec::new();
        for request in requests.iter().take(COMPARED) {
            answers.push(decide(&self.engine, request)?);
        }
        let mut samples = Vec::new();
        let mut next = requests.iter().cycle();
        let begin = Instant::now();
        while samples.len() < SAMPLES || begin.elapsed() < window {
            let begin = Instant::now();
            for request in next.by_ref().take(batch) {
                hint::black_box(decide(&self.engine, request)?);
            }
            samples.push(begin.elapsed().as_secs_f64() * 1e9 / batch as f64);
        }
        samples.sort_by(f64::total_cmp);
        let percentile = |percent: usize| samples[samples.len() * percent / 100];
        Ok(Figures {
            load_seconds: self.seconds,
            resident_bytes: self.resident_bytes,
            peak_bytes: self.peak_bytes,
            decisions: samples.len() * batch,
            p50_nanos: percentile(50),
            p99_nanos: percentile(99),
            answers,
        })
    }
}

fn requests(files: &Files) -> Result<Vec<Request>, PolicyBenchError> {
    Ok(serde_json::from_slice(&fs::read(&files.requests)?)?)
}

fn ours(file: &Path) -> Result<Policy, PolicyBenchError> {
    let text = fs::read(file)?;
    let source = Source { name: "policy.acl", text: &text };
    Ok(Policy::load(source, &LoadOptions::default())?.policy)
}

fn casbin(files: &Files) -> Result<casbin::Enforcer, PolicyBenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        let model = casbin::DefaultModel::from_file(&files.casbin_model).await?;
        casbin::Enforcer::new(model, casbin::FileAdapter::new(files.casbin.clone())).await
    })?)
}

fn cedar(file: &Path) -> Result<PolicySet, PolicyBenchError> {
    fs::read_to_string(file)?.parse().map_err(PolicyBenchError::cedar)
}

/// The entities of all requests with their parents, and the requests: what an application has ready.
fn cedar_world(
    files: &Files,
    requests: &[Request],
) -> Result<(Entities, Vec<cedar_policy::Request>), PolicyBenchError> {
    let uid = |kind: &str, name: &str| -> Result<EntityUid, PolicyBenchError> {
        format!("{kind}::{name:?}").parse().map_err(PolicyBenchError::cedar)
    };
    let groups: Vec<Vec<String>> = serde_json::from_slice(&fs::read(&files.groups)?)?;
    let mut parents = std::collections::HashMap::<EntityUid, HashSet<EntityUid>>::new();
    for (group, members) in groups.iter().enumerate() {
        let group = uid("Team", &format!("team{group}"))?;
        parents.entry(group.clone()).or_default();
        for member in members {
            parents.entry(uid("User", member)?).or_default().insert(group.clone());
        }
    }
    let mut asked = Vec::new();
    for request in requests {
        let (user, object) = (uid("User", &request.user)?, uid("Object", &request.object)?);
        parents.entry(user.clone()).or_default();
        let mut name = &*request.object;
        while let Some((above, _)) = name.rsplit_once('/') {
            parents.entry(uid("Object", name)?).or_default().insert(uid("Object", above)?);
            name = above;
        }
        parents.entry(uid("Object", name)?).or_default();
        let verb = uid("Action", &request.verb)?;
        let request = cedar_policy::Request::new(user, verb, object, Context::empty(), None);
        asked.push(request.map_err(PolicyBenchError::cedar)?);
    }
    let entities = parents.into_iter().map(|(uid, parents)| Entity::new_no_attrs(uid, parents));
    Ok((Entities::from_entities(entities, None).map_err(PolicyBenchError::cedar)?, asked))
}
