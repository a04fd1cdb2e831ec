//! A bank of any size: its keys, its policies, and the command lines of its nodes.

use std::path::Path;

use miette::Report;
use two_phase_commit::message::Account;

use crate::{
    cluster::{Cluster, NODES},
    nodes::COORDINATOR,
};

/// What each account is opened with, in minor units.
const OPENING: i64 = 1000;

/// The operator's name.
pub(super) const OPERATOR: &str = "operator";

const PARTICIPANT_POLICY: &str = include_str!("../../policy/participant.acl");

/// A bank that has been founded and not opened.
pub(super) struct Town {
    pub(super) cluster: Cluster,
    pub(super) participants: Vec<String>,
    pub(super) clients: Vec<String>,
    pub(super) accounts: Vec<Account>,
}

impl Town {
    /// Writes all files of a bank into `folder`.
    pub(super) fn found(
        folder: &Path,
        participants: u16,
        clients: u16,
        accounts: u16,
    ) -> Result<Self, Report> {
        let cluster = Cluster::at(folder).map_err(Report::from_err)?;
        let participants: Vec<_> = (1..=participants).map(|n| format!("p{n}")).collect();
        let clients: Vec<_> = (1..=clients).map(|n| format!("c{n}")).collect();
        let accounts = (0..accounts)
            .map(|n| format!("{}/a{n}", participants[usize::from(n) % participants.len()]).parse())
            .collect::<Result<_, _>>()
            .map_err(Report::from_err)?;
        let town = Self { cluster, participants, clients, accounts };
        town.write_files()?;
        Ok(town)
    }

    fn write_files(&self) -> Result<(), Report> {
        let officials = [COORDINATOR.to_owned(), OPERATOR.to_owned()];
        let everyone = [&officials[..], &self.participants, &self.clients].concat();
        for name in &everyone {
            self.cluster.keygen(name)?;
        }
        let files = [
            ("principals.acl", self.cluster.principal_lines(&everyone)?),
            (NODES, self.cluster.node_lines(&self.participants)?),
            ("coordinator.acl", self.coordinator_policy()),
            ("participant.acl", self.participant_policy()),
        ];
        let mut files = files.iter();
        files.try_for_each(|(file, text)| self.cluster.write(file, text)).map_err(Report::from_err)
    }

    /// Each client may use every account: here it is about faults, not about rights.
    fn coordinator_policy(&self) -> String {
        format!(
            "acl 1\nserial 1\n\
             group @participants = {}\n\
             group @clients = {}\n\
             @clients      | transaction | begin,outcome   | allow\n\
             @clients      | from/**     | transfer        | allow\n\
             @clients      | to/**       | transfer        | allow\n\
             @clients      | account/**  | read            | allow\n\
             @participants | transaction | inquire         | allow\n\
             {OPERATOR}    | transaction | observe,outcome | allow\n",
            self.participants.join(", "),
            self.clients.join(", "),
        )
    }

    fn participant_policy(&self) -> String {
        let group = format!("group @participants = {}", self.participants.join(", "));
        let line = |line: &str| {
            if line.starts_with("group @participants") { group.clone() } else { line.to_owned() }
        };
        PARTICIPANT_POLICY.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
    }

    /// All nodes, each with what its command line has beside the usual.
    pub(super) fn nodes(&self) -> Vec<(String, Vec<String>)> {
        let mut nodes: Vec<_> =
            self.participants.iter().map(|name| self.participant(name)).collect();
        nodes.push((COORDINATOR.to_owned(), Vec::new()));
        nodes
    }

    fn participant(&self, name: &str) -> (String, Vec<String>) {
        let held = self.accounts.iter().filter(|account| account.at.to_string() == name);
        let open = held.map(|account| format!("{}={OPENING}", account.name));
        (name.to_owned(), ["--open".to_owned()].into_iter().chain(open).collect())
    }
}
