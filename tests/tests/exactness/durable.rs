//! A durable service whose server dies in the middle of its calls: they run once, and all is known of
//! them.

use std::time::{Duration, Instant};

use bailiwick::{CallError, Executed, Limits, Unavailable};
use bailiwick_tests::lab::{Crash, Kind, Lab, Plan, Tally, lab_limits};
use bailiwick_tests::sim::LinkConfig;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_hours(24);

/// A link that loses so many percent, and repeats and reorders and spoils some.
fn link(loss: u32) -> LinkConfig {
    LinkConfig {
        loss: f64::from(loss) / 100.0,
        duplicate: 0.1,
        reorder: 0.1,
        corrupt: 0.01,
        delay: MS..5 * MS,
        // Each session looks for the path's MTU; a small one is found soon.
        mtu: 1_500,
        ..LinkConfig::default()
    }
}

/// A lease that is longer than any client needs to get through to a server that keeps dying.
fn limits() -> Limits {
    Limits { lease: 1_000 * SECOND, ..lab_limits() }
}

/// Half of the lives end in a power cut.
fn crash(life: usize) -> Crash {
    if life.is_multiple_of(2) { Crash::PowerCut(life / 2) } else { Crash::Kill }
}

/// Goes on until all callers are done. The server dies whenever so many calls more have taken effect,
/// and is back a little later; how often it died.
fn run_over_crashes(lab: &mut Lab, every: u64) -> usize {
    let callers = lab.callers().len();
    for crashes in 0.. {
        let next = lab.disk.counter() + every;
        while lab.disk.counter() < next {
            lab.run_for(5 * MS);
            if (0..callers).all(|index| lab.caller(index).is_done()) {
                return crashes;
            }
        }
        lab.crash_server(crash(crashes));
        lab.run_for(30 * MS);
        lab.start_server();
    }
    unreachable!("the loop has no end")
}

/// All calls are answered, but for new ones that met a server which was still reading its log.
fn assert_all_known(lab: &Lab, tally: Tally, calls: usize) {
    let Tally { answered, not_run, .. } = tally;
    assert_eq!(tally, Tally { answered, not_run, ..Tally::default() });
    assert_eq!(answered + not_run, calls);
    assert_eq!(lab.disk.counter(), answered as u64);
    for ended in (0..lab.callers().len()).flat_map(|index| lab.caller(index).ended()) {
        let refused = matches!(ended.result, Err(CallError::Unavailable(Unavailable::Recovering)));
        assert!(ended.result.is_ok() || refused, "{ended:?}");
    }
}

#[test]
fn a_hundred_thousand_durable_increments_are_exact_though_the_server_dies_a_hundred_times() {
    const CLIENTS: usize = 64;
    const CALLS: usize = 100_000;
    let seed = 0x0001_d15c;
    println!("seed {seed}");
    let begun = Instant::now();
    let share = |index| CALLS / CLIENTS + usize::from(index < CALLS % CLIENTS);
    let plan = |index| Plan { deadline: DAY, ..Plan::of(Kind::Record, share(index), 16) };
    let mut lab = Lab::new(seed, &limits(), (0..CLIENTS).map(plan).collect());
    lab.set_links(&link(30));
    lab.set_recovery(20 * MS);
    let crashes = run_over_crashes(&mut lab, 900);
    let tally = lab.verify();
    let (time, undone) = (lab.world.elapsed(), lab.disk.undone());
    println!("{crashes} crashes, {undone} undone, {time:?} in {:?}", begun.elapsed());
    assert_all_known(&lab, tally, CALLS);
    assert!(tally.answered > CALLS * 99 / 100);
    assert!(crashes >= 100 && undone > 100, "power cuts meet what is not synced");
}

#[test]
fn whatever_the_link_loses_no_durable_call_stays_unknown_over_crashes() {
    for (seed, loss) in (7_100..).zip([0, 1, 10, 30, 50]) {
        println!("seed {seed}, {loss} % lost");
        let kinds = [Kind::Record, Kind::RecordLate(20)];
        let calls: Vec<_> = (0..600).map(|index| kinds[index % 2]).collect();
        let plan = Plan { deadline: DAY, ..Plan::calls(calls, 8) };
        let mut lab = Lab::new(seed, &limits(), vec![plan; 4]);
        lab.set_links(&link(loss));
        lab.set_recovery(50 * MS);
        let crashes = run_over_crashes(&mut lab, 100);
        let tally = lab.verify();
        println!("{crashes} crashes, {} undone in {:?}", lab.disk.undone(), lab.world.elapsed());
        assert_all_known(&lab, tally, 4 * 600);
        assert!(crashes >= 20);
    }
}

#[test]
fn what_became_of_durable_calls_past_their_deadline_is_told_by_the_next_life_of_the_server() {
    let seed = 7_110;
    println!("seed {seed}");
    let plan = Plan { deadline: 200 * MS, ..Plan::of(Kind::Record, 600, 8) };
    let mut lab = Lab::new(seed, &limits(), vec![plan; 4]);
    lab.set_links(&link(10));
    let crashes = run_over_crashes(&mut lab, 60);
    let tally = lab.verify();
    println!("{tally:?}, {crashes} crashes");
    assert!(crashes >= 10 && tally.found_executed > 0 && tally.not_run > 0);
    assert_eq!(tally.unknown, 0);
    assert_eq!(lab.disk.counter(), (tally.answered + tally.found_executed) as u64);
}

#[test]
fn another_store_leaves_unknown_what_was_under_way_and_nothing_else() {
    let seed = 7_120;
    println!("seed {seed}");
    let mut lab = Lab::new(seed, &lab_limits(), vec![Plan::of(Kind::Record, 400, 8); 4]);
    lab.set_links(&link(10));
    lab.run_for(SECOND / 2);
    let under_way: usize = (0..4).map(|index| lab.caller(index).under_way()).sum();
    lab.kill_server();
    lab.wipe_disk();
    lab.start_server();
    lab.run(600 * SECOND).unwrap();
    let tally = lab.verify();
    println!("{tally:?}, {under_way} were under way");
    assert_eq!(tally.answered + tally.unknown, 1_600);
    assert!((1..=under_way).contains(&tally.unknown));
}

/// Calls under way at a server that is gone for so long; how they ended.
fn away_for(seed: u64, time: Duration) -> Tally {
    println!("seed {seed}");
    let plan = Plan { deadline: 600 * SECOND, ..Plan::of(Kind::Record, 400, 8) };
    let mut lab = Lab::new(seed, &lab_limits(), vec![plan]);
    lab.set_links(&link(10));
    let disk = lab.disk.clone();
    lab.world.run_until(60 * SECOND, |_| disk.counter() >= 50).unwrap();
    assert_eq!(lab.caller(0).under_way(), 8);
    lab.kill_server();
    lab.run_for(time);
    lab.start_server();
    lab.run(600 * SECOND).unwrap();
    let tally = lab.verify();
    println!("{tally:?}");
    tally
}

#[test]
fn a_server_that_is_back_within_half_the_lease_leaves_nothing_unknown() {
    assert_eq!(away_for(7_130, lab_limits().lease / 3).answered, 400);
}

#[test]
fn a_server_that_is_back_later_leaves_unknown_what_was_under_way() {
    let tally = away_for(7_131, lab_limits().lease);
    assert_eq!(tally.answered + tally.unknown, 400);
    assert!((1..=8).contains(&tally.unknown));
}

#[test]
fn wherever_a_durable_server_dies_each_call_is_answered_by_the_next_life() {
    let seed = 7_140;
    println!("seed {seed}");
    let session = || {
        let script = vec![Kind::Record, Kind::RecordLate(30), Kind::Record];
        let mut lab = Lab::new(seed, &lab_limits(), vec![Plan::calls(script, 1)]);
        lab.set_links(&LinkConfig { delay: 2 * MS..2 * MS, mtu: 1_500, ..LinkConfig::default() });
        lab
    };
    let mut whole = session();
    whole.run(20 * SECOND).unwrap();
    let length = whole.world.sent();
    assert!(length > 10, "the session is too short to show anything");
    for point in 0..length {
        for crash in [Crash::Kill, Crash::PowerCut(0)] {
            let mut lab = session();
            lab.world.cut_after(point);
            lab.world.run_until(20 * SECOND, |world| world.sent() > point).unwrap();
            lab.crash_server(crash);
            lab.run_for(SECOND / 10);
            lab.start_server();
            lab.world.mend();
            lab.run(300 * SECOND).unwrap();
            let tally = lab.verify();
            assert_eq!((tally.answered, lab.disk.counter()), (3, 3), "{crash:?} at {point}");
        }
    }
}

#[test]
fn what_an_earlier_life_has_run_did_not_not_run_because_the_next_one_denies_it() {
    let seed = 7_150;
    println!("seed {seed}");
    let plan = Plan { deadline: 20 * SECOND, ..Plan::calls(vec![Kind::Set, Kind::Read], 2) };
    let mut lab = Lab::new(seed, &lab_limits(), vec![plan]);
    lab.set_links(&LinkConfig { delay: 2 * MS..2 * MS, ..LinkConfig::default() });
    let ledger = lab.ledger.clone();
    lab.world.run_until(SECOND, |_| ledger.all_runs() == 2).unwrap();
    // Their answers are under way to a client that is gone from there.
    lab.world.cut_after(0);
    lab.kill_server();
    lab.start_server();
    lab.deny_all();
    let client = lab.callers()[0];
    lab.world.rebind(client);
    lab.world.mend();
    lab.run(60 * SECOND).unwrap();
    let tally = lab.verify();
    assert_eq!((tally.unknown, tally.unknown_ran), (2, 2), "{:?}", lab.caller(0).ended());
    assert!(lab.caller(0).ended().iter().all(|ended| ended.executed() == Executed::Unknown));
}
