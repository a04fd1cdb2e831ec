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

    // More than are told by a bit each, in rows about the same objects.
    #[test]
    fn a_policy_of_many_verbs_agrees_too(seed: u64, rows in 1_usize..200) {
        let mut dice = Dice(seed);
        let mut text = String::new();
        for _ in 0..rows {
            let who = dice.pick(&["a", "b", "*"]);
            let object = dice.pick(&["x", "x/y", "x/**", "x/y/**", "**", "x/*", "*/y"]);
            let verbs: Vec<_> = (0..=dice.below(5)).map(|_| format!("v{}", dice.below(40))).collect();
            let verbs = if dice.one_in(8) { "*".to_owned() } else { verbs.join(", ") };
            let effect = if dice.one_in(4) { "deny" } else { "allow" };
            text += &format!("{who} | {object} | {verbs} | {effect}\n");
        }
        prop_assert!(fuzzing::check(text.as_bytes(), seed).is_some(), "{}", text);
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
fn a_wildcard_row_is_found_among_however_many_at_its_object() {
    for count in 1..=40 {
        let mut text = String::new();
        for n in 0..count {
            let effect = if n % 3 == 0 { "deny" } else { "allow" };
            text += &format!("u{n} | x/* | r | {effect}\nu{n} | y/*/e{n} | r | {effect}\n");
        }
        let policy = policy(&text);
        for n in 0..count {
            let effect = if n % 3 == 0 { Effect::Deny } else { Effect::Allow };
            for (object, line) in [("x/7", 2 * n + 1), (&*format!("y/7/e{n}"), 2 * n + 2)] {
                let decision = policy.explain(&format!("u{n}"), "r", object);
                assert_eq!(decision, Decision::by_row(effect, line), "{n} of {count}: {object}");
            }
            let other = policy.explain(&format!("u{n}"), "r", &format!("y/7/e{}", n + 1));
            assert_eq!(other, Decision::denied(Reason::Default));
        }
    }
}

/// What decides `object` for `a`: the effect and the line.
fn decided(policy: &bailiwick_acl::Policy, object: &str) -> Option<(Effect, u32)> {
    let decision = policy.explain("a", "r", object);
    decision.row.map(|row| (decision.effect, row.line))
}

#[test]
fn an_object_is_told_from_what_is_below_it_and_from_those_that_are_cut_otherwise() {
    let policy = policy(
        "a | docs/plan | r | allow\na | docs/plan/** | r | deny\na | docs/** | r | allow\n\
         a | lectures/x | r | allow\na | lecturesx | r | deny\na | lecture/sx/** | r | allow\n",
    );
    let (allow, deny) = (Effect::Allow, Effect::Deny);
    assert_eq!(decided(&policy, "docs"), None);
    assert_eq!(decided(&policy, "docs/plan"), Some((allow, 1)));
    assert_eq!(decided(&policy, "docs/plan/1"), Some((deny, 2)));
    assert_eq!(decided(&policy, "docs/other/1"), Some((allow, 3)));
    assert_eq!(decided(&policy, "lectures/x"), Some((allow, 4)));
    assert_eq!(decided(&policy, "lecturesx"), Some((deny, 5)));
    assert_eq!(decided(&policy, "lecture/sx"), None);
    assert_eq!(decided(&policy, "lecture/sx/1"), Some((allow, 6)));
    assert_eq!(decided(&policy, "lecture/s/x"), None);
}

#[test]
fn rows_with_and_without_wildcards_decide_together_and_the_first_is_named() {
    let policy = policy(
        "group @g = a\na | x/* | r | allow\na | x/y | r | allow\n@g | x/z | r | deny\n\
         * | {self}/z | r | allow\n@g | x/** | * | allow\n* | x/*/q | * | deny\n",
    );
    let (allow, deny) = (Effect::Allow, Effect::Deny);
    assert_eq!(decided(&policy, "x/y"), Some((allow, 2)));
    assert_eq!(decided(&policy, "x/z"), Some((deny, 4)));
    assert_eq!(decided(&policy, "a/z"), Some((allow, 5)));
    assert_eq!(decided(&policy, "x/y/p"), Some((allow, 6)));
    assert_eq!(decided(&policy, "x/y/q"), Some((deny, 7)));
}

#[test]
fn objects_of_every_depth_are_found_exactly_and_from_above() {
    let name = |depth: usize| vec!["d"; depth].join("/");
    let mut text = String::new();
    for depth in 1..=32 {
        text += &format!("e | {} | r | allow\n", name(depth));
    }
    for depth in 1..32 {
        text += &format!("b{depth} | {}/** | r | allow\n", name(depth));
    }
    let policy = policy(&text);
    for depth in 1..=32 {
        let line = u32::try_from(depth).unwrap();
        let exact = policy.explain("e", "r", &name(depth));
        assert_eq!(exact, Decision::by_row(Effect::Allow, line));
        for above in 1..32 {
            let below = policy.explain(&format!("b{above}"), "r", &name(depth));
            let line = 32 + u32::try_from(above).unwrap();
            let meant = if depth > above {
                Decision::by_row(Effect::Allow, line)
            } else {
                Decision::denied(Reason::Default)
            };
            assert_eq!(below, meant, "{above} {depth}");
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
