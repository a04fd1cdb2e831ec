//! The coordinator by hand.

use std::time::Duration;

use two_phase_commit::coordinator::{
    Answer, Coordinator, Gauges, Options, Outcome, Refused, Request, Why,
};
use two_phase_commit::machine::{Input, Machine, Report};
use two_phase_commit::message::{
    Account, Action, Address, BadTransaction, Body, Decision, Message, No, Transaction,
};
use two_phase_commit::record::CoordinatorRecord;
use two_phase_commit::txid::{LogId, NodeId, TxId};

use crate::machines::bench::{
    Bench, COORDINATOR, NOW, account, coordinator, give, is_forced_first, log, sent, transfer, txid,
};

fn nothing_lost(_: Address, _: &Body) -> bool {
    false
}

fn outcome(bench: &mut Bench, txid: TxId) -> Answer {
    bench.ask(Request::Outcome { txid });
    bench.answers.pop().unwrap()
}

fn inquire(bench: &mut Bench, txid: TxId) -> Option<Body> {
    let from = Address::Participant(NodeId(0));
    bench.under_way.clear();
    bench.hand(from, Address::Coordinator, Message { txid, body: Body::Inquire });
    bench.under_way.pop_back().map(|(_, _, message)| message.body)
}

#[test]
fn a_transfer_happens_at_both_ends_and_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let txid = bench.run(transfer("p0/a", "p1/a", 30));
    bench.deliver(nothing_lost);
    let committed = Outcome::Committed { values: Some(Vec::new()) };
    assert_eq!(bench.answers, [Answer::Outcome(committed)]);
    assert_eq!((bench.balance(0, "a"), bench.balance(1, "a")), (70, 130));
    assert!(bench.participants.iter().all(|node| node.locks().is_empty()));
    assert_eq!(bench.decisions.last(), Some(&CoordinatorRecord::End { txid }));
    assert_eq!(bench.coordinator.gauges(bench.now), Gauges::default());
}

#[test]
fn its_figures_tell_what_is_not_over_and_for_how_long() {
    let mut bench = Bench::new();
    bench.run(transfer("p0/a", "p1/a", 30));
    bench.wait(Duration::from_millis(300));
    let figures = |undecided, unfinished, oldest| Gauges {
        undecided,
        unfinished,
        oldest: Duration::from_millis(oldest),
    };
    assert_eq!(bench.coordinator.gauges(bench.now), figures(1, 0, 300));
    bench.deliver(|_, body| matches!(body, Body::Commit));
    assert_eq!(bench.coordinator.gauges(bench.now), figures(0, 1, 0));
    bench.wait(Duration::from_millis(500));
    bench.run(transfer("p0/b", "p1/b", 30));
    // Sent again and again, and counted from the first time.
    assert_eq!(bench.coordinator.gauges(bench.now), figures(1, 1, 500));
    bench.deliver(nothing_lost);
    assert_eq!(bench.coordinator.gauges(bench.now), Gauges::default());
}

#[test]
fn an_audit_reads_all_at_one_moment_and_keeps_no_record() {
    let mut bench = Bench::new();
    let all = ["p0/a", "p1/a", "p2/b"].map(account);
    bench.run(Transaction::audit(all.clone()).unwrap());
    bench.deliver(nothing_lost);
    let values = all.into_iter().map(|account| (account, 100)).collect();
    let committed = Outcome::Committed { values: Some(values) };
    assert_eq!(bench.answers, [Answer::Outcome(committed)]);
    assert_eq!(bench.decisions, []);
    assert!(bench.participants.iter().all(|node| node.locks().is_empty()));
}

#[test]
fn a_commit_is_forced_before_anybody_hears_of_it() {
    let mut bench = Bench::new();
    let txid = bench.run(transfer("p0/a", "p1/a", 30));
    bench.deliver(|to, _| to == Address::Coordinator);
    let vote = |at| Input::Message {
        from: Address::Participant(NodeId(at)),
        message: Message {
            txid,
            body: Body::Vote {
                log: log(at),
                vote: two_phase_commit::message::Vote::Yes { values: Vec::new() },
            },
        },
    };
    assert!(give(&mut bench.coordinator, vote(0), NOW).is_empty());
    let out = give(&mut bench.coordinator, vote(1), NOW);
    assert!(is_forced_first(&out), "{out:?}");
    assert_eq!(sent(&out), [Body::Commit, Body::Commit]);
}

#[test]
fn what_is_not_decided_is_never_called_aborted() {
    let mut bench = Bench::new();
    let begun = bench.begin();
    assert_eq!(inquire(&mut bench, begun), Some(Body::Decision(Decision::Pending)));
    let txid = bench.run(transfer("p0/a", "p1/a", 30));
    assert_eq!(inquire(&mut bench, txid), Some(Body::Decision(Decision::Pending)));
    assert_eq!(outcome(&mut bench, txid), Answer::Outcome(Outcome::Pending));
    bench.wait(Options::default().vote_timeout);
    assert_eq!(inquire(&mut bench, txid), Some(Body::Decision(Decision::Aborted)));
}

#[test]
fn silence_is_not_a_vote() {
    let mut bench = Bench::new();
    bench.run(transfer("p0/a", "p1/a", 30));
    bench.deliver(|to, _| to == Address::Participant(NodeId(1)));
    bench.wait(Options::default().vote_timeout);
    let silent = Outcome::Aborted(Why::Silent(vec![NodeId(1)]));
    assert_eq!(bench.answers, [Answer::Outcome(silent)]);
    assert_eq!(bench.decisions, []);
}

#[test]
fn before_recovery_is_over_nothing_is_answered() {
    let mut coordinator = coordinator();
    let from = Address::Participant(NodeId(0));
    let message = Message { txid: txid(1), body: Body::Inquire };
    assert!(give(&mut coordinator, Input::Message { from, message }, NOW).is_empty());
}

#[test]
fn no_name_is_given_in_two_boots() {
    let mut bench = Bench::new();
    let first = bench.begin();
    bench.reboot_coordinator(2);
    assert_ne!(bench.begin(), first);
}

#[test]
fn all_must_acknowledge_before_it_is_forgotten() {
    let mut bench = Bench::new();
    let txid = bench.run(transfer("p0/a", "p1/a", 30));
    let commit =
        |to, body: &Body| to == Address::Participant(NodeId(1)) && matches!(body, Body::Commit);
    bench.deliver(commit);
    assert_eq!(bench.coordinator.unfinished(), [(txid, vec![NodeId(1)])]);
    bench.wait(Duration::from_secs(1));
    bench.deliver(nothing_lost);
    assert_eq!(bench.coordinator.unfinished(), []);
    assert_eq!(bench.balance(1, "a"), 130);
}

#[test]
fn an_acknowledgement_from_a_wiped_disk_is_an_alarm() {
    let mut bench = Bench::new();
    let txid = bench.run(transfer("p0/a", "p1/a", 30));
    bench.deliver(|_, body| matches!(body, Body::Commit));
    let ack = Message { txid, body: Body::Ack { log: LogId([9; 16]) } };
    for at in [0, 1] {
        bench.hand(Address::Participant(NodeId(at)), Address::Coordinator, ack.clone());
    }
    let alarm = |at| Report::WipedDisk {
        participant: NodeId(at),
        expected: log(at),
        found: LogId([9; 16]),
        txid,
    };
    assert_eq!(bench.reports, [alarm(0), alarm(1)]);
    assert_eq!(bench.coordinator.unfinished(), [(txid, vec![NodeId(0), NodeId(1)])]);
}

#[test]
fn a_vote_or_a_read_from_a_wiped_disk_aborts() {
    let mut bench = Bench::new();
    bench.run(transfer("p0/a", "p1/a", 30));
    bench.deliver(nothing_lost);
    bench.reboot_coordinator(2);
    bench.answers.clear();
    let mut wiped = two_phase_commit::participant::Participant::new(
        NodeId(1),
        LogId([9; 16]),
        two_phase_commit::participant::Options::default(),
    );
    wiped.recovered(1, NOW, &mut Vec::new());
    crate::machines::bench::open(&mut wiped);
    bench.participants[1] = wiped;
    bench.run(transfer("p0/a", "p1/a", 1));
    bench.deliver(nothing_lost);
    bench.run(Transaction::audit(["p0/a", "p1/a"].map(account)).unwrap());
    bench.deliver(nothing_lost);
    let aborted = Answer::Outcome(Outcome::Aborted(Why::WipedDisk(NodeId(1))));
    assert_eq!(bench.answers, [aborted.clone(), aborted]);
}

#[test]
fn the_same_run_again_happens_once_and_another_one_is_refused() {
    let mut bench = Bench::new();
    let transaction = transfer("p0/a", "p1/a", 30);
    let txid = bench.run(transaction.clone());
    bench.ask(Request::Run { txid, transaction: transfer("p0/a", "p1/a", 31) });
    assert_eq!(bench.answers.pop(), Some(Answer::Refused(Refused::OtherTransaction(txid))));
    bench.ask(Request::Run { txid, transaction: transaction.clone() });
    bench.deliver(nothing_lost);
    bench.ask(Request::Run { txid, transaction: transaction.clone() });
    let committed = Answer::Outcome(Outcome::Committed { values: Some(Vec::new()) });
    assert_eq!(bench.answers, [committed.clone(), committed.clone(), committed]);
    assert_eq!(bench.balance(0, "a"), 70);
    bench.reboot_coordinator(2);
    bench.answers.clear();
    bench.ask(Request::Run { txid, transaction });
    assert_eq!(bench.answers, [Answer::Outcome(Outcome::Committed { values: None })]);
}

#[test]
fn a_name_of_a_boot_before_without_a_record_has_aborted() {
    let mut bench = Bench::new();
    let txid = bench.run(transfer("p0/a", "p1/a", 30));
    bench.under_way.clear();
    bench.reboot_coordinator(2);
    assert_eq!(outcome(&mut bench, txid), Answer::Outcome(Outcome::Aborted(Why::Presumed)));
    bench.ask(Request::Run { txid, transaction: transfer("p0/a", "p1/a", 30) });
    assert_eq!(bench.answers, [Answer::Outcome(Outcome::Aborted(Why::Presumed))]);
    assert_eq!(bench.under_way.len(), 0, "it does not run any more");
}

#[test]
fn of_a_name_that_it_cannot_have_given_it_presumes_nothing() {
    let mut bench = Bench::new();
    let other = TxId { log: LogId([7; 16]), epoch: 1, counter: 1 };
    let future = TxId { log: COORDINATOR, epoch: 2, counter: 1 };
    for foreign in [other, future, txid(1), txid(0)] {
        assert_eq!(inquire(&mut bench, foreign), None, "{foreign}");
        assert_eq!(bench.reports.pop(), Some(Report::Foreign { txid: foreign }));
        assert_eq!(outcome(&mut bench, foreign), Answer::Refused(Refused::Foreign(foreign)));
    }
}

#[test]
fn an_outcome_that_is_too_old_is_not_known_and_not_guessed() {
    let mut bench = Bench::new();
    let options = Options { max_finished: 1, max_answers: 0, ..Options::default() };
    bench.coordinator = Coordinator::new(COORDINATOR, (0..3).map(NodeId), options);
    bench.coordinator.recovered(1, NOW, &mut Vec::new());
    let first = bench.run(transfer("p0/a", "p1/a", 1));
    bench.deliver(nothing_lost);
    let second = bench.run(transfer("p0/a", "p1/a", 1));
    bench.deliver(nothing_lost);
    assert_eq!(outcome(&mut bench, first), Answer::Outcome(Outcome::Forgotten));
    let known = Answer::Outcome(Outcome::Committed { values: None });
    assert_eq!(outcome(&mut bench, second), known);
}

#[test]
fn a_snapshot_says_what_the_log_said() {
    let mut bench = Bench::new();
    let first = bench.run(transfer("p0/a", "p1/a", 1));
    bench.deliver(nothing_lost);
    let second = bench.run(transfer("p0/a", "p1/a", 1));
    bench.deliver(|_, body| matches!(body, Body::Commit));
    let mut restored = coordinator();
    for item in bench.coordinator.snapshot() {
        restored.restore(item).unwrap();
    }
    let mut out = Vec::new();
    restored.recovered(2, NOW, &mut out);
    assert_eq!(sent(&out), [Body::Commit, Body::Commit]);
    assert_eq!(restored.committed().collect::<Vec<_>>(), [first, second]);
    assert_eq!(restored.unfinished(), [(second, vec![NodeId(0), NodeId(1)])]);
}

#[test]
fn what_is_no_transaction_is_refused_and_its_name_stays_good() {
    let mut bench = Bench::new();
    let txid = bench.begin();
    let nowhere = Account { at: NodeId(9), name: "a".to_owned() };
    let bad = |ops: Vec<(Account, Action)>| Request::Run { txid, transaction: Transaction { ops } };
    let (a, b) = (account("p0/a"), account("p1/a"));
    for (request, why) in [
        (bad(vec![]), BadTransaction::Empty),
        (bad(vec![(a.clone(), Action::Add(5))]), BadTransaction::Unbalanced),
        (bad(vec![(a.clone(), Action::Add(0))]), BadTransaction::Amount(0)),
        (
            bad(vec![(a.clone(), Action::Add(-5)), (nowhere, Action::Add(5))]),
            BadTransaction::UnknownParticipant(NodeId(9)),
        ),
        (
            bad(vec![(a.clone(), Action::Add(i64::MIN)), (b.clone(), Action::Add(i64::MIN))]),
            BadTransaction::Unbalanced,
        ),
    ] {
        bench.ask(request);
        assert_eq!(bench.answers.pop(), Some(Answer::Refused(Refused::Bad(why))));
    }
    bench.ask(bad(vec![(a, Action::Add(-5)), (b, Action::Add(5))]));
    bench.deliver(nothing_lost);
    assert_eq!(bench.balance(0, "a"), 95);
}

#[test]
fn what_a_participant_refuses_aborts_for_all() {
    let mut bench = Bench::new();
    let why = |bench: &mut Bench, transaction| {
        bench.run(transaction);
        bench.deliver(nothing_lost);
        match bench.answers.pop() {
            Some(Answer::Outcome(Outcome::Aborted(Why::No { no, .. }))) => no,
            other => panic!("{other:?}"),
        }
    };
    let poor = why(&mut bench, transfer("p0/a", "p1/a", 101));
    assert_eq!(poor, No::InsufficientFunds("a".to_owned()));
    let unknown = why(&mut bench, transfer("p0/a", "p1/nobody", 1));
    assert_eq!(unknown, No::UnknownAccount("nobody".to_owned()));
    assert_eq!(bench.decisions, []);
    assert!(bench.participants.iter().all(|node| node.locks().is_empty()));
}

#[test]
fn what_clients_could_pile_up_is_bounded() {
    let mut bench = Bench::new();
    let options = Options { max_active: 2, max_accounts: 5, max_begun: 1, ..Options::default() };
    bench.coordinator = Coordinator::new(COORDINATOR, (0..3).map(NodeId), options);
    bench.coordinator.recovered(1, NOW, &mut Vec::new());
    let evicted = bench.begin();
    bench.run(transfer("p0/a", "p1/a", 1));
    let txid = bench.begin();
    let many = Transaction::audit(["p0/a", "p0/b", "p1/a", "p1/b"].map(account)).unwrap();
    bench.ask(Request::Run { txid, transaction: many });
    assert_eq!(bench.answers.pop(), Some(Answer::Refused(Refused::Overloaded)));
    bench.ask(Request::Run { txid, transaction: transfer("p0/b", "p1/b", 1) });
    assert_eq!(bench.answers.pop(), None);
    bench.run(transfer("p2/a", "p1/b", 1));
    assert_eq!(bench.answers.pop(), Some(Answer::Refused(Refused::Overloaded)));
    bench.ask(Request::Run { txid: evicted, transaction: transfer("p2/a", "p1/b", 1) });
    assert_eq!(bench.answers.pop(), Some(Answer::Outcome(Outcome::Aborted(Why::Presumed))));
}
