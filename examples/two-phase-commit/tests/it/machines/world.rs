//! A coordinator, participants and clients, on disks that forget and a network that loses, in virtual time.
//! The same seed gives the same run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use two_phase_commit::coordinator::{self, Answer, Coordinator, Outcome, Why};
use two_phase_commit::judge::{Claim, Evidence, Judgement, Told, judge};
use two_phase_commit::machine::{Effect, Input, Machine, Output, Outputs, RequestId, Time};
use two_phase_commit::message::{Address, Body, Message};
use two_phase_commit::participant::{self, Participant, State};
use two_phase_commit::record::{CoordinatorRecord, ParticipantRecord, Verdict};
use two_phase_commit::txid::{LogId, NodeId, TxId};

use crate::machines::clients::{Client, draw};
use crate::machines::host::{Cut, Host, records};
use crate::machines::random::{Random, Trace};
use crate::machines::rows::Row;

const ACCOUNTS: u64 = 3;
const OPENING: i64 = 100;
const CLIENTS: usize = 3;
const TRANSACTIONS: u32 = 10;

/// How bad the network is while faults are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) loses: u64,
    pub(crate) doubles: u64,
    /// The longest way of a few, in milliseconds. Most take 20 at most.
    pub(crate) slow: u64,
}

impl Network {
    pub(crate) const ALL: [Self; 4] = [
        Self { loses: 0, doubles: 0, slow: 20 },
        Self { loses: 8, doubles: 0, slow: 20 },
        Self { loses: 0, doubles: 40, slow: 900 },
        Self { loses: 5, doubles: 20, slow: 200 },
    ];
}

#[derive(Clone, Debug)]
enum Packet {
    Peer { from: Address, to: Address, message: Message },
    Ask { client: usize, id: u64, request: coordinator::Request },
    Tell { client: usize, id: u64, answer: coordinator::Answer },
}

pub(crate) struct World {
    row: Row,
    network: Network,
    random: Random,
    trace: Trace,
    now: Time,
    is_healed: bool,
    coordinator: Host<Coordinator>,
    participants: Vec<Host<Participant>>,
    clients: Vec<Client>,
    claims: Vec<Claim>,
    asked: BTreeMap<u64, usize>,
    numbers: u64,
    packets: BTreeMap<(Time, u64), Packet>,
    isolated: Option<(NodeId, Time)>,
    truth: Truth,
    /// Times that the row's place is still to be reached, and passed by before.
    left: u64,
    skip: u64,
    found: Found,
}

/// What no node can see.
#[derive(Default)]
struct Truth {
    verdicts: BTreeMap<TxId, Verdict>,
    prepared: BTreeSet<(TxId, NodeId)>,
    names: BTreeSet<TxId>,
    /// All had voted yes when the coordinator and one of them died.
    blocked: Option<TxId>,
    /// The coordinator died when one participant had been told.
    told: Option<TxId>,
    /// The coordinator died while it wrote that this commits.
    torn: Option<TxId>,
    /// Messages that the row lost: about what, and which participant should have sent or got them.
    lost: BTreeSet<(TxId, NodeId)>,
    /// The coordinator's last recovery was cut short.
    is_interrupted: bool,
}

/// What a run showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// How often what the row is about was done.
    pub(crate) reached: u64,
    /// How often what must come of it could be seen, beyond that nothing went wrong.
    pub(crate) shown: u64,
    /// Decisions to commit whose writing was cut short: found afterwards, and not found.
    pub(crate) torn: (u64, u64),
    /// Transactions that committed among the others while a participant was cut off.
    pub(crate) elsewhere: u64,
    pub(crate) crashes: u64,
    pub(crate) trace: u64,
    pub(crate) judgement: Judgement,
}

impl World {
    pub(crate) fn run(seed: u64, row: Row, network: Network) -> Found {
        let mut world = Self::new(seed, row, network);
        world.open();
        while !world.clients.iter().all(Client::is_done) && world.now < Duration::from_secs(90) {
            world.advance();
        }
        world.heal();
        world.found
    }

    fn new(seed: u64, row: Row, network: Network) -> Self {
        let mut random = Random(seed);
        let nodes = 3 + u16::try_from(random.below(3)).unwrap();
        let coordinator = Host::new(seed, 0, move |log| {
            Coordinator::new(log, (0..nodes).map(NodeId), coordinator_options())
        });
        let participant = |at: u16| {
            Host::new(seed, u8::try_from(at + 1).unwrap(), move |log| {
                Participant::new(NodeId(at), log, participant_options())
            })
        };
        let client = |number| Client::new(TRANSACTIONS, Duration::from_millis(10 + number));
        Self {
            row,
            network,
            trace: Trace::new(),
            now: Duration::ZERO,
            is_healed: false,
            coordinator,
            participants: (0..nodes).map(participant).collect(),
            clients: (0..CLIENTS as u64).map(client).collect(),
            claims: Vec::new(),
            asked: BTreeMap::new(),
            numbers: 0,
            packets: BTreeMap::new(),
            isolated: None,
            truth: Truth::default(),
            left: 1 + random.below(3),
            skip: random.below(row.passes()),
            random,
            found: Found::default(),
        }
    }

    fn open(&mut self) {
        assert!(self.coordinator.start(self.now, None).is_some());
        for host in &mut self.participants {
            assert!(host.start(self.now, None).is_some());
            let accounts = (0..ACCOUNTS).map(|number| (format!("a{number}"), OPENING)).collect();
            let request = participant::Request::Open { accounts };
            let opened = host.step(
                Some(Input::Request { id: RequestId(0), request }),
                self.now,
                Cut::Nowhere,
            );
            assert_eq!(opened.effects.len(), 1);
        }
    }

    /// Goes on to the next moment at which something happens.
    fn advance(&mut self) {
        let hosts = self.participants.iter();
        let mut times: Vec<Time> = hosts.filter_map(due).collect();
        times.extend(due(&self.coordinator));
        times.extend(self.packets.keys().next().map(|&(at, _)| at));
        times.extend(self.clients.iter().filter(|it| !it.is_done()).map(|it| it.wake_at));
        times.extend(self.isolated.map(|(_, until)| until));
        let next = times.into_iter().min().unwrap_or(self.now + Duration::from_secs(1));
        self.now = next.max(self.now);
        self.reconnect();
        self.bring_back();
        for client in 0..self.clients.len() {
            if self.clients[client].wake_at <= self.now {
                self.numbers += 1;
                let id = self.numbers;
                let request = self.clients[client].wake(id, self.now, &self.claims);
                self.ask(client, id, request);
            }
        }
        while let Some(packet) = self.next_packet() {
            self.deliver(packet);
        }
        let is_due = |time: Option<Time>| time.is_some_and(|time| time <= self.now);
        if self.coordinator.node.is_some() && is_due(due(&self.coordinator)) {
            self.step_coordinator(None);
        }
        for at in 0..self.participants.len() {
            let host = &self.participants[at];
            if host.node.is_some() && due(host).is_some_and(|time| time <= self.now) {
                self.step_participant(at, None);
            }
        }
    }

    fn next_packet(&mut self) -> Option<Packet> {
        let first = self.packets.first_entry()?;
        (first.key().0 <= self.now).then(|| first.remove())
    }

    fn deliver(&mut self, packet: Packet) {
        self.trace.add(&format!("{:?} {packet:?}", self.now));
        match packet {
            Packet::Peer { from, to, message } => {
                if self.is_cut(from) || self.is_cut(to) {
                    return;
                }
                match to {
                    Address::Coordinator => {
                        self.step_coordinator(Some(Input::Message { from, message }));
                    }
                    Address::Participant(NodeId(at)) => {
                        self.step_participant(at.into(), Some(Input::Message { from, message }));
                    }
                }
            }
            Packet::Ask { client, id, request } => {
                self.asked.insert(id, client);
                self.step_coordinator(Some(Input::Request { id: RequestId(id), request }));
            }
            Packet::Tell { client, id, answer } => {
                self.numbers += 1;
                let next = self.numbers;
                let nodes = u16::try_from(self.participants.len()).unwrap();
                let random = &mut self.random;
                let request = self.clients[client].answered(
                    (id, next),
                    answer,
                    self.now,
                    &mut self.claims,
                    || draw(random, nodes, ACCOUNTS),
                );
                self.ask(client, next, request);
            }
        }
    }

    fn ask(&mut self, client: usize, id: u64, request: Option<coordinator::Request>) {
        let Some(request) = request else { return };
        let runs = matches!(request, coordinator::Request::Run { .. });
        self.post(&Packet::Ask { client, id, request });
        if self.row == Row::N4 && runs && self.reaches() {
            self.clients[client].is_dead = true;
            self.disturbed();
        }
    }

    fn step_coordinator(&mut self, input: Option<Input<coordinator::Request>>) {
        let Some(node) = &self.coordinator.node else { return };
        let undecided = node.machine().gauges(self.now).undecided;
        let out = self.coordinator.foresee(input.as_ref(), self.now);
        let cut = if self.is_healed {
            None
        } else {
            self.row.cut_coordinator(input.as_ref(), &out, undecided, &mut self.random)
        };
        let cut = cut.filter(|_| self.reaches()).unwrap_or(Cut::Nowhere);
        let stepped = self.coordinator.step(input, self.now, cut);
        if stepped.is_kept {
            self.see_decisions(&out);
            self.see_silence(&out);
        }
        for effect in stepped.effects {
            self.let_out(Address::Coordinator, effect, |world, id, answer| {
                if let coordinator::Answer::Begun(txid) = answer {
                    assert!(world.truth.names.insert(txid), "I8: {txid} was given twice");
                }
                let client = world.asked[&id.0];
                if world.row == Row::N4 && world.clients[client].is_dead && is_over(&answer) {
                    world.found.shown += 1;
                }
                world.post(&Packet::Tell { client, id: id.0, answer });
            });
        }
        if stepped.crashed {
            self.disturbed();
            if !stepped.is_kept {
                self.truth.torn = self.truth.torn.or(decided(&out).map(|(txid, _)| txid));
            }
            self.crash_coordinator(&out, cut);
        }
    }

    fn step_participant(&mut self, at: usize, input: Option<Input<participant::Request>>) {
        if self.participants[at].node.is_none() {
            return;
        }
        let out = self.participants[at].foresee(input.as_ref(), self.now);
        let cut =
            if self.is_healed { None } else { self.row.cut_participant(&out, &mut self.random) };
        let cut = cut.filter(|_| self.reaches()).unwrap_or(Cut::Nowhere);
        let stepped = self.participants[at].step(input, self.now, cut);
        let me = NodeId(u16::try_from(at).unwrap());
        if stepped.is_kept {
            self.see_work(me, &out);
        }
        for effect in stepped.effects {
            self.let_out(Address::Participant(me), effect, |_, _, _| {});
        }
        if stepped.crashed {
            self.disturbed();
            let back = self.now + self.downtime();
            match cut {
                Cut::FailedSync => self.participants[at].kill(back),
                _ => self.participants[at].crash(&mut self.random, back),
            }
        }
    }

    fn let_out<A>(
        &mut self,
        from: Address,
        effect: Effect<A>,
        reply: impl FnOnce(&mut Self, RequestId, A),
    ) {
        match effect {
            Effect::Send { to, message } => self.send(from, to, message),
            Effect::Reply { request, answer } => reply(self, request, answer),
            Effect::Report(report) => self.trace.add(&report.to_string()),
        }
    }

    fn send(&mut self, from: Address, to: Address, message: Message) {
        let body = &message.body;
        if !self.is_healed && self.row.loses(body) && self.reaches() {
            if let Some(node) = participant_of(from, to) {
                self.truth.lost.insert((message.txid, node));
            }
            self.disturbed();
            return;
        }
        let isolates = !self.is_healed && self.isolated.is_none() && self.row.isolates(from, body);
        self.post(&Packet::Peer { from, to, message });
        if let Address::Participant(node) = from
            && isolates
            && self.reaches()
        {
            self.isolated = Some((node, self.now + Duration::from_secs(6)));
            self.disturbed();
        }
    }

    fn post(&mut self, packet: &Packet) {
        let calm = Network { loses: 0, doubles: 0, slow: 20 };
        let network = if self.is_healed { calm } else { self.network };
        let copies = 1 + u64::from(self.random.percent(network.doubles));
        for _ in 0..copies {
            if !self.random.percent(network.loses) {
                let most = if self.random.percent(85) { 20 } else { network.slow };
                let way = Duration::from_micros(100 + self.random.below(most * 1000));
                self.numbers += 1;
                self.packets.insert((self.now + way, self.numbers), packet.clone());
            }
        }
    }

    fn is_cut(&self, address: Address) -> bool {
        self.isolated.is_some_and(|(node, _)| address == Address::Participant(node))
    }

    /// True if the row's place is to be made use of, now that the run is there.
    fn reaches(&mut self) -> bool {
        if self.left == 0 && self.row != Row::Storm {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        true
    }

    /// What the row is about has been done.
    fn disturbed(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.skip = self.random.below(self.row.passes());
        // There the crash only leads to a recovery, and that one is to be cut short.
        self.found.reached += u64::from(self.row != Row::C6);
    }

    fn downtime(&mut self) -> Duration {
        Duration::from_millis(20 + self.random.below(2_500))
    }

    fn crash_coordinator(&mut self, out: &Outputs<Coordinator>, cut: Cut) {
        let mut back = self.now + self.downtime();
        match (self.row, decided(out)) {
            (Row::X1, Some((txid, participants))) => {
                back = self.now + Duration::from_secs(8);
                let Some(&NodeId(first)) = participants.keys().next() else { return };
                let host = &mut self.participants[usize::from(first)];
                host.crash(&mut self.random, back + Duration::from_secs(2));
                self.truth.blocked = Some(txid);
            }
            (Row::Peers, Some((txid, _))) => {
                back = self.now + Duration::from_secs(8);
                self.truth.told = Some(txid);
            }
            _ => {}
        }
        match cut {
            Cut::FailedSync => self.coordinator.kill(back),
            _ => self.coordinator.crash(&mut self.random, back),
        }
    }

    fn bring_back(&mut self) {
        if self.coordinator.back_at.is_some_and(|at| at <= self.now) {
            self.see_blocked();
            let stop = self.fails_in_recovery();
            if let Some(effects) = self.coordinator.start(self.now, stop) {
                self.see_recovery(&effects);
                for effect in effects {
                    self.let_out(Address::Coordinator, effect, |_, _, _| {});
                }
            } else {
                self.truth.is_interrupted = true;
                self.found.reached += u64::from(self.row == Row::C6);
                let back = self.now + self.downtime();
                self.coordinator.crash(&mut self.random, back);
            }
        }
        for at in 0..self.participants.len() {
            if self.participants[at].back_at.is_some_and(|at| at <= self.now) {
                let stop = self.fails_in_recovery();
                if self.participants[at].start(self.now, stop).is_none() {
                    let back = self.now + self.downtime();
                    self.participants[at].crash(&mut self.random, back);
                }
                self.see_ready(at);
            }
        }
    }

    fn fails_in_recovery(&mut self) -> Option<u64> {
        let percent = match self.row {
            Row::C6 => 60,
            Row::Storm => 10,
            _ => 0,
        };
        (!self.is_healed && self.random.percent(percent)).then(|| self.random.below(7))
    }

    fn reconnect(&mut self) {
        let Some((node, until)) = self.isolated else { return };
        if until > self.now && !self.is_healed {
            return;
        }
        let host = &self.participants[usize::from(node.0)];
        let listed = host.node.as_ref().map(|node| node.machine().in_doubt(self.now));
        let is_blocked = listed.iter().flatten().any(|line| line.state == State::Blocked);
        self.found.shown += u64::from(is_blocked);
        self.isolated = None;
    }

    /// The coordinator has read its log: what it says there has committed, and nothing else.
    fn see_recovery(&mut self, effects: &[Effect<coordinator::Answer>]) {
        let node = self.coordinator.node.as_ref().unwrap();
        let committed: BTreeSet<_> = node.machine().committed().collect();
        for (txid, verdict) in &self.truth.verdicts {
            let is_kept = committed.contains(txid) || *verdict == Verdict::Abort;
            assert!(is_kept, "I4: {txid} has committed, and the log has lost it");
        }
        if std::mem::take(&mut self.truth.is_interrupted) && self.row == Row::C6 {
            self.found.shown += 1;
        }
        let Some(txid) = self.truth.torn.take() else { return };
        let told = |effect: &Effect<_>| {
            matches!(effect, Effect::Send { message, .. }
                if *message == Message { txid, body: Body::Commit })
        };
        if committed.contains(&txid) {
            assert!(effects.iter().any(told), "{txid} was found, and nobody is told");
            self.found.torn.0 += 1;
            self.decide(txid, Verdict::Commit);
        } else {
            self.found.torn.1 += 1;
            self.decide(txid, Verdict::Abort);
        }
    }

    /// The coordinator is about to return: who waits for it is blocked, and shows it.
    fn see_blocked(&mut self) {
        let Some(txid) = self.truth.blocked.take() else { return };
        for host in &self.participants {
            let listed = host.node.as_ref().map(|node| node.machine().in_doubt(self.now));
            let mut lines = listed.iter().flatten().filter(|line| line.txid == txid);
            self.found.shown += u64::from(lines.any(|line| line.state == State::Blocked));
        }
    }

    fn decide(&mut self, txid: TxId, verdict: Verdict) {
        let before = *self.truth.verdicts.entry(txid).or_insert(verdict);
        assert_eq!(before, verdict, "I1, I3: {txid} is decided twice, and differently");
    }

    fn see_decisions(&mut self, out: &Outputs<Coordinator>) {
        for record in records(out) {
            match record {
                CoordinatorRecord::Commit { txid, participants } => {
                    for &node in participants.keys() {
                        let yes = self.truth.prepared.contains(&(*txid, node));
                        assert!(yes, "I2: {txid} commits and {node} has not said yes");
                    }
                    let is_elsewhere = |(node, _)| !participants.contains_key(&node);
                    self.found.elsewhere += u64::from(self.isolated.is_some_and(is_elsewhere));
                    self.decide(*txid, Verdict::Commit);
                }
                // All have acknowledged it, one of them again.
                CoordinatorRecord::End { txid } if self.row == Row::N2 => {
                    let lost = self.truth.lost.iter().filter(|(lost, _)| lost == txid).count();
                    self.found.shown += u64::from(lost > 0);
                    self.truth.lost.retain(|(lost, _)| lost != txid);
                }
                CoordinatorRecord::End { .. } => {}
            }
        }
    }

    /// The coordinator gives up a transaction, and says that it is because of a message that was lost.
    fn see_silence(&mut self, out: &Outputs<Coordinator>) {
        if self.row != Row::N1 {
            return;
        }
        let silent = out.iter().filter_map(|output| match output {
            Output::Effect(Effect::Reply {
                answer: Answer::Outcome(Outcome::Aborted(Why::Silent(nodes))),
                ..
            }) => Some(nodes),
            _ => None,
        });
        let silent: BTreeSet<_> = silent.flatten().collect();
        for output in out {
            if let Output::Effect(Effect::Send { message: Message { txid, body }, .. }) = output
                && *body == Body::Abort
            {
                let before = self.truth.lost.len();
                self.truth.lost.retain(|(lost, node)| lost != txid || !silent.contains(node));
                self.found.shown += u64::from(self.truth.lost.len() < before);
            }
        }
    }

    fn see_work(&mut self, me: NodeId, out: &Outputs<Participant>) {
        for record in records(out) {
            match record {
                ParticipantRecord::Prepared { txid, .. } => {
                    self.truth.prepared.insert((*txid, me));
                }
                ParticipantRecord::Commit { txid } => {
                    self.see_word(*txid);
                    self.decide(*txid, Verdict::Commit);
                }
                ParticipantRecord::Abort { txid } | ParticipantRecord::Tombstone { txid } => {
                    self.see_word(*txid);
                    self.decide(*txid, Verdict::Abort);
                    // It was told again, because it asked.
                    let is_told = matches!(record, ParticipantRecord::Abort { .. });
                    if self.row == Row::N2 && is_told && self.truth.lost.remove(&(*txid, me)) {
                        self.found.shown += 1;
                    }
                }
                _ => {}
            }
        }
    }

    /// A record that was not synced when the power went may be on the disk all the same: who finds one
    /// that it is prepared says yes from then on.
    fn see_ready(&mut self, at: usize) {
        let me = NodeId(u16::try_from(at).unwrap());
        let listed =
            self.participants[at].node.as_ref().map(|node| node.machine().in_doubt(self.now));
        let ready = listed.into_iter().flatten().filter(|line| line.state == State::Ready);
        self.truth.prepared.extend(ready.map(|line| (line.txid, me)));
    }

    /// A participant decides while the coordinator may be away.
    fn see_word(&mut self, txid: TxId) {
        assert_ne!(self.truth.blocked, Some(txid), "{txid} was released by nobody who could");
        if self.truth.told == Some(txid) && self.coordinator.node.is_none() {
            self.found.shown += 1;
        }
    }

    /// Nothing fails any more, and all comes back. Soon there is no trace of any trouble.
    fn heal(&mut self) {
        self.is_healed = true;
        self.truth.told = None;
        let end = self.now + Duration::from_secs(30);
        while self.now < end {
            self.advance();
        }
        assert!(self.clients.iter().all(Client::is_done), "{:?}", self.clients);
        let evidence = self.evidence();
        self.found.judgement = judge(&evidence);
        self.ask_again();
        let hosts = self.participants.iter().map(|host| host.crashes);
        self.found.crashes = self.coordinator.crashes + hosts.sum::<u64>();
        let disks = self.participants.iter().map(|host| host.disk.fingerprint());
        let disks: Vec<_> = disks.chain([self.coordinator.disk.fingerprint()]).collect();
        self.trace.add(&format!("{disks:?}"));
        self.found.trace = self.trace.0;
    }

    fn evidence(&self) -> Evidence {
        let coordinator = self.coordinator.node.as_ref().unwrap().machine();
        let mut evidence = Evidence {
            committed: coordinator.committed().collect(),
            forgotten: coordinator.forgotten(),
            unfinished: coordinator.unfinished().into_iter().map(|(txid, _)| txid).collect(),
            claims: self.claims.clone(),
            ..Evidence::default()
        };
        for (at, host) in (0..).map(NodeId).zip(&self.participants) {
            let participant = host.node.as_ref().unwrap().machine();
            evidence.ledgers.insert(at, participant.ledger().clone());
            let lines = participant.in_doubt(self.now);
            evidence.in_doubt.extend(lines.into_iter().map(|line| (at, line)));
            evidence.locked += participant.locks().len() as u64;
        }
        evidence
    }

    /// What was told once is told again.
    fn ask_again(&self) {
        let coordinator = &self.coordinator;
        for Claim { txid, told, .. } in &self.claims {
            let request = coordinator::Request::Outcome { txid: *txid };
            let input = Input::Request { id: RequestId(0), request };
            let out = coordinator.foresee(Some(&input), self.now);
            let text = format!("{out:?}");
            match told {
                Told::Aborted => assert!(text.contains("Aborted("), "I3: {txid}: {text}"),
                Told::Committed { .. } if self.truth.verdicts.contains_key(txid) => {
                    assert!(text.contains("Committed {"), "I3, I4: {txid}: {text}");
                }
                _ => {}
            }
        }
    }
}

/// What the coordinator decides to commit in a step, and for whom.
fn decided(out: &Outputs<Coordinator>) -> Option<(TxId, BTreeMap<NodeId, LogId>)> {
    records(out).find_map(|record| match record {
        CoordinatorRecord::Commit { txid, participants } => Some((*txid, participants.clone())),
        CoordinatorRecord::End { .. } => None,
    })
}

/// The participant at one end of a message between the coordinator and a participant.
fn participant_of(from: Address, to: Address) -> Option<NodeId> {
    match (from, to) {
        (Address::Coordinator, Address::Participant(node))
        | (Address::Participant(node), Address::Coordinator) => Some(node),
        _ => None,
    }
}

/// True for an answer that tells the outcome, whichever.
fn is_over(answer: &Answer) -> bool {
    matches!(answer, Answer::Outcome(Outcome::Committed { .. } | Outcome::Aborted(_)))
}

fn due<M: Machine>(host: &Host<M>) -> Option<Time> {
    match &host.node {
        Some(node) => node.next_timeout(),
        None => host.back_at,
    }
}

fn coordinator_options() -> coordinator::Options {
    coordinator::Options {
        vote_timeout: Duration::from_millis(400),
        resend: Duration::from_millis(100),
        resend_most: Duration::from_secs(1),
        ..coordinator::Options::default()
    }
}

fn participant_options() -> participant::Options {
    participant::Options {
        execution_timeout: Duration::from_millis(700),
        inquire: Duration::from_millis(150),
        inquire_most: Duration::from_secs(1),
        ..participant::Options::default()
    }
}
