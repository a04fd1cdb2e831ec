//! What a decision costs: ours beside casbin and Cedar on the same rows, and our server under few rows
//! and under a million.

mod calls;
mod contender;
mod goals;
mod report;
mod rows;

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bailiwick_acl::PolicyErrors;
use serde::Serialize;
use tempfile::TempDir;
use thiserror::Error;

pub(crate) use self::{
    calls::Documented,
    contender::{Task, play},
    goals::judge,
    report::text,
};
use self::{
    contender::{Contender, Figures},
    rows::{Files, Request},
};
use crate::{
    compare::{CompareError, Extent, load_once},
    goals::Verdict,
    load::Sample,
    machine::Machine,
    ours::SetupError,
    peer::System,
    process::{ProcessError, Server, this_binary},
    workload::Workload,
};

/// The numbers of rows.
const ROWS: [usize; 3] = [10, 10_000, 1_000_000];

/// From so many rows on a peer gets one try, and none in a quick run.
const MANY: usize = 1_000_000;

/// How long one process may take to load and decide. Ours needs seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Objects that are called in turn.
const CALLED_OBJECTS: usize = 65_536;

/// How far the peers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Peers {
    /// Not to a million rows.
    Quick,
    /// To a million rows, once, if they can do it within a minute.
    Full,
}

/// One process that loaded and decided.
#[derive(Debug, Clone, Serialize)]
struct Decided {
    contender: Contender,
    rows: usize,
    repetition: u32,
    #[serde(flatten)]
    figures: Figures,
}

/// What was not measured.
#[derive(Debug, Clone, Serialize)]
struct Skipped {
    contender: Contender,
    rows: usize,
    why: &'static str,
}

/// One window of calls to our server.
#[derive(Debug, Clone, Serialize)]
struct Called {
    rows: usize,
    workload: Workload,
    repetition: u32,
    sample: Sample,
}

/// Everything one run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    machine: Machine,
    extent: Extent,
    peers: Peers,
    decided: Vec<Decided>,
    skipped: Vec<Skipped>,
    called: Vec<Called>,
}

/// A whole run as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    /// What was measured.
    #[serde(flatten)]
    pub(crate) measured: &'a Measured,
    /// The goals.
    pub(crate) goals: &'a [Verdict],
}

/// Why the run stopped.
#[derive(Debug, Error)]
pub(crate) enum PolicyBenchError {
    /// A child failed; its own message is on stderr.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A client of our server failed.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// Our server cannot be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A file cannot be written or read.
    #[error("a file of the comparison cannot be written or read")]
    Io(#[from] io::Error),
    /// A child printed something else than its result.
    #[error("the result of a child cannot be read")]
    Result(#[from] serde_json::Error),
    /// The rows that we made are refused.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    /// casbin failed.
    #[error("casbin: {0}")]
    Casbin(#[from] casbin::Error),
    /// Cedar failed.
    #[error("cedar-policy: {0}")]
    Cedar(String),
    /// The same rows mean something else to a peer, so the comparison would be none.
    #[error("{contender} decides other than ours under {rows} rows")]
    Disagree {
        /// Which peer.
        contender: &'static str,
        /// How many rows.
        rows: usize,
    },
}

impl PolicyBenchError {
    fn cedar(error: impl std::fmt::Display) -> Self {
        Self::Cedar(error.to_string())
    }
}

/// Measures all of it; says on stderr how far it is.
///
/// # Errors
///
/// Whatever failed first.
pub(crate) fn run(extent: Extent, peers: Peers) -> Result<Measured, PolicyBenchError> {
    let machine = Machine::here();
    let mut measured = Measured {
        machine,
        extent,
        peers,
        decided: Vec::new(),
        skipped: Vec::new(),
        called: Vec::new(),
    };
    for rows in ROWS {
        let folder = tempfile::tempdir()?;
        rows::write(folder.path(), rows, "")?;
        for repetition in 0..extent.repetitions {
            eprintln!("decisions under {rows} rows, {} of {}", repetition + 1, extent.repetitions);
            measured.decide(folder.path(), rows, repetition)?;
        }
    }
    measured.compare_answers()?;
    measured.call()?;
    Ok(measured)
}

impl Measured {
    /// Every engine once; each repetition begins with another one.
    fn decide(
        &mut self,
        folder: &Path,
        rows: usize,
        repetition: u32,
    ) -> Result<(), PolicyBenchError> {
        let mut order = Contender::ALL;
        order.rotate_left(repetition as usize % Contender::ALL.len());
        for contender in order {
            if rows >= MANY && contender != Contender::Bailiwick {
                if repetition > 0 {
                    continue;
                }
                if self.peers == Peers::Quick {
                    self.skipped.push(Skipped { contender, rows, why: "not in a quick run" });
                    continue;
                }
            }
            match one_process(contender, folder, self.extent.window_seconds)? {
                Some(figures) => {
                    self.decided.push(Decided { contender, rows, repetition, figures });
                }
                None => {
                    let why = "did not load and decide within a minute";
                    self.skipped.push(Skipped { contender, rows, why });
                }
            }
        }
        Ok(())
    }

    fn compare_answers(&self) -> Result<(), PolicyBenchError> {
        for decided in &self.decided {
            let ours =
                |it: &&Decided| it.contender == Contender::Bailiwick && it.rows == decided.rows;
            let ours = self.decided.iter().find(ours).map(|it| &it.figures.answers);
            if ours.is_some_and(|ours| *ours != decided.figures.answers) {
                let contender = decided.contender.name();
                return Err(PolicyBenchError::Disagree { contender, rows: decided.rows });
            }
        }
        Ok(())
    }

    /// Calls to a server with the fewest rows and to one with the most, in turn.
    fn call(&mut self) -> Result<(), PolicyBenchError> {
        let objects = called()?;
        let mut servers = Vec::new();
        for rows in [ROWS[0], MANY] {
            let site = tempfile::tempdir()?;
            calls::prepare(site.path(), rows, &objects)?;
            let server = Server::start(System::BailiwickDocuments, site.path(), 0.0)?;
            servers.push((rows, site, server));
        }
        for repetition in 0..self.extent.repetitions {
            eprintln!("calls, {} of {}", repetition + 1, self.extent.repetitions);
            for workload in [Workload::Outstanding64, Workload::Outstanding256] {
                servers.reverse();
                for (rows, site, server) in &servers {
                    let sample = one_window(site, server, workload, self.extent)?;
                    self.called.push(Called { rows: *rows, workload, repetition, sample });
                }
            }
        }
        servers.into_iter().try_for_each(|(.., server)| server.stop())?;
        Ok(())
    }

    /// `measure` of each process of `contender` with so many rows.
    fn each(
        &self,
        contender: Contender,
        rows: usize,
        measure: impl Fn(&Figures) -> f64,
    ) -> impl Iterator<Item = f64> {
        let of = move |it: &&Decided| it.contender == contender && it.rows == rows;
        self.decided.iter().filter(of).map(move |it| measure(&it.figures))
    }

    /// Calls a second of each window, in order of repetition.
    fn calls(&self, rows: usize, workload: Workload) -> impl Iterator<Item = f64> {
        let of = move |it: &&Called| it.rows == rows && it.workload == workload;
        self.called.iter().filter(of).map(|it| it.sample.calls_per_second())
    }
}

fn one_window(
    site: &TempDir,
    server: &Server,
    workload: Workload,
    extent: Extent,
) -> Result<Sample, CompareError> {
    load_once(System::BailiwickDocuments, site.path(), server, workload, extent)
}

/// Makes what a server with so many rows and its clients need, in `site`.
///
/// # Errors
///
/// What the disk said.
pub(crate) fn prepare_calls(site: &Path, rows: usize) -> Result<(), PolicyBenchError> {
    calls::prepare(site, rows, &called()?)
}

/// The documents that calls name, however few of them the rows of a server do.
fn called() -> Result<Vec<Request>, PolicyBenchError> {
    let many = tempfile::tempdir()?;
    calls::prepare(many.path(), MANY, &[])?;
    documents(&Files::in_folder(many.path()).ours)
}

/// Documents that rows of our policy name, from all over it.
fn documents(policy: &Path) -> Result<Vec<Request>, PolicyBenchError> {
    let mut documents = Vec::new();
    for line in BufReader::new(File::open(policy)?).lines() {
        let line = line?;
        let object = line.split(" | ").nth(1).filter(|object| object.contains("/docs/d"));
        documents.extend(object.map(str::to_owned));
    }
    let step = (documents.len() / CALLED_OBJECTS).max(1);
    let request = |object| Request { user: String::new(), verb: String::new(), object };
    Ok(documents.into_iter().step_by(step).map(request).collect())
}

/// Runs one engine in a process of its own; `None` if it takes too long.
fn one_process(
    contender: Contender,
    folder: &Path,
    window_seconds: f64,
) -> Result<Option<Figures>, PolicyBenchError> {
    let what = format!("the process of {}", contender.name());
    let failed = |source| ProcessError::Child { what: what.clone(), source };
    let mut child = Command::new(this_binary()?)
        .args(["policy-decide", contender.name(), "--folder"])
        .arg(folder)
        .args(["--window", &window_seconds.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if !ends_within(&mut child, PATIENCE).map_err(failed)? {
        child.kill().and_then(|()| child.wait()).map_err(failed)?;
        return Ok(None);
    }
    // It prints less than a pipe holds, so it never waits for us to read.
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(ProcessError::Ended { what }.into());
    }
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

fn ends_within(child: &mut Child, patience: Duration) -> io::Result<bool> {
    let begin = Instant::now();
    while begin.elapsed() < patience {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(false)
}
