//! What a participant does about what it has promised and is not told: it asks the coordinator, then its
//! peers; an operator may decide. Alone it never gives up: the others may have committed.

use super::{Heuristic, InDoubt, Participant, Ready, Refused, State, Timer, Waiting};
use crate::machine::{Outputs, Push as _, Report, Time};
use crate::message::{Address, Body, Message, Op, PeerState};
use crate::planted::{Bug, planted};
use crate::record::{Durability, ParticipantRecord, Verdict};
use crate::timers::backoff;
use crate::txid::{NodeId, TxId};

impl Participant {
    /// Starts to ask for the decision, some time from now.
    pub(super) fn await_decision(&mut self, txid: TxId, now: Time) {
        if planted(Bug::LocksReleasedAtYes)
            && let Some(ready) = self.ready.get(&txid)
        {
            self.locks.release(txid, &ready.redo);
        }
        if let Some(waiting) = self.waiting(txid) {
            waiting.since = now;
            self.timers.set(Timer::Inquire(txid), now.saturating_add(self.options.inquire));
        }
    }

    /// Asks once more.
    pub(super) fn inquire(&mut self, txid: TxId, now: Time, out: &mut Outputs<Self>) {
        if planted(Bug::InquiryForgotten) {
            return;
        }
        if planted(Bug::AbortedAlone) && self.ready.contains_key(&txid) {
            return self.abort(txid, out);
        }
        let (first, most) = (self.options.inquire, self.options.inquire_most);
        let Some(waiting) = self.waiting(txid) else { return };
        let unanswered = waiting.unanswered;
        let next = now.saturating_add(backoff(first, most, waiting.inquiries));
        waiting.inquiries = waiting.inquiries.saturating_add(1);
        waiting.unanswered = waiting.unanswered.saturating_add(1);
        self.timers.set(Timer::Inquire(txid), next);
        Self::tell_coordinator(txid, Body::Inquire, out);
        // The coordinator is gone, it seems. A peer that is asked may have to abort, so not before.
        if unanswered >= self.options.patience {
            self.ask_peers(txid, out);
        }
        if unanswered == self.options.patience.saturating_add(1) && self.ready.contains_key(&txid) {
            out.report(Report::Blocked { txid });
        }
    }

    fn ask_peers(&self, txid: TxId, out: &mut Outputs<Self>) {
        let peers = self.ready.get(&txid).map(|ready| ready.peers.as_slice()).unwrap_or_default();
        for &peer in peers.iter().filter(|&&peer| peer != self.me) {
            out.send(Address::Participant(peer), Message { txid, body: Body::AskPeer });
        }
    }

    /// The coordinator is there, and has not decided.
    pub(super) fn pending(&mut self, txid: TxId) {
        if let Some(waiting) = self.waiting(txid) {
            waiting.unanswered = 0;
        }
    }

    pub(super) fn asked_by_peer(
        &mut self,
        from: NodeId,
        txid: TxId,
        now: Time,
        out: &mut Outputs<Self>,
    ) {
        let state = match self.damaged.get(&txid) {
            // What was decided, not what was done here by hand.
            Some(Verdict::Commit) => PeerState::Aborted,
            Some(Verdict::Abort) => PeerState::Committed,
            // An operator's decision is for this node alone.
            None if self.heuristic.contains_key(&txid) => PeerState::Ready,
            None if self.ready.contains_key(&txid) => PeerState::Ready,
            None if self.ledger.has_committed(txid) => PeerState::Committed,
            None if self.tombstones.contains_key(&txid) => PeerState::Aborted,
            None => {
                if self.heuristic.len() + self.ready.len() + self.tombstones.len()
                    >= self.options.max_in_doubt
                {
                    return;
                }
                self.abort_for_peer(txid, now, out);
                PeerState::Init
            }
        };
        let body = Body::PeerState(state);
        out.send(Address::Participant(from), Message { txid, body });
    }

    /// Never to be prepared from now on, and forced: the peer will abort because of it. It is kept until the
    /// coordinator says that it has aborted, and so can no longer count a yes of ours.
    fn abort_for_peer(&mut self, txid: TxId, now: Time, out: &mut Outputs<Self>) {
        self.drop_execution(txid);
        if planted(Bug::TombstoneNotKept) {
            return;
        }
        self.keep(ParticipantRecord::Tombstone { txid }, Durability::Force, out);
        self.await_decision(txid, now);
    }

    pub(super) fn told_by_peer(
        &mut self,
        from: NodeId,
        txid: TxId,
        state: PeerState,
        out: &mut Outputs<Self>,
    ) {
        if !self.ready.get(&txid).is_some_and(|ready| ready.peers.contains(&from)) {
            return;
        }
        match state {
            PeerState::Committed => self.commit(txid, out),
            PeerState::Init | PeerState::Aborted => self.abort(txid, out),
            PeerState::Ready => {}
        }
    }

    pub(super) fn resolve(
        &mut self,
        txid: TxId,
        verdict: Verdict,
        now: Time,
        out: &mut Outputs<Self>,
    ) -> Result<(), Refused> {
        if !self.ready.contains_key(&txid) {
            return Err(Refused::NotInDoubt(txid));
        }
        self.keep(ParticipantRecord::Heuristic { txid, verdict }, Durability::Force, out);
        // Asked on, to know whether it was right.
        self.await_decision(txid, now);
        Ok(())
    }

    fn waiting(&mut self, txid: TxId) -> Option<&mut Waiting> {
        let ready = self.ready.get_mut(&txid).map(|ready| &mut ready.waiting);
        let heuristic = self.heuristic.get_mut(&txid).map(|heuristic| &mut heuristic.waiting);
        ready.or(heuristic).or(self.tombstones.get_mut(&txid))
    }
}

/// All that is in doubt, in the order of names.
pub(super) fn list(node: &Participant, now: Time) -> Vec<InDoubt> {
    let age = |waiting: &Waiting| now.saturating_sub(waiting.since);
    let mut lines = Vec::new();
    for (&txid, Ready { peers, redo, waiting }) in &node.ready {
        let is_blocked = waiting.unanswered > node.options.patience;
        let state = if is_blocked { State::Blocked } else { State::Ready };
        let accounts = redo.iter().map(|Op { account, .. }| account.clone()).collect();
        lines.push(InDoubt { txid, state, age: age(waiting), peers: peers.clone(), accounts });
    }
    for (&txid, Heuristic { verdict, peers, waiting }) in &node.heuristic {
        let (state, peers) = (State::Heuristic(*verdict), peers.clone());
        lines.push(InDoubt { txid, state, age: age(waiting), peers, accounts: Vec::new() });
    }
    for (&txid, waiting) in &node.tombstones {
        let (state, age) = (State::Tombstone, age(waiting));
        lines.push(InDoubt { txid, state, age, peers: Vec::new(), accounts: Vec::new() });
    }
    for (&txid, &here) in &node.damaged {
        let (state, age) = (State::Damaged { here }, Time::ZERO);
        lines.push(InDoubt { txid, state, age, peers: Vec::new(), accounts: Vec::new() });
    }
    lines.sort_by_key(|line| line.txid);
    lines
}
