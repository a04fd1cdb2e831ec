//! A difference: exactly the requests whose answer changes.

use bailiwick_acl::policy::Effect;
use bailiwick_acl::policy::analysis::{Difference, VerbSet, diff};
use proptest::prelude::*;

use super::{Dice, PEOPLE, Small, VERBS, columns, key, objects, ruleset};

fn between(old: &str, new: &str) -> Difference {
    diff(&ruleset(old), &ruleset(new))
}

/// Each change as `+` or `-`, who, verbs, objects, old and new line.
fn said(difference: &Difference) -> Vec<String> {
    let line = |line: Option<u32>| line.map_or_else(|| "-".to_owned(), |line| line.to_string());
    let changes = difference.changes.iter().map(|change| {
        let sign = if change.becomes == Effect::Allow { '+' } else { '-' };
        let (old, new) = (line(change.old), line(change.new));
        let who = change.principals.join(",");
        format!("{sign}{who} | {} | {} {old}>{new}", change.verbs, change.region)
    });
    changes.collect()
}

#[test]
fn a_new_row_opens_what_was_neither_allowed_nor_denied() {
    let old = "a | x/y | r | allow\nb | z | r | allow\n";
    let new = "# moved\nb | z | r | allow\na | x/* | r,w | allow\na | x/s | * | deny\n\n\n";
    let change = between(old, new);
    assert_eq!(
        said(&change),
        ["+a | w | x/* but not x/s ->3", "+a | r | x/* but not x/s, x/y ->3"]
    );
    assert!(between(old, old).is_empty());
    assert!(
        between("a | x | r | allow\na | x/* | w | allow", "a|x/*|w|allow\na|x|r|allow").is_empty()
    );
}

#[test]
fn a_deny_that_goes_opens_what_a_row_allows_and_one_that_comes_closes_it() {
    let with = "a | x/** | * | allow\n* | x/y | w | deny\n";
    let without = "a | x/** | * | allow\n";
    assert_eq!(said(&between(with, without)), ["+a | w | x/y 2>1"]);
    assert_eq!(said(&between(without, with)), ["-a | w | x/y 1>2"]);
}

#[test]
fn a_group_that_changes_changes_its_members() {
    let old = "group @g = a\n@g | x | * | allow\nb | y | r | allow\na | y | r | allow";
    let new = "group @g = b\n@g | x | * | allow\nb | y | r | allow\na | y | r | allow";
    assert_eq!(said(&between(old, new)), ["+b | * | x ->2", "-a | * | x 2>-"]);
}

#[test]
fn what_everyone_gets_is_said_once() {
    let old = "a | x | r | allow\nb | x | r | allow\n";
    let new = format!("{old}* | home/{{self}}/** | r | allow\n* | y | r,w | allow\n");
    let change = between(old, &new);
    assert_eq!(said(&change), ["+a,b | r | home/{self}/** ->3", "+*,a,b | r,w | y ->4"]);
}

#[test]
fn a_key_that_changes_hands_is_a_change() {
    let (one, two) = (key(1).1, key(2).1);
    let old = format!("principal a = {one}\nprincipal b = {two}\n");
    let new = format!("principal a = {two}\nprincipal b = {one}\n");
    let change = between(&old, &new);
    assert!(change.changes.is_empty() && !change.is_empty());
    assert_eq!(change.keys.len(), 2);
    assert_eq!(
        (change.keys[0].old.as_deref(), change.keys[0].new.as_deref()),
        (Some("a"), Some("b"))
    );
    assert_eq!(change.keys[0].key, one);
}

#[test]
fn machines_get_patterns_as_rows_spell_them() {
    let change = between("a | x | r | allow", "a | x | r | allow\na | y\\|z/* | w | allow");
    assert_eq!(
        serde_json::to_string(&change).unwrap(),
        r#"{"changes":[{"becomes":"allow","principals":["a"],"verbs":"w","objects":"y\\|z/*","except":[],"old":null,"new":2}],"keys":[]}"#
    );
}

/// Changes a line of the rows, or leaves it out, or adds one.
fn edited(dice: &mut Dice, text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..1 + dice.below(3) {
        let at = 3 + dice.below(lines.len() - 3);
        let effect = dice.pick(&["allow", "deny"]);
        let row = format!("{} | {effect}", columns(dice).join(" | "));
        match dice.below(5) {
            0 if at > 3 => drop(lines.remove(at)),
            1 => lines.push(row),
            2 => {
                let members = dice.pick(&["alice", "bob", "alice, carol"]);
                lines[3] = format!("group @both = {members}");
            }
            _ if at > 3 => lines[at] = row,
            _ => lines.insert(4, row),
        }
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_request_changes_exactly_when_the_difference_covers_it(seed: u64, rows in 1_usize..8) {
        let mut dice = Dice(seed);
        let old = Small::at_random(&mut dice, rows).text;
        let new = edited(&mut dice, &old);
        let (old, new) = (ruleset(&old), ruleset(&new));
        let difference = diff(&old, &new);
        let objects = objects();
        let covers = |effect: Effect, name: &str, verb: &str, object: &str| {
            difference.changes.iter().any(|change| {
                change.becomes == effect
                    && change.principals.iter().any(|principal| principal == name)
                    && change.verbs.includes(verb)
                    && change.region.includes(object, name)
            })
        };
        for name in PEOPLE {
            for verb in VERBS {
                for object in &objects {
                    let then = old.policy().explain(name, verb, object);
                    let now = new.policy().explain(name, verb, object);
                    for effect in [Effect::Allow, Effect::Deny] {
                        let changes = then.effect != now.effect && now.effect == effect;
                        let covered = covers(effect, name, verb, object);
                        let claim = format!("{name} {verb} {object}: {:?}", said(&difference));
                        prop_assert_eq!(covered, changes, "{}", claim);
                    }
                }
            }
        }
        // And what is said of rows is so.
        for change in &difference.changes {
            prop_assert!(!matches!(&change.verbs, VerbSet::These(verbs) if verbs.is_empty()));
            let allows = if change.becomes == Effect::Allow { change.new } else { change.old };
            prop_assert!(allows.is_some());
        }
    }
}
