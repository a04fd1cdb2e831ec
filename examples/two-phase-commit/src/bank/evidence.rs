//! What is on the disks once all processes have ended.

use std::{path::Path, time::Duration};

use miette::{Report, miette};
use stable_store::{FileStorage, Opening, Options};
use two_phase_commit::{
    coordinator::{self, Coordinator},
    judge::Evidence,
    machine::Machine,
    node::Node,
    participant::{self, Participant},
    txid::{LogId, NodeId},
};

use super::claims;
use crate::nodes::COORDINATOR;

/// Recovers every log in the folder, and reads what clients claim.
pub(super) fn gather(folder: &Path) -> Result<Evidence, Report> {
    let claims = claims::read(folder).map_err(|error| {
        let file = folder.join(claims::FILE);
        Report::from_err(error).wrap_err(format!("cannot read {}", file.display()))
    })?;
    let mut evidence = Evidence { claims, ..Evidence::default() };
    let participants = participants(folder)?;
    for id in &participants {
        let make = |log| Participant::new(*id, log, participant::Options::default());
        let node = recover(&folder.join(format!("{id}.d")), make)?;
        let machine = node.machine();
        evidence.ledgers.insert(*id, machine.ledger().clone());
        let listed = machine.in_doubt(Duration::ZERO).into_iter();
        evidence.in_doubt.extend(listed.map(|line| (*id, line)));
        evidence.locked += machine.locks().len() as u64;
    }
    coordinator(folder, participants, &mut evidence)?;
    Ok(evidence)
}

fn coordinator(
    folder: &Path,
    participants: Vec<NodeId>,
    evidence: &mut Evidence,
) -> Result<(), Report> {
    let make = |log| Coordinator::new(log, participants, coordinator::Options::default());
    let node = recover(&folder.join(format!("{COORDINATOR}.d")), make)?;
    let machine = node.machine();
    evidence.committed = machine.committed().collect();
    evidence.forgotten = machine.forgotten();
    evidence.unfinished = machine.unfinished().into_iter().map(|(txid, _)| txid).collect();
    Ok(())
}

/// The participants that have a directory here.
fn participants(folder: &Path) -> Result<Vec<NodeId>, Report> {
    let mut ids = Vec::new();
    for entry in folder.read_dir().map_err(Report::from_err)? {
        let name = entry.map_err(Report::from_err)?.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".d"));
        ids.extend(name.and_then(|name| name.parse::<NodeId>().ok()));
    }
    ids.sort_unstable();
    if ids.is_empty() {
        Err(miette!("no participant has books in {}", folder.display()))
    } else {
        Ok(ids)
    }
}

fn recover<M: Machine>(
    directory: &Path,
    make: impl FnOnce(LogId) -> M,
) -> Result<Node<M, FileStorage>, Report> {
    let about = |report: Report| report.wrap_err(format!("{} cannot be read", directory.display()));
    let files = FileStorage::open(directory).map_err(|error| about(Report::from_err(error)))?;
    let opening = Opening::new(files, Options::default());
    let opening = opening.map_err(|error| about(Report::from_err(error)))?;
    let machine = make(opening.id().into());
    let opened = Node::open(opening, machine, Duration::ZERO, &mut |_| ());
    Ok(opened.map_err(|error| about(Report::from_err(error)))?.node)
}
