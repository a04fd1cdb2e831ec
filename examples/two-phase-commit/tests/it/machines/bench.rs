//! Machines by hand: what goes in and what comes out, message by message.

use std::collections::VecDeque;
use std::time::Duration;

use two_phase_commit::coordinator::{self, Coordinator};
use two_phase_commit::machine::{Effect, Input, Machine, Output, Outputs, Report, RequestId, Time};
use two_phase_commit::message::{Account, Action, Address, Body, Message, Op, Transaction, Work};
use two_phase_commit::participant::{self, Participant};
use two_phase_commit::record::{CoordinatorRecord, Durability};
use two_phase_commit::txid::{LogId, NodeId, TxId};

pub(crate) const COORDINATOR: LogId = LogId([0xc0; 16]);
pub(crate) const NOW: Time = Duration::from_secs(100);

pub(crate) fn log(at: u16) -> LogId {
    LogId([u8::try_from(at).unwrap(); 16])
}

pub(crate) fn coordinator() -> Coordinator {
    Coordinator::new(COORDINATOR, (0..3).map(NodeId), coordinator::Options::default())
}

pub(crate) fn participant(at: u16) -> Participant {
    Participant::new(NodeId(at), log(at), participant::Options::default())
}

/// A coordinator and three participants, each with accounts `a` and `b` of 100.
pub(crate) struct Bench {
    pub(crate) coordinator: Coordinator,
    pub(crate) participants: Vec<Participant>,
    pub(crate) under_way: VecDeque<(Address, Address, Message)>,
    pub(crate) answers: Vec<coordinator::Answer>,
    pub(crate) reports: Vec<Report>,
    pub(crate) decisions: Vec<CoordinatorRecord>,
    pub(crate) now: Time,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let mut coordinator = coordinator();
        coordinator.recovered(1, NOW, &mut Vec::new());
        let participants = (0..3).map(|at| {
            let mut participant = participant(at);
            participant.recovered(1, NOW, &mut Vec::new());
            open(&mut participant);
            participant
        });
        Self {
            coordinator,
            participants: participants.collect(),
            under_way: VecDeque::new(),
            answers: Vec::new(),
            reports: Vec::new(),
            decisions: Vec::new(),
            now: NOW,
        }
    }

    /// Begins a transaction and has it run; its prepares are under way then.
    pub(crate) fn run(&mut self, transaction: Transaction) -> TxId {
        let txid = self.begin();
        self.ask(coordinator::Request::Run { txid, transaction });
        txid
    }

    pub(crate) fn begin(&mut self) -> TxId {
        self.ask(coordinator::Request::Begin);
        match self.answers.pop() {
            Some(coordinator::Answer::Begun(txid)) => txid,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn ask(&mut self, request: coordinator::Request) {
        let input = Input::Request { id: RequestId(1), request };
        let out = give(&mut self.coordinator, input, self.now);
        self.take_coordinator(out);
    }

    /// Delivers all that is under way and what comes of it, but not what `loses` says.
    pub(crate) fn deliver(&mut self, loses: impl Fn(Address, &Body) -> bool) {
        while let Some((from, to, message)) = self.under_way.pop_front() {
            if !loses(to, &message.body) {
                self.hand(from, to, message);
            }
        }
    }

    pub(crate) fn hand(&mut self, from: Address, to: Address, message: Message) {
        match to {
            Address::Coordinator => {
                let out = give(&mut self.coordinator, Input::Message { from, message }, self.now);
                self.take_coordinator(out);
            }
            Address::Participant(NodeId(at)) => {
                let node = &mut self.participants[usize::from(at)];
                let out = give(node, Input::Message { from, message }, self.now);
                self.take_participant(at, out);
            }
        }
    }

    /// Lets time pass at all nodes, one timer at a time.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timeouts = self.participants.iter().filter_map(Machine::next_timeout);
            let next = timeouts.chain(self.coordinator.next_timeout()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next;
            let mut out = Vec::new();
            self.coordinator.handle_timeout(self.now, &mut out);
            self.take_coordinator(out);
            for at in 0..3 {
                let mut out = Vec::new();
                self.participants[usize::from(at)].handle_timeout(self.now, &mut out);
                self.take_participant(at, out);
            }
        }
        self.now = end;
    }

    /// The coordinator dies and comes back with these records.
    pub(crate) fn reboot_coordinator(&mut self, epoch: u64) {
        self.coordinator = coordinator();
        for record in &self.decisions {
            self.coordinator.replay(record).unwrap();
        }
        let mut out = Vec::new();
        self.coordinator.recovered(epoch, self.now, &mut out);
        self.take_coordinator(out);
    }

    pub(crate) fn balance(&self, at: usize, account: &str) -> i64 {
        self.participants[at].ledger().book(account).unwrap().balance
    }

    pub(crate) fn take_coordinator(&mut self, out: Outputs<Coordinator>) {
        for output in out {
            match output {
                Output::Persist { record, .. } => self.decisions.push(record),
                Output::Effect(Effect::Reply { answer, .. }) => self.answers.push(answer),
                Output::Effect(Effect::Report(report)) => self.reports.push(report),
                Output::Effect(Effect::Send { to, message }) => {
                    self.under_way.push_back((Address::Coordinator, to, message));
                }
            }
        }
    }

    pub(crate) fn take_participant(&mut self, at: u16, out: Outputs<Participant>) {
        let from = Address::Participant(NodeId(at));
        for output in out {
            match output {
                Output::Effect(Effect::Report(report)) => self.reports.push(report),
                Output::Effect(Effect::Send { to, message }) => {
                    self.under_way.push_back((from, to, message));
                }
                _ => {}
            }
        }
    }
}

pub(crate) fn open(participant: &mut Participant) -> Outputs<Participant> {
    let accounts = [("a".to_owned(), 100), ("b".to_owned(), 100)].into();
    let request = participant::Request::Open { accounts };
    give(participant, Input::Request { id: RequestId(0), request }, NOW)
}

pub(crate) fn give<M: Machine>(machine: &mut M, input: Input<M::Request>, now: Time) -> Outputs<M> {
    let mut out = Vec::new();
    machine.handle(input, now, &mut out);
    out
}

/// Tells a machine something, from the coordinator.
pub(crate) fn tell(node: &mut Participant, txid: TxId, body: Body) -> Outputs<Participant> {
    let from = Address::Coordinator;
    give(node, Input::Message { from, message: Message { txid, body } }, NOW)
}

/// What is let out to others.
pub(crate) fn sent<R: Clone, A: Clone>(out: &[Output<R, A>]) -> Vec<Body> {
    let body = |output: &Output<R, A>| match output {
        Output::Effect(Effect::Send { message, .. }) => Some(message.body.clone()),
        _ => None,
    };
    out.iter().filter_map(body).collect()
}

/// True if something is let out behind a forced record, and nothing before it.
pub(crate) fn is_forced_first<R, A>(out: &[Output<R, A>]) -> bool {
    let forced = |output: &Output<R, A>| {
        matches!(output, Output::Persist { durability: Durability::Force, .. })
    };
    out.len() > 1 && out.first().is_some_and(forced)
}

pub(crate) fn txid(counter: u64) -> TxId {
    TxId { log: COORDINATOR, epoch: 1, counter }
}

pub(crate) fn account(text: &str) -> Account {
    text.parse().unwrap()
}

pub(crate) fn transfer(from: &str, to: &str, amount: i64) -> Transaction {
    Transaction::transfer(account(from), account(to), amount).unwrap()
}

pub(crate) fn add(account: &str, delta: i64) -> Op {
    Op { account: account.to_owned(), action: Action::Add(delta) }
}

pub(crate) fn prepare(ops: Vec<Op>) -> Body {
    Body::Prepare { work: Work::Ops(ops), peers: vec![NodeId(0), NodeId(1)] }
}
