//! A participant as a service.

use bailiwick::{CallError, Context};
use two_phase_commit::{
    message::{Body, Execution, No, Op, PeerState, Vote, Work},
    participant::{self, Answer, Request},
    record::Verdict,
    txid::{LogId, NodeId, TxId},
};

use super::{engine::Engine, waiters::Awaited};
use crate::services::{Doubts, MAX_LISTED, Participant, Refusal};

/// What the service's methods need.
pub(crate) struct Service {
    engine: Engine<participant::Participant>,
}

impl Service {
    pub(crate) fn new(engine: Engine<participant::Participant>) -> Self {
        Self { engine }
    }
}

impl Participant for Service {
    async fn execute(
        &self,
        cx: &Context,
        txid: TxId,
        ops: Vec<Op>,
    ) -> Result<(LogId, Result<Execution, No>), CallError<Refusal>> {
        match self.engine.exchange(cx, txid, Body::Execute { ops }, Awaited::Executed).await? {
            Body::Executed { log, result } => Ok((log, result)),
            _ => Err(CallError::Internal),
        }
    }

    async fn prepare(
        &self,
        cx: &Context,
        txid: TxId,
        work: Work,
        peers: Vec<NodeId>,
    ) -> Result<(LogId, Vote), CallError<Refusal>> {
        match self.engine.exchange(cx, txid, Body::Prepare { work, peers }, Awaited::Vote).await? {
            Body::Vote { log, vote } => Ok((log, vote)),
            _ => Err(CallError::Internal),
        }
    }

    async fn commit(&self, cx: &Context, txid: TxId) -> Result<LogId, CallError<Refusal>> {
        match self.engine.exchange(cx, txid, Body::Commit, Awaited::Ack).await? {
            Body::Ack { log } => Ok(log),
            _ => Err(CallError::Internal),
        }
    }

    async fn abort(&self, cx: &Context, txid: TxId) -> Result<(), CallError<Refusal>> {
        self.engine.tell(cx, txid, Body::Abort)
    }

    async fn ask(&self, cx: &Context, txid: TxId) -> Result<PeerState, CallError<Refusal>> {
        match self.engine.exchange(cx, txid, Body::AskPeer, Awaited::PeerState).await? {
            Body::PeerState(state) => Ok(state),
            _ => Err(CallError::Internal),
        }
    }

    async fn in_doubt(&self, _: &Context) -> Result<Doubts, CallError<Refusal>> {
        let look = |participant: &participant::Participant, now| {
            let mut listed = participant.in_doubt(now);
            let total = listed.len() as u64;
            listed.truncate(MAX_LISTED);
            Doubts { gauges: participant.gauges(now), listed, total }
        };
        self.engine.look(look).await
    }

    async fn resolve(
        &self,
        _: &Context,
        txid: TxId,
        verdict: Verdict,
    ) -> Result<(), CallError<Refusal>> {
        match self.engine.request(Request::Resolve { txid, verdict }).await? {
            Answer::Resolved => Ok(()),
            Answer::Refused(refused) => Err(Refusal::Participant(refused))?,
            Answer::Opened | Answer::InDoubt(_) => Err(CallError::Internal),
        }
    }
}
