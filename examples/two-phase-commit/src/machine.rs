//! What both roles are: a machine that is given inputs and times, and says what to do, in order.

use std::fmt::Debug;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::message::{Address, Message};
use crate::record::Durability;
use crate::txid::{LogId, NodeId, TxId};

/// A moment, by a clock that goes only forward and that the driver chooses.
pub type Time = Duration;

/// A coordinator or a participant. It reads no clock, draws no randomness, and keeps nothing itself.
pub trait Machine {
    /// What it keeps in its log.
    type Record: Clone + Debug + PartialEq + Serialize + DeserializeOwned;
    /// A part of what a checkpoint holds of it.
    type Item: Serialize + DeserializeOwned;
    /// What is asked of it, other than by its peers.
    type Request;
    /// The answer to that.
    type Answer;

    /// Marks its records, so that one role does not read the other's log.
    const KIND: u8;

    /// Takes back one part of a checkpoint, in the order of [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    ///
    /// If it does not fit what was restored before.
    fn restore(&mut self, item: Self::Item) -> Result<(), Rejected>;

    /// Does again what a record says was done. Nothing else changes what is durable: in service a record
    /// is persisted and replayed, too.
    ///
    /// # Errors
    ///
    /// If no log that this machine wrote could have the record here.
    fn replay(&mut self, record: &Self::Record) -> Result<(), Rejected>;

    /// All is restored and replayed. `epoch` is the number of this boot, on the disk already. Before, all
    /// inputs are ignored: a machine that has not recovered knows nothing. It persists nothing here, so
    /// that recovering again is the same.
    fn recovered(&mut self, epoch: u64, now: Time, out: &mut Outputs<Self>);

    /// Takes one input.
    fn handle(&mut self, input: Input<Self::Request>, now: Time, out: &mut Outputs<Self>);

    /// Does what is due. Harmless if nothing is.
    fn handle_timeout(&mut self, now: Time, out: &mut Outputs<Self>);

    /// When something will be due.
    fn next_timeout(&self) -> Option<Time>;

    /// All that must outlive the log before it.
    fn snapshot(&self) -> Vec<Self::Item>;

    /// About the bytes of a snapshot.
    fn size(&self) -> u64;
}

/// What a machine wants done.
pub type Outputs<M> = Vec<Output<<M as Machine>::Record, <M as Machine>::Answer>>;

/// Something that happens to a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input<Q> {
    /// A peer says something. That it is this peer has been proved.
    Message {
        /// Who.
        from: Address,
        /// What.
        message: Message,
    },
    /// A client or an operator asks for something.
    Request {
        /// Comes back with the answer.
        id: RequestId,
        /// What.
        request: Q,
    },
}

/// The driver's name for a request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One thing to do. Their order is the protocol: an effect may only be let out once every forced record
/// before it is on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output<R, A> {
    /// Write this behind the log.
    Persist {
        /// What.
        record: R,
        /// Whether what follows waits for the disk.
        durability: Durability,
    },
    /// Let this out.
    Effect(Effect<A>),
}

/// Something that others notice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect<A> {
    /// Send a message. It may get lost.
    Send {
        /// To whom.
        to: Address,
        /// What.
        message: Message,
    },
    /// Answer a request.
    Reply {
        /// Which.
        request: RequestId,
        /// How.
        answer: A,
    },
    /// Tell the operators.
    Report(Report),
}

/// What operators must know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum Report {
    /// A participant speaks with another log than it voted on: its disk was wiped or exchanged. What it says
    /// is not accepted.
    #[error(
        "{participant} has log {found} instead of {expected}: its disk was wiped or exchanged; \
         nothing that it says about {txid} is accepted"
    )]
    WipedDisk {
        /// Who.
        participant: NodeId,
        /// The log known of it.
        expected: LogId,
        /// The log that it has now.
        found: LogId,
        /// What it spoke of.
        txid: TxId,
    },
    /// Somebody asks about a transaction that this coordinator cannot have begun: another coordinator's, or
    /// one of a boot that its log does not know of. It is not answered.
    #[error(
        "asked about {txid}, which this coordinator never began: \
         is this another coordinator, or an old copy of its disk?"
    )]
    Foreign {
        /// That one.
        txid: TxId,
    },
    /// Told to commit what is not known here; acknowledged as long finished.
    #[error("told to commit {txid}, which is not known here")]
    CommitOfUnknown {
        /// That one.
        txid: TxId,
    },
    /// Told to commit what was never prepared here, or aborted for good: the coordinator breaks the protocol.
    #[error("told to commit {txid}, which was aborted here: not acknowledged")]
    CommitOfAborted {
        /// That one.
        txid: TxId,
    },
    /// An operator decided otherwise than the coordinator.
    #[error("HEURISTIC DAMAGE: {txid} was resolved by hand, and the coordinator decided otherwise")]
    HeuristicDamage {
        /// That one.
        txid: TxId,
    },
    /// In doubt, and nobody who can be reached knows the decision. The accounts stay locked.
    #[error("{txid} is blocked: neither the coordinator nor any peer tells its outcome")]
    Blocked {
        /// That one.
        txid: TxId,
    },
}

/// A record or an item that is whole and makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Rejected(pub String);

/// Names for what machines push.
pub(crate) trait Push<R, A> {
    fn persist(&mut self, record: R, durability: Durability);
    fn send(&mut self, to: Address, message: Message);
    fn reply(&mut self, request: RequestId, answer: A);
    fn report(&mut self, report: Report);
}

impl<R, A> Push<R, A> for Vec<Output<R, A>> {
    fn persist(&mut self, record: R, durability: Durability) {
        self.push(Output::Persist { record, durability });
    }

    fn send(&mut self, to: Address, message: Message) {
        self.push(Output::Effect(Effect::Send { to, message }));
    }

    fn reply(&mut self, request: RequestId, answer: A) {
        self.push(Output::Effect(Effect::Reply { request, answer }));
    }

    fn report(&mut self, report: Report) {
        self.push(Output::Effect(Effect::Report(report)));
    }
}
