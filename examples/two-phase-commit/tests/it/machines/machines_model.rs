//! The code's own machines, in every order of every message, with loss, repetition, timeouts and crashes:
//! every state is looked at (within the [`Bounds`]), and every step is compared with the model's.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};
use two_phase_commit::coordinator::{self, Answer, Coordinator, Outcome, Request};
use two_phase_commit::machine::{Effect, Input, Machine, Output, Outputs, Report, RequestId, Time};
use two_phase_commit::message::{Account, Action as What, Address, Body, Message, Transaction};
use two_phase_commit::participant::{self, Participant, State};
use two_phase_commit::record::Durability;
use two_phase_commit::txid::{NodeId, TxId};

use crate::machines::bench::{COORDINATOR, account, log, open, transfer, txid};
use crate::machines::refinement;

#[derive(Clone, Debug)]
pub(super) struct Bounds {
    participants: u16,
    transaction: Transaction,
    /// Of all nodes together.
    timeouts: u8,
    crashes: u8,
    disk: Disk,
}

/// What a disk makes of a record that is forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Disk {
    Keeps,
    /// A bug: what is forced is written, and not waited for.
    Forgets,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) coordinator: Node<Coordinator>,
    pub(super) participants: Vec<Node<Participant>>,
    /// All that was ever sent: it may arrive whenever it likes, again, or never.
    pub(super) sent: BTreeSet<(Address, Address, Message)>,
    pub(super) told: BTreeSet<Told>,
    /// The last step was one that the model does not have.
    has_strayed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Told {
    Committed,
    Aborted,
}

/// A machine and what a power cut leaves of it.
#[derive(Debug)]
pub(super) struct Node<M: Machine> {
    pub(super) machine: M,
    /// What would be recovered: a machine to which all that was forced has been replayed. Not the log, which
    /// has no end.
    pub(super) disk: M,
    /// Written behind them, and not forced.
    lazy: Vec<M::Record>,
    forced: Disk,
    now: Time,
    timeouts: u8,
    crashes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Deliver(usize),
    Timeout(Address),
    /// So many of the lazy records are found afterwards.
    Crash(Address, usize),
}

impl Model for Bounds {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut coordinator = Node::new(self.coordinator(), self.disk);
        let mut sent = Vec::new();
        coordinator.machine.recovered(1, Time::ZERO, &mut Vec::new());
        let transaction = self.transaction.clone();
        for request in [Request::Begin, Request::Run { txid: txid(1), transaction }] {
            let out = coordinator.input(Input::Request { id: RequestId(0), request });
            sent.extend(out);
        }
        let participants = (0..self.participants).map(|at| {
            let mut node = Node::new(self.participant(at), self.disk);
            node.machine.recovered(1, Time::ZERO, &mut Vec::new());
            let out = open(&mut node.machine);
            node.keep(out);
            node
        });
        let mut world = World {
            coordinator,
            participants: participants.collect(),
            sent: BTreeSet::new(),
            told: BTreeSet::new(),
            has_strayed: false,
        };
        world.let_out_answers(sent);
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend((0..world.sent.len()).map(Action::Deliver));
        let nodes = (0..).map(NodeId).map(Address::Participant).zip(&world.participants);
        let lazy = nodes.map(|(at, node)| (at, node.lazy.len()));
        let lazy = lazy.chain([(Address::Coordinator, world.coordinator.lazy.len())]);
        for (at, lazy) in lazy {
            if world.timeouts() < self.timeouts {
                actions.push(Action::Timeout(at));
            }
            if world.crashes() < self.crashes {
                actions.extend((0..=lazy).map(|found| Action::Crash(at, found)));
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Deliver(index) => {
                let (from, to, message) = world.sent.iter().nth(index)?.clone();
                next.deliver(from, to, message);
            }
            Action::Timeout(Address::Coordinator) => {
                let effects = next.coordinator.time_out()?;
                next.let_out_answers(effects);
            }
            Action::Timeout(at) => {
                let effects = next.participant(at).time_out()?;
                next.let_out(at, effects);
            }
            Action::Crash(Address::Coordinator, found) => {
                let effects = next.coordinator.crash(found);
                next.let_out_answers(effects);
            }
            Action::Crash(at, found) => {
                let effects = next.participant(at).crash(found);
                next.let_out(at, effects);
            }
        }
        next.has_strayed = !refinement::is_allowed(self, world, action, &next);
        (next != *world).then_some(next)
    }

    /// Late duplicates may be executed, dropped and executed again without end.
    fn within_boundary(&self, world: &World) -> bool {
        let is_old = |message: &Message| match &message.body {
            Body::Executed { result: Ok(execution), .. } => execution.id.counter > 2,
            _ => false,
        };
        !world.sent.iter().any(|(_, _, message)| is_old(message))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what stands in a book is decided", |_, world: &World| {
                world.committed() || world.books() == 0
            }),
            Property::always(
                "what is decided is in doubt or done everywhere",
                |bounds: &Bounds, world: &World| {
                    !world.committed() || world.books() + world.ready() == bounds.writers().len()
                },
            ),
            Property::always(EACH_STEP, |_, world: &World| !world.has_strayed),
            Property::always("what is told is true", |_, world: &World| {
                world.told.len() < 2
                    && (!world.told.contains(&Told::Aborted) || !world.committed())
                    && (!world.told.contains(&Told::Committed) || world.committed())
            }),
            Property::sometimes(HAPPENS, |bounds: &Bounds, world: &World| {
                world.books() == bounds.writers().len() && world.told.contains(&Told::Committed)
            }),
            Property::sometimes(ABORTS, |_, world: &World| world.told.contains(&Told::Aborted)),
            Property::sometimes("a peer aborts before it is prepared", |_, world: &World| {
                world.lists(|state| state == State::Tombstone)
            }),
        ]
    }
}

impl Bounds {
    fn coordinator(&self) -> Coordinator {
        let participants = (0..self.participants).map(NodeId);
        Coordinator::new(COORDINATOR, participants, coordinator::Options::default())
    }

    fn participant(&self, at: u16) -> Participant {
        // Peers are asked at once: fewer timeouts to look at.
        let options = participant::Options { patience: 0, ..participant::Options::default() };
        Participant::new(NodeId(at), log(at), options)
    }

    /// The participants that write, in order.
    pub(super) fn writers(&self) -> Vec<NodeId> {
        let writes =
            |(account, what): &(Account, What)| matches!(what, What::Add(_)).then_some(account.at);
        let writers: BTreeSet<_> = self.transaction.ops.iter().filter_map(writes).collect();
        writers.into_iter().collect()
    }
}

impl World {
    fn participant(&mut self, at: Address) -> &mut Node<Participant> {
        let Address::Participant(NodeId(at)) = at else { panic!("{at:?}") };
        &mut self.participants[usize::from(at)]
    }

    fn deliver(&mut self, from: Address, to: Address, message: Message) {
        if to == Address::Coordinator {
            let effects = self.coordinator.input(Input::Message { from, message });
            self.let_out_answers(effects);
        } else {
            let effects = self.participant(to).input(Input::Message { from, message });
            self.let_out(to, effects);
        }
    }

    fn let_out_answers(&mut self, effects: Vec<Effect<Answer>>) {
        for effect in &effects {
            match effect {
                Effect::Reply { answer: Answer::Outcome(Outcome::Committed { .. }), .. } => {
                    self.told.insert(Told::Committed);
                }
                Effect::Reply { answer: Answer::Outcome(Outcome::Aborted(_)), .. } => {
                    self.told.insert(Told::Aborted);
                }
                _ => {}
            }
        }
        self.let_out(Address::Coordinator, effects);
    }

    fn let_out<A>(&mut self, from: Address, effects: Vec<Effect<A>>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } => {
                    self.sent.insert((from, to, message));
                }
                // Of what cannot be, whatever is lost and repeated.
                Effect::Report(report) => {
                    assert!(matches!(report, Report::Blocked { .. }), "{report}");
                }
                Effect::Reply { .. } => {}
            }
        }
    }

    fn timeouts(&self) -> u8 {
        self.participants.iter().map(|node| node.timeouts).sum::<u8>() + self.coordinator.timeouts
    }

    fn crashes(&self) -> u8 {
        self.participants.iter().map(|node| node.crashes).sum::<u8>() + self.coordinator.crashes
    }

    fn committed(&self) -> bool {
        self.coordinator.machine.committed().next().is_some()
    }

    fn books(&self) -> usize {
        let stands = |node: &&Node<Participant>| node.machine.ledger().has_committed(ID);
        self.participants.iter().filter(stands).count()
    }

    fn ready(&self) -> usize {
        let is_ready = |state| matches!(state, State::Ready | State::Blocked);
        let lists = |node: &&Node<Participant>| node.lists(is_ready);
        self.participants.iter().filter(lists).count()
    }

    fn lists(&self, is_it: impl Fn(State) -> bool + Copy) -> bool {
        self.participants.iter().any(|node| node.lists(is_it))
    }
}

pub(super) const ID: TxId = TxId { log: COORDINATOR, epoch: 1, counter: 1 };

impl<M: Machine> Node<M> {
    fn new(machine: M, forced: Disk) -> Self
    where
        M: Clone,
    {
        let disk = machine.clone();
        let (lazy, now) = (Vec::new(), Duration::ZERO);
        Self { machine, disk, lazy, forced, now, timeouts: 0, crashes: 0 }
    }

    fn input(&mut self, input: Input<M::Request>) -> Vec<Effect<M::Answer>> {
        let mut out = Vec::new();
        self.machine.handle(input, self.now, &mut out);
        self.keep(out)
    }

    fn time_out(&mut self) -> Option<Vec<Effect<M::Answer>>> {
        self.now = self.now.max(self.machine.next_timeout()?);
        self.timeouts += 1;
        let mut out = Vec::new();
        self.machine.handle_timeout(self.now, &mut out);
        Some(self.keep(out))
    }

    /// The power fails and returns; of the lazy records the first few are found.
    fn crash(&mut self, found: usize) -> Vec<Effect<M::Answer>>
    where
        M: Clone,
    {
        for record in self.lazy.drain(..).take(found) {
            self.disk.replay(&record).expect("the log is the machine's own");
        }
        self.crashes += 1;
        self.now = Duration::ZERO;
        self.machine = self.disk.clone();
        let mut out = Vec::new();
        self.machine.recovered(1 + u64::from(self.crashes), self.now, &mut out);
        self.keep(out)
    }

    /// As the node does it: what is forced takes along all before it, and effects wait for it. Those that
    /// are let out before a crash and lost are like messages that never arrive.
    fn keep(&mut self, out: Outputs<M>) -> Vec<Effect<M::Answer>> {
        let mut effects = Vec::new();
        for output in out {
            match output {
                Output::Effect(effect) => effects.push(effect),
                Output::Persist { record, durability } => {
                    self.lazy.push(record);
                    if durability == Durability::Force && self.forced == Disk::Keeps {
                        for record in self.lazy.drain(..) {
                            self.disk.replay(&record).expect("the log is the machine's own");
                        }
                    }
                }
            }
        }
        effects
    }
}

impl Node<Participant> {
    fn lists(&self, is_it: impl Fn(State) -> bool) -> bool {
        self.machine.in_doubt(self.now).iter().any(|line| is_it(line.state))
    }
}

impl<M: Machine + Clone> Clone for Node<M> {
    fn clone(&self) -> Self {
        let Self { machine, disk, lazy, .. } = self;
        let (machine, disk, lazy) = (machine.clone(), disk.clone(), lazy.clone());
        Self { machine, disk, lazy, ..*self }
    }
}

impl<M: Machine + PartialEq> PartialEq for Node<M> {
    fn eq(&self, other: &Self) -> bool {
        (&self.machine, &self.disk, &self.lazy) == (&other.machine, &other.disk, &other.lazy)
            && (self.timeouts, self.crashes) == (other.timeouts, other.crashes)
    }
}

impl<M: Machine + Eq> Eq for Node<M> {}

impl<M: Machine + Hash> Hash for Node<M>
where
    M::Record: Hash,
{
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.machine, &self.disk, &self.lazy, self.timeouts, self.crashes).hash(state);
    }
}

const EACH_STEP: &str = "each step is one of the model, or none";
const HAPPENS: &str = "it happens everywhere, and that is told";
const ABORTS: &str = "it aborts, and that is told";

/// Looks at every state, and at least at `floor` of them: a model does not shrink unnoticed.
fn assert_promises(bounds: Bounds, floor: usize) -> impl Checker<Bounds> {
    let checker = bounds.checker().threads(2).spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("{states} states, {} steps deep", checker.max_depth());
    for property in checker.model().properties() {
        if property.expectation == Expectation::Always {
            checker.assert_no_discovery(property.name);
        }
    }
    assert!(checker.is_done() && states >= floor, "{states} states are too few");
    checker
}

fn among_two() -> Bounds {
    Bounds {
        participants: 2,
        transaction: transfer("p0/a", "p1/a", 30),
        timeouts: 1,
        crashes: 1,
        disk: Disk::Keeps,
    }
}

#[test]
fn the_machines_agree_on_a_transfer_over_crashes_and_timeouts() {
    assert_promises(among_two(), 5_800).assert_properties();
}

#[test]
fn the_machines_agree_when_three_write() {
    let mut transaction = transfer("p0/a", "p1/a", 30);
    transaction.ops.extend(transfer("p0/b", "p2/b", 30).ops);
    let bounds = Bounds { participants: 3, transaction, timeouts: 0, crashes: 2, ..among_two() };
    assert_promises(bounds, 1_100).assert_any_discovery(HAPPENS);
}

#[test]
fn the_machines_agree_when_one_of_them_only_reads() {
    let mut transaction = transfer("p0/a", "p0/b", 30);
    transaction.ops.push((account("p1/a"), What::Read));
    let checker = assert_promises(Bounds { transaction, ..among_two() }, 13_000);
    // Who writes alone has no peers that could abort before they are prepared.
    checker.assert_any_discovery(HAPPENS);
    checker.assert_any_discovery(ABORTS);
}

#[test]
fn a_step_that_the_model_does_not_have_is_found() {
    let bounds = Bounds { timeouts: 0, crashes: 0, disk: Disk::Forgets, ..among_two() };
    let found = HasDiscoveries::AllOf([EACH_STEP].into());
    let checker = bounds.checker().finish_when(found).spawn_bfs().join();
    println!("{}", checker.assert_any_discovery(EACH_STEP));
}
