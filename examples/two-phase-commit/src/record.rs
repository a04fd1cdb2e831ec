//! What the two logs say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::message::Op;
use crate::txid::{LogId, NodeId, TxId};

/// Whether what comes behind a record may leave the node before the record is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// It may not.
    Force,
    /// It may: losing the record costs a message later, and no promise.
    Lazy,
}

/// A line of the coordinator's log. There is none for an abort: that is presumed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CoordinatorRecord {
    /// Decided, forced. From here on it happens.
    Commit {
        /// What.
        txid: TxId,
        /// Who must acknowledge, and on which log each voted yes.
        participants: BTreeMap<NodeId, LogId>,
    },
    /// All have acknowledged, lazy.
    End {
        /// What.
        txid: TxId,
    },
}

/// A line of a participant's log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ParticipantRecord {
    /// Accounts were opened, forced.
    Open {
        /// By name, with what they hold at first, in minor units.
        accounts: BTreeMap<String, i64>,
    },
    /// Voted yes, forced. The coordinator is the one that `txid` names.
    Prepared {
        /// What.
        txid: TxId,
        /// All participants that write.
        peers: Vec<NodeId>,
        /// What to do on commit, and what was read: both stay locked.
        redo: Vec<Op>,
    },
    /// Committed, forced; the redo is applied where this stands.
    Commit {
        /// What.
        txid: TxId,
    },
    /// Aborted, lazy: who has forgotten it inquires again. It ends a tombstone, too.
    Abort {
        /// What.
        txid: TxId,
    },
    /// Aborted before it was prepared, forced, because a peer was told so. It may not be prepared later.
    Tombstone {
        /// What.
        txid: TxId,
    },
    /// Decided by an operator, forced.
    Heuristic {
        /// What.
        txid: TxId,
        /// How.
        verdict: Verdict,
    },
    /// The coordinator's decision has come for what an operator had decided, forced if it differs.
    Settled {
        /// What.
        txid: TxId,
        /// What the coordinator decided.
        decided: Verdict,
    },
}

/// A decision that is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// All of it happens.
    Commit,
    /// None of it happens.
    Abort,
}
