//! Mixtures of faults, each two values together at least once. All of them:
//! `cargo run --release -p bailiwick-tests --bin matrix`.

use std::time::Duration;

use bailiwick::ConnectError;
use bailiwick::simulation::SimStanding;
use bailiwick_tests::lab::{Kind, Lab, Plan, lab_limits, matrix};
use bailiwick_tests::sim::LinkConfig;

#[test]
fn every_two_faults_and_lengths_together_are_exact() {
    let cells = matrix::pairwise();
    assert!(
        (30..60).contains(&cells.len()),
        "5 losses by 6 lengths, and hardly more: {}",
        cells.len()
    );
    for (seed, cell) in (7_000..).zip(cells) {
        let took = cell.run(seed);
        println!("{cell}, seed {seed}: {took:?}");
    }
}

#[test]
fn a_path_of_576_bytes_is_too_small_and_says_so_where_the_system_does() {
    let (seed, wait) = (71, lab_limits().handshake_timeout_udp + Duration::from_secs(5));
    println!("seed {seed}");
    for (first_hop_mtu, told) in [(576, true), (65_535, false)] {
        let mut lab = Lab::new(seed, &lab_limits(), vec![Plan::of(Kind::Increment, 1, 1)]);
        lab.set_links(&LinkConfig { mtu: 576, first_hop_mtu, ..LinkConfig::default() });
        let mut failure = None;
        for _ in 0..wait.as_secs() * 10 {
            lab.run_for(Duration::from_millis(100));
            if let SimStanding::Failed(error) = lab.caller_mut(0).client().standing() {
                failure = Some(error);
                break;
            }
        }
        let failure = failure.unwrap();
        match told {
            true => assert!(matches!(failure, ConnectError::PathTooSmall { .. }), "{failure:?}"),
            false => assert!(matches!(failure, ConnectError::NoAnswer { .. }), "{failure:?}"),
        }
        assert_eq!(lab.ledger.all_runs(), 0);
    }
}
