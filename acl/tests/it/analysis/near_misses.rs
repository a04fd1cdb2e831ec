//! Near misses: true, ranked and few.

use bailiwick_acl::policy::analysis::{MAX_NEAR_MISSES, Miss, near_misses};
use proptest::prelude::*;

use super::{Dice, PEOPLE, Small, objects, ruleset};

fn said(text: &str, request: [&str; 3]) -> Vec<String> {
    let [who, verb, object] = request;
    near_misses(&ruleset(text), who, verb, object).iter().map(ToString::to_string).collect()
}

#[test]
fn each_way_to_miss_has_its_sentence() {
    let denied = "a | x/* | r | allow\n* | x/y | * | deny";
    assert_eq!(said(denied, ["a", "r", "x/y"]), ["line 1 allows it, but line 2 denies it"]);
    let verb = "a | x | read,list | allow";
    assert_eq!(said(verb, ["a", "write", "x"]), ["line 1 would allow the verb `read`, `list`"]);
    let object = "a | table/x | r | allow";
    assert_eq!(
        said(object, ["a", "r", "table/y"]),
        ["line 1 would allow `table/x`: its objects are `table/x`"]
    );
    let own = "* | home/{self}/** | r | allow\na | y | r | allow";
    assert_eq!(
        said(own, ["a", "r", "home/b/notes"]),
        ["line 1 would allow `home/a/notes`: its objects are `home/{self}/**`"]
    );
    let group = "group @staff = bob\n@staff | x | r | allow\nalice | y | r | allow";
    assert_eq!(
        said(group, ["alice", "r", "x"]),
        ["line 2 allows `@staff`, and `alice` is not in it"]
    );
    let other = "bob | x | r | allow\nalice | y/z | r | allow";
    assert_eq!(said(other, ["alice", "r", "x"]), ["line 1 allows `bob`, not `alice`"]);
    let below = "a | x/** | r | allow";
    assert_eq!(said(below, ["a", "r", "x"]), ["line 1 would allow `x/x`: its objects are `x/**`"]);
    let above = "a | x/* | r | allow";
    assert_eq!(
        said(above, ["a", "r", "x/y/z"]),
        ["line 1 would allow `x/y`: its objects are `x/*`"]
    );
    assert_eq!(
        said("alice | x | r | allow", ["alcie", "r", "x"]),
        ["line 1 allows `alice`, not `alcie`"]
    );
    assert_eq!(
        said("a | x/y | r | allow", ["a", "r", "x//y/"]),
        ["line 1 would allow `x/y`: its objects are `x/y`"]
    );
}

#[test]
fn slips_of_the_fingers_come_first_and_what_is_far_off_not_at_all() {
    let text = "alice | table/b | list | allow\nalice | notes/exam | read | allow\n\
                alice | table/exams | read | allow\nbob | else/where | read | allow";
    let near = near_misses(&ruleset(text), "alice", "read", "table/exam");
    let lines: Vec<_> = near.iter().map(|miss| miss.line).collect();
    assert_eq!(lines, [3, 2]);
    assert_eq!(said("a | x | r | allow", ["a", "r", "x"]), Vec::<String>::new());
}

#[test]
fn a_miss_that_a_deny_would_catch_is_none() {
    let text = "a | x | read | allow\na | x | read | deny";
    assert_eq!(said(text, ["a", "write", "x"]), Vec::<String>::new());
    let text = "group @g = b\n@g | x | r | allow\n@g | x | r | deny\na | y | r | allow";
    assert_eq!(said(text, ["a", "r", "x"]), Vec::<String>::new());
}

#[test]
fn machines_get_the_kind_of_a_miss() {
    let near = near_misses(&ruleset("a | x | r | allow\na | x | r | deny"), "a", "r", "x");
    let json = serde_json::to_string(&near).unwrap();
    assert_eq!(json, r#"[{"line":1,"kind":"denied","by":2}]"#);
}

proptest! {
    #[test]
    fn what_a_near_miss_says_would_be_allowed_is_allowed(seed: u64, rows in 1_usize..14) {
        let mut dice = Dice(seed);
        let small = Small::at_random(&mut dice, rows);
        let rules = ruleset(&small.text);
        let objects = objects();
        for _ in 0..20 {
            let who = dice.pick(&PEOPLE);
            let verb = dice.pick(&["r", "w", "new"]);
            let object = &objects[dice.below(objects.len())];
            let policy = rules.policy();
            let decision = policy.explain(who, verb, object);
            let near = near_misses(&rules, who, verb, object);
            prop_assert!(near.len() <= MAX_NEAR_MISSES);
            prop_assert!(near.is_empty() || !decision.is_allowed());
            for miss in near {
                let row = small.rows.iter().find(|row| row.line == miss.line).unwrap();
                prop_assert!(row.allow);
                let claim = format!("{who} {verb} {object}: {miss}\n{}", small.text);
                match miss.miss {
                    Miss::Denied { by } => {
                        prop_assert_eq!(decision.row.map(|row| row.line), Some(by), "{}", &claim);
                        let matches = row.speaks_of(who) && row.has(verb);
                        prop_assert!(matches && row.object.matches(object, who), "{}", claim);
                    }
                    Miss::Verb { verbs } => for verb in verbs {
                        prop_assert!(policy.explain(who, &verb, object).is_allowed(), "{}", claim);
                    },
                    Miss::Object { object, .. } => {
                        prop_assert!(policy.explain(who, verb, &object).is_allowed(), "{}", claim);
                    }
                    Miss::Subject { subject, .. } => {
                        let mut tried = PEOPLE.iter().filter(|name| match &*subject {
                            "@both" => **name != "carol",
                            name_of_one => **name == name_of_one,
                        });
                        let may = tried.any(|name| policy.explain(name, verb, object).is_allowed());
                        prop_assert!(may, "{}", claim);
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }
}
