//! A counter that many increment over a bad network.

use std::time::{Duration, Instant};

use bailiwick_tests::lab::{Kind, Lab, Plan, lab_limits};
use bailiwick_tests::sim::LinkConfig;

const CLIENTS: usize = 64;
const CALLS: usize = 100_000;

#[test]
fn a_hundred_thousand_increments_over_a_bad_network_are_exact() {
    let seed = 0x0001_c0de;
    println!("seed {seed}");
    let begun = Instant::now();
    let limits = lab_limits();
    let share = |index| CALLS / CLIENTS + usize::from(index < CALLS % CLIENTS);
    let plans = (0..CLIENTS).map(|index| Plan::of(Kind::Increment, share(index), 16)).collect();
    let mut lab = Lab::new(seed, &limits, plans);
    lab.set_links(&LinkConfig {
        loss: 0.3,
        duplicate: 0.1,
        reorder: 0.1,
        corrupt: 0.01,
        delay: Duration::from_millis(1)..Duration::from_millis(5),
        ..LinkConfig::default()
    });
    lab.run(Duration::from_secs(3600)).unwrap();
    let tally = lab.verify();
    let most = lab.host().most();
    println!(
        "{tally:?} {most:?} {:?} {:?} in {:?}",
        lab.world.total(),
        lab.world.elapsed(),
        begun.elapsed()
    );
    assert_eq!(lab.ledger.counter(), (tally.answered + tally.found_executed) as u64);
    assert_eq!(tally.answered, CALLS);
    assert_eq!(most.clients, CLIENTS);
    assert!(most.kept_by_one <= limits.max_kept_answers);
}
