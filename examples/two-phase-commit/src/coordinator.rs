//! Who decides. It forces one record for each transaction that commits, and none for one that does not:
//! what it knows nothing of has aborted (presumed abort).

mod decisions;
mod rounds;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::machine::{Input, Machine, Outputs, Push as _, Rejected, Report, RequestId, Time};
use crate::message::{Account, Address, BadTransaction, Body, Decision, Message, No, Transaction};
use crate::planted::{Bug, planted};
use crate::record::{CoordinatorRecord, Durability};
use crate::timers::{Timers, backoff};
use crate::txid::{LogId, NodeId, TxId};

use decisions::Decisions;
pub use decisions::Item;
use rounds::Active;

/// Bounds and times of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// How long participants may take to execute, and again to vote. Default: 2 s.
    pub vote_timeout: Duration,
    /// The wait before a commit is sent again; each one doubles it. Default: 200 ms.
    pub resend: Duration,
    /// The longest such wait. Default: 5 s.
    pub resend_most: Duration,
    /// How long a name is good for before it is run. Default: 60 s.
    pub begun_for: Duration,
    /// The most names that wait to be run; the oldest go. Default: 100,000.
    pub max_begun: usize,
    /// The most transactions under way, undecided or unacknowledged. Default: 10,000.
    pub max_active: usize,
    /// The most accounts that undecided transactions name, all together. Default: 100,000.
    pub max_accounts: usize,
    /// The most finished transactions whose outcome is known; the oldest go. Default: 100,000.
    pub max_finished: usize,
    /// The most answers that are known with what was read, or why not. Default: 1,000.
    pub max_answers: usize,
}

/// The most requests that wait for one transaction; the oldest is told that it is pending.
const MAX_WAITING: usize = 8;

/// The most values that are remembered of one answer. Who reads more and misses the answer reads again.
const MAX_VALUES: usize = 64;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Give a name for a transaction. Nothing is kept for it.
    Begin,
    /// Make it happen, or not. The same again does not happen again.
    Run {
        /// From [`Request::Begin`].
        txid: TxId,
        /// What.
        transaction: Transaction,
    },
    /// What became of it?
    Outcome {
        /// Which.
        txid: TxId,
    },
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// Here is a name.
    Begun(TxId),
    /// This became of it.
    Outcome(Outcome),
    /// Nothing was done.
    Refused(Refused),
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// All of it happened, or will, whatever fails now.
    Committed {
        /// What was read; `None` if that is not known any more.
        values: Option<Vec<(Account, i64)>>,
    },
    /// None of it happened, nor will.
    Aborted(Why),
    /// It is not decided.
    Pending,
    /// It is too old to know.
    Forgotten,
}

/// Why a transaction aborted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
pub enum Why {
    /// A participant refused.
    #[error("{participant}: {no}")]
    No {
        /// Which.
        participant: NodeId,
        /// Why.
        no: No,
    },
    /// Participants did not answer in time.
    #[error("no answer in time from {}", list(.0))]
    Silent(Vec<NodeId>),
    /// A participant has another log than before: its disk was wiped or exchanged.
    #[error("{0} has another log than before: its disk was wiped or exchanged")]
    WipedDisk(NodeId),
    /// A participant answered what makes no sense.
    #[error("{0} broke the protocol")]
    Broken(NodeId),
    /// There is no record of it: it never ran, or the coordinator died before it was decided.
    #[error("there is no record of it")]
    Presumed,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
pub enum Refused {
    /// It is no transaction.
    #[error(transparent)]
    Bad(#[from] BadTransaction),
    /// This coordinator never gave that name.
    #[error("{0} is not of this coordinator")]
    Foreign(TxId),
    /// Another transaction runs under that name.
    #[error("another transaction runs as {0}")]
    OtherTransaction(TxId),
    /// Too many are under way; worth another try, later.
    #[error("too many transactions are under way")]
    Overloaded,
}

/// Figures to watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Gauges {
    /// Transactions that run and are not decided.
    pub undecided: u64,
    /// Transactions that are committed and not acknowledged by all.
    pub unfinished: u64,
    /// The age of the oldest of both, counted from when this node was started at the earliest; zero if
    /// there is none.
    pub oldest: Duration,
}

/// The coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coordinator {
    log: LogId,
    participants: BTreeSet<NodeId>,
    options: Options,
    /// Of this boot; `None` until it has recovered.
    epoch: Option<u64>,
    /// Names given in this boot.
    counter: u64,
    decisions: Decisions,
    begun: BTreeSet<TxId>,
    active: BTreeMap<TxId, Active>,
    resends: BTreeMap<TxId, Resend>,
    answers: Answers,
    timers: Timers<Timer>,
}

/// Who has acknowledged a commit so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Resend {
    acked: BTreeSet<NodeId>,
    attempts: u32,
    /// When it was sent first, in this boot.
    since: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    Begun(TxId),
    Round(TxId),
    Resend(TxId),
}

/// What this coordinator can say of a name.
enum Known {
    Begun,
    Active,
    Committed,
    /// Not recorded as committed, so aborted.
    Gone,
    /// Not its own.
    Foreign,
}

impl Coordinator {
    /// A coordinator whose log has this name, for these participants.
    #[must_use]
    pub fn new(
        log: LogId,
        participants: impl IntoIterator<Item = NodeId>,
        options: Options,
    ) -> Self {
        Self {
            log,
            participants: participants.into_iter().collect(),
            options,
            epoch: None,
            counter: 0,
            decisions: Decisions::default(),
            begun: BTreeSet::new(),
            active: BTreeMap::new(),
            resends: BTreeMap::new(),
            answers: Answers::default(),
            timers: Timers::new(),
        }
    }

    /// The name of its log.
    #[must_use]
    pub fn log(&self) -> LogId {
        self.log
    }

    /// All transactions that its log says have committed, as far back as they are known.
    pub fn committed(&self) -> impl Iterator<Item = TxId> {
        self.decisions.committed()
    }

    /// Up to this name, [`committed`](Self::committed) may miss some.
    #[must_use]
    pub fn forgotten(&self) -> Option<TxId> {
        self.decisions.forgotten
    }

    /// What is committed, with the participants that must still acknowledge.
    #[must_use]
    pub fn unfinished(&self) -> Vec<(TxId, Vec<NodeId>)> {
        let missing = |(&txid, participants): (&TxId, &BTreeMap<NodeId, LogId>)| {
            let acked = self.resends.get(&txid).map(|resend| &resend.acked);
            let is_missing = |node: &&NodeId| acked.is_none_or(|acked| !acked.contains(node));
            (txid, participants.keys().filter(is_missing).copied().collect())
        };
        self.decisions.unfinished.iter().map(missing).collect()
    }

    /// Figures to watch.
    #[must_use]
    pub fn gauges(&self, now: Time) -> Gauges {
        let begun = self.active.values().map(Active::since);
        let since = begun.chain(self.resends.values().map(|resend| resend.since)).min();
        Gauges {
            undecided: self.active.len() as u64,
            unfinished: self.decisions.unfinished.len() as u64,
            oldest: since.map_or(Time::ZERO, |since| now.saturating_sub(since)),
        }
    }

    fn request(&mut self, id: RequestId, request: Request, now: Time, out: &mut Outputs<Self>) {
        match request {
            Request::Begin => {
                let txid = self.begin(now);
                out.reply(id, Answer::Begun(txid));
            }
            Request::Run { txid, transaction } => self.run(id, txid, transaction, now, out),
            Request::Outcome { txid } => out.reply(id, self.outcome(txid)),
        }
    }

    fn begin(&mut self, now: Time) -> TxId {
        self.counter += 1;
        let epoch = self.epoch.unwrap_or_default();
        let txid = TxId { log: self.log, epoch, counter: self.counter };
        self.begun.insert(txid);
        self.timers.set(Timer::Begun(txid), now.saturating_add(self.options.begun_for));
        if self.begun.len() > self.options.max_begun
            && let Some(oldest) = self.begun.pop_first()
        {
            self.timers.clear(Timer::Begun(oldest));
        }
        txid
    }

    fn run(
        &mut self,
        id: RequestId,
        txid: TxId,
        transaction: Transaction,
        now: Time,
        out: &mut Outputs<Self>,
    ) {
        if let Some(active) = self.active.get_mut(&txid) {
            if !active.is(&transaction) {
                out.reply(id, Answer::Refused(Refused::OtherTransaction(txid)));
            } else if let Some(oldest) = active.wait(id) {
                out.reply(oldest, Answer::Outcome(Outcome::Pending));
            }
            return;
        }
        if !self.begun.contains(&txid) {
            out.reply(id, self.outcome(txid));
            return;
        }
        // The name stays good if nothing is done under it.
        if let Err(refused) = self.admit(&transaction) {
            out.reply(id, Answer::Refused(refused));
            return;
        }
        self.begun.remove(&txid);
        self.timers.clear(Timer::Begun(txid));
        self.start(id, txid, transaction, now, out);
    }

    fn admit(&self, transaction: &Transaction) -> Result<(), Refused> {
        transaction.check()?;
        for (account, _) in &transaction.ops {
            if !self.participants.contains(&account.at) {
                return Err(BadTransaction::UnknownParticipant(account.at).into());
            }
        }
        let under_way = self.active.len() + self.decisions.unfinished.len();
        let accounts: usize = self.active.values().map(Active::accounts).sum();
        let accounts = accounts + transaction.ops.len();
        if under_way < self.options.max_active && accounts <= self.options.max_accounts {
            Ok(())
        } else {
            Err(Refused::Overloaded)
        }
    }

    fn outcome(&self, txid: TxId) -> Answer {
        if let Some(outcome) = self.answers.get(txid) {
            return Answer::Outcome(outcome.clone());
        }
        Answer::Outcome(match self.known(txid) {
            Known::Begun | Known::Active => Outcome::Pending,
            Known::Committed => Outcome::Committed { values: None },
            Known::Gone if self.decisions.may_have_forgotten(txid) => Outcome::Forgotten,
            Known::Gone => Outcome::Aborted(Why::Presumed),
            Known::Foreign => return Answer::Refused(Refused::Foreign(txid)),
        })
    }

    fn known(&self, txid: TxId) -> Known {
        if self.decisions.has_committed(txid) {
            return Known::Committed;
        }
        if self.active.contains_key(&txid) {
            return Known::Active;
        }
        if self.begun.contains(&txid) {
            return Known::Begun;
        }
        let epoch = self.epoch.unwrap_or_default();
        let was_given = txid.log == self.log
            && (txid.epoch < epoch || txid.epoch == epoch && txid.counter <= self.counter)
            && txid.epoch > 0
            && txid.counter > 0;
        if was_given { Known::Gone } else { Known::Foreign }
    }

    fn message(
        &mut self,
        from: NodeId,
        Message { txid, body }: Message,
        now: Time,
        out: &mut Outputs<Self>,
    ) {
        match body {
            Body::Executed { log, result } => self.executed(from, txid, log, result, now, out),
            Body::Vote { log, vote } => self.vote(from, txid, log, vote, now, out),
            Body::Ack { log } => self.ack(from, txid, log, out),
            Body::Inquire => self.inquire(from, txid, out),
            // For participants.
            Body::Execute { .. }
            | Body::Prepare { .. }
            | Body::Commit
            | Body::Abort
            | Body::Decision(_)
            | Body::AskPeer
            | Body::PeerState(_) => {}
        }
    }

    /// The log that a participant spoke with is the one that it has always had; else it is reported.
    fn has_its_log(
        &self,
        participant: NodeId,
        txid: TxId,
        found: LogId,
        out: &mut Outputs<Self>,
    ) -> bool {
        match self.decisions.logs.get(&participant) {
            Some(&expected) if expected != found => {
                out.report(Report::WipedDisk { participant, expected, found, txid });
                false
            }
            _ => true,
        }
    }

    fn ack(&mut self, from: NodeId, txid: TxId, log: LogId, out: &mut Outputs<Self>) {
        let Some(participants) = self.decisions.unfinished.get(&txid) else { return };
        let Some(&expected) = participants.get(&from) else { return };
        if expected != log && !planted(Bug::WipedAckAccepted) {
            // What voted yes is gone, and so is what it promised. It is asked again until its disk is back.
            out.report(Report::WipedDisk { participant: from, expected, found: log, txid });
            return;
        }
        let resend = self.resends.entry(txid).or_default();
        resend.acked.insert(from);
        if resend.acked.len() < participants.len() && !planted(Bug::EndBeforeAllAcks) {
            return;
        }
        self.resends.remove(&txid);
        self.timers.clear(Timer::Resend(txid));
        self.keep(CoordinatorRecord::End { txid }, Durability::Lazy, out);
    }

    fn inquire(&self, from: NodeId, txid: TxId, out: &mut Outputs<Self>) {
        let decision = match self.known(txid) {
            Known::Active if planted(Bug::AbortedWhilePending) => Decision::Aborted,
            Known::Begun | Known::Active => Decision::Pending,
            Known::Committed => Decision::Committed,
            Known::Gone => Decision::Aborted,
            // Another coordinator's, or our disk is an old copy: presuming anything would be a guess.
            Known::Foreign => return out.report(Report::Foreign { txid }),
        };
        let body = Body::Decision(decision);
        out.send(Address::Participant(from), Message { txid, body });
    }

    /// Persists a record and does what it says: the same code as in recovery.
    fn keep(&mut self, record: CoordinatorRecord, durability: Durability, out: &mut Outputs<Self>) {
        self.replay(&record).expect("a record that this machine made a moment ago fits its state");
        out.persist(record, durability);
    }

    fn send_commits(&mut self, txid: TxId, now: Time, out: &mut Outputs<Self>) {
        let Some(participants) = self.decisions.unfinished.get(&txid) else { return };
        let resend = self.resends.entry(txid);
        let resend = resend.or_insert_with(|| Resend { since: now, ..Resend::default() });
        for &participant in participants.keys().filter(|node| !resend.acked.contains(node)) {
            out.send(Address::Participant(participant), Message { txid, body: Body::Commit });
        }
        let wait = backoff(self.options.resend, self.options.resend_most, resend.attempts);
        resend.attempts = resend.attempts.saturating_add(1);
        self.timers.set(Timer::Resend(txid), now.saturating_add(wait));
    }
}

impl Machine for Coordinator {
    type Record = CoordinatorRecord;
    type Item = Item;
    type Request = Request;
    type Answer = Answer;

    const KIND: u8 = 1;

    fn restore(&mut self, item: Item) -> Result<(), Rejected> {
        self.decisions.restore(item);
        Ok(())
    }

    fn replay(&mut self, record: &CoordinatorRecord) -> Result<(), Rejected> {
        self.decisions.replay(record, self.options.max_finished)
    }

    fn recovered(&mut self, epoch: u64, now: Time, out: &mut Outputs<Self>) {
        self.epoch = Some(if planted(Bug::EpochReused) { 1 } else { epoch });
        let unfinished: Vec<_> = self.decisions.unfinished.keys().copied().collect();
        for txid in unfinished {
            self.send_commits(txid, now, out);
        }
    }

    fn handle(&mut self, input: Input<Request>, now: Time, out: &mut Outputs<Self>) {
        if self.epoch.is_none() && !planted(Bug::PresumedWhileRecovering) {
            return;
        }
        match input {
            Input::Message { from: Address::Participant(from), message } => {
                self.message(from, message, now, out);
            }
            Input::Message { from: Address::Coordinator, .. } => {}
            Input::Request { id, request } => self.request(id, request, now, out),
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Outputs<Self>) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Begun(txid) => {
                    self.begun.remove(&txid);
                }
                Timer::Round(txid) => self.silent(txid, now, out),
                Timer::Resend(txid) => self.send_commits(txid, now, out),
            }
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    fn snapshot(&self) -> Vec<Item> {
        self.decisions.snapshot()
    }

    fn size(&self) -> u64 {
        self.decisions.size()
    }
}

impl Why {
    /// True if the same transaction may well commit at another try, under another name.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::No { no, .. } => {
                matches!(no, No::Locked { .. } | No::Expired | No::AlreadyAborted | No::Overloaded)
            }
            Self::Silent(_) | Self::Presumed => true,
            Self::WipedDisk(_) | Self::Broken(_) => false,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            vote_timeout: Duration::from_secs(2),
            resend: Duration::from_millis(200),
            resend_most: Duration::from_secs(5),
            begun_for: Duration::from_secs(60),
            max_begun: 100_000,
            max_active: 10_000,
            max_accounts: 100_000,
            max_finished: 100_000,
            max_answers: 1_000,
        }
    }
}

/// The last outcomes as they were told, with what was read or why not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Answers {
    by_txid: BTreeMap<TxId, Outcome>,
    oldest: VecDeque<TxId>,
}

impl Answers {
    fn get(&self, txid: TxId) -> Option<&Outcome> {
        self.by_txid.get(&txid)
    }

    fn insert(&mut self, txid: TxId, outcome: Outcome, keep: usize) {
        if self.by_txid.insert(txid, outcome).is_none() {
            self.oldest.push_back(txid);
        }
        while self.oldest.len() > keep {
            if let Some(oldest) = self.oldest.pop_front() {
                self.by_txid.remove(&oldest);
            }
        }
    }
}

fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
