//! How often a transfer waits for a disk.

use stable_store::disk::{ForgetfulDisk, Stop};
use stable_store::{Opening, Options, StoreError};
use two_phase_commit::coordinator::{self, Coordinator, Request};
use two_phase_commit::machine::{Effect, Input, RequestId};
use two_phase_commit::message::{Account, Action, Address, Body, Message, Transaction};
use two_phase_commit::node::Node;
use two_phase_commit::participant::{self, Participant};
use two_phase_commit::txid::NodeId;

use crate::machines::bench::{NOW, txid};

fn opening(seed: u64) -> Opening<ForgetfulDisk> {
    Opening::new(ForgetfulDisk::new(seed), Options::default()).unwrap()
}

/// All vote at once, so their forced writes are one on the way from the client's request to its answer; the
/// coordinator's is the other.
#[test]
fn a_transfer_among_three_waits_for_two_forced_writes() {
    let disk = opening(0);
    let machine =
        Coordinator::new(disk.id().into(), (0..3).map(NodeId), coordinator::Options::default());
    let mut coordinator = Node::open(disk, machine, NOW, &mut |_| {}).unwrap().node;
    let mut participants: Vec<_> = (0..3)
        .map(|at| {
            let disk = opening(1 + u64::from(at));
            let id = disk.id().into();
            let machine = Participant::new(NodeId(at), id, participant::Options::default());
            let mut node = Node::open(disk, machine, NOW, &mut |_| {}).unwrap().node;
            let accounts = [("a".to_owned(), 100)].into();
            let request = participant::Request::Open { accounts };
            node.step([Input::Request { id: RequestId(0), request }], NOW).unwrap();
            node
        })
        .collect();
    let before: Vec<_> = participants.iter().map(Node::forced).collect();

    let account = |at| Account { at: NodeId(at), name: "a".to_owned() };
    let delta = |delta| move |at| (account(at), Action::Add(delta));
    let ops = [0].map(delta(-20)).into_iter().chain([1, 2].map(delta(10))).collect();
    let name = coordinator.machine().log();
    let txid = two_phase_commit::txid::TxId { log: name, ..txid(1) };
    let inputs = [Request::Begin, Request::Run { txid, transaction: Transaction { ops } }];
    let inputs = inputs.map(|request| Input::Request { id: RequestId(1), request });
    let mut votes = Vec::new();
    for effect in coordinator.step(inputs, NOW).unwrap() {
        if let Effect::Send { to: Address::Participant(NodeId(at)), message } = effect {
            let input = Input::Message { from: Address::Coordinator, message };
            for effect in participants[usize::from(at)].step([input], NOW).unwrap() {
                if let Effect::Send { message, .. } = effect {
                    votes.push(Input::Message { from: Address::Participant(NodeId(at)), message });
                }
            }
        }
    }
    assert_eq!(coordinator.forced(), 0);
    let effects = coordinator.step(votes, NOW).unwrap();
    let is_commit = |effect: &&Effect<_>| {
        matches!(effect, Effect::Send { message: Message { body: Body::Commit, .. }, .. })
    };
    assert_eq!(effects.iter().filter(is_commit).count(), 3);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Reply { .. })));
    assert_eq!(coordinator.forced(), 1);
    for (node, before) in participants.iter().zip(before) {
        assert_eq!(node.forced() - before, 1);
    }
}

#[test]
fn a_node_whose_disk_has_failed_lets_nothing_out_ever_after() {
    let disk = ForgetfulDisk::new(9);
    let opening = Opening::new(disk.clone(), Options::default()).unwrap();
    let log = opening.id().into();
    let machine = Participant::new(NodeId(0), log, participant::Options::default());
    let mut node = Node::open(opening, machine, NOW, &mut |_| {}).unwrap().node;
    let open = || {
        let accounts = [("a".to_owned(), 100)].into();
        let request = participant::Request::Open { accounts };
        Input::Request { id: RequestId(0), request }
    };
    let look = || Input::Request { id: RequestId(1), request: participant::Request::InDoubt };
    assert_eq!(node.step([look()], NOW).unwrap().len(), 1);
    disk.stop_at(disk.operations() + 2, Stop::Kill); // behind the append
    assert!(matches!(node.step([open()], NOW), Err(StoreError::Io { action: "sync", .. })));
    // In its memory the accounts are open; nobody may learn of it.
    assert!(matches!(node.step([look()], NOW), Err(StoreError::Poisoned)));
}
