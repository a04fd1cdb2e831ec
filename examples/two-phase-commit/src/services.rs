//! The two services: what each may be asked, and what each method touches in the eyes of the policy.
//!
//! All methods may be repeated: the machines behind them tell transactions apart by name, and a
//! message that comes twice changes nothing.

use bailiwick::{CallError, Context, rpc_service, service::ObjectList};
use serde::{Deserialize, Serialize};
use two_phase_commit::{
    coordinator::{self, Outcome},
    message::{Account, Decision, Execution, No, Op, PeerState, Vote, Work},
    participant::{self, Gauges, InDoubt},
    record::Verdict,
    txid::{LogId, NodeId, TxId},
};

/// Decides. Clients begin transactions here, participants inquire.
#[rpc_service]
pub(crate) trait Coordinator {
    /// A name for a transaction, and nothing else: nothing is kept of it until it runs.
    #[rpc(verb = "begin", object = "transaction", idempotent)]
    async fn begin(&self, cx: &Context) -> Result<TxId, CallError<Refusal>>;

    /// Moves money, at both participants or at neither. Asked again under the same name it answers
    /// what became of it.
    ///
    /// A policy gives the right to take from an account as `from/PARTICIPANT/NAME`, and to give
    /// to it as `to/PARTICIPANT/NAME`.
    #[rpc(verb = "transfer", objects = transfer, idempotent)]
    async fn transfer(
        &self,
        cx: &Context,
        txid: TxId,
        transfer: Transfer,
    ) -> Result<Outcome, CallError<Refusal>>;

    /// Reads balances, all at one moment. A policy gives the right as `account/PARTICIPANT/NAME`.
    #[rpc(verb = "read", objects = accounts, idempotent)]
    async fn read(
        &self,
        cx: &Context,
        txid: TxId,
        accounts: Accounts,
    ) -> Result<Outcome, CallError<Refusal>>;

    /// What became of a transaction. It tells no balances: whoever may ask may ask about others'
    /// transactions, too.
    #[rpc(verb = "outcome", object = "transaction", readonly, reserve)]
    async fn outcome(&self, cx: &Context, txid: TxId) -> Result<Fate, CallError<Refusal>>;

    /// What became of a transaction, for a participant that has promised to follow.
    #[rpc(verb = "inquire", object = "transaction", readonly, reserve)]
    async fn inquire(&self, cx: &Context, txid: TxId) -> Result<Decision, CallError<Refusal>>;

    /// How much is under way, and what is committed and not acknowledged by all, for operators.
    #[rpc(verb = "observe", object = "transaction", readonly)]
    async fn unfinished(&self, cx: &Context) -> Result<UnderWay, CallError<Refusal>>;
}

/// Keeps accounts, and follows the coordinator.
#[rpc_service]
pub(crate) trait Participant {
    /// Locks accounts and reads them, and promises nothing.
    #[rpc(verb = "execute", object = "transaction", idempotent)]
    async fn execute(
        &self,
        cx: &Context,
        txid: TxId,
        ops: Vec<Op>,
    ) -> Result<(LogId, Result<Execution, No>), CallError<Refusal>>;

    /// Promises to commit if it is told so, or refuses.
    #[rpc(verb = "prepare", object = "transaction", idempotent)]
    async fn prepare(
        &self,
        cx: &Context,
        txid: TxId,
        work: Work,
        peers: Vec<NodeId>,
    ) -> Result<(LogId, Vote), CallError<Refusal>>;

    /// It is decided: commit. Answered once that is kept for good.
    #[rpc(verb = "decide", object = "transaction", idempotent, reserve)]
    async fn commit(&self, cx: &Context, txid: TxId) -> Result<LogId, CallError<Refusal>>;

    /// It is decided: abort.
    #[rpc(verb = "decide", object = "transaction", idempotent, reserve)]
    async fn abort(&self, cx: &Context, txid: TxId) -> Result<(), CallError<Refusal>>;

    /// What this participant knows of a transaction that the asking one is in doubt about. One
    /// that is not prepared here is aborted by the question.
    #[rpc(verb = "ask", object = "transaction", idempotent, reserve)]
    async fn ask(&self, cx: &Context, txid: TxId) -> Result<PeerState, CallError<Refusal>>;

    /// What is in doubt here, for operators.
    #[rpc(verb = "observe", object = "transaction", readonly)]
    async fn in_doubt(&self, cx: &Context) -> Result<Doubts, CallError<Refusal>>;

    /// Forces the outcome of a transaction that is in doubt here.
    #[rpc(verb = "resolve", object = "transaction", idempotent, reserve)]
    async fn resolve(
        &self,
        cx: &Context,
        txid: TxId,
        outcome: Verdict,
    ) -> Result<(), CallError<Refusal>>;
}

/// Whom to take from, whom to give to, and how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) from: Account,
    pub(crate) to: Account,
    /// In minor units, at least 1.
    pub(crate) amount: i64,
}

impl ObjectList for Transfer {
    fn for_each(&self, each: &mut dyn FnMut(&str)) {
        each(&format!("from/{}", self.from));
        each(&format!("to/{}", self.to));
    }
}

/// Which balances to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accounts(pub(crate) Vec<Account>);

impl ObjectList for Accounts {
    fn for_each(&self, each: &mut dyn FnMut(&str)) {
        self.0.iter().for_each(|account| each(&format!("account/{account}")));
    }
}

/// What became of a transaction, without what it read and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    Committed,
    Aborted,
    /// Not decided.
    Pending,
    /// Too old to know.
    Forgotten,
}

impl From<&Outcome> for Fate {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Committed { .. } => Self::Committed,
            Outcome::Aborted(_) => Self::Aborted,
            Outcome::Pending => Self::Pending,
            Outcome::Forgotten => Self::Forgotten,
        }
    }
}

/// What is not over at the coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnderWay {
    pub(crate) gauges: coordinator::Gauges,
    /// At most [`MAX_LISTED`] of those that the gauges count as unfinished, the first by name.
    pub(crate) listed: Vec<Unfinished>,
}

/// A commit that participants have yet to acknowledge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unfinished {
    pub(crate) txid: TxId,
    pub(crate) missing: Vec<NodeId>,
}

/// What is in doubt at a participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Doubts {
    pub(crate) gauges: Gauges,
    /// At most [`MAX_LISTED`], the first by name.
    pub(crate) listed: Vec<InDoubt>,
    /// How many there are to list: beside those in doubt such as an operator has resolved, or that
    /// were aborted for a peer.
    pub(crate) total: u64,
}

/// Most transactions of one listing, so that it fits a frame.
pub(crate) const MAX_LISTED: usize = 256;

/// Why a node refuses; nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// The coordinator's own word.
    #[error(transparent)]
    Coordinator(#[from] coordinator::Refused),
    /// The participant's own word.
    #[error(transparent)]
    Participant(#[from] participant::Refused),
    /// A name is for whoever was given it.
    #[error("{0} was not begun by this client")]
    NotYours(TxId),
    /// The key is that of no node of this bank.
    #[error("`{0}` is no node: principals of nodes are called `coordinator`, `p1`, `p2` and so on")]
    NoNode(String),
    /// Too much waits to be done.
    #[error("the node has too much to do; try again")]
    Busy,
}
