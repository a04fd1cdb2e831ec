//! What a coordinator knows from its log alone: which transactions it has committed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::machine::Rejected;
use crate::record::CoordinatorRecord;
use crate::txid::{LogId, NodeId, TxId};

/// Committed transactions, in part forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Decisions {
    /// Not acknowledged by all, or not known to be: by whom it must be, and on which log.
    pub(super) unfinished: BTreeMap<TxId, BTreeMap<NodeId, LogId>>,
    finished: BTreeSet<TxId>,
    /// Up to here some are forgotten: what is not known may have committed.
    pub(super) forgotten: Option<TxId>,
    /// The log on which each participant voted last.
    pub(super) logs: BTreeMap<NodeId, LogId>,
}

/// A part of a coordinator's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Item {
    /// The log of a participant.
    Log(NodeId, LogId),
    /// Up to this one, finished transactions are not all known any more.
    Forgotten(TxId),
    /// Committed and acknowledged by all.
    Finished(TxId),
    /// Committed.
    Unfinished(TxId, BTreeMap<NodeId, LogId>),
}

impl Decisions {
    pub(super) fn committed(&self) -> impl Iterator<Item = TxId> {
        self.finished.iter().chain(self.unfinished.keys()).copied()
    }

    pub(super) fn has_committed(&self, txid: TxId) -> bool {
        self.unfinished.contains_key(&txid) || self.finished.contains(&txid)
    }

    /// True if it may have committed so long ago that nobody remembers.
    pub(super) fn may_have_forgotten(&self, txid: TxId) -> bool {
        self.forgotten.is_some_and(|last| txid <= last)
    }

    /// Takes a record in; at most `keep` finished transactions stay known.
    pub(super) fn replay(
        &mut self,
        record: &CoordinatorRecord,
        keep: usize,
    ) -> Result<(), Rejected> {
        match record {
            CoordinatorRecord::Commit { txid, participants } => {
                if participants.is_empty() || self.has_committed(*txid) {
                    return Err(Rejected(format!("{txid} is committed twice, or by nobody")));
                }
                self.logs.extend(participants);
                self.unfinished.insert(*txid, participants.clone());
            }
            CoordinatorRecord::End { txid } => {
                if self.unfinished.remove(txid).is_none() {
                    return Err(Rejected(format!("{txid} ends and was not committed")));
                }
                self.finished.insert(*txid);
                // The same at each replay: the smallest name goes first.
                while self.finished.len() > keep {
                    self.forgotten = self.forgotten.max(self.finished.pop_first());
                }
            }
        }
        Ok(())
    }

    pub(super) fn restore(&mut self, item: Item) {
        match item {
            Item::Log(participant, log) => {
                self.logs.insert(participant, log);
            }
            Item::Forgotten(txid) => self.forgotten = self.forgotten.max(Some(txid)),
            Item::Finished(txid) => {
                self.finished.insert(txid);
            }
            Item::Unfinished(txid, participants) => {
                self.unfinished.insert(txid, participants);
            }
        }
    }

    pub(super) fn snapshot(&self) -> Vec<Item> {
        let logs = self.logs.iter().map(|(&participant, &log)| Item::Log(participant, log));
        let unfinished =
            self.unfinished.iter().map(|(&txid, all)| Item::Unfinished(txid, all.clone()));
        let finished = self.finished.iter().copied().map(Item::Finished);
        logs.chain(self.forgotten.map(Item::Forgotten)).chain(finished).chain(unfinished).collect()
    }

    pub(super) fn size(&self) -> u64 {
        (self.finished.len() * 40 + self.unfinished.len() * 120) as u64
    }
}
