//! The engine and the oracle agree, the deciding line included.

use proptest::prelude::*;

use super::world::{self, Dice};
use super::{load, policy};

fn agree(seed: u64, rows: usize, requests: usize) -> Result<(), TestCaseError> {
    let mut dice = Dice(seed);
    let (meaning, text) = world::policy(&mut dice, rows);
    let policy = load(&text).map_err(|errors| TestCaseError::fail(format!("{errors}\n{text}")))?;
    for _ in 0..requests {
        let (who, verb, object) = world::request(&mut dice);
        let decision = policy.policy.explain(&who, &verb, &object);
        let effect = decision.effect.to_string();
        let said = (&*effect, decision.reason.as_str(), decision.row.map(|row| row.line));
        let meant = meaning.judge(&who, &verb, &object);
        prop_assert_eq!(said, meant, "seed {}: {} {} {}\n{}", seed, who, verb, object, text);
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_engine_means_what_the_oracle_means(seed: u64, rows in 0_usize..40) {
        agree(seed, rows, 60)?;
    }

    #[test]
    fn no_bytes_make_the_loader_panic(text: Vec<u8>) {
        let source = bailiwick_acl::policy::Source { name: "p", text: &text };
        let _ = bailiwick_acl::Policy::load(source, &Default::default());
    }

    #[test]
    fn a_policy_with_one_byte_changed_or_removed_never_makes_the_loader_panic(
        seed: u64, at: prop::sample::Index, to: Option<u8>,
    ) {
        let (_, text) = world::policy(&mut Dice(seed), 12);
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        match to {
            Some(byte) => bytes[at] = byte,
            None => drop(bytes.remove(at)),
        }
        let source = bailiwick_acl::policy::Source { name: "p", text: &bytes };
        let _ = bailiwick_acl::Policy::load(source, &Default::default());
    }

    #[test]
    fn the_gate_refuses_only_what_every_object_would_be_refused(seed: u64, rows in 0_usize..30) {
        let mut dice = Dice(seed);
        let (_, text) = world::policy(&mut dice, rows);
        let policy = policy(&text);
        for _ in 0..60 {
            let (who, verb, object) = world::request(&mut dice);
            let Some(subjects) = policy.subjects(&who) else { continue };
            if policy.decide(&subjects, &verb, &object).is_allowed() {
                prop_assert!(policy.may_ever(&subjects, &verb), "{who} {verb} {object}\n{text}");
            }
        }
    }
}

#[test]
fn a_large_policy_agrees_too() {
    let seed = 20_261_122;
    println!("seed {seed}");
    agree(seed, 3_000, 2_000).unwrap();
}

#[test]
fn the_deciding_row_is_the_first_deny_or_else_the_first_allow() {
    let policy =
        policy("a | x | r | allow\na | x | r | allow\na | * | r | deny\na | x | * | deny\n");
    assert_eq!(policy.explain("a", "r", "x").row.unwrap().line, 3);
    assert_eq!(policy.explain("a", "w", "x").row.unwrap().line, 4);
    let policy = super::policy("a | y | r | deny\na | * | r | allow\na | x | r | allow\n");
    assert_eq!(policy.explain("a", "r", "x").row.unwrap().line, 2);
}

#[test]
fn subjects_of_an_earlier_policy_carry_no_right_over() {
    let old = policy("group @g = a, b\n@g | x | r | allow");
    let subjects = old.subjects("a").unwrap();
    assert!(old.decide(&subjects, "r", "x").is_allowed());
    let new = policy("group @g = b\n@g | x | r | allow\na | y | r | allow");
    assert!(!new.decide(&subjects, "r", "x").is_allowed());
    assert!(new.decide(&subjects, "r", "y").is_allowed());
    let without = policy("b | ** | * | allow");
    assert_eq!(without.decide(&subjects, "r", "x").reason.as_str(), "unknown_principal");
}
