//! The code's machines do what the model allows: each of their steps is a step of the model, or none.
//!
//! [`abstraction`] says which state of the model ([`model`](super::model)) a state of the machines is. A step of
//! theirs that does several of the model's at once (a vote that arrives: it is decided, and told) is those
//! in a row, which [`sentences`] names by what was done. What the model has shown of its own runs is so
//! shown of theirs, too.
//!
//! The model's `somebody_aborted` is history that decides nothing, and no state of a machine tells it; so
//! it is compared with what clients are told ([`Told`]), and not with a state.

use two_phase_commit::coordinator::Coordinator;
use two_phase_commit::message::{Address, Body, Decision, Message, PeerState, Vote};
use two_phase_commit::participant::{Participant, State};
use two_phase_commit::txid::NodeId;

use crate::machines::machines_model::{Action, Bounds, ID, Told, World};
use crate::machines::model::{self, Action as Step, Kept, Protocol, Stage};

/// True if the model goes from what `before` is to what `after` is by what `action` should do.
pub(super) fn is_allowed(bounds: &Bounds, before: &World, action: Action, after: &World) -> bool {
    let (from, to) = (abstraction(bounds, before), abstraction(bounds, after));
    let protocol = Protocol::unbounded(from.participants.len());
    sentences(bounds, before, action).iter().any(|sentence| {
        let mut world = from.clone();
        let says = sentence.iter().all(|step| protocol.perform(&mut world, *step).is_some());
        let newly = |told| after.told.contains(&told) && !before.told.contains(&told);
        let is_true = (!newly(Told::Aborted) || world.somebody_aborted)
            && (!newly(Told::Committed) || world.coordinator.disk.is_some());
        says && is_true && visible(world) == to
    })
}

/// What the model compares: no history, and no count of crashes.
fn visible(world: model::World) -> model::World {
    let (coordinator_crashes, participant_crashes, somebody_aborted) = (0, 0, false);
    model::World { coordinator_crashes, participant_crashes, somebody_aborted, ..world }
}

/// Which state of the model this is. Its participants are those that write.
fn abstraction(bounds: &Bounds, world: &World) -> model::World {
    let said = |is_it: &dyn Fn(&Address, &Body) -> bool| {
        world.sent.iter().any(|(from, _, Message { body, .. })| is_it(from, body))
    };
    let participant = |at: &NodeId| {
        let node = &world.participants[usize::from(at.0)];
        let me = Address::Participant(*at);
        model::Participant {
            memory: state(&node.machine),
            disk: state(&node.disk),
            yes: said(&|from, body| {
                *from == me && matches!(body, Body::Vote { vote: Vote::Yes { .. }, .. })
            }),
            ack: said(&|from, body| *from == me && matches!(body, Body::Ack { .. })),
        }
    };
    let told = |states: &'static [PeerState]| {
        said(&|_, body| matches!(body, Body::PeerState(state) if states.contains(state)))
    };
    visible(model::World {
        coordinator: model::Coordinator {
            is_up: true,
            memory: stage(&world.coordinator.machine),
            disk: match stage(&world.coordinator.disk) {
                Stage::Wait | Stage::Gone => None,
                Stage::Commit => Some(Kept::Commit),
                Stage::Ended => Some(Kept::End),
            },
        },
        participants: bounds.writers().iter().map(participant).collect(),
        coordinator_crashes: 0,
        participant_crashes: 0,
        commit: said(&|_, body| matches!(body, Body::Commit | Body::Decision(Decision::Committed))),
        abort: said(&|_, body| matches!(body, Body::Abort | Body::Decision(Decision::Aborted))),
        told_init: told(&[PeerState::Init, PeerState::Aborted]),
        told_commit: told(&[PeerState::Committed]),
        somebody_aborted: false,
    })
}

fn stage(coordinator: &Coordinator) -> Stage {
    let is_committed = coordinator.committed().any(|txid| txid == ID);
    if coordinator.unfinished().iter().any(|(txid, _)| *txid == ID) {
        Stage::Commit
    } else if is_committed {
        Stage::Ended
    } else if coordinator.gauges(std::time::Duration::ZERO).undecided > 0 {
        Stage::Wait
    } else {
        Stage::Gone
    }
}

fn state(participant: &Participant) -> model::State {
    if participant.ledger().has_committed(ID) {
        return model::State::Committed;
    }
    match participant.in_doubt(std::time::Duration::ZERO).first().map(|line| line.state) {
        None => model::State::Init,
        Some(State::Ready | State::Blocked) => model::State::Ready,
        Some(State::Tombstone) => model::State::Tombstone,
        Some(other) => panic!("no operator is here: {other:?}"),
    }
}

/// What the model may do when the machines do this: one of these, step by step. None is always one.
fn sentences(bounds: &Bounds, world: &World, action: Action) -> Vec<Vec<Step>> {
    use Step::*;
    let index = |address: Address| {
        bounds.writers().iter().position(|node| Address::Participant(*node) == address)
    };
    let mut sentences = match action {
        Action::Deliver(number) => {
            let (_, to, message) = world.sent.iter().nth(number).expect("it was delivered");
            match (to, index(*to)) {
                (Address::Coordinator, _) => heard_by_coordinator(&message.body),
                (_, Some(at)) => heard_by_participant(&message.body, at),
                // Who only reads is not in the model.
                (_, None) => Vec::new(),
            }
        }
        Action::Timeout(Address::Coordinator) => vec![vec![TimeOut, SendAbort], vec![SendCommit]],
        // It asks; what comes of that is another step.
        Action::Timeout(_) => Vec::new(),
        Action::Crash(Address::Coordinator, 0) => vec![
            vec![CrashCoordinator, RecoverCoordinator],
            vec![CrashCoordinator, RecoverCoordinator, SendCommit],
        ],
        Action::Crash(Address::Coordinator, _) => {
            vec![vec![FlushEnd, CrashCoordinator, RecoverCoordinator]]
        }
        Action::Crash(at, found) => match index(at) {
            Some(at) if found == 0 => vec![vec![Crash(at)]],
            Some(at) => vec![vec![Flush(at)]],
            None => Vec::new(),
        },
    };
    sentences.push(Vec::new());
    sentences
}

fn heard_by_coordinator(body: &Body) -> Vec<Vec<Step>> {
    use Step::*;
    match body {
        Body::Executed { .. } => vec![vec![TimeOut, SendAbort]],
        Body::Vote { .. } => vec![vec![Decide, SendCommit], vec![TimeOut, SendAbort]],
        Body::Ack { .. } => vec![vec![End]],
        Body::Inquire => vec![vec![SendAbort], vec![SendCommit]],
        _ => Vec::new(),
    }
}

fn heard_by_participant(body: &Body, at: usize) -> Vec<Vec<Step>> {
    use Step::*;
    match body {
        Body::Prepare { .. } => vec![vec![Prepare(at)]],
        Body::Commit | Body::Decision(Decision::Committed) => vec![vec![Commit(at)]],
        Body::Abort | Body::Decision(Decision::Aborted) => vec![vec![Abort(at)]],
        Body::AskPeer => vec![vec![Asked(at)]],
        Body::PeerState(PeerState::Init | PeerState::Aborted) => vec![vec![HearInit(at)]],
        // It tells the coordinator at once, which was about to tell it.
        Body::PeerState(PeerState::Committed) => vec![vec![HearCommit(at), Commit(at)]],
        _ => Vec::new(),
    }
}
