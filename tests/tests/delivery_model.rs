//! At most once, and never a wrong word about it: a model of calls, the server's memory and restarts,
//! every state of which is looked at (within the [`Bounds`]).
//!
//! The model is the design, not the code: it shows that the rules suffice, and that leaving one of them
//! out is found. A service is plain, and forgets in a crash, or durable: it has a log.

mod actions;
mod client;
mod durable;
mod log;
mod network;
mod server;

use stateright::{Checker, HasDiscoveries, Model, Property};

use actions::Action;
use client::{Client, End, Known};
use log::Log;
use network::Network;
use server::Server;

/// How much of an unbounded world the model looks at.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    clients: usize,
    /// Calls of a client. All are of a method that must not run twice.
    calls: usize,
    /// How often a call is sent.
    attempts: u8,
    /// How often a client connects.
    sessions: u8,
    restarts: u8,
    service: Service,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Plain,
    Durable,
}

/// A rule left out: what the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// A refusal leaves no mark, so that a late duplicate can run.
    NoTombstone,
    /// A call is forgotten once it is answered, and not once the client's floor has passed it.
    FreedWhenDone,
    /// The client resends without looking at whose memory it meets.
    MemoryIgnored,
    /// The client takes the first memory that it is told of for that of the session before, which told of
    /// none.
    FirstMemoryTrusted,
    /// The client asks a server what became of a call that a server before it was sent.
    InquiryOfOtherMemory,
    /// A duplicate that the policy denies now is answered as if it had never run.
    DenialOfDuplicate,
    /// An inquiry about a call that has not come is answered "did not run", and leaves no fence.
    NoFence,
    /// Call numbers are looked up without the key of the client that counts them.
    KeyWithoutClient,
    /// A durable call is answered before its record is on disk.
    AnsweredBeforeSync,
    /// What a log says that has just been read is answered before it is on disk: a killed process
    /// leaves more to be read than a power cut would.
    RecoveryWithoutSync,
    /// The effect of a durable call and the record that it ran are not one record.
    EffectApart,
    /// Records of calls do not outlast a boot; a checkpoint without them, say.
    RecordsDroppedAtBoot,
    /// A server refuses a repeated durable call while it has not read its log.
    RefusedWhileRecovering,
    /// The client sends durable calls again whatever the store's name.
    StoreIgnored,
    /// The client sends durable calls again however long it was away.
    LeaseIgnored,
    /// The client counts from when a word of the server comes, and not from when it gave cause to it.
    LateWordCounts,
}

#[derive(Clone, Copy, Debug)]
struct Delivery {
    bounds: Bounds,
    bug: Bug,
}

/// Everything, and the truth beside it, which no end of it can see.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    server: Server,
    clients: Vec<Client>,
    network: Network,
    /// By client and call.
    truth: Vec<Vec<Truth>>,
    /// A memory, and what a log had, was lost as the design allows.
    has_excuse: bool,
}

/// What became of a call in truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Truth {
    /// How often a handler was started for it. Any of its effects may happen from then on. What a
    /// power cut undoes does not count.
    begun: u8,
    /// A power cut has undone it once.
    undone: bool,
    /// Which attempt of the client started it first.
    begun_by: Option<u8>,
    /// A handler has come to its end.
    finished: bool,
}

impl Model for Delivery {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let Bounds { clients, calls, service, .. } = self.bounds;
        let log = (service == Service::Durable).then(|| Log::new(clients, calls));
        vec![World {
            server: Server::new(clients, log),
            clients: vec![Client::new(calls); clients],
            network: Network::default(),
            truth: vec![vec![Truth::default(); calls]; clients],
            has_excuse: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions::possible(self, world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        actions::perform(self, &mut next, action);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = promises();
        properties.extend(examples());
        if self.bounds.service == Service::Durable {
            properties.extend(durable::examples());
        }
        properties
    }
}

fn promises() -> Vec<Property<Delivery>> {
    vec![
        Property::always(ONCE, |_, world: &World| world.truth().all(|truth| truth.begun <= 1)),
        Property::always(NO_IS_TRUE, |_, world: &World| {
            world.ends().all(|(end, truth)| !end.says_no() || truth.begun == 0)
        }),
        Property::always(YES_IS_TRUE, |model, world: &World| {
            // What stands in a log has run, though the handler may have been killed behind that.
            let is_durable = model.bounds.service == Service::Durable;
            let has_run = |truth: &Truth| truth.begun > 0 && (truth.finished || is_durable);
            world.ends().all(|(end, truth)| !end.says_yes() || has_run(truth))
        }),
        Property::always(KNOWN, |_, world: &World| {
            world.has_excuse || world.ends().all(|(end, _)| end != End::OtherMemory)
        }),
    ]
}

/// What is possible with any service.
fn examples() -> Vec<Property<Delivery>> {
    vec![
        Property::sometimes("a lost answer is fetched by a later attempt", |_, world: &World| {
            world.ends().any(|(end, truth)| {
                matches!(end, End::Ran(Known::ByAnswer { attempt: 1 })) && truth.begun_by == Some(0)
            })
        }),
        Property::sometimes("a memory's lease ends", |_, world: &World| {
            world.server.restarts == 0 && world.ends().any(|(end, _)| end == End::OtherMemory)
        }),
        Property::sometimes("a call leaves ahead, and nobody says to whom", |_, world: &World| {
            world.ends().any(|(end, truth)| end == End::NoMemory && truth.finished)
        }),
        Property::sometimes("a call that was sent is fenced", |_, world: &World| {
            world.ends().any(|(end, _)| end == End::DidNotRun(Known::ByInquiry))
        }),
        Property::sometimes("an inquiry finds that it ran", |_, world: &World| {
            world.ends().any(|(end, _)| end == End::Ran(Known::ByInquiry))
        }),
        Property::sometimes("a refusal is told", |_, world: &World| {
            world
                .ends()
                .any(|(end, _)| matches!(end, End::DidNotRun(Known::ByAnswer { attempt: 0 })))
        }),
        Property::sometimes("all calls have run and are forgotten", |_, world: &World| {
            world.truth().all(|truth| truth.finished) && world.server.has_freed_all()
        }),
        Property::sometimes(
            "after a restart it is not known, and it had run",
            |_, world: &World| {
                world.server.restarts > 0
                    && world.ends().any(|(end, truth)| end == End::OtherMemory && truth.finished)
            },
        ),
        Property::sometimes(
            "after a restart it is not known, and it had not run",
            |_, world: &World| {
                world.server.restarts > 0
                    && world.ends().any(|(end, truth)| end == End::OtherMemory && truth.begun == 0)
            },
        ),
    ]
}

impl World {
    fn truth(&self) -> impl Iterator<Item = &Truth> {
        self.truth.iter().flatten()
    }

    /// The ends of all calls that have one, and the truth about each.
    fn ends(&self) -> impl Iterator<Item = (End, &Truth)> {
        let calls = self.clients.iter().flat_map(|client| &client.calls);
        calls.zip(self.truth()).filter_map(|(call, truth)| Some((call.end()?, truth)))
    }
}

const ONCE: &str = "a call runs at most once";
const NO_IS_TRUE: &str = "what is said not to have run has not, and never will";
const YES_IS_TRUE: &str = "what is said to have run has";
const KNOWN: &str = "nothing is unknown while a log of it is there";

/// Floors, fences and tombstones among several numbers.
const TWO_CALLS: Bounds =
    Bounds { clients: 1, calls: 2, attempts: 2, sessions: 1, restarts: 1, service: Service::Plain };

/// Several numbers when memories come and go.
const RECONNECTED: Bounds =
    Bounds { clients: 1, calls: 2, attempts: 1, sessions: 2, restarts: 1, service: Service::Plain };

/// One call over many connections, lives of the server, and leases.
const ONE_CALL: Bounds =
    Bounds { clients: 1, calls: 1, attempts: 2, sessions: 3, restarts: 2, service: Service::Plain };

/// Two clients that use the same numbers.
const TWO_CLIENTS: Bounds =
    Bounds { clients: 2, calls: 1, attempts: 1, sessions: 1, restarts: 1, service: Service::Plain };

/// Looks at every state, and at least at `floor` of them: a model does not shrink unnoticed.
fn assert_promises(bounds: Bounds, floor: usize) -> impl Checker<Delivery> {
    let checker = Delivery { bounds, bug: Bug::None }.checker().threads(2).spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("{bounds:?}: {states} states, {} steps deep", checker.max_depth());
    for promise in [ONCE, NO_IS_TRUE, YES_IS_TRUE, KNOWN] {
        checker.assert_no_discovery(promise);
    }
    assert!(checker.is_done() && states >= floor, "{states} states are too few");
    checker
}

/// Shows that the checker finds the promise that a bug breaks, and prints how.
fn assert_broken(promise: &'static str, bug: Bug, bounds: Bounds) {
    let found = HasDiscoveries::AllOf([promise].into());
    let checker = Delivery { bounds, bug }.checker().finish_when(found).spawn_bfs().join();
    let path = checker.assert_any_discovery(promise);
    println!("{bug:?}: not true any more that {promise}:\n{path}");
}

#[test]
fn calls_run_at_most_once_and_no_word_is_wrong_over_sessions_and_restarts() {
    // Here everything is possible that the model knows, and the examples show it.
    assert_promises(ONE_CALL, 74_000).assert_properties();
}

#[test]
fn calls_run_at_most_once_and_no_word_is_wrong_among_several_numbers() {
    assert_promises(TWO_CALLS, 140_000);
}

#[test]
fn calls_run_at_most_once_and_no_word_is_wrong_when_several_meet_another_memory() {
    assert_promises(RECONNECTED, 235_000);
}

#[test]
fn calls_run_at_most_once_and_no_word_is_wrong_with_two_clients() {
    assert_promises(TWO_CLIENTS, 240_000);
}

#[test]
fn without_a_tombstone_a_call_runs_that_was_said_not_to() {
    assert_broken(NO_IS_TRUE, Bug::NoTombstone, TWO_CALLS);
}

#[test]
fn a_call_that_is_forgotten_when_it_is_done_runs_twice() {
    assert_broken(ONCE, Bug::FreedWhenDone, TWO_CALLS);
}

#[test]
fn a_client_that_ignores_whose_memory_it_meets_runs_calls_twice() {
    assert_broken(ONCE, Bug::MemoryIgnored, ONE_CALL);
}

#[test]
fn a_client_that_sends_ahead_and_trusts_the_first_memory_it_is_told_of_runs_calls_twice() {
    assert_broken(ONCE, Bug::FirstMemoryTrusted, ONE_CALL);
}

#[test]
fn a_memory_that_was_not_there_cannot_say_what_ran() {
    assert_broken(NO_IS_TRUE, Bug::InquiryOfOtherMemory, ONE_CALL);
}

#[test]
fn a_denial_of_a_duplicate_says_nothing_about_the_first() {
    assert_broken(NO_IS_TRUE, Bug::DenialOfDuplicate, TWO_CALLS);
}

#[test]
fn an_inquiry_without_a_fence_says_what_a_late_request_makes_untrue() {
    assert_broken(NO_IS_TRUE, Bug::NoFence, TWO_CALLS);
}

#[test]
fn a_call_number_without_its_client_answers_for_another() {
    assert_broken(YES_IS_TRUE, Bug::KeyWithoutClient, TWO_CLIENTS);
}
