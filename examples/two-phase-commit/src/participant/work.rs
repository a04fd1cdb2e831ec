//! The work of a transaction: lock, read, promise, and do it or not.

use std::collections::BTreeSet;

use super::{Executed, Heuristic, Participant, Ready, Timer, Waiting};
use crate::machine::{Outputs, Push as _, Report, Time};
use crate::message::{Action, Body, Execution, ExecutionId, MAX_OPS, No, Op, Value, Vote, Work};
use crate::planted::{Bug, planted};
use crate::record::{Durability, ParticipantRecord, Verdict};
use crate::txid::{NodeId, TxId};

/// Does what a record says. `None` if it cannot stand here.
pub(super) fn replay(node: &mut Participant, record: &ParticipantRecord) -> Option<()> {
    match record {
        ParticipantRecord::Open { accounts } => {
            for (name, opening) in accounts {
                node.ledger.open(name.clone(), *opening).then_some(())?;
            }
        }
        ParticipantRecord::Prepared { txid, peers, redo } => {
            node.ledger.evaluate(redo).ok()?;
            // What is in doubt is locked again before anything is served.
            if node.epoch.is_some() || !planted(Bug::LocksNotRetaken) {
                node.locks.acquire(*txid, redo).ok()?;
            }
            let (peers, redo) = (peers.clone(), redo.clone());
            let ready = Ready { peers, redo, waiting: Waiting::default() };
            node.ready.insert(*txid, ready).is_none().then_some(())?;
        }
        ParticipantRecord::Commit { txid } => {
            let ready = node.take_ready(*txid)?;
            node.ledger.apply(*txid, &ready.redo).then_some(())?;
        }
        ParticipantRecord::Abort { txid } => {
            let was_ready = node.take_ready(*txid).is_some();
            let was_tombstone = node.tombstones.remove(txid).is_some();
            (was_ready || was_tombstone).then_some(())?;
        }
        ParticipantRecord::Tombstone { txid } => {
            node.tombstones.insert(*txid, Waiting::default()).is_none().then_some(())?;
        }
        ParticipantRecord::Heuristic { txid, verdict } => {
            let Ready { peers, redo, waiting } = node.take_ready(*txid)?;
            if *verdict == Verdict::Commit {
                node.ledger.apply(*txid, &redo).then_some(())?;
            }
            node.heuristic.insert(*txid, Heuristic { verdict: *verdict, peers, waiting });
        }
        ParticipantRecord::Settled { txid, decided } => {
            let Heuristic { verdict, .. } = node.heuristic.remove(txid)?;
            if verdict != *decided {
                node.damaged.insert(*txid, verdict);
            }
        }
    }
    Some(())
}

impl Participant {
    pub(super) fn execute(&mut self, txid: TxId, ops: Vec<Op>, now: Time, out: &mut Outputs<Self>) {
        if self.is_past_prepare(txid) {
            return; // a late duplicate
        }
        let result = self.execution(txid, ops, now);
        Self::tell_coordinator(txid, Body::Executed { log: self.log, result }, out);
    }

    fn execution(&mut self, txid: TxId, ops: Vec<Op>, now: Time) -> Result<Execution, No> {
        if self.tombstones.contains_key(&txid) {
            return Err(No::AlreadyAborted);
        }
        if let Some(executed) = self.executed.get(&txid) {
            return Ok(Execution { id: executed.id, values: self.ledger.evaluate(&executed.ops)? });
        }
        if self.executed.len() >= self.options.max_executed {
            return Err(No::Overloaded);
        }
        let values = self.lock(txid, &ops)?;
        self.executions += 1;
        let id = ExecutionId { epoch: self.epoch.unwrap_or_default(), counter: self.executions };
        self.executed.insert(txid, Executed { id, ops });
        let expires = now.saturating_add(self.options.execution_timeout);
        self.timers.set(Timer::Execution(txid), expires);
        Ok(Execution { id, values })
    }

    pub(super) fn prepare(
        &mut self,
        txid: TxId,
        work: Work,
        peers: Vec<NodeId>,
        now: Time,
        out: &mut Outputs<Self>,
    ) {
        let vote = if let Some(ready) = self.ready.get(&txid) {
            // Its accounts have been locked ever since, so this reads what the first vote said.
            self.ledger.evaluate(&ready.redo).map(|values| Vote::Yes { values })
        } else if self.is_past_prepare(txid) {
            return; // a late duplicate
        } else {
            self.vote(txid, work, peers, now, out)
        };
        let body = Body::Vote { log: self.log, vote: vote.unwrap_or_else(Vote::No) };
        Self::tell_coordinator(txid, body, out);
    }

    fn vote(
        &mut self,
        txid: TxId,
        work: Work,
        peers: Vec<NodeId>,
        now: Time,
        out: &mut Outputs<Self>,
    ) -> Result<Vote, No> {
        if self.tombstones.contains_key(&txid) {
            return Err(No::AlreadyAborted);
        }
        let (ops, values) = match work {
            Work::Ops(ops) => {
                self.drop_execution(txid);
                let values = self.lock(txid, &ops)?;
                (ops, values)
            }
            Work::Executed(id) => {
                let Executed { ops, .. } = self.take_execution(txid, id)?;
                let values = self.ledger.evaluate(&ops)?;
                (ops, values)
            }
        };
        if !ops.iter().any(Op::writes) {
            // Nothing to decide here. All other locks of the transaction are held by now: else it would not
            // be prepared with a participant that only reads.
            self.locks.release(txid, &ops);
            return Ok(Vote::Read { values });
        }
        if let Err(no) = self.may_be_in_doubt(&peers) {
            self.locks.release(txid, &ops);
            return Err(no);
        }
        let early = planted(Bug::YesBeforeForce);
        let durability = if early { Durability::Lazy } else { Durability::Force };
        self.keep(ParticipantRecord::Prepared { txid, peers, redo: ops }, durability, out);
        self.await_decision(txid, now);
        Ok(Vote::Yes { values })
    }

    /// Told so by the coordinator, or by a peer that was.
    pub(super) fn commit(&mut self, txid: TxId, out: &mut Outputs<Self>) {
        if self.ready.contains_key(&txid) {
            let early = planted(Bug::AckBeforeForce);
            let durability = if early { Durability::Lazy } else { Durability::Force };
            self.keep(ParticipantRecord::Commit { txid }, durability, out);
        } else if self.heuristic.contains_key(&txid) {
            self.settle(txid, Verdict::Commit, out);
        } else if self.tombstones.contains_key(&txid) || self.executed.contains_key(&txid) {
            return out.report(Report::CommitOfAborted { txid });
        } else if !self.ledger.has_committed(txid) && !self.damaged.contains_key(&txid) {
            // Finished and forgotten. If it is the disk that forgot, then our log's name tells.
            out.report(Report::CommitOfUnknown { txid });
        }
        Self::tell_coordinator(txid, Body::Ack { log: self.log }, out);
    }

    /// Told so by the coordinator, or by a peer that was or never said yes.
    pub(super) fn abort(&mut self, txid: TxId, out: &mut Outputs<Self>) {
        self.drop_execution(txid);
        if self.ready.contains_key(&txid) || self.tombstones.contains_key(&txid) {
            self.keep(ParticipantRecord::Abort { txid }, Durability::Lazy, out);
            self.timers.clear(Timer::Inquire(txid));
        } else if self.heuristic.contains_key(&txid) {
            self.settle(txid, Verdict::Abort, out);
        }
    }

    fn settle(&mut self, txid: TxId, decided: Verdict, out: &mut Outputs<Self>) {
        let is_damage = self.heuristic.get(&txid).is_some_and(|it| it.verdict != decided);
        let durability = if is_damage { Durability::Force } else { Durability::Lazy };
        self.keep(ParticipantRecord::Settled { txid, decided }, durability, out);
        self.timers.clear(Timer::Inquire(txid));
        if is_damage {
            out.report(Report::HeuristicDamage { txid });
        }
    }

    /// Gives up what is locked and not promised.
    pub(super) fn drop_execution(&mut self, txid: TxId) {
        if let Some(Executed { ops, .. }) = self.executed.remove(&txid) {
            self.locks.release(txid, &ops);
            self.timers.clear(Timer::Execution(txid));
        }
    }

    /// The execution that a prepare builds on, its locks still held.
    fn take_execution(&mut self, txid: TxId, id: ExecutionId) -> Result<Executed, No> {
        // Another execution than the coordinator knows of, after a restart and a late duplicate, may have
        // read something else.
        let is_it = |executed: &Executed| executed.id == id || planted(Bug::AnyExecution);
        if !self.executed.get(&txid).is_some_and(is_it) {
            return Err(No::Expired);
        }
        self.timers.clear(Timer::Execution(txid));
        self.executed.remove(&txid).ok_or(No::Expired)
    }

    /// Locks all accounts and reads them, or does nothing.
    fn lock(&mut self, txid: TxId, ops: &[Op]) -> Result<Vec<Value>, No> {
        check(ops)?;
        self.locks.acquire(txid, ops).map_err(|by| No::Locked { by })?;
        let values = self.ledger.evaluate(ops);
        if values.is_err() {
            self.locks.release(txid, ops);
        }
        values
    }

    /// Takes out what is in doubt, its locks released.
    fn take_ready(&mut self, txid: TxId) -> Option<Ready> {
        let ready = self.ready.remove(&txid)?;
        self.locks.release(txid, &ready.redo);
        self.timers.clear(Timer::Inquire(txid));
        Some(ready)
    }

    /// True if the coordinator needs no vote any more, or must not get another one.
    fn is_past_prepare(&self, txid: TxId) -> bool {
        self.ready.contains_key(&txid)
            || self.heuristic.contains_key(&txid)
            || self.damaged.contains_key(&txid)
            || self.ledger.has_committed(txid)
    }

    fn may_be_in_doubt(&self, peers: &[NodeId]) -> Result<(), No> {
        let is_set = peers.iter().collect::<BTreeSet<_>>().len() == peers.len();
        if peers.len() > MAX_OPS || !is_set || !peers.contains(&self.me) {
            return Err(No::Malformed("its peers are not a set with this one in it".to_owned()));
        }
        let in_doubt = self.ready.len() + self.heuristic.len() + self.tombstones.len();
        if in_doubt < self.options.max_in_doubt { Ok(()) } else { Err(No::Overloaded) }
    }
}

/// The coordinator has checked it; but a promise is ours.
fn check(ops: &[Op]) -> Result<(), No> {
    let named: BTreeSet<_> = ops.iter().map(|op| &op.account).collect();
    if ops.is_empty() || ops.len() > MAX_OPS || named.len() != ops.len() {
        return Err(No::Malformed("no account, too many, or one twice".to_owned()));
    }
    if ops.iter().any(|op| op.action == Action::Add(0)) {
        return Err(No::Malformed("nothing is added to an account".to_owned()));
    }
    Ok(())
}
