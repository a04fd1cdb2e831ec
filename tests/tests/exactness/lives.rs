//! Processes that die, stop and start anew in the middle of their calls.

use std::time::Duration;

use bailiwick::service::Delivery;
use bailiwick::{CallError, Executed, Limits};
use bailiwick_tests::lab::{Kind, Lab, Plan, lab_limits};
use bailiwick_tests::sim::LinkConfig;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn bad_link() -> LinkConfig {
    LinkConfig {
        loss: 0.1,
        duplicate: 0.1,
        reorder: 0.1,
        corrupt: 0.01,
        delay: MS..5 * MS,
        ..LinkConfig::default()
    }
}

/// So many calls of all kinds, none of which is over at once.
fn mixture(count: usize) -> Vec<Kind> {
    let kinds = [
        Kind::Increment,
        Kind::Slow(20),
        Kind::Read,
        Kind::Set,
        Kind::Fill(2_500),
        Kind::Echo(100),
    ];
    (0..count).map(|index| kinds[index % kinds.len()]).collect()
}

#[test]
fn a_server_killed_a_hundred_times_leaves_unknown_only_what_may_have_run() {
    let seed = 41;
    println!("seed {seed}");
    let plan = || Plan { pause: 4 * MS, ..Plan::calls(mixture(3_600), 4) };
    let mut lab = Lab::new(seed, &lab_limits(), (0..4).map(|_| plan()).collect());
    lab.set_links(&bad_link());
    for life in 0..100_u32 {
        // Long enough for a session, short enough to end in the middle of calls.
        lab.run_for(500 * MS + 37 * MS * (life % 7));
        let busy = (0..4).filter(|index| lab.caller(*index).under_way() > 0).count();
        assert!(busy > 0, "life {life} ended when all was done");
        lab.kill_server();
        lab.run_for(30 * MS);
        lab.start_server();
    }
    lab.run(600 * SECOND).unwrap();
    let tally = lab.verify();
    println!("{tally:?} after {:?}", lab.world.elapsed());
    let mut answered_again = 0;
    for caller in (0..4).map(|index| lab.caller(index)) {
        for ended in caller.ended() {
            if ended.kind.delivery() == Delivery::AtMostOnce {
                let lost = matches!(ended.result, Err(CallError::OutcomeUnknown { .. }));
                assert!(ended.result.is_ok() || lost, "{ended:?}");
            } else {
                assert!(ended.result.is_ok(), "it may run again: {ended:?}");
                answered_again +=
                    usize::from(ended.key.is_some_and(|key| lab.ledger.runs(key) > 1));
            }
        }
    }
    assert!(tally.unknown_ran > 50 && tally.unknown > tally.unknown_ran, "{tally:?}");
    assert!(answered_again > 0, "some ran in one life and were asked for in the next");
}

#[test]
fn a_server_stopped_beyond_the_deadlines_has_run_what_it_says_it_has() {
    let seed = 42;
    println!("seed {seed}");
    let plan = Plan { deadline: SECOND, ..Plan::calls(mixture(3_000), 16) };
    let mut lab = Lab::new(seed, &lab_limits(), vec![plan; 4]);
    lab.set_links(&bad_link());
    let server = lab.server();
    for round in 0..8 {
        lab.run_for(200 * MS + 13 * MS * round);
        lab.world.stop(server);
        lab.run_for(3 * SECOND);
        lab.world.resume(server);
    }
    lab.run(600 * SECOND).unwrap();
    let tally = lab.verify();
    println!("{tally:?} after {:?}", lab.world.elapsed());
    // The server lives, and can be asked: nothing stays unknown but a handler dropped half-way.
    assert!(tally.found_executed > 0 && tally.not_run > 0, "{tally:?}");
    for ended in (0..4).flat_map(|index| lab.caller(index).ended()) {
        let unknown = ended.executed() == Executed::Unknown;
        assert!(!unknown || matches!(ended.kind, Kind::Slow(_)), "{ended:?}");
    }
}

#[test]
fn a_client_that_starts_anew_with_its_identity_is_another_client() {
    let seed = 43;
    println!("seed {seed}");
    let plan = Plan::of(Kind::Increment, 4_000, 8);
    let mut lab = Lab::new(seed, &lab_limits(), vec![plan]);
    lab.set_links(&bad_link());
    for _ in 0..10 {
        lab.run_for(300 * MS);
        lab.restart_caller(0);
    }
    lab.run(600 * SECOND).unwrap();
    let tally = lab.verify();
    let caller = lab.caller(0);
    let abandoned: u64 = caller.abandoned().iter().map(|key| lab.ledger.runs(*key)).sum();
    println!("{tally:?}, {} abandoned of which {abandoned} ran", caller.abandoned().len());
    assert!(!caller.abandoned().is_empty());
    assert_eq!(tally.answered + caller.abandoned().len(), 4_000);
    assert_eq!(lab.ledger.counter(), tally.answered as u64 + abandoned);
    // A life can be too short for a session. All but the last are forgotten once their leases are
    // over.
    assert!((2..=11).contains(&lab.host_mut().usage().clients));
    lab.run_for(Limits::default().idle_timeout + Limits::default().lease + 2 * SECOND);
    assert_eq!(lab.host_mut().usage().clients, 1);
}

#[test]
fn a_nat_that_changes_the_port_every_second_is_not_noticed() {
    let seed = 44;
    println!("seed {seed}");
    let plan = Plan { pause: 5 * MS, ..Plan::calls(mixture(2_000), 8) };
    let mut lab = Lab::new(seed, &lab_limits(), vec![plan; 2]);
    lab.set_links(&bad_link());
    let mut changes = 0;
    while !lab.caller(0).is_done() {
        lab.run_for(SECOND);
        let client = lab.callers()[0];
        lab.world.rebind(client);
        changes += 1;
    }
    lab.run(60 * SECOND).unwrap();
    let tally = lab.verify();
    println!("{tally:?}, {changes} changes");
    assert!(changes >= 5);
    assert_eq!(tally.answered, 4_000);
}

/// Calls under way while nothing gets through for so long; how they ended.
fn partitioned(seed: u64, time: Duration) -> (Lab, bailiwick_tests::lab::Tally) {
    println!("seed {seed}");
    let plan = Plan { deadline: 300 * SECOND, pause: 5 * MS, ..Plan::calls(mixture(600), 16) };
    let mut lab = Lab::new(seed, &lab_limits(), vec![plan]);
    let partition = SECOND..SECOND + time;
    lab.set_links(&LinkConfig { partitions: vec![partition], ..bad_link() });
    lab.run_for(SECOND);
    assert!(lab.caller(0).under_way() > 0, "the partition meets calls under way");
    lab.run(400 * SECOND).unwrap();
    let tally = lab.verify();
    println!("{tally:?} after {:?}", lab.world.elapsed());
    (lab, tally)
}

#[test]
fn a_partition_longer_than_the_idle_timeout_and_shorter_than_the_lease_loses_nothing() {
    let limits = Limits::default();
    let (_, tally) = partitioned(45, limits.idle_timeout + 10 * SECOND);
    assert_eq!(tally.answered, 600);
}

#[test]
fn after_a_partition_longer_than_the_lease_only_what_was_under_way_is_unknown() {
    let limits = Limits::default();
    let (lab, tally) = partitioned(46, limits.idle_timeout + limits.lease + 20 * SECOND);
    assert_eq!(tally.answered + tally.unknown, 600);
    assert!((1..=16).contains(&tally.unknown), "{tally:?}");
    for ended in lab.caller(0).ended() {
        let lost = matches!(ended.result, Err(CallError::OutcomeUnknown { .. }));
        let once = ended.kind.delivery() == Delivery::AtMostOnce;
        assert!(ended.result.is_ok() || (lost && once), "{ended:?}");
    }
}
