//! Every row of the table of crash points, times every network, times many seeds.
//!
//! `TWO_PHASE_COMMIT_SEEDS=1000` runs as many seeds of each; without, a few. CONTRIBUTING.md has the command.

use crate::machines::rows::Row;
use crate::machines::world::{Found, Network, World};

fn seeds() -> u64 {
    std::env::var("TWO_PHASE_COMMIT_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(48)
}

/// Runs a row on all networks, and shows that its place was reached on each.
fn assert_row(row: Row) {
    let (mut audits, mut torn) = (0, (0, 0));
    for network in Network::ALL {
        let mut sum = Found::default();
        for seed in 0..seeds() {
            println!("{row:?}, {network:?}, seed {seed}");
            let found = World::run(seed, row, network);
            assert_eq!(found.judgement.violations, [], "{row:?}, {network:?}, seed {seed}");
            sum.reached += found.reached;
            sum.shown += found.shown;
            sum.crashes += found.crashes;
            sum.elsewhere += found.elsewhere;
            torn = (torn.0 + found.torn.0, torn.1 + found.torn.1);
            sum.judgement.applied += found.judgement.applied;
            audits += found.judgement.audits;
        }
        println!("{row:?}, {network:?}: {sum:?}");
        assert!(sum.judgement.applied > 0, "nothing happened");
        if row != Row::Calm {
            assert!(sum.reached > 0, "{row:?} was not reached");
        }
        if matches!(row, Row::C6 | Row::N1 | Row::N2 | Row::N3 | Row::N4 | Row::X1 | Row::Peers) {
            assert!(sum.shown > 0, "{row:?} was not seen");
        } else if row != Row::Calm {
            assert!(sum.crashes > 0, "nothing crashed");
        }
        if row == Row::N3 {
            assert!(sum.elsewhere > 0, "nothing went on while one was cut off");
        }
    }
    if matches!(row, Row::C2 | Row::C5) {
        assert!(torn.0 > 0 && torn.1 > 0, "found, and not found: {torn:?}");
    }
    assert!(audits > 0, "no read of all accounts was checked");
}

macro_rules! rows {
    ($($name:ident: $row:ident,)*) => { $(
        #[test]
        fn $name() {
            assert_row(Row::$row);
        }
    )* };
}

rows! {
    nothing_goes_wrong_where_only_the_network_does: Calm,
    c1_a_coordinator_that_dies_before_any_prepare_has_aborted: C1BeforePrepare,
    c1_a_coordinator_that_dies_among_its_prepares_has_aborted: C1SomeSent,
    c1_a_coordinator_that_dies_among_the_votes_has_aborted: C1VotesIncomplete,
    c2_a_commit_that_is_torn_has_aborted_unless_it_is_found: C2,
    c3_a_commit_that_nobody_was_told_of_is_told: C3NoneSent,
    c3_a_commit_that_some_were_told_of_is_told_to_all: C3SomeSent,
    c4_a_commit_whose_end_is_lost_is_acknowledged_again: C4,
    c5_a_coordinator_that_cannot_keep_its_commit_answers_nobody: C5,
    c6_a_crash_during_recovery_changes_nothing: C6,
    p1_who_dies_before_it_is_prepared_was_never_there: P1,
    p2_who_dies_before_its_yes_is_out_is_ready_afterwards: P2,
    p3_who_dies_behind_its_yes_is_ready_afterwards: P3,
    p4_who_dies_before_its_commit_is_kept_is_told_again: P4,
    p5_who_dies_before_it_acknowledges_has_applied_once: P5,
    p6_who_dies_in_a_checkpoint_is_still_ready: P6,
    n1_a_lost_prepare_or_vote_aborts: N1,
    n2_a_lost_decision_or_acknowledgement_is_repeated: N2,
    n3_who_is_cut_off_while_ready_is_blocked_and_says_so: N3,
    n4_a_client_that_dies_is_not_needed: N4,
    x1_without_the_coordinator_and_a_participant_the_others_wait: X1,
    peers_tell_each_other_what_the_coordinator_cannot: Peers,
    a_storm_of_crashes_breaks_no_promise: Storm,
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for row in Row::ALL {
        let run = |seed| World::run(seed, row, Network::ALL[3]);
        let first = run(5);
        assert_eq!(first, run(5), "{row:?}");
        assert_ne!(first.trace, run(6).trace, "{row:?}");
    }
}
