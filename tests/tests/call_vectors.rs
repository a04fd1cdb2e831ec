//! `docs/vectors/calls.json`: whole calls, byte for byte, in records and in packets.
//!
//! The file is computed straight from the formulas and tables of `docs/protocol.md`, under the keys
//! of the handshakes in `crypto/vectors`, and shares no code with what it shows. To write it anew
//! after a change of the protocol:
//!
//! ```text
//! BAILIWICK_WRITE_VECTORS=1 cargo test -p bailiwick-tests call_vectors
//! ```

mod connection;
mod fields;
mod replay;
mod sealed;
mod service;
mod story;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use fields::Field;
use sealed::{Keys, Packet, Record};

const ABOUT: &str = "Known answers of Bailiwick's calls, version 1: one conversation, in order, as \
    TCP carries it in records and UDP in packets; docs/protocol.md has the tables. Values are \
    hexadecimal. The keys are epoch 0 of the handshakes that are named. The table is empty at the \
    start; the client may read and write table/*, but for table/payroll.";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct File {
    about: String,
    tcp: Keys,
    udp: Keys,
    steps: Vec<Step>,
    /// Frames that the conversation has no place for.
    others: Vec<Plain>,
}

/// One frame (or, only on UDP, one acknowledgement of fragments) with all that is around it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Step {
    name: String,
    from: Side,
    fields: Vec<Field>,
    /// The fields joined: what is sealed.
    bytes: String,
    record: Option<Record>,
    packets: Vec<Packet>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Plain {
    name: String,
    from: Side,
    fields: Vec<Field>,
    bytes: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    Client,
    Server,
}

#[test]
fn the_file_is_what_the_formulas_give() {
    let computed = story::file();
    if std::env::var_os("BAILIWICK_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&computed).unwrap() + "\n";
        std::fs::write(path(), text).unwrap();
    }
    assert_eq!(read(), computed);
}

fn read() -> File {
    serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap()
}

fn path() -> PathBuf {
    root().join("docs/vectors/calls.json")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
