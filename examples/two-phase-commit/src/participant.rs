//! Who holds accounts, and does as it is told once it has said yes.

mod in_doubt;
mod work;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ledger::{Entry, Ledger};
use crate::locks::Locks;
use crate::machine::{Input, Machine, Outputs, Push as _, Rejected, RequestId, Time};
use crate::message::{
    Address, BadTransaction, Body, Decision, ExecutionId, Message, Op, check_name,
};
use crate::planted::{Bug, planted};
use crate::record::{Durability, ParticipantRecord, Verdict};
use crate::timers::Timers;
use crate::txid::{LogId, NodeId, TxId};

/// Bounds and times of a participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// How long what was executed stays locked without a prepare. Default: 5 s.
    pub execution_timeout: Duration,
    /// The wait before the decision is asked for; each one doubles it. Default: 500 ms.
    pub inquire: Duration,
    /// The longest such wait. Default: 5 s.
    pub inquire_most: Duration,
    /// Peers are asked, too, after so many inquiries in a row without an answer. Default: 2.
    pub patience: u32,
    /// The most transactions executed and not prepared. Default: 10,000.
    pub max_executed: usize,
    /// The most transactions in doubt, those resolved by hand and tombstones included. Default: 10,000.
    pub max_in_doubt: usize,
}

/// The most accounts that one request may open.
pub const MAX_OPEN: usize = 1_000;

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Open accounts: all of them, or none.
    Open {
        /// By name, with what they hold at first, in minor units.
        accounts: BTreeMap<String, i64>,
    },
    /// Decide by hand what is in doubt. If the coordinator decides otherwise, that is damage.
    Resolve {
        /// Which.
        txid: TxId,
        /// How.
        verdict: Verdict,
    },
    /// List what is in doubt, or was and was damaged.
    InDoubt,
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// The accounts are open, for good.
    Opened,
    /// Decided by hand, for good.
    Resolved,
    /// In the order of their names.
    InDoubt(Vec<InDoubt>),
    /// Nothing was done.
    Refused(Refused),
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
pub enum Refused {
    /// There is one of this name.
    #[error("account `{0}` is open already")]
    Exists(String),
    /// An account begins with nothing or more.
    #[error("account `{0}` would begin below zero")]
    Negative(String),
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] BadTransaction),
    /// More than [`MAX_OPEN`] at once, or none.
    #[error("{0} accounts at once: 1 to {MAX_OPEN} may be opened")]
    Count(u64),
    /// It was not prepared here, or is decided.
    #[error("{0} is not in doubt here")]
    NotInDoubt(TxId),
}

/// One line of the listing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InDoubt {
    /// Which.
    pub txid: TxId,
    /// How far it is.
    pub state: State,
    /// Since when it has been so, counted from when this node was started at the earliest.
    pub age: Duration,
    /// The participants that write.
    pub peers: Vec<NodeId>,
    /// The accounts that are locked for it.
    pub accounts: Vec<String>,
}

/// How far a listed transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// Voted yes; the decision is awaited.
    Ready,
    /// As before, and neither the coordinator nor any peer could tell.
    Blocked,
    /// Decided by an operator; the coordinator's decision is awaited.
    Heuristic(Verdict),
    /// Decided by an operator, and otherwise by the coordinator.
    Damaged {
        /// By the operator, and so it stands here.
        here: Verdict,
    },
    /// Aborted for a peer before it was prepared; the coordinator's word is awaited.
    Tombstone,
}

/// Figures to watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Gauges {
    /// Transactions that voted yes and are not decided.
    pub in_doubt: u64,
    /// Of these, such as nobody could tell about.
    pub blocked: u64,
    /// The age of the oldest of them; zero if there is none.
    pub oldest: Duration,
    /// Accounts that are locked.
    pub locked: u64,
    /// Transactions resolved by hand and decided otherwise.
    pub damaged: u64,
}

/// A participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Participant {
    me: NodeId,
    log: LogId,
    options: Options,
    /// Of this boot; `None` until it has recovered.
    epoch: Option<u64>,
    executions: u64,
    ledger: Ledger,
    locks: Locks,
    executed: BTreeMap<TxId, Executed>,
    ready: BTreeMap<TxId, Ready>,
    tombstones: BTreeMap<TxId, Waiting>,
    heuristic: BTreeMap<TxId, Heuristic>,
    damaged: BTreeMap<TxId, Verdict>,
    timers: Timers<Timer>,
}

/// Locked and read, and nothing promised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Executed {
    id: ExecutionId,
    ops: Vec<Op>,
}

/// Voted yes, and not decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ready {
    peers: Vec<NodeId>,
    redo: Vec<Op>,
    waiting: Waiting,
}

/// How long, and how often, the decision has been asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Waiting {
    since: Time,
    inquiries: u32,
    /// Inquiries since the coordinator last said anything.
    unanswered: u32,
}

/// Decided by hand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Heuristic {
    verdict: Verdict,
    peers: Vec<NodeId>,
    waiting: Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    /// The locks of an execution are dropped.
    Execution(TxId),
    /// The decision is asked for.
    Inquire(TxId),
}

/// A part of a participant's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Item {
    /// An account, and what it was opened with.
    Account(String, i64),
    /// Some of its entries, in order.
    Entries(String, Vec<Entry>),
    /// A record whose effect is not over.
    Record(ParticipantRecord),
    /// Resolved by hand, with those that write; the coordinator's decision is awaited.
    Heuristic(TxId, Verdict, Vec<NodeId>),
    /// Resolved by hand so, and decided otherwise.
    Damaged(TxId, Verdict),
}

/// Entries of an item. It stays far below the longest that a store takes.
const ENTRIES: usize = 1_000;

impl Participant {
    /// A participant whose log has this name.
    #[must_use]
    pub fn new(me: NodeId, log: LogId, options: Options) -> Self {
        Self {
            me,
            log,
            options,
            epoch: None,
            executions: 0,
            ledger: Ledger::default(),
            locks: Locks::default(),
            executed: BTreeMap::new(),
            ready: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            heuristic: BTreeMap::new(),
            damaged: BTreeMap::new(),
            timers: Timers::new(),
        }
    }

    /// The name of its log.
    #[must_use]
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The books: what is decided, and nothing else.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The accounts that are locked, and for whom.
    #[must_use]
    pub fn locks(&self) -> &Locks {
        &self.locks
    }

    /// What is in doubt, or was and was damaged.
    #[must_use]
    pub fn in_doubt(&self, now: Time) -> Vec<InDoubt> {
        in_doubt::list(self, now)
    }

    /// Figures to watch.
    #[must_use]
    pub fn gauges(&self, now: Time) -> Gauges {
        let age = |ready: &Ready| now.saturating_sub(ready.waiting.since);
        let is_blocked = |ready: &&Ready| ready.waiting.unanswered > self.options.patience;
        Gauges {
            in_doubt: self.ready.len() as u64,
            blocked: self.ready.values().filter(is_blocked).count() as u64,
            oldest: self.ready.values().map(age).max().unwrap_or_default(),
            locked: self.locks.len() as u64,
            damaged: self.damaged.len() as u64,
        }
    }
}

impl Participant {
    fn hear_coordinator(
        &mut self,
        Message { txid, body }: Message,
        now: Time,
        out: &mut Outputs<Self>,
    ) {
        match body {
            Body::Execute { ops } => self.execute(txid, ops, now, out),
            Body::Prepare { work, peers } => self.prepare(txid, work, peers, now, out),
            Body::Commit | Body::Decision(Decision::Committed) => self.commit(txid, out),
            Body::Abort | Body::Decision(Decision::Aborted) => self.abort(txid, out),
            Body::Decision(Decision::Pending) => self.pending(txid),
            // For the coordinator, or from peers.
            Body::Executed { .. }
            | Body::Vote { .. }
            | Body::Ack { .. }
            | Body::Inquire
            | Body::AskPeer
            | Body::PeerState(_) => {}
        }
    }

    fn hear_peer(
        &mut self,
        from: NodeId,
        Message { txid, body }: Message,
        now: Time,
        out: &mut Outputs<Self>,
    ) {
        match body {
            Body::AskPeer => self.asked_by_peer(from, txid, now, out),
            Body::PeerState(state) => self.told_by_peer(from, txid, state, out),
            _ => {} // a peer decides nothing
        }
    }

    fn request(&mut self, id: RequestId, request: Request, now: Time, out: &mut Outputs<Self>) {
        let answer = match request {
            Request::Open { accounts } => self.open(accounts, out).map(|()| Answer::Opened),
            Request::Resolve { txid, verdict } => {
                self.resolve(txid, verdict, now, out).map(|()| Answer::Resolved)
            }
            Request::InDoubt => Ok(Answer::InDoubt(self.in_doubt(now))),
        };
        out.reply(id, answer.unwrap_or_else(Answer::Refused));
    }

    fn open(
        &mut self,
        accounts: BTreeMap<String, i64>,
        out: &mut Outputs<Self>,
    ) -> Result<(), Refused> {
        if !(1..=MAX_OPEN).contains(&accounts.len()) {
            return Err(Refused::Count(accounts.len() as u64));
        }
        for (name, opening) in &accounts {
            check_name(name)?;
            if *opening < 0 {
                return Err(Refused::Negative(name.clone()));
            }
            if self.ledger.book(name).is_some() {
                return Err(Refused::Exists(name.clone()));
            }
        }
        self.keep(ParticipantRecord::Open { accounts }, Durability::Force, out);
        Ok(())
    }

    /// Persists a record and does what it says: the same code as in recovery.
    fn keep(&mut self, record: ParticipantRecord, durability: Durability, out: &mut Outputs<Self>) {
        self.replay(&record).expect("a record that this machine made a moment ago fits its state");
        out.persist(record, durability);
    }

    fn tell_coordinator(txid: TxId, body: Body, out: &mut Outputs<Self>) {
        out.send(Address::Coordinator, Message { txid, body });
    }
}

impl Machine for Participant {
    type Record = ParticipantRecord;
    type Item = Item;
    type Request = Request;
    type Answer = Answer;

    const KIND: u8 = 2;

    fn restore(&mut self, item: Item) -> Result<(), Rejected> {
        let fits = match item {
            Item::Account(name, opening) => self.ledger.open(name, opening),
            Item::Entries(name, entries) => self.ledger.restore(&name, &entries),
            Item::Record(record) => return self.replay(&record),
            Item::Heuristic(txid, verdict, peers) => {
                let heuristic = Heuristic { verdict, peers, waiting: Waiting::default() };
                self.heuristic.insert(txid, heuristic).is_none()
            }
            Item::Damaged(txid, verdict) => self.damaged.insert(txid, verdict).is_none(),
        };
        if fits { Ok(()) } else { Err(Rejected("the checkpoint contradicts itself".to_owned())) }
    }

    fn replay(&mut self, record: &ParticipantRecord) -> Result<(), Rejected> {
        work::replay(self, record)
            .ok_or_else(|| Rejected(format!("the log cannot go on with {record:?}")))
    }

    fn recovered(&mut self, epoch: u64, now: Time, _out: &mut Outputs<Self>) {
        self.epoch = Some(epoch);
        let ready = self.ready.iter_mut().map(|(&txid, ready)| (txid, &mut ready.waiting));
        let heuristic = self.heuristic.iter_mut().map(|(&txid, it)| (txid, &mut it.waiting));
        let tombstones = self.tombstones.iter_mut().map(|(&txid, waiting)| (txid, waiting));
        for (txid, waiting) in ready.chain(heuristic).chain(tombstones) {
            waiting.since = now;
            // Asked at once: whoever could decide had all the time that this node was away.
            self.timers.set(Timer::Inquire(txid), now);
        }
    }

    fn handle(&mut self, input: Input<Request>, now: Time, out: &mut Outputs<Self>) {
        if self.epoch.is_none() {
            return;
        }
        match input {
            Input::Message { from: Address::Coordinator, message } => {
                self.hear_coordinator(message, now, out);
            }
            Input::Message { from: Address::Participant(from), message } => {
                if from != self.me {
                    self.hear_peer(from, message, now, out);
                }
            }
            Input::Request { id, request } => self.request(id, request, now, out),
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Outputs<Self>) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Execution(txid) => self.drop_execution(txid),
                Timer::Inquire(txid) => self.inquire(txid, now, out),
            }
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    fn snapshot(&self) -> Vec<Item> {
        let mut items = Vec::new();
        for (name, book) in self.ledger.books() {
            items.push(Item::Account(name.to_owned(), book.opening));
            let entries = book.entries.chunks(ENTRIES);
            items.extend(entries.map(|some| Item::Entries(name.to_owned(), some.to_vec())));
        }
        if !planted(Bug::SnapshotWithoutReady) {
            items.extend(self.ready.iter().map(|(&txid, Ready { peers, redo, .. })| {
                let (peers, redo) = (peers.clone(), redo.clone());
                Item::Record(ParticipantRecord::Prepared { txid, peers, redo })
            }));
        }
        let tombstone = |&txid: &TxId| Item::Record(ParticipantRecord::Tombstone { txid });
        items.extend(self.tombstones.keys().map(tombstone));
        items.extend(self.heuristic.iter().map(|(&txid, Heuristic { verdict, peers, .. })| {
            Item::Heuristic(txid, *verdict, peers.clone())
        }));
        items.extend(self.damaged.iter().map(|(&txid, &verdict)| Item::Damaged(txid, verdict)));
        items
    }

    fn size(&self) -> u64 {
        self.ledger.size() + 200 * (self.ready.len() + self.tombstones.len()) as u64
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            execution_timeout: Duration::from_secs(5),
            inquire: Duration::from_millis(500),
            inquire_most: Duration::from_secs(5),
            patience: 2,
            max_executed: 10_000,
            max_in_doubt: 10_000,
        }
    }
}
