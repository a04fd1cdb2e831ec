//! The file that names the nodes: where each listens, and the key that it must prove.
//!
//! ```text
//! # name       endpoint                key
//! coordinator  tcp://127.0.0.1:7410    ed25519:…
//! p1           tcp://127.0.0.1:7411    ed25519:…
//! ```

use std::{collections::BTreeMap, fs, io, path::Path};

use bailiwick::{Endpoint, PublicKey};
use two_phase_commit::{message, txid::NodeId};

/// The one name that is not a participant's.
pub(crate) const COORDINATOR: &str = "coordinator";

/// Where a node listens, and which key it must prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) endpoint: Endpoint,
    pub(crate) key: PublicKey,
}

/// One coordinator and its participants, by name.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    pub(crate) coordinator: Address,
    pub(crate) participants: BTreeMap<NodeId, Address>,
}

impl Nodes {
    /// Reads the file at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, NodesError> {
        let file = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&file, &text),
            Err(source) => Err(NodesError::Unreadable { file, source }),
        }
    }

    fn parse(file: &str, text: &str) -> Result<Self, NodesError> {
        let (mut coordinator, mut participants) = (None, BTreeMap::new());
        for (index, line) in text.lines().enumerate() {
            let malformed =
                |why: String| NodesError::Line { file: file.to_owned(), line: index + 1, why };
            let content = line.split_once('#').map_or(line, |(content, _)| content);
            let words: Vec<_> = content.split_whitespace().collect();
            let [name, endpoint, key] = words[..] else {
                if words.is_empty() {
                    continue;
                }
                return Err(malformed("write a name, an endpoint and a key".to_owned()));
            };
            let endpoint = endpoint.parse().map_err(|error| malformed(format!("{error}")))?;
            let key = key.parse().map_err(|error| malformed(format!("{error}")))?;
            let address = Address { endpoint, key };
            let before = match node(name) {
                Some(message::Address::Coordinator) => coordinator.replace(address),
                Some(message::Address::Participant(id)) => participants.insert(id, address),
                None => return Err(malformed(format!("`{name}` is no node's name"))),
            };
            if before.is_some() {
                return Err(malformed(format!("`{name}` stands here for the second time")));
            }
        }
        let coordinator =
            coordinator.ok_or_else(|| NodesError::NoCoordinator { file: file.to_owned() })?;
        Ok(Self { coordinator, participants })
    }

    /// The participant of that name.
    pub(crate) fn participant(&self, id: NodeId) -> Result<&Address, NodesError> {
        self.participants.get(&id).ok_or_else(|| NodesError::NoParticipant {
            id,
            known: self.participants.keys().map(NodeId::to_string).collect::<Vec<_>>().join(", "),
        })
    }
}

/// The node that a name stands for: `coordinator`, or `p1`, `p2` and so on. Their principals have
/// the same names.
pub(crate) fn node(name: &str) -> Option<message::Address> {
    if name == COORDINATOR {
        return Some(message::Address::Coordinator);
    }
    name.parse().ok().map(message::Address::Participant)
}

/// Why a file of nodes cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum NodesError {
    #[error("cannot read the nodes in {file}")]
    #[diagnostic(help("a line for each node: its name, its endpoint, its key"))]
    Unreadable {
        file: String,
        #[source]
        source: io::Error,
    },
    #[error("{file}:{line}: {why}")]
    #[diagnostic(help("a line is a node: `p1 tcp://127.0.0.1:7411 ed25519:<64 hex digits>`"))]
    Line { file: String, line: usize, why: String },
    #[error("{file} names no coordinator")]
    #[diagnostic(help("add a line `{COORDINATOR} tcp://127.0.0.1:7410 ed25519:<64 hex digits>`"))]
    NoCoordinator { file: String },
    #[error("there is no participant {id}")]
    #[diagnostic(help("the file of nodes has: {known}"))]
    NoParticipant { id: NodeId, known: String },
}

#[cfg(test)]
mod tests {
    use bailiwick::Identity;

    use super::*;

    fn key() -> PublicKey {
        Identity::generate(&mut rand::rng()).public_key()
    }

    #[test]
    fn a_line_is_a_node() {
        let (a, b) = (key(), key());
        let text = format!("# nodes\n\ncoordinator tcp://h:1 {a}\n p1\tudp://h:2 {b} # here\n");
        let nodes = Nodes::parse("nodes", &text).expect("a file as it should be");
        assert_eq!(nodes.coordinator, Address { endpoint: Endpoint::tcp("h:1"), key: a });
        assert_eq!(nodes.participant(NodeId(1)).expect("it is there").key, b);
        assert!(matches!(nodes.participant(NodeId(2)), Err(NodesError::NoParticipant { .. })));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let key = key();
        let wrong = [
            (format!("coordinator tcp://h:1 {key}\np1 tcp://h:2\n"), "write a name"),
            (format!("p1 b {key}\n"), "tcp://"),
            ("p1 tcp://h:2 ed25519:00\n".to_owned(), "nodes:1"),
            (format!("zurich tcp://h:2 {key}\n"), "no node's name"),
            (format!("p1 tcp://h:2 {key}\np1 tcp://h:2 {key}\n"), "second time"),
            (format!("p1 tcp://h:2 {key}\n"), "no coordinator"),
        ];
        for (text, words) in wrong {
            let error = Nodes::parse("nodes", &text).expect_err("it is wrong").to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
