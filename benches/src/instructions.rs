//! Counts the instructions that a server spends on a call, by running it under callgrind.
//!
//! They do not depend on what else the machine does. Two runs that differ in their calls alone cancel
//! what starting and ending cost.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use serde::Serialize;
use thiserror::Error;

use crate::{
    compare::{CompareError, Extent, load_once},
    process::{ProcessError, Server, this_binary},
    report::table,
    system::System,
    workload::Workload,
};

/// Whose servers are counted, and with how many calls outstanding.
const SYSTEMS: [System; 5] =
    [System::FloorAfterYield, System::Bailiwick, System::Tarpc, System::TarpcTls, System::TonicTls];

/// As many outstanding as batches thrive on, so that what a batch costs is shared by many.
const WORKLOAD: Workload = Workload::Outstanding256;

/// How much longer the second run is.
const LONGER: f64 = 5.0;

/// Instructions of one server.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Count {
    /// Which system.
    pub(crate) system: System,
    /// Calls by which the two runs differ.
    pub(crate) calls: u64,
    /// Instructions by which they do.
    pub(crate) instructions: u64,
}

impl Count {
    /// Instructions a call.
    pub(crate) fn per_call(&self) -> f64 {
        self.instructions as f64 / self.calls as f64
    }
}

/// Why nothing could be counted.
#[derive(Debug, Error)]
pub(crate) enum InstructionsError {
    /// Install it, for example with `apt-get install valgrind`.
    #[error("`valgrind` is missing: install it, for example with `apt-get install valgrind`")]
    NoValgrind,
    /// A server or a client failed.
    #[error(transparent)]
    Run(#[from] CompareError),
    /// callgrind left no totals.
    #[error("callgrind left no totals")]
    Totals(#[source] io::Error),
    /// The longer run made no more calls than the shorter.
    #[error("the longer run of {0} made no more calls than the shorter: lengthen the window")]
    NoCalls(&'static str),
}

impl From<ProcessError> for InstructionsError {
    fn from(error: ProcessError) -> Self {
        Self::Run(error.into())
    }
}

/// Counts for some systems, one after the other.
///
/// # Errors
///
/// [`InstructionsError::NoValgrind`] if there is no `valgrind` to run.
pub(crate) fn run(extent: Extent) -> Result<Vec<Count>, InstructionsError> {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    version.map_err(|_| InstructionsError::NoValgrind)?;
    SYSTEMS.into_iter().map(|system| count(system, extent)).collect()
}

/// The instructions of each server, as a table.
pub(crate) fn text(counts: &[Count]) -> String {
    let rows = counts.iter().map(|count| {
        let per_call = format!("{:.0}", count.per_call());
        vec![count.system.name().to_owned(), count.calls.to_string(), per_call]
    });
    table(&["server, 256 outstanding", "calls", "instructions a call"], rows)
}

fn count(system: System, extent: Extent) -> Result<Count, InstructionsError> {
    let longer = Extent { window_seconds: LONGER * extent.window_seconds, ..extent };
    let (few, little) = one_run(system, extent)?;
    let (many, much) = one_run(system, longer)?;
    let calls = many.checked_sub(few).filter(|calls| *calls > 0);
    let calls = calls.ok_or(InstructionsError::NoCalls(system.name()))?;
    Ok(Count { system, calls, instructions: much.saturating_sub(little) })
}

/// Calls that a server answered, and its instructions, from start to end.
fn one_run(system: System, extent: Extent) -> Result<(u64, u64), InstructionsError> {
    let site = tempfile::tempdir().map_err(CompareError::Site)?;
    let totals = site.path().join("callgrind");
    let server = Server::start_with(counted(&totals)?, system, site.path(), 0.0)?;
    let sample = load_once(system, site.path(), &server, WORKLOAD, extent)?;
    server.stop()?;
    let text = fs::read_to_string(&totals).map_err(InstructionsError::Totals)?;
    let instructions = totals_in(&text).ok_or_else(|| {
        InstructionsError::Totals(io::Error::new(io::ErrorKind::InvalidData, "no `totals:` line"))
    })?;
    Ok((sample.calls_in_all, instructions))
}

fn counted(totals: &Path) -> Result<Command, ProcessError> {
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind"]);
    command.arg(format!("--callgrind-out-file={}", totals.display())).arg(this_binary()?);
    Ok(command)
}

fn totals_in(text: &str) -> Option<u64> {
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
    totals.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_are_read_from_what_callgrind_leaves() {
        let text = "# callgrind format\nevents: Ir\nfn=(1) main\n3 42\n\ntotals: 1608548166\n";
        assert_eq!(totals_in(text), Some(1_608_548_166));
        assert_eq!(totals_in("events: Ir\n"), None);
    }
}
