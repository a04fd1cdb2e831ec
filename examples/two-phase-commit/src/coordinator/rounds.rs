//! The rounds of a transaction that is not decided: execute, prepare, decide.
//!
//! If all its participants write, prepare brings the operations, and their locks are held from the vote to
//! the decision: one round. If one of them only reads, it votes READ and releases at once, which is
//! serializable only if all locks of the transaction are held by then: so all participants execute first,
//! and are prepared in a second round.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Coordinator, MAX_VALUES, MAX_WAITING, Outcome, Timer, Why};
use crate::machine::{Outputs, Push as _, RequestId, Time};
use crate::message::{
    Account, Action, Address, Body, Execution, ExecutionId, Message, No, Op, Transaction, Value,
    Vote, Work,
};
use crate::planted::{Bug, planted};
use crate::record::{CoordinatorRecord, Durability};
use crate::txid::{LogId, NodeId, TxId};

/// A transaction that is not decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Active {
    transaction: Transaction,
    parts: BTreeMap<NodeId, Vec<Op>>,
    stage: Stage,
    /// Who has not answered in this stage.
    missing: BTreeSet<NodeId>,
    values: BTreeMap<Account, i64>,
    /// On which log each participant spoke.
    logs: BTreeMap<NodeId, LogId>,
    yes: BTreeMap<NodeId, LogId>,
    waiting: Vec<RequestId>,
    since: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Execute { done: BTreeMap<NodeId, ExecutionId> },
    Prepare,
}

impl Active {
    fn new(transaction: Transaction, first: RequestId, since: Time) -> Self {
        let parts = transaction.by_participant();
        let is_one_round = parts.len() == 1 || parts.values().all(|ops| ops.iter().any(Op::writes));
        let stage =
            if is_one_round { Stage::Prepare } else { Stage::Execute { done: BTreeMap::new() } };
        Self {
            missing: parts.keys().copied().collect(),
            transaction,
            parts,
            stage,
            values: BTreeMap::new(),
            logs: BTreeMap::new(),
            yes: BTreeMap::new(),
            waiting: vec![first],
            since,
        }
    }

    /// True if this is the transaction that runs.
    pub(super) fn is(&self, transaction: &Transaction) -> bool {
        self.transaction == *transaction
    }

    /// When it was begun.
    pub(super) fn since(&self) -> Time {
        self.since
    }

    pub(super) fn accounts(&self) -> usize {
        self.transaction.ops.len()
    }

    /// One more waits for the outcome. Who has waited longest may have to go.
    pub(super) fn wait(&mut self, id: RequestId) -> Option<RequestId> {
        let oldest = (self.waiting.len() >= MAX_WAITING).then(|| self.waiting.remove(0));
        self.waiting.push(id);
        oldest
    }

    /// The participants that write. Only these may be asked as peers: one that has read forgets it.
    fn writers(&self) -> Vec<NodeId> {
        let writes = |(_, ops): &(&NodeId, &Vec<Op>)| ops.iter().any(Op::writes);
        self.parts.iter().filter(writes).map(|(&node, _)| node).collect()
    }

    /// Takes what a participant has read. False if that is not what it was asked to read.
    fn take_values(&mut self, from: NodeId, values: Vec<Value>) -> bool {
        let ops = self.parts.get(&from).map(Vec::as_slice).unwrap_or_default();
        let reads = ops.iter().filter(|op| op.action == Action::Read).map(|op| &op.account);
        if !reads.eq(values.iter().map(|value| &value.account)) {
            return false;
        }
        let named = |Value { account, balance }| (Account { at: from, name: account }, balance);
        self.values.extend(values.into_iter().map(named));
        true
    }

    fn has_values_of(&self, from: NodeId) -> bool {
        self.values.keys().any(|account| account.at == from)
    }

    /// True if the participant spoke with the same log before, or not at all.
    fn takes_log(&mut self, from: NodeId, log: LogId) -> bool {
        *self.logs.entry(from).or_insert(log) == log
    }
}

impl Coordinator {
    pub(super) fn start(
        &mut self,
        id: RequestId,
        txid: TxId,
        transaction: Transaction,
        now: Time,
        out: &mut Outputs<Self>,
    ) {
        let active = Active::new(transaction, id, now);
        let peers = active.writers();
        for (&participant, ops) in &active.parts {
            let body = match active.stage {
                Stage::Execute { .. } => Body::Execute { ops: ops.clone() },
                Stage::Prepare => {
                    Body::Prepare { work: Work::Ops(ops.clone()), peers: peers.clone() }
                }
            };
            out.send(Address::Participant(participant), Message { txid, body });
        }
        self.active.insert(txid, active);
        self.timers.set(Timer::Round(txid), now.saturating_add(self.options.vote_timeout));
    }

    pub(super) fn executed(
        &mut self,
        from: NodeId,
        txid: TxId,
        log: LogId,
        result: Result<Execution, No>,
        now: Time,
        out: &mut Outputs<Self>,
    ) {
        let Some(active) = self.active.get_mut(&txid) else { return };
        if !matches!(active.stage, Stage::Execute { .. }) || !active.missing.contains(&from) {
            return;
        }
        let is_same_log = active.takes_log(from, log);
        if !self.has_its_log(from, txid, log, out) || !is_same_log {
            return self.abort(txid, Why::WipedDisk(from), out);
        }
        let Execution { id, values } = match result {
            Ok(execution) => execution,
            Err(no) => return self.abort(txid, Why::No { participant: from, no }, out),
        };
        let Some(active) = self.active.get_mut(&txid) else { return };
        if !active.take_values(from, values) {
            return self.abort(txid, Why::Broken(from), out);
        }
        if let Stage::Execute { done } = &mut active.stage {
            done.insert(from, id);
        }
        active.missing.remove(&from);
        if active.missing.is_empty() {
            self.prepare(txid, now, out);
        }
    }

    /// The second round: all locks are held now, unless somebody votes no.
    fn prepare(&mut self, txid: TxId, now: Time, out: &mut Outputs<Self>) {
        let Some(active) = self.active.get_mut(&txid) else { return };
        let peers = active.writers();
        if let Stage::Execute { done } = std::mem::replace(&mut active.stage, Stage::Prepare) {
            for (participant, id) in done {
                active.missing.insert(participant);
                let body = Body::Prepare { work: Work::Executed(id), peers: peers.clone() };
                out.send(Address::Participant(participant), Message { txid, body });
            }
        }
        self.timers.set(Timer::Round(txid), now.saturating_add(self.options.vote_timeout));
    }

    pub(super) fn vote(
        &mut self,
        from: NodeId,
        txid: TxId,
        log: LogId,
        vote: Vote,
        now: Time,
        out: &mut Outputs<Self>,
    ) {
        let Some(active) = self.active.get_mut(&txid) else { return };
        if active.stage != Stage::Prepare || !active.missing.contains(&from) {
            return;
        }
        let is_same_log = active.takes_log(from, log);
        if !self.has_its_log(from, txid, log, out) || !is_same_log {
            return self.abort(txid, Why::WipedDisk(from), out);
        }
        let Some(active) = self.active.get_mut(&txid) else { return };
        let writes = active.writers().contains(&from);
        // What was executed has been read then, and the vote repeats nothing.
        let is_sound = match vote {
            Vote::No(no) => return self.abort(txid, Why::No { participant: from, no }, out),
            Vote::Yes { values } if writes => {
                active.yes.insert(from, log);
                active.has_values_of(from) && values.is_empty() || active.take_values(from, values)
            }
            Vote::Read { values } if !writes => {
                active.has_values_of(from) && values.is_empty() || active.take_values(from, values)
            }
            Vote::Yes { .. } | Vote::Read { .. } => false,
        };
        if !is_sound {
            return self.abort(txid, Why::Broken(from), out);
        }
        active.missing.remove(&from);
        if active.missing.is_empty() {
            self.commit(txid, now, out);
        }
    }

    /// All have voted, and none against it.
    fn commit(&mut self, txid: TxId, now: Time, out: &mut Outputs<Self>) {
        let Some(active) = self.active.remove(&txid) else { return };
        self.timers.clear(Timer::Round(txid));
        if !active.yes.is_empty() {
            let early = planted(Bug::CommitSentBeforeForced);
            let durability = if early { Durability::Lazy } else { Durability::Force };
            self.keep(
                CoordinatorRecord::Commit { txid, participants: active.yes },
                durability,
                out,
            );
            self.send_commits(txid, now, out);
        }
        let values = Some(active.values.into_iter().collect());
        self.tell(txid, &active.waiting, Outcome::Committed { values }, out);
    }

    /// The participants that miss this will inquire, and it will be presumed.
    fn abort(&mut self, txid: TxId, why: Why, out: &mut Outputs<Self>) {
        let Some(active) = self.active.remove(&txid) else { return };
        self.timers.clear(Timer::Round(txid));
        for &participant in active.parts.keys() {
            out.send(Address::Participant(participant), Message { txid, body: Body::Abort });
        }
        self.tell(txid, &active.waiting, Outcome::Aborted(why), out);
    }

    /// A round has taken too long.
    pub(super) fn silent(&mut self, txid: TxId, now: Time, out: &mut Outputs<Self>) {
        let Some(active) = self.active.get_mut(&txid) else { return };
        if planted(Bug::SilenceIsYes) && active.stage == Stage::Prepare && !active.yes.is_empty() {
            return self.commit(txid, now, out);
        }
        let missing = active.missing.iter().copied().collect();
        self.abort(txid, Why::Silent(missing), out);
    }

    fn tell(
        &mut self,
        txid: TxId,
        waiting: &[RequestId],
        outcome: Outcome,
        out: &mut Outputs<Self>,
    ) {
        for &id in waiting {
            out.reply(id, Answer::Outcome(outcome.clone()));
        }
        let kept = match outcome {
            Outcome::Committed { values } => {
                let values = values.filter(|values| values.len() <= MAX_VALUES);
                Outcome::Committed { values }
            }
            other => other,
        };
        self.answers.insert(txid, kept, self.options.max_answers);
    }
}
