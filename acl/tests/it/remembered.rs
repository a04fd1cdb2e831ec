//! A caller that asks the same again is told what one is who asks for the first time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::UNIX_EPOCH;

use bailiwick_acl::audit::AuditLog;
use bailiwick_acl::{Monitor, Policy, Reason};
use proptest::prelude::*;

use super::monitor::{World, request};
use super::world::{self, Dice};
use super::{key, policy};

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
        let mut callers = [0, 1].map(|n| {
            monitor.admit(&[n; 32], "SHA256:x", [n; 8], "peer").unwrap()
        });
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

/// What revision `number` of the next test says.
fn every_other(number: u64) -> Policy {
    let effect = if number.is_multiple_of(2) { "allow" } else { "deny" };
    policy(&format!("principal a = {}\na | x | read | {effect}", key(1).1))
}

#[test]
fn while_policies_give_way_to_others_each_answer_is_of_one_that_was_in_force() {
    const REPLACED: u64 = 2_000;
    let monitor = Monitor::new(every_other(0), AuditLog::memory(), || UNIX_EPOCH).unwrap();
    let (begun, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let ask = || {
        let mut caller = monitor.admit(&key(1).0, "SHA256:a", [7; 8], "peer").unwrap();
        let (mut answered_by, mut certain) = (0, 0_u64);
        while done.load(Ordering::SeqCst) < REPLACED {
            let first = done.load(Ordering::SeqCst);
            let answer = monitor.authorize(&mut caller, &request("read", &["x"]));
            let last = begun.load(Ordering::SeqCst);
            // Nor by an older one than before.
            let mut in_force = first.max(answered_by)..=last;
            answered_by =
                in_force.find(|number| (number.is_multiple_of(2)) == answer.is_ok()).unwrap();
            certain += u64::from(first == last);
        }
        certain
    };
    thread::scope(|scope| {
        let callers = [(); 2].map(|()| scope.spawn(ask));
        for number in 1..=REPLACED {
            let next = every_other(number);
            begun.store(number, Ordering::SeqCst);
            monitor.replace(next).unwrap();
            done.store(number, Ordering::SeqCst);
        }
        for caller in callers {
            assert!(caller.join().unwrap() > 1_000);
        }
    });
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
    // 256 bytes with the verb, which are remembered, and one more.
    let (long, longer) = ("x".repeat(252), "x".repeat(253));
    let world = World::with(&format!("a | {long} | read | allow\na | {longer} | read | deny"));
    let mut caller = world.caller();
    for _ in 0..2 {
        let _allowed = world.monitor.authorize(&mut caller, &request("read", &[&long])).unwrap();
        let denial =
            world.monitor.authorize(&mut caller, &request("read", &[&longer])).unwrap_err();
        assert_eq!(denial.reason(), Reason::Row);
    }
}
