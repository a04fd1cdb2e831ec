//! "It did not run" stays true, though the reason passes before the last copy of the request has come.

use std::time::Duration;

use bailiwick::{CallError, Limits};
use bailiwick_tests::lab::{Kind, Lab, Plan, lab_limits};
use bailiwick_tests::sim::LinkConfig;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

#[test]
fn what_was_refused_for_load_does_not_run_when_the_load_has_passed() {
    let seed = 81;
    println!("seed {seed}");
    let clients = lab_limits();
    let server = Limits { max_calls_in_flight_udp: 4, ..clients.clone() };
    let plans = vec![Plan::of(Kind::Slow(20), 600, 16); 2];
    let mut lab = Lab::with_limits(seed, &server, &clients, plans);
    // Answers are late or lost, so that requests are sent again, and come when the load has changed
    // and the refusal is under way.
    lab.set_links(&LinkConfig {
        loss: 0.2,
        reorder: 0.3,
        hold: 150 * MS,
        delay: MS..3 * MS,
        ..LinkConfig::default()
    });
    lab.run(600 * SECOND).unwrap();
    let tally = lab.verify();
    println!("{tally:?}");
    assert!(tally.not_run > 100 && tally.answered > 100, "{tally:?}");
    assert_eq!(lab.ledger.counter(), tally.answered as u64);
}

#[test]
fn what_was_denied_does_not_run_when_the_policy_allows_it_before_the_client_has_heard() {
    let seed = 82;
    println!("seed {seed}");
    let mut lab = Lab::new(seed, &lab_limits(), vec![Plan::of(Kind::Increment, 1, 1)]);
    lab.run(SECOND).unwrap();
    let (server, client) = (lab.server(), lab.callers()[0]);
    let broken = LinkConfig { loss: 1.0, ..LinkConfig::default() };
    lab.world.set_link(server, client, broken);
    lab.caller_mut(0).add([Kind::Forbidden]);
    lab.run_for(SECOND / 20);
    assert_eq!(lab.recorded("decision", "default"), 1, "it was denied, and nobody has heard of it");
    lab.allow_forbidden();
    lab.world.set_link(server, client, LinkConfig::default());
    lab.run(10 * SECOND).unwrap();
    let ended = lab.caller(0).ended().last().unwrap();
    assert!(matches!(ended.result, Err(CallError::Denied(_))), "{ended:?}");
    assert_eq!(lab.verify().not_run, 1);
}

#[test]
fn what_ran_is_not_told_to_who_may_not_know_any_more() {
    let seed = 83;
    println!("seed {seed}");
    let mut lab = Lab::new(seed, &lab_limits(), vec![Plan::of(Kind::Increment, 1, 1)]);
    lab.run(SECOND).unwrap();
    let (server, client) = (lab.server(), lab.callers()[0]);
    lab.world.set_link(server, client, LinkConfig { loss: 1.0, ..LinkConfig::default() });
    lab.caller_mut(0).add([Kind::Increment]);
    lab.run_for(SECOND / 20);
    assert_eq!(lab.ledger.counter(), 2);
    lab.deny_all();
    lab.world.set_link(server, client, LinkConfig::default());
    lab.run(10 * SECOND).unwrap();
    let ended = lab.caller(0).ended().last().unwrap();
    // "Denied" would mean that it did not run.
    assert!(matches!(ended.result, Err(CallError::OutcomeUnknown { .. })), "{ended:?}");
    assert_eq!(lab.ledger.counter(), 2);
    assert_eq!(lab.verify().unknown_ran, 1);
}
