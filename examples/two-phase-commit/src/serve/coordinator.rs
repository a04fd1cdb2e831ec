//! The coordinator as a service.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bailiwick::{CallError, Context, PublicKey};
use two_phase_commit::{
    coordinator::{self, Answer, Outcome, Request},
    message::{Body, Decision, Transaction},
    txid::TxId,
};

use super::{engine::Engine, waiters::Awaited};
use crate::services::{Accounts, Coordinator, Fate, MAX_LISTED, Refusal, Transfer, Unfinished};

/// Most names whose clients are known; the oldest go, and run no more.
const MAX_BEGUN: usize = 100_000;

/// What the service's methods need.
pub(crate) struct Service {
    engine: Engine<coordinator::Coordinator>,
    epoch: u64,
    /// Whom each name of this boot was given to. Without it one client could run something under
    /// the name that another was given, and that one would take it for its own.
    begun: Mutex<BTreeMap<TxId, PublicKey>>,
}

impl Service {
    /// `epoch` is that of this boot.
    pub(crate) fn new(engine: Engine<coordinator::Coordinator>, epoch: u64) -> Self {
        Self { engine, epoch, begun: Mutex::default() }
    }

    async fn ask(&self, request: Request) -> Result<Answer, CallError<Refusal>> {
        match self.engine.request(request).await? {
            Answer::Refused(refused) => Err(Refusal::Coordinator(refused))?,
            answer => Ok(answer),
        }
    }

    async fn run(
        &self,
        cx: &Context,
        txid: TxId,
        transaction: Transaction,
    ) -> Result<Outcome, CallError<Refusal>> {
        let may_begin = txid.epoch == self.epoch;
        if may_begin && self.begun().get(&txid).copied() != client(cx) {
            Err(Refusal::NotYours(txid))?;
        }
        self.outcome_of(Request::Run { txid, transaction }).await
    }

    async fn outcome_of(&self, request: Request) -> Result<Outcome, CallError<Refusal>> {
        match self.ask(request).await? {
            Answer::Outcome(outcome) => Ok(outcome),
            _ => Err(CallError::Internal),
        }
    }

    fn begun(&self) -> std::sync::MutexGuard<'_, BTreeMap<TxId, PublicKey>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Coordinator for Service {
    async fn begin(&self, cx: &Context) -> Result<TxId, CallError<Refusal>> {
        let Answer::Begun(txid) = self.ask(Request::Begin).await? else {
            return Err(CallError::Internal);
        };
        let mut begun = self.begun();
        if let Some(client) = client(cx) {
            begun.insert(txid, client);
        }
        if begun.len() > MAX_BEGUN {
            begun.pop_first();
        }
        Ok(txid)
    }

    async fn transfer(
        &self,
        cx: &Context,
        txid: TxId,
        Transfer { from, to, amount }: Transfer,
    ) -> Result<Outcome, CallError<Refusal>> {
        let transaction = Transaction::transfer(from, to, amount)
            .map_err(|bad| Refusal::Coordinator(coordinator::Refused::Bad(bad)))?;
        self.run(cx, txid, transaction).await
    }

    async fn read(
        &self,
        cx: &Context,
        txid: TxId,
        Accounts(accounts): Accounts,
    ) -> Result<Outcome, CallError<Refusal>> {
        let transaction = Transaction::audit(accounts)
            .map_err(|bad| Refusal::Coordinator(coordinator::Refused::Bad(bad)))?;
        self.run(cx, txid, transaction).await
    }

    async fn outcome(&self, _: &Context, txid: TxId) -> Result<Fate, CallError<Refusal>> {
        self.outcome_of(Request::Outcome { txid }).await.map(|outcome| Fate::from(&outcome))
    }

    async fn inquire(&self, cx: &Context, txid: TxId) -> Result<Decision, CallError<Refusal>> {
        match self.engine.exchange(cx, txid, Body::Inquire, Awaited::Decision).await? {
            Body::Decision(decision) => Ok(decision),
            _ => Err(CallError::Internal),
        }
    }

    async fn unfinished(&self, _: &Context) -> Result<Vec<Unfinished>, CallError<Refusal>> {
        let Answer::Unfinished(all) = self.ask(Request::Unfinished).await? else {
            return Err(CallError::Internal);
        };
        let listed = all.into_iter().take(MAX_LISTED);
        Ok(listed.map(|(txid, missing)| Unfinished { txid, missing }).collect())
    }
}

fn client(cx: &Context) -> Option<PublicKey> {
    cx.call_key().map(|call| call.client)
}
