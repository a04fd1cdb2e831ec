//! `expect` and `never`: a policy that breaks its own tests does not load.

use bailiwick_acl::policy::object_pattern;
use proptest::prelude::*;

use super::world::Dice;
use super::{key, load};

#[track_caller]
fn refused(text: &str) -> bailiwick_acl::policy::PolicyError {
    let errors = load(text).expect_err("this must be refused");
    assert_eq!(errors.errors().len(), 1, "{:#?}", errors.errors());
    errors.errors()[0].clone()
}

fn holds(text: &str) {
    load(text).unwrap_or_else(|errors| panic!("{:#?}", errors.errors()));
}

#[test]
fn a_failing_expectation_shows_the_row_that_decided() {
    let error = refused("a | x/* | r | allow\na | x/y | r | deny\nexpect allow a r x/y");
    assert_eq!((error.line, error.column), (3, 1));
    assert!(error.message.contains("line 2 says deny"), "{error}");
    let labels: Vec<_> = miette::Diagnostic::labels(&error).unwrap().collect();
    assert_eq!(labels.len(), 2);
    assert_eq!(labels[1].offset(), 20);
    let error = refused("a | x | r | allow\nexpect deny a r x");
    assert!(error.message.contains("line 1 says allow"), "{error}");
    let error = refused("a | x | r | allow\nexpect allow a w x");
    assert!(error.message.contains("denied: default"), "{error}");
}

#[test]
fn expectations_that_hold_are_silent() {
    holds("a | my file/* | r | allow\nexpect allow a r my file/\\*\nexpect deny b r my file/x");
}

#[test]
fn an_expectation_is_held_even_beside_other_errors_when_nothing_can_save_it() {
    let errors = load("a | x | r | deny\nexpect allow a r x\nb | x | r | alow").unwrap_err();
    let lines: Vec<_> = errors.errors().iter().map(|error| error.line).collect();
    assert_eq!(lines, [2, 3]);
    // Line 1 might have been the allow that is missing, so only it is reported.
    let errors = load("a | x | r | alow\nexpect allow a r x").unwrap_err();
    assert_eq!(errors.errors().len(), 1);
}

#[test]
fn a_violated_never_shows_both_lines() {
    let error = refused(
        "never * | vault/** | write except root\nroot | ** | * | allow\na | vault/* | write | allow",
    );
    assert_eq!((error.line, error.column), (1, 1));
    assert!(error.message.contains("line 3 allows it: `a` may"), "{error}");
    let labels: Vec<_> = miette::Diagnostic::labels(&error).unwrap().collect();
    assert_eq!(labels.len(), 2);
}

#[test]
fn a_never_looks_through_groups_wildcards_and_denies() {
    let (a, b) = (key(1).1, key(2).1);
    let people = format!("principal a = {a}\nprincipal b = {b}\ngroup @staff = a\n");
    let check = |rest: &str| load(&format!("{people}{rest}")).is_ok();
    // By a group.
    assert!(!check("never a | x | r\n@staff | x | r | allow"));
    assert!(check("never b | x | r\n@staff | x | r | allow"));
    assert!(check("never * | x | r except @staff\n@staff | x | r | allow"));
    // By everyone.
    assert!(!check("never @staff | x | r\n* | ** | * | allow"));
    // By a verb.
    assert!(check("never * | x | w\n* | x | r | allow"));
    assert!(!check("never * | x | *\n* | x | r | allow"));
    // By the caller's own name.
    assert!(!check("never a | home/a/** | r\n* | home/{self}/** | r | allow"));
    assert!(check("never a | home/b/** | r\n* | home/{self}/** | r | allow"));
    assert!(!check("never * | home/{self} | r\na | home/a | r | allow"));
    // A deny that covers what they have in common heals it; one that leaves a gap does not.
    assert!(check("never a | v/** | r\n* | ** | r | allow\na | v/** | r | deny"));
    assert!(!check("never a | v/** | r\n* | ** | r | allow\na | v/* | r | deny"));
    assert!(check(
        "never a | v/** | r\n* | ** | r | allow\na | v/* | r | deny\n@staff | v/*/** | * | deny"
    ));
    assert!(!check("never @staff | v | r\n* | v | r | allow\nb | v | r | deny"));
    assert!(!check("never a | v | *\na | v | * | allow\na | v | r,w | deny"));
    assert!(check("never a | v/* | r\na | v/x | * | allow\na | v/x | r | deny"));
}

#[test]
fn where_no_keys_are_given_a_never_thinks_of_strangers_too() {
    let error = refused("never * | x | r\n* | x | r | allow");
    assert!(error.message.contains("anyone may"), "{error}");
    holds("never * | x/{self} | r\n* | y | r | allow");
}

/// A row without its effect, from few enough words that rows often meet.
pub(crate) fn columns(dice: &mut Dice) -> [String; 3] {
    let who = dice.pick(&["alice", "bob", "@both", "*"]);
    let depth = 1 + dice.below(3);
    let object: Vec<_> =
        (0..depth).map(|_| dice.pick(&["a", "b", "alice", "*", "{self}"])).collect();
    let below = dice.pick(&["", "", "/**"]);
    let verb = dice.pick(&["r", "w", "r,w", "*"]);
    [who.to_owned(), object.join("/") + below, verb.to_owned()]
}

/// Every object of up to four segments that matter, `new` standing for all that no row mentions.
pub(crate) fn objects() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut longest = vec![String::new()];
    for _ in 0..4 {
        let longer = |object: &String| {
            ["a", "b", "alice", "bob", "carol", "new"].map(|name| format!("{object}/{name}"))
        };
        longest = longest.iter().flat_map(longer).collect();
        all.extend(longest.iter().map(|object| object[1..].to_owned()));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_never_is_violated_exactly_when_someone_may(seed: u64, rows in 1_usize..9) {
        let mut dice = Dice(seed);
        let mut text: String = ["alice", "bob", "carol"]
            .iter()
            .zip(1..)
            .map(|(name, number)| format!("principal {name} = {}\n", key(number).1))
            .collect();
        text += "group @both = alice, bob\n";
        for _ in 0..rows {
            let effect = dice.pick(&["allow", "deny"]);
            text += &format!("{} | {effect}\n", columns(&mut dice).join(" | "));
        }
        let [who, object, verbs] = columns(&mut dice);
        let except = dice.pick(&["", "bob", "@both"]);
        let clause = if except.is_empty() { String::new() } else { format!(" except {except}") };
        let never = format!("never {who} | {object} | {verbs}{clause}\n");

        let policy = load(&text).unwrap().policy;
        let pattern = object_pattern(&object).unwrap();
        let is = |name: &str, subject: &str| {
            subject == "*" || subject == name || (subject == "@both" && name != "carol")
        };
        let tried: Vec<_> = if verbs == "*" { vec!["r", "w", "new"] } else { verbs.split(',').collect() };
        let objects = objects();
        let violated = ["alice", "bob", "carol"].iter().any(|name| {
            is(name, &who) && !is(name, except) && objects.iter().any(|object| {
                pattern.matches(object, name)
                    && tried.iter().any(|verb| policy.explain(name, verb, object).is_allowed())
            })
        });
        prop_assert_eq!(load(&(text.clone() + &never)).is_err(), violated, "{}{}", text, never);
    }
}
