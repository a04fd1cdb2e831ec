//! A participant by hand.

use std::time::Duration;

use two_phase_commit::machine::{Input, Machine, Output, Outputs, Report, RequestId};
use two_phase_commit::message::{
    Address, Body, Decision, ExecutionId, Message, No, PeerState, Vote, Work,
};
use two_phase_commit::participant::{Answer, Options, Participant, Refused, Request, State};
use two_phase_commit::record::{ParticipantRecord, Verdict};
use two_phase_commit::txid::{NodeId, TxId};

use crate::machines::bench::{
    NOW, add, give, is_forced_first, log, open, participant, prepare, sent, tell, txid,
};

const PEER: Address = Address::Participant(NodeId(1));

/// A node with accounts, and all that it has ever persisted.
struct Logged {
    node: Participant,
    records: Vec<ParticipantRecord>,
}

impl Logged {
    fn new() -> Self {
        let mut node = participant(0);
        node.recovered(1, NOW, &mut Vec::new());
        let mut logged = Self { node, records: Vec::new() };
        let out = open(&mut logged.node);
        logged.take(&out);
        logged
    }

    fn take(&mut self, out: &Outputs<Participant>) -> Vec<Body> {
        for output in out {
            if let Output::Persist { record, .. } = output {
                self.records.push(record.clone());
            }
        }
        sent(out)
    }

    fn tell(&mut self, txid: TxId, body: Body) -> Vec<Body> {
        let out = tell(&mut self.node, txid, body);
        self.take(&out)
    }

    fn ask_peer(&mut self, txid: TxId) -> Vec<Body> {
        let message = Message { txid, body: Body::AskPeer };
        let out = give(&mut self.node, Input::Message { from: PEER, message }, NOW);
        self.take(&out)
    }

    fn resolve(&mut self, txid: TxId, verdict: Verdict) -> Outputs<Participant> {
        let request = Request::Resolve { txid, verdict };
        let out = give(&mut self.node, Input::Request { id: RequestId(7), request }, NOW);
        self.take(&out);
        out
    }

    fn reboot(&mut self, epoch: u64) -> Vec<Body> {
        self.node = participant(0);
        for record in &self.records {
            self.node.replay(record).unwrap();
        }
        let mut out = Vec::new();
        self.node.recovered(epoch, NOW, &mut out);
        self.take(&out)
    }

    fn balance(&self) -> i64 {
        self.node.ledger().book("a").unwrap().balance
    }
}

fn yes() -> Body {
    Body::Vote { log: log(0), vote: Vote::Yes { values: Vec::new() } }
}

fn no(no: No) -> Body {
    Body::Vote { log: log(0), vote: Vote::No(no) }
}

fn ack() -> Body {
    Body::Ack { log: log(0) }
}

#[test]
fn yes_and_the_acknowledgement_stand_behind_forced_records() {
    let mut logged = Logged::new();
    let out = tell(&mut logged.node, txid(1), prepare(vec![add("a", -30)]));
    assert!(is_forced_first(&out), "{out:?}");
    let out = tell(&mut logged.node, txid(1), Body::Commit);
    assert!(is_forced_first(&out), "{out:?}");
    assert_eq!(logged.balance(), 70);
}

#[test]
fn what_is_prepared_is_locked_until_it_is_decided() {
    let mut logged = Logged::new();
    assert_eq!(logged.tell(txid(1), prepare(vec![add("a", -30)])), [yes()]);
    let locked = [no(No::Locked { by: txid(1) })];
    assert_eq!(logged.tell(txid(2), prepare(vec![add("a", 1)])), locked);
    assert_eq!(logged.tell(txid(2), prepare(vec![add("b", 1)])), [yes()]);
    assert_eq!(logged.tell(txid(1), Body::Abort), []);
    assert_eq!(logged.tell(txid(3), prepare(vec![add("a", 1)])), [yes()]);
}

#[test]
fn what_is_in_doubt_is_locked_again_before_anything_is_served() {
    let mut logged = Logged::new();
    logged.tell(txid(1), prepare(vec![add("a", -30)]));
    logged.reboot(2);
    let locked = [no(No::Locked { by: txid(1) })];
    assert_eq!(logged.tell(txid(2), prepare(vec![add("a", 1)])), locked);
    assert_eq!(logged.tell(txid(1), Body::Commit), [ack()]);
    assert_eq!(logged.balance(), 70);
}

#[test]
fn a_commit_is_applied_once_however_often_it_comes() {
    let mut logged = Logged::new();
    logged.tell(txid(1), prepare(vec![add("a", -30)]));
    assert_eq!(logged.tell(txid(1), Body::Commit), [ack()]);
    assert_eq!(logged.tell(txid(1), Body::Commit), [ack()]);
    logged.reboot(2);
    assert_eq!(logged.tell(txid(1), Body::Commit), [ack()]);
    assert_eq!(logged.tell(txid(1), prepare(vec![add("a", -30)])), [], "a late duplicate");
    assert_eq!(logged.balance(), 70);
}

#[test]
fn who_is_in_doubt_asks_and_never_gives_up_alone() {
    let mut logged = Logged::new();
    logged.tell(txid(1), prepare(vec![add("a", -30)]));
    let mut asked = 0;
    for second in 1..600 {
        let mut out = Vec::new();
        logged.node.handle_timeout(NOW + Duration::from_secs(second), &mut out);
        asked += sent(&out).iter().filter(|body| **body == Body::Inquire).count();
    }
    assert!(asked > 100, "{asked}");
    let listed = logged.node.in_doubt(NOW + Duration::from_secs(600));
    assert_eq!(listed[0].state, State::Blocked);
    assert_eq!((listed[0].txid, listed[0].age), (txid(1), Duration::from_secs(600)));
    assert_eq!(logged.node.gauges(NOW).blocked, 1);
    assert_eq!(logged.tell(txid(1), Body::Decision(Decision::Committed)), [ack()]);
}

#[test]
fn peers_are_asked_only_when_the_coordinator_is_silent() {
    let mut logged = Logged::new();
    logged.tell(txid(1), prepare(vec![add("a", -30)]));
    for second in 1..60 {
        let mut out = Vec::new();
        logged.node.handle_timeout(NOW + Duration::from_secs(second), &mut out);
        assert!(!sent(&out).contains(&Body::AskPeer), "it answers");
        logged.tell(txid(1), Body::Decision(Decision::Pending));
    }
    let mut out = Vec::new();
    for second in 60..90 {
        logged.node.handle_timeout(NOW + Duration::from_secs(second), &mut out);
    }
    assert!(sent(&out).contains(&Body::AskPeer));
}

#[test]
fn who_has_aborted_for_a_peer_never_says_yes_not_even_in_another_life() {
    let mut logged = Logged::new();
    assert_eq!(logged.ask_peer(txid(1)), [Body::PeerState(PeerState::Init)]);
    let aborted = [no(No::AlreadyAborted)];
    assert_eq!(logged.tell(txid(1), prepare(vec![add("a", -30)])), aborted);
    logged.reboot(2);
    assert_eq!(logged.tell(txid(1), prepare(vec![add("a", -30)])), aborted);
    assert_eq!(logged.ask_peer(txid(1)), [Body::PeerState(PeerState::Aborted)]);
    // Until the coordinator says that it cannot count a yes any more.
    assert_eq!(logged.tell(txid(1), Body::Decision(Decision::Aborted)), []);
    assert_eq!(logged.node.in_doubt(NOW), []);
}

#[test]
fn a_prepare_builds_on_the_execution_that_it_names_and_no_other() {
    let mut logged = Logged::new();
    let execute = Body::Execute { ops: vec![add("a", -30)] };
    let executed = logged.tell(txid(1), execute.clone());
    let id = |epoch| ExecutionId { epoch, counter: 1 };
    assert!(
        matches!(&executed[..], [Body::Executed { result: Ok(first), .. }] if first.id == id(1))
    );
    // It dies, and a late duplicate locks the same accounts anew.
    logged.reboot(2);
    logged.tell(txid(1), execute);
    let prepare = |epoch| Body::Prepare { work: Work::Executed(id(epoch)), peers: vec![NodeId(0)] };
    assert_eq!(logged.tell(txid(1), prepare(1)), [no(No::Expired)]);
    assert_eq!(logged.tell(txid(1), prepare(2)), [yes()]);
}

#[test]
fn locks_without_a_promise_are_dropped_in_time() {
    let mut logged = Logged::new();
    logged.tell(txid(1), Body::Execute { ops: vec![add("a", -30)] });
    assert_eq!(logged.node.locks().len(), 1);
    let late = NOW + Options::default().execution_timeout;
    logged.node.handle_timeout(late, &mut Vec::new());
    assert!(logged.node.locks().is_empty());
    let work = Work::Executed(ExecutionId { epoch: 1, counter: 1 });
    let late = Body::Prepare { work, peers: vec![NodeId(0)] };
    assert_eq!(logged.tell(txid(1), late), [no(No::Expired)]);
}

#[test]
fn a_checkpoint_holds_what_is_in_doubt() {
    let mut logged = Logged::new();
    logged.tell(txid(1), prepare(vec![add("a", -30)]));
    logged.tell(txid(1), Body::Commit);
    logged.tell(txid(2), prepare(vec![add("a", -30)]));
    logged.ask_peer(txid(3));
    logged.tell(txid(4), prepare(vec![add("b", -30)]));
    logged.resolve(txid(4), Verdict::Commit);
    let mut restored = participant(0);
    for item in logged.node.snapshot() {
        restored.restore(item).unwrap();
    }
    restored.recovered(2, NOW, &mut Vec::new());
    assert_eq!(restored.ledger(), logged.node.ledger());
    assert_eq!(restored.locks(), logged.node.locks());
    let states = |node: &Participant| -> Vec<_> {
        node.in_doubt(NOW).into_iter().map(|line| (line.txid, line.state)).collect()
    };
    let heuristic = State::Heuristic(Verdict::Commit);
    let expected = [(txid(2), State::Ready), (txid(3), State::Tombstone), (txid(4), heuristic)];
    assert_eq!(states(&restored), expected);
    assert_eq!(tell(&mut restored, txid(2), Body::Commit).len(), 2);
    assert_eq!(restored.ledger().book("a").unwrap().balance, 40);
}

#[test]
fn an_operator_decides_what_is_in_doubt_and_nothing_else() {
    let mut logged = Logged::new();
    let refused = |txid| Answer::Refused(Refused::NotInDoubt(txid));
    let out = logged.resolve(txid(1), Verdict::Commit);
    assert!(format!("{out:?}").contains(&format!("{:?}", refused(txid(1)))), "{out:?}");
    logged.tell(txid(1), prepare(vec![add("a", -30)]));
    let out = logged.resolve(txid(1), Verdict::Commit);
    assert!(is_forced_first(&out), "{out:?}");
    assert_eq!((logged.balance(), logged.node.locks().len()), (70, 0));
    // It does not speak for the coordinator.
    assert_eq!(logged.ask_peer(txid(1)), [Body::PeerState(PeerState::Ready)]);
    // The same decision: all is well.
    assert_eq!(logged.tell(txid(1), Body::Commit), [ack()]);
    assert_eq!(logged.node.in_doubt(NOW), []);
    assert_eq!(logged.balance(), 70);
}

#[test]
fn heuristic_damage_is_reported_listed_and_not_overwritten() {
    for (here, decided) in
        [(Verdict::Commit, Body::Decision(Decision::Aborted)), (Verdict::Abort, Body::Commit)]
    {
        let mut logged = Logged::new();
        logged.tell(txid(1), prepare(vec![add("a", -30)]));
        logged.resolve(txid(1), here);
        let before = logged.balance();
        let out = tell(&mut logged.node, txid(1), decided.clone());
        let damage = Report::HeuristicDamage { txid: txid(1) };
        assert!(format!("{out:?}").contains(&format!("{damage:?}")), "{out:?}");
        assert!(is_forced_first(&out));
        logged.take(&out);
        logged.reboot(2);
        assert_eq!(logged.node.in_doubt(NOW)[0].state, State::Damaged { here });
        assert_eq!(logged.node.gauges(NOW).damaged, 1);
        assert_eq!(logged.balance(), before);
        let again = logged.tell(txid(1), decided.clone());
        assert_eq!(again.len(), usize::from(decided == Body::Commit));
        assert_eq!(logged.balance(), before);
    }
}

#[test]
fn what_was_aborted_here_for_good_is_not_acknowledged() {
    let mut logged = Logged::new();
    logged.ask_peer(txid(1));
    let out = tell(&mut logged.node, txid(1), Body::Commit);
    assert!(sent(&out).is_empty());
    assert!(format!("{out:?}").contains("CommitOfAborted"));
}

#[test]
fn a_node_takes_decisions_from_nobody_else() {
    let mut logged = Logged::new();
    logged.tell(txid(1), prepare(vec![add("a", -30)]));
    for (from, body) in [
        (PEER, Body::Commit),
        (PEER, Body::Abort),
        (PEER, Body::Decision(Decision::Aborted)),
        (Address::Coordinator, Body::PeerState(PeerState::Committed)),
        (Address::Participant(NodeId(2)), Body::PeerState(PeerState::Committed)), // no peer of it
        (Address::Participant(NodeId(0)), Body::PeerState(PeerState::Init)),      // itself
    ] {
        let message = Message { txid: txid(1), body };
        let out = give(&mut logged.node, Input::Message { from, message }, NOW);
        assert!(out.is_empty(), "{out:?}");
    }
    assert_eq!(logged.node.in_doubt(NOW)[0].state, State::Ready);
}

#[test]
fn what_makes_no_sense_is_refused_and_locks_nothing() {
    let mut logged = Logged::new();
    for ops in [vec![], vec![add("a", 0)], vec![add("a", 1), add("a", 1)]] {
        let answer = logged.tell(txid(1), prepare(ops));
        let [Body::Vote { vote: Vote::No(No::Malformed(_)), .. }] = &answer[..] else {
            panic!("{answer:?}")
        };
    }
    let overflow = logged.tell(txid(1), prepare(vec![add("a", i64::MAX)]));
    assert_eq!(overflow, [no(No::Overflow("a".to_owned()))]);
    let stranger = Body::Prepare { work: Work::Ops(vec![add("a", 1)]), peers: vec![NodeId(1)] };
    assert!(matches!(
        &logged.tell(txid(1), stranger)[..],
        [Body::Vote { vote: Vote::No(No::Malformed(_)), .. }]
    ));
    assert!(logged.node.locks().is_empty());
}

#[test]
fn what_is_not_bounded_by_its_sender_is_bounded_here() {
    let options = Options { max_executed: 1, max_in_doubt: 1, ..Options::default() };
    let mut node = Participant::new(NodeId(0), log(0), options);
    node.recovered(1, NOW, &mut Vec::new());
    open(&mut node);
    tell(&mut node, txid(1), Body::Execute { ops: vec![add("a", 1)] });
    let out = tell(&mut node, txid(2), Body::Execute { ops: vec![add("b", 1)] });
    let refused = Body::Executed { log: log(0), result: Err(No::Overloaded) };
    assert_eq!(sent(&out), [refused]);
    tell(&mut node, txid(1), Body::Abort);
    assert_eq!(sent(&tell(&mut node, txid(3), prepare(vec![add("a", 1)]))), [yes()]);
    let out = tell(&mut node, txid(4), prepare(vec![add("b", 1)]));
    assert_eq!(sent(&out), [no(No::Overloaded)]);
    let message = Message { txid: txid(5), body: Body::AskPeer };
    assert!(give(&mut node, Input::Message { from: PEER, message }, NOW).is_empty());
    assert_eq!(node.locks().len(), 1);
}

#[test]
fn a_log_that_cannot_have_been_written_is_refused() {
    let record = ParticipantRecord::Commit { txid: txid(1) };
    assert!(participant(0).replay(&record).is_err());
    let record = ParticipantRecord::Prepared {
        txid: txid(1),
        peers: vec![NodeId(0)],
        redo: vec![add("nobody", 1)],
    };
    assert!(participant(0).replay(&record).is_err());
}
