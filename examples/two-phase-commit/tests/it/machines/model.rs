//! Two-phase commit with presumed abort, seven participants, every order of every message, loss and
//! repetition, crashes of all: every state is looked at (within the [`Bounds`]).
//!
//! The model is the design, not the code: it shows that the rules suffice, and that leaving one of them out
//! is found. The code's own machines are looked at in the same way in `machines_model`, and that they do
//! nothing else than the model in `refinement`.
//!
//! A message that was sent once may arrive whenever it likes, again and again, or never. So it makes no
//! difference that all prepares are sent at once, or that a coordinator takes all votes in at the moment at
//! which it decides: what has not arrived by then may have been slow. Participants are interchangeable, so
//! their states are kept sorted: one order stands for all.

use stateright::{Checker, HasDiscoveries, Model, Property};

#[derive(Clone, Copy, Debug)]
struct Bounds {
    participants: usize,
    coordinator_crashes: u8,
    participant_crashes: u8,
}

/// A rule left out: what the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    YesBeforeForce,
    CommitSentBeforeForced,
    EndBeforeAllAcks,
    AbortedWhilePending,
    PresumedWhileRecovering,
    SilenceIsYes,
    AbortedAlone,
    TombstoneNotKept,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Protocol {
    bounds: Bounds,
    bug: Bug,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) coordinator: Coordinator,
    pub(super) participants: Vec<Participant>,
    pub(super) coordinator_crashes: u8,
    pub(super) participant_crashes: u8,
    /// Was ever sent, by the coordinator.
    pub(super) commit: bool,
    /// The same, or the answer to an inquiry.
    pub(super) abort: bool,
    /// Was ever said by a participant to its peers.
    pub(super) told_init: bool,
    pub(super) told_commit: bool,
    /// Somebody aborted what it had promised, or a client was told that it aborted.
    pub(super) somebody_aborted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Coordinator {
    pub(super) is_up: bool,
    pub(super) memory: Stage,
    pub(super) disk: Option<Kept>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Wait,
    Commit,
    /// All have acknowledged; from here on nothing is known of it.
    Ended,
    /// Aborted, or nothing is known of it.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kept {
    Commit,
    End,
}

/// A participant, and what was ever sent by it to the coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Participant {
    pub(super) memory: State,
    pub(super) disk: State,
    pub(super) yes: bool,
    pub(super) ack: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum State {
    #[default]
    Init,
    Ready,
    Committed,
    Tombstone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Decide,
    TimeOut,
    SendCommit,
    /// An inquiry is answered, or an abort sent.
    SendAbort,
    End,
    FlushEnd,
    CrashCoordinator,
    RecoverCoordinator,
    Prepare(usize),
    Commit(usize),
    Abort(usize),
    /// It is asked by a peer in doubt.
    Asked(usize),
    /// It hears from a peer that was never prepared.
    HearInit(usize),
    HearCommit(usize),
    /// What was written lazily is on the disk with something else.
    Flush(usize),
    Crash(usize),
    GiveUp(usize),
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            coordinator: Coordinator { is_up: true, memory: Stage::Wait, disk: None },
            participants: vec![Participant::default(); self.bounds.participants],
            coordinator_crashes: 0,
            participant_crashes: 0,
            commit: false,
            abort: false,
            told_init: false,
            told_commit: false,
            somebody_aborted: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        use Action::*;
        actions.extend([Decide, TimeOut, SendCommit, SendAbort, End, FlushEnd]);
        actions.extend([CrashCoordinator, RecoverCoordinator]);
        for (i, participant) in world.participants.iter().enumerate() {
            // The same as its neighbour: the same would come of it.
            if i > 0 && world.participants[i - 1] == *participant {
                continue;
            }
            actions.extend([Prepare(i), Commit(i), Abort(i), Asked(i), HearInit(i), HearCommit(i)]);
            actions.extend([Flush(i), Crash(i), GiveUp(i)]);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.perform(&mut next, action)?;
        next.participants.sort_unstable();
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_OUTCOME, |_, world: &World| {
                !(world.somebody_aborted && world.has_committed())
            }),
            Property::always(ALL_YES, |_, world: &World| {
                let kept = |it: &Participant| matches!(it.disk, State::Ready | State::Committed);
                !world.has_committed() || world.participants.iter().all(kept)
            }),
            Property::always(NOTHING_FORGOTTEN, |_, world: &World| {
                let done = |it: &Participant| it.disk == State::Committed;
                world.coordinator.disk != Some(Kept::End) || world.participants.iter().all(done)
            }),
            Property::sometimes("all commit", |_, world: &World| {
                world.participants.iter().all(|it| it.disk == State::Committed)
                    && world.coordinator.disk == Some(Kept::End)
            }),
            Property::sometimes("all wait for the coordinator", |_, world: &World| {
                !world.coordinator.is_up
                    && world.coordinator.disk.is_none()
                    && world.participants.iter().all(|it| it.memory == State::Ready)
            }),
            Property::sometimes(
                "a peer has aborted, and the others hear it",
                |_, world: &World| {
                    world.participants.iter().any(|it| it.memory == State::Tombstone)
                        && world.participants.iter().any(|it| it.yes && it.memory == State::Init)
                        && !world.abort
                },
            ),
            Property::sometimes("it is in doubt when all was over", |_, world: &World| {
                world.abort
                    && world.participants.iter().all(|it| it.yes)
                    && world.participants.iter().any(|it| it.memory == State::Ready)
                    && world.participants.iter().any(|it| it.memory == State::Init)
            }),
        ]
    }
}

impl Protocol {
    /// The rules, and no bound to how often what crashes.
    pub(super) fn unbounded(participants: usize) -> Self {
        let (coordinator_crashes, participant_crashes) = (u8::MAX, u8::MAX);
        let bounds = Bounds { participants, coordinator_crashes, participant_crashes };
        Self { bounds, bug: Bug::None }
    }

    /// `None` if it is not possible.
    pub(super) fn perform(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::CrashCoordinator | Action::RecoverCoordinator => self.reboot(world, action),
            Action::Decide | Action::TimeOut | Action::End | Action::FlushEnd => {
                self.decide(world, action)
            }
            Action::SendCommit | Action::SendAbort => self.send(world, action),
            Action::Prepare(i)
            | Action::Commit(i)
            | Action::Abort(i)
            | Action::Asked(i)
            | Action::HearInit(i)
            | Action::HearCommit(i)
            | Action::Flush(i)
            | Action::Crash(i)
            | Action::GiveUp(i) => self.participate(world, action, i),
        }
    }

    fn reboot(&self, world: &mut World, action: Action) -> Option<()> {
        let coordinator = &mut world.coordinator;
        if action == Action::CrashCoordinator {
            let may =
                coordinator.is_up && world.coordinator_crashes < self.bounds.coordinator_crashes;
            may.then_some(())?;
            world.coordinator_crashes += 1;
            coordinator.is_up = false;
        } else {
            (!coordinator.is_up).then_some(())?;
            coordinator.is_up = true;
        }
        // What it knows from now on, as soon as it is up.
        coordinator.memory = match coordinator.disk {
            None => Stage::Gone,
            Some(Kept::Commit) => Stage::Commit,
            Some(Kept::End) => Stage::Ended,
        };
        Some(())
    }

    fn decide(&self, world: &mut World, action: Action) -> Option<()> {
        let all_yes = world.participants.iter().all(|it| it.yes);
        let acks = world.participants.iter().filter(|it| it.ack).count();
        let coordinator = &mut world.coordinator;
        coordinator.is_up.then_some(())?;
        match action {
            Action::End => {
                let needed =
                    if self.bug == Bug::EndBeforeAllAcks { 1 } else { world.participants.len() };
                (coordinator.memory == Stage::Commit && acks >= needed).then_some(())?;
                coordinator.memory = Stage::Ended;
            }
            Action::FlushEnd => {
                (coordinator.memory == Stage::Ended).then_some(())?;
                coordinator.disk = Some(Kept::End);
            }
            Action::TimeOut if self.bug != Bug::SilenceIsYes => {
                (coordinator.memory == Stage::Wait).then_some(())?;
                coordinator.memory = Stage::Gone;
                world.somebody_aborted = true; // the client is told
            }
            _ => {
                let is_silence = self.bug == Bug::SilenceIsYes && action == Action::TimeOut;
                (coordinator.memory == Stage::Wait && (all_yes || is_silence)).then_some(())?;
                coordinator.memory = Stage::Commit;
                if self.bug != Bug::CommitSentBeforeForced {
                    coordinator.disk = Some(Kept::Commit);
                }
            }
        }
        Some(())
    }

    fn send(&self, world: &mut World, action: Action) -> Option<()> {
        let coordinator = world.coordinator;
        if action == Action::SendCommit {
            (coordinator.is_up && coordinator.memory == Stage::Commit).then_some(())?;
            world.commit = true;
            return Some(());
        }
        let aborts = match coordinator.memory {
            _ if !coordinator.is_up => self.bug == Bug::PresumedWhileRecovering,
            Stage::Wait => self.bug == Bug::AbortedWhilePending,
            Stage::Commit => false,
            Stage::Ended | Stage::Gone => true,
        };
        aborts.then_some(())?;
        world.abort = true;
        Some(())
    }

    fn participate(&self, world: &mut World, action: Action, i: usize) -> Option<()> {
        let World { commit, abort, told_init, told_commit, .. } = *world;
        let mut others = world.participants.iter().enumerate().filter(|(j, _)| *j != i);
        // Who has ever said yes may have asked, and the question may have been slow.
        let somebody_asks = others.any(|(_, other)| other.yes);
        let me = &mut world.participants[i];
        match action {
            Action::Prepare(_) => {
                (me.memory == State::Init).then_some(())?;
                me.memory = State::Ready;
                me.yes = true;
                if self.bug != Bug::YesBeforeForce {
                    me.disk = me.memory;
                }
            }
            Action::Commit(_) => {
                (commit && me.memory != State::Tombstone).then_some(())?;
                if me.memory == State::Ready {
                    (me.memory, me.disk) = (State::Committed, State::Committed);
                }
                me.ack = true; // of what is unknown as well: finished and forgotten
            }
            Action::HearCommit(_) => {
                (told_commit && me.memory == State::Ready).then_some(())?;
                (me.memory, me.disk) = (State::Committed, State::Committed);
            }
            Action::Abort(_) | Action::HearInit(_) | Action::GiveUp(_) => {
                let told = match action {
                    Action::Abort(_) => abort,
                    Action::HearInit(_) => told_init && me.memory == State::Ready,
                    _ => self.bug == Bug::AbortedAlone,
                };
                (told && matches!(me.memory, State::Ready | State::Tombstone)).then_some(())?;
                world.somebody_aborted |= me.memory == State::Ready;
                me.memory = State::Init; // lazy: the disk says what it said
            }
            Action::Asked(_) => {
                somebody_asks.then_some(())?;
                match me.memory {
                    State::Init => {
                        world.told_init = true;
                        if self.bug != Bug::TombstoneNotKept {
                            (me.memory, me.disk) = (State::Tombstone, State::Tombstone);
                        }
                    }
                    State::Tombstone => world.told_init = true,
                    State::Committed => world.told_commit = true,
                    State::Ready => return None,
                }
            }
            Action::Flush(_) => {
                // It makes a difference to a crash alone.
                (world.participant_crashes < self.bounds.participant_crashes).then_some(())?;
                me.disk = me.memory;
            }
            _ => {
                let may = me.memory != me.disk
                    && world.participant_crashes < self.bounds.participant_crashes;
                may.then_some(())?;
                world.participant_crashes += 1;
                me.memory = me.disk;
            }
        }
        Some(())
    }
}

impl World {
    fn has_committed(&self) -> bool {
        self.coordinator.disk == Some(Kept::Commit)
            || self.participants.iter().any(|it| it.disk == State::Committed)
    }
}

const ONE_OUTCOME: &str = "no two outcomes differ";
const ALL_YES: &str = "a commit stands on a kept yes of everybody";
const NOTHING_FORGOTTEN: &str = "what is forgotten is kept by everybody";

const THREE: Bounds = Bounds { participants: 3, coordinator_crashes: 2, participant_crashes: 2 };

const SEVEN: Bounds = Bounds { participants: 7, coordinator_crashes: 2, participant_crashes: 2 };

/// Looks at every state, and at least at `floor` of them: a model does not shrink unnoticed.
fn assert_promises(bounds: Bounds, floor: usize) -> impl Checker<Protocol> {
    let checker = Protocol { bounds, bug: Bug::None }.checker().threads(2).spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("{bounds:?}: {states} states, {} steps deep", checker.max_depth());
    for promise in [ONE_OUTCOME, ALL_YES, NOTHING_FORGOTTEN] {
        checker.assert_no_discovery(promise);
    }
    assert!(checker.is_done() && states >= floor, "{states} states are too few");
    checker
}

/// Shows that the checker finds the promise that a bug breaks, and prints how.
fn assert_broken(promise: &'static str, bug: Bug) {
    let found = HasDiscoveries::AllOf([promise].into());
    let model = Protocol { bounds: THREE, bug };
    let checker = model.checker().finish_when(found).spawn_bfs().join();
    let path = checker.assert_any_discovery(promise);
    println!("{bug:?}: not true any more that {promise}:\n{path}");
}

#[test]
fn three_participants_agree_over_crashes_of_all() {
    assert_promises(THREE, 2_200).assert_properties();
}

#[test]
fn seven_participants_agree() {
    assert_promises(SEVEN, 60_900).assert_properties();
}

#[test]
fn a_yes_that_is_not_kept_is_broken() {
    assert_broken(ALL_YES, Bug::YesBeforeForce);
}

#[test]
fn a_commit_that_is_told_and_not_kept_is_taken_back() {
    assert_broken(ONE_OUTCOME, Bug::CommitSentBeforeForced);
}

#[test]
fn a_commit_that_is_forgotten_too_early_is_presumed_aborted() {
    assert_broken(ONE_OUTCOME, Bug::EndBeforeAllAcks);
}

#[test]
fn pending_is_not_aborted() {
    assert_broken(ONE_OUTCOME, Bug::AbortedWhilePending);
}

#[test]
fn a_coordinator_that_has_not_read_its_log_cannot_presume() {
    assert_broken(ONE_OUTCOME, Bug::PresumedWhileRecovering);
}

#[test]
fn silence_is_not_a_yes() {
    assert_broken(ALL_YES, Bug::SilenceIsYes);
}

#[test]
fn who_has_said_yes_cannot_leave_alone() {
    assert_broken(ONE_OUTCOME, Bug::AbortedAlone);
}

#[test]
fn who_told_a_peer_that_it_was_not_prepared_must_remember() {
    assert_broken(ONE_OUTCOME, Bug::TombstoneNotKept);
}
