//! A server in a process of its own, and clients in theirs that are run against it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::{CompareError, Extent};
use crate::{
    load::Sample,
    process::{ProcessError, Server, this_binary},
    system::System,
    workload::Workload,
};

/// A server and the folder it shares with its clients.
pub(crate) struct Hosted {
    /// Which system.
    pub(crate) system: System,
    /// Its process.
    pub(crate) server: Server,
    /// The folder.
    pub(crate) site: TempDir,
}

impl Hosted {
    /// Starts a server for `workloads`, all of the same loss.
    ///
    /// # Errors
    ///
    /// As [`Server::start`].
    pub(crate) fn start(system: System, workloads: &[Workload]) -> Result<Self, CompareError> {
        let site = tempfile::tempdir().map_err(CompareError::Site)?;
        let loss = workloads.first().map_or(0.0, |workload| workload.loss());
        Ok(Self { system, server: Server::start(system, site.path(), loss)?, site })
    }
}

/// Runs one client process against `server` and returns what it measured.
///
/// # Errors
///
/// [`ProcessError::Ended`] if it failed; its message is on stderr.
pub(crate) fn load_once(
    system: System,
    site: &Path,
    server: &Server,
    workload: Workload,
    extent: Extent,
) -> Result<Sample, CompareError> {
    let window_seconds = extent.window_seconds.max(workload.least_window_seconds());
    let extent = Extent { window_seconds, ..extent };
    let more = [("--workload", workload.name()), ("--server-pid", server.pid.to_string())];
    client("load", system, (site, server), extent, &more)
}

/// Runs this binary as a client, with the `role` and its options, and reads what it prints.
///
/// # Errors
///
/// As [`load_once`].
pub(crate) fn client<T: DeserializeOwned>(
    role: &str,
    system: System,
    (site, server): (&Path, &Server),
    extent: Extent,
    more: &[(&str, String)],
) -> Result<T, CompareError> {
    let what = format!("the client of {} ({role}, {more:?})", system.name());
    let output = Command::new(this_binary()?)
        .args([role, system.name(), "--site"])
        .arg(site)
        .args(["--address", &server.address.to_string()])
        .args(["--warm-up", &extent.warm_up_seconds.to_string()])
        .args(["--window", &extent.window_seconds.to_string()])
        .args(more.iter().flat_map(|(option, value)| [*option, value]))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| ProcessError::Child { what: what.clone(), source })?;
    if !output.status.success() {
        return Err(ProcessError::Ended { what }.into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
