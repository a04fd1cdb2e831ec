//! What the model shows of durable services: their calls are known over crashes, and each rule that makes
//! it so is needed.

use stateright::{Checker, Property};

use super::client::{End, Known};
use super::{
    Bounds, Bug, Delivery, NO_IS_TRUE, ONCE, Service, World, YES_IS_TRUE, assert_broken,
    assert_promises,
};

/// What only a durable service does.
pub(super) fn examples() -> Vec<Property<Delivery>> {
    vec![
        Property::sometimes("an answer is found on record", |_, world: &World| {
            world.ends().any(|(end, truth)| {
                matches!(end, End::Ran(Known::ByAnswer { .. })) && !truth.finished
            })
        }),
        Property::sometimes("an inquiry finds a record", |_, world: &World| {
            world
                .ends()
                .any(|(end, truth)| matches!(end, End::Ran(Known::ByInquiry)) && !truth.finished)
        }),
        Property::sometimes("a call that a power cut undid runs again", |_, world: &World| {
            world.ends().any(|(end, truth)| end.says_yes() && truth.undone)
        }),
        Property::sometimes("a call that a power cut undid is fenced", |_, world: &World| {
            world.ends().any(|(end, truth)| end == End::DidNotRun(Known::ByInquiry) && truth.undone)
        }),
        Property::sometimes("a call is refused during recovery", |_, world: &World| {
            world.server.is_recovering
                && world.server.restarts == 1
                && world.ends().any(|(end, _)| end.says_no())
        }),
    ]
}

/// One call over many connections and crashes.
const ONE_CALL: Bounds = Bounds {
    clients: 1,
    calls: 1,
    attempts: 2,
    sessions: 3,
    restarts: 2,
    service: Service::Durable,
};

/// Several numbers, some of which are on record and some acknowledged.
const TWO_CALLS: Bounds = Bounds { calls: 2, attempts: 1, sessions: 2, restarts: 1, ..ONE_CALL };

/// Two clients that use the same numbers.
const TWO_CLIENTS: Bounds =
    Bounds { clients: 2, attempts: 1, sessions: 1, restarts: 1, ..ONE_CALL };

#[test]
fn durable_calls_run_once_and_are_known_over_crashes() {
    // Here everything is possible that the model knows, and the examples show it.
    assert_promises(ONE_CALL, 268_000).assert_properties();
}

#[test]
fn durable_calls_run_once_and_are_known_among_several_numbers() {
    assert_promises(TWO_CALLS, 550_000);
}

#[test]
fn durable_calls_run_once_and_are_known_with_two_clients() {
    assert_promises(TWO_CLIENTS, 586_000);
}

#[test]
fn a_client_that_ignores_whose_memory_it_meets_is_wrong_about_a_durable_call_too() {
    assert_broken(ONCE, Bug::MemoryIgnored, ONE_CALL);
}

#[test]
fn an_answer_before_the_record_is_synced_is_taken_back_by_a_power_cut() {
    assert_broken(YES_IS_TRUE, Bug::AnsweredBeforeSync, ONE_CALL);
}

#[test]
fn a_record_that_recovery_read_and_did_not_sync_is_taken_back_by_a_power_cut() {
    assert_broken(YES_IS_TRUE, Bug::RecoveryWithoutSync, ONE_CALL);
}

#[test]
fn an_effect_that_is_kept_without_its_record_happens_twice() {
    assert_broken(ONCE, Bug::EffectApart, ONE_CALL);
}

#[test]
fn a_call_whose_record_does_not_outlast_a_boot_runs_twice() {
    assert_broken(ONCE, Bug::RecordsDroppedAtBoot, ONE_CALL);
}

#[test]
fn a_refusal_before_the_log_is_read_says_what_the_log_makes_untrue() {
    assert_broken(NO_IS_TRUE, Bug::RefusedWhileRecovering, ONE_CALL);
}

#[test]
fn a_client_that_ignores_which_store_it_meets_runs_calls_twice() {
    assert_broken(ONCE, Bug::StoreIgnored, ONE_CALL);
}

#[test]
fn a_client_that_comes_back_after_the_lease_runs_calls_twice() {
    assert_broken(ONCE, Bug::LeaseIgnored, ONE_CALL);
}

#[test]
fn a_client_that_takes_an_old_word_of_the_server_for_a_new_one_runs_calls_twice() {
    assert_broken(ONCE, Bug::LateWordCounts, ONE_CALL);
}

#[test]
fn an_inquiry_to_a_store_that_was_not_asked_before_cannot_say_what_ran() {
    assert_broken(NO_IS_TRUE, Bug::InquiryOfOtherMemory, ONE_CALL);
}
