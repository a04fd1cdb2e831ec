//! Each point of a call's life, cut there: what callers are told is true wherever it happens.

use std::time::Duration;

use bailiwick::service::Delivery;
use bailiwick::{CallError, Executed};
use bailiwick_tests::lab::{Kind, Lab, Plan, Tally, lab_limits};
use bailiwick_tests::sim::LinkConfig;

const SEED: u64 = 2;
const SECOND: Duration = Duration::from_secs(1);

/// A call of each kind, one after the other: at once, with news while it is at work, in fragments
/// both ways, refused, readonly, one that may run again.
const SCRIPT: [Kind; 7] = [
    Kind::Increment,
    Kind::Slow(30),
    Kind::Fill(5_000),
    Kind::Forbidden,
    Kind::Read,
    Kind::Echo(3_000),
    Kind::Set,
];

fn session() -> Lab {
    let plan = Plan { deadline: 5 * SECOND, ..Plan::calls(SCRIPT.to_vec(), 1) };
    let mut lab = Lab::new(SEED, &lab_limits(), vec![plan]);
    let delay = Duration::from_millis(2)..Duration::from_millis(2);
    lab.set_links(&LinkConfig { delay, ..LinkConfig::default() });
    lab
}

/// How many datagrams the session has when nothing is cut, the last acknowledgement included.
fn whole_length() -> u64 {
    println!("seed {SEED}");
    let mut lab = session();
    lab.run(20 * SECOND).unwrap();
    lab.run_for(SECOND / 5);
    let tally = lab.verify();
    assert_eq!((tally.answered, tally.not_run), (6, 1));
    assert!(lab.world.sent() > 20, "the session is too short to show anything");
    lab.world.sent()
}

/// The session up to its datagram number `point`, which is the first that gets lost.
fn cut_at(point: u64) -> Lab {
    let mut lab = session();
    lab.world.cut_after(point);
    lab.world.run_until(20 * SECOND, |world| world.sent() > point).unwrap();
    lab
}

fn add(sum: &mut Tally, tally: Tally) {
    sum.answered += tally.answered;
    sum.not_run += tally.not_run;
    sum.found_executed += tally.found_executed;
    sum.unknown += tally.unknown;
    sum.unknown_ran += tally.unknown_ran;
}

#[test]
fn wherever_the_network_fails_for_a_while_every_call_is_answered() {
    for point in 0..whole_length() {
        let mut lab = cut_at(point);
        lab.run_for(SECOND);
        lab.world.mend();
        lab.run(30 * SECOND).unwrap();
        let tally = lab.verify();
        assert_eq!((tally.answered, tally.not_run), (6, 1), "cut at {point}");
    }
}

#[test]
fn wherever_the_network_fails_for_good_callers_know_what_can_be_known() {
    let mut sum = Tally::default();
    let length = whole_length();
    for point in 0..length {
        let mut lab = cut_at(point);
        // Nobody can be asked what became of calls, until the lease is over.
        lab.run(300 * SECOND).unwrap();
        let tally = lab.verify();
        for ended in lab.caller(0).ended() {
            let late = matches!(ended.result, Err(CallError::DeadlineExceeded { .. }));
            let cut = matches!(ended.result, Err(CallError::NotSent(_)));
            let told = ended.result.is_ok() || ended.kind == Kind::Forbidden;
            assert!(told || late || cut, "cut at {point}: {ended:?}");
            assert!(ended.took <= 6 * SECOND, "cut at {point}: {ended:?}");
        }
        add(&mut sum, tally);
    }
    println!("{length} points: {sum:?}");
    assert!(sum.answered > 0 && sum.not_run > 0 && sum.unknown_ran > 0);
    assert!(sum.unknown > sum.unknown_ran, "some that may have run did not");
}

#[test]
fn wherever_the_server_dies_and_comes_back_only_calls_that_may_have_run_are_unknown() {
    let mut sum = Tally::default();
    let length = whole_length();
    for point in 0..length {
        let mut lab = cut_at(point);
        lab.kill_server();
        lab.run_for(SECOND / 10);
        lab.start_server();
        lab.world.mend();
        lab.run(300 * SECOND).unwrap();
        let tally = lab.verify();
        assert!(tally.unknown <= 1, "one call is under way at a time, cut at {point}: {tally:?}");
        for ended in lab.caller(0).ended() {
            if ended.executed() == Executed::Unknown {
                assert_eq!(
                    ended.kind.delivery(),
                    Delivery::AtMostOnce,
                    "cut at {point}: {ended:?}"
                );
                let lost = matches!(ended.result, Err(CallError::OutcomeUnknown { .. }));
                assert!(lost, "cut at {point}: {ended:?}");
            }
        }
        add(&mut sum, tally);
    }
    println!("{length} points: {sum:?}");
    assert!(sum.unknown_ran > 0 && sum.unknown > sum.unknown_ran);
}
