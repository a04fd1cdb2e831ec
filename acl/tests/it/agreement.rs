//! The engine and the oracle agree, the deciding line included.

use bailiwick_acl::{Decision, Effect, Reason};
use proptest::prelude::*;

use super::world::{self, Dice};
use super::{fuzzing, load, policy};

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
    fn a_text_read_by_other_code_means_the_same(seed: u64, rows in 0_usize..40) {
        let (_, text) = world::policy(&mut Dice(seed), rows);
        prop_assert!(fuzzing::check(text.as_bytes(), seed).is_some(), "{text}");
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // Nodes come to have several edges, and more grants than are searched from end to end.
    #[test]
    fn a_crowded_policy_agrees_too(seed: u64, rows in 40_usize..600) {
        agree(seed, rows, 100)?;
    }
}

/// Ways to say what a row can say, so that each byte matters.
const EVERYTHING: &str = r"acl 1
serial 7
group @g = a.b, @h
group @h = bo
# a comment
a.b | x/y | r, w | allow
@g | x/** | r | allow # and why
bo | x/*/z | * | deny
* | {self}/\u{e9}\|\*/é | w | allow
@h|**|q|allow
expect allow a.b r x/y
never @h | x/y/z | r except a.b
";

#[test]
fn a_policy_with_a_byte_changed_or_gone_is_refused_or_means_what_it_now_says() {
    let digest = fuzzing::check(EVERYTHING.as_bytes(), 1).expect("it loads as it stands").digest();
    let (mut taken, mut refused) = (0, 0);
    for at in 0..EVERYTHING.len() {
        for to in [
            None,
            Some(b'a'),
            Some(b'|'),
            Some(b'*'),
            Some(b'#'),
            Some(b' '),
            Some(b'\n'),
            Some(b'/'),
            Some(b'\\'),
            Some(b','),
            Some(0),
            Some(0xc3),
            Some(0xff),
        ] {
            let mut bytes = EVERYTHING.as_bytes().to_vec();
            match to {
                Some(byte) if byte == bytes[at] => continue,
                Some(byte) => bytes[at] = byte,
                None => drop(bytes.remove(at)),
            }
            match fuzzing::check(&bytes, at as u64) {
                Some(policy) => {
                    taken += 1;
                    assert_ne!(policy.digest(), digest, "byte {at} to {to:?}");
                }
                None => refused += 1,
            }
        }
    }
    println!("{taken} taken, {refused} refused");
    assert!(taken > 100 && refused > 1_000);
}

#[test]
fn a_row_is_found_among_however_many_at_its_object() {
    for count in 1..=40 {
        let mut text = String::new();
        for n in 0..count {
            let effect = if n % 3 == 0 { "deny" } else { "allow" };
            text += &format!("u{n} | x | r | {effect}\nu{n} | y/e{n} | r | {effect}\n");
        }
        let policy = policy(&text);
        for n in 0..count {
            let effect = if n % 3 == 0 { Effect::Deny } else { Effect::Allow };
            for (object, line) in [("x", 2 * n + 1), (&*format!("y/e{n}"), 2 * n + 2)] {
                let decision = policy.explain(&format!("u{n}"), "r", object);
                assert_eq!(decision, Decision::by_row(effect, line), "{n} of {count}: {object}");
            }
            let other = policy.explain(&format!("u{n}"), "r", &format!("y/e{}", n + 1));
            assert_eq!(other, Decision::denied(Reason::Default));
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
