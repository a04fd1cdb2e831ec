//! A caller that asks the same again is told what one is who asks for the first time.

use std::time::UNIX_EPOCH;

use bailiwick_acl::audit::AuditLog;
use bailiwick_acl::{Monitor, Reason};
use proptest::prelude::*;

use super::monitor::{World, request};
use super::policy;
use super::world::{self, Dice};

/// Few enough to come again, one of them no name.
const QUESTIONS: [(&str, &str); 5] =
    [("read", "a"), ("write", "a"), ("read", "b"), ("read", "a/b"), ("read", "a//b")];

proptest! {
    #[test]
    fn what_was_asked_before_is_answered_by_the_policy_in_force(seed: u64) {
        let mut dice = Dice(seed);
        let random = |dice: &mut Dice| policy(&world::policy(dice, 12).1);
        let monitor =
            Monitor::new(random(&mut dice), AuditLog::memory(), || UNIX_EPOCH).unwrap();
        let mut callers = [0, 1].map(|n| monitor.admit(&[n; 32], "SHA256:x", [n; 8], "peer").unwrap());
        for _ in 0..200 {
            if dice.one_in(20) {
                monitor.replace(random(&mut dice)).unwrap();
            }
            let caller = &mut callers[dice.below(callers.len())];
            let (verb, object) = QUESTIONS[dice.below(QUESTIONS.len())];
            let in_force = monitor.policy();
            let expected = in_force.explain(caller.principal().as_str(), verb, object);
            match monitor.authorize(caller, &request(verb, &[object])) {
                Ok(grant) => {
                    prop_assert!(expected.is_allowed());
                    prop_assert_eq!(grant.row(), expected.row);
                    prop_assert_eq!(grant.revision(), in_force.revision());
                }
                Err(denial) => {
                    prop_assert!(!expected.is_allowed());
                    prop_assert_eq!(denial.reason(), expected.reason);
                }
            }
        }
    }
}

#[test]
fn a_question_is_told_from_another_of_the_same_letters() {
    let world = World::with("a | x | read | allow\na | dx | rea | deny");
    let mut caller = world.caller();
    let _allowed = world.monitor.authorize(&mut caller, &request("read", &["x"])).unwrap();
    let denial = world.monitor.authorize(&mut caller, &request("rea", &["dx"])).unwrap_err();
    assert_eq!(denial.reason(), Reason::Row);
    let _allowed = world.monitor.authorize(&mut caller, &request("read", &["x"])).unwrap();
}

#[test]
fn a_question_too_long_to_remember_is_no_other_one() {
    let (long, longer) = ("x".repeat(250), "x".repeat(251));
    let world = World::with(&format!("a | {long} | read | allow\na | {longer} | read | deny"));
    let mut caller = world.caller();
    for _ in 0..2 {
        let _allowed = world.monitor.authorize(&mut caller, &request("read", &[&long])).unwrap();
        let denial =
            world.monitor.authorize(&mut caller, &request("read", &[&longer])).unwrap_err();
        assert_eq!(denial.reason(), Reason::Row);
    }
}
