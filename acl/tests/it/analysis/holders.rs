//! Who can, and what can: complete, and no more than that.

use bailiwick_acl::policy::analysis::{Holding, what_can, who_can};
use bailiwick_acl::policy::object_pattern;
use proptest::prelude::*;

use super::{Dice, PEOPLE, Small, VERBS, objects, ruleset};

fn who(text: &str, verb: &str, object: &str) -> Vec<String> {
    let holders = who_can(&ruleset(text), verb, &object_pattern(object).unwrap());
    let said = holders.iter().map(|it| format!("{} {} {}", it.principal, it.line, it.region));
    said.collect()
}

fn what(text: &str, principal: &str) -> Vec<String> {
    let say =
        |it: &Holding| format!("{} | {} | {} {:?}", it.line, it.verbs, it.region, it.denied_by);
    what_can(&ruleset(text), principal).unwrap().iter().map(say).collect()
}

#[test]
fn who_can_names_each_principal_with_its_row_and_what_is_left() {
    let text = "group @g = b, c\na | x/y | r | allow\n@g | x/** | * | allow\nc | x/y | r | deny\n";
    assert_eq!(who(text, "r", "x/y"), ["a 2 x/y", "b 3 x/y"]);
    assert_eq!(who(text, "r", "x/*"), ["a 2 x/y", "b 3 x/*", "c 3 x/* but not x/y"]);
    assert_eq!(who(text, "w", "x/y"), ["b 3 x/y", "c 3 x/y"]);
    assert_eq!(who("* | x | r | allow\na | y | r | allow", "r", "x"), ["* 1 x", "a 1 x"]);
    let own = "* | home/{self} | r | allow\na | y | r | allow";
    assert_eq!(who(own, "r", "home/*"), ["a 1 home/a"]);
    assert_eq!(who(own, "r", "home/{self}"), ["a 1 home/a"]);
}

#[test]
fn what_can_shows_each_row_with_what_denies_take_back() {
    let text = "a | t/** | * | allow\n* | t/s | w | deny\na | t/s/k | r,w | deny\na | h/{self} | r | allow\na | t/s | w | allow";
    assert_eq!(
        what(text, "a"),
        [
            "1 | * but r,w | t/** []",
            "1 | w | t/** but not t/s, t/s/k [2, 3]",
            "1 | r | t/** but not t/s/k [3]",
            "4 | r | h/a []"
        ]
    );
    assert!(what_can(&ruleset(text), "b").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn both_cover_exactly_what_is_allowed(seed: u64, rows in 1_usize..9) {
        let mut dice = Dice(seed);
        let small = Small::at_random(&mut dice, rows);
        let rules = ruleset(&small.text);
        let objects = objects();
        let asked = object_pattern(dice.pick(&["a/*", "**", "*/b", "a/b", "{self}/**"])).unwrap();
        for verb in VERBS {
            let holders = who_can(&rules, verb, &asked);
            for name in PEOPLE {
                let holdings = what_can(&rules, name).unwrap();
                for object in &objects {
                    let allowed = rules.policy().explain(name, verb, object).is_allowed();
                    let can = holdings
                        .iter()
                        .any(|it| it.verbs.includes(verb) && it.region.includes(object, name));
                    prop_assert_eq!(can, allowed, "what {} {} {}\n{}", name, verb, object, &small.text);
                    let holds = holders
                        .iter()
                        .any(|it| it.principal == name && it.region.includes(object, name));
                    let asked = allowed && asked.matches(object, name);
                    prop_assert_eq!(holds, asked, "who {} {} {}\n{}", name, verb, object, &small.text);
                }
            }
        }
    }
}
