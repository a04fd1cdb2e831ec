//! `expect` and `never`: a policy that breaks its own tests does not load.

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
