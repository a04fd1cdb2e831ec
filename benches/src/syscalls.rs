//! Counts the system calls with which a server writes, by running it under `strace`.
//!
//! Tracing slows each of them, which makes batches larger than they would be: the figure shows
//! whether a system batches, not how well it does at full speed.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use serde::Serialize;
use thiserror::Error;

use crate::{
    compare::{CompareError, Extent, load_once},
    peer::System,
    process::{ProcessError, Server, this_binary},
    report::table,
    workload::Workload,
};

/// The system calls with which a socket is written.
const WRITES: [&str; 5] = ["write", "writev", "sendto", "sendmsg", "sendmmsg"];

/// Write system calls of one server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Count {
    /// Which system.
    pub(crate) system: System,
    /// Calls it answered, from start to end.
    pub(crate) calls: u64,
    /// Write system calls it made for them, from start to end.
    pub(crate) writes: u64,
}

impl Count {
    /// Write system calls per call.
    pub(crate) fn per_call(&self) -> f64 {
        self.writes as f64 / self.calls as f64
    }
}

/// Why nothing could be counted.
#[derive(Debug, Error)]
pub(crate) enum SyscallsError {
    /// Install it, for example with `apt-get install strace`.
    #[error("`strace` is missing: install it, for example with `apt-get install strace`")]
    NoStrace,
    /// A server or a client failed, perhaps because tracing is not permitted.
    #[error(transparent)]
    Run(#[from] CompareError),
    /// strace left no summary.
    #[error("strace left no summary")]
    Summary(#[source] io::Error),
}

impl From<ProcessError> for SyscallsError {
    fn from(error: ProcessError) -> Self {
        Self::Run(error.into())
    }
}

/// Counts for every system, with 64 calls outstanding on one connection.
///
/// # Errors
///
/// [`SyscallsError::NoStrace`] if there is no `strace` to run.
pub(crate) fn run(extent: Extent) -> Result<Vec<Count>, SyscallsError> {
    require_strace()?;
    let counted = |system: &System| system.has(Workload::Outstanding64);
    System::ALL.into_iter().filter(counted).map(|system| count(system, extent)).collect()
}

/// The write system calls of each server, as a table.
pub(crate) fn text(counts: &[Count]) -> String {
    let rows = counts.iter().map(|count| {
        vec![
            count.system.name().to_owned(),
            count.calls.to_string(),
            count.writes.to_string(),
            format!("{:.3}", count.per_call()),
        ]
    });
    let head = ["server, 64 outstanding", "calls", "write system calls", "per call"];
    table(&head, rows)
}

fn require_strace() -> Result<(), SyscallsError> {
    let version = Command::new("strace").arg("--version").stdout(Stdio::null()).status();
    version.map(drop).map_err(|_| SyscallsError::NoStrace)
}

fn count(system: System, extent: Extent) -> Result<Count, SyscallsError> {
    let site = tempfile::tempdir().map_err(CompareError::Site)?;
    let summary = site.path().join("strace");
    let server = Server::start_with(traced(&summary)?, system, site.path(), 0.0)?;
    let sample = load_once(system, site.path(), &server, Workload::Outstanding64, extent)?;
    server.stop()?;
    let text = fs::read_to_string(&summary).map_err(SyscallsError::Summary)?;
    Ok(Count { system, calls: sample.calls_in_all, writes: writes_in(&text) })
}

fn traced(summary: &Path) -> Result<Command, ProcessError> {
    let mut command = Command::new("strace");
    // The filter in the kernel lets all other system calls run at full speed.
    command.args(["-f", "-c", "--seccomp-bpf", "-e"]);
    command.arg(format!("trace={}", WRITES.join(",")));
    command.arg("-o").arg(summary).arg(this_binary()?);
    Ok(command)
}

/// Adds up the `calls` column (the fourth) of strace's summary.
fn writes_in(summary: &str) -> u64 {
    let rows = summary.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words.last()?;
        WRITES.contains(name).then_some(())?;
        words.get(3)?.parse::<u64>().ok()
    });
    rows.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_is_counted_and_nothing_else() {
        let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           6       100         2 sendto
 30.00    0.000300           6        50           write
 10.00    0.000100           6        17           read
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000                   167         2 total
";
        assert_eq!(writes_in(summary), 150);
    }
}
