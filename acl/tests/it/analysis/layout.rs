//! Formatting changes how a file looks and nothing else; and files of expectations.

use bailiwick_acl::policy::analysis::{diff, expectations, format};
use bailiwick_acl::policy::{Effect, KeysRequired, LoadOptions, MAX_LINE, Source};
use proptest::prelude::*;

use super::super::world;
use super::{Dice, ruleset};

fn formatted(text: &str) -> String {
    let options = LoadOptions { keys: KeysRequired::Tool, ..LoadOptions::default() };
    format(Source { name: "policy.acl", text: text.as_bytes() }, &options).unwrap()
}

#[test]
fn columns_line_up_and_comments_and_order_stay() {
    let text = "\n\n# who may what\nacl   1\nserial 7\r\ngroup @g=a,b ,c\n\n\n\
                a|t/**|read , write|allow#all\n   # in between\n@g | t/salary | * |deny  #  none \n\n\
                never b|t/**|  write except a,c\nexpect  allow a\tread t/my file\n\
                a | x\\|y | r | allow\n\n\n";
    let neat = "\
# who may what
acl 1
serial 7
group @g = a, b, c

a  | t/**     | read,write | allow  #all
# in between
@g | t/salary | *          | deny   #  none

never b | t/** | write except a, c
expect allow a read t/my file
a | x\\|y | r | allow
";
    assert_eq!(formatted(text), neat);
    assert_eq!(formatted(neat), neat);
    assert_eq!(formatted(""), "");
    assert_eq!(formatted("\n \n"), "");
}

#[test]
fn a_wide_cell_does_not_push_the_others_out_and_no_line_grows_too_long() {
    let wide = "x".repeat(41);
    let text = format!("a | {wide} | r | allow\nbob | y | r | allow\n");
    assert_eq!(formatted(&text), format!("a   | {wide} | r | allow\nbob | y | r | allow\n"));
    let verbs = (0..1_000).map(|n| format!("v{n:02}")).collect::<Vec<_>>().join(",");
    let verbs = &verbs[..verbs[..MAX_LINE - 12].rfind(',').unwrap()];
    let full = format!("a|x|{verbs}|allow\n");
    let padded = format!("abcdefghijkl | x | r | allow\n{full}");
    assert!(formatted(&padded).ends_with(&full));
}

#[test]
fn a_file_with_errors_is_left_alone() {
    let source = Source { name: "p", text: b"a | x | r | alow" };
    let options = LoadOptions { keys: KeysRequired::Tool, ..LoadOptions::default() };
    assert_eq!(format(source, &options).unwrap_err().errors().len(), 1);
}

#[test]
fn a_file_of_expectations_holds_nothing_else() {
    let read = |text: &str| expectations(Source { name: "t", text: text.as_bytes() });
    let good = read("# ours\nexpect allow a r x/y\n\nexpect deny nobody w x\\*\n").unwrap();
    assert_eq!((good[0].line, good[1].line, &*good[1].object), (2, 4, "x*"));
    let rules = ruleset("a | x/* | r | allow");
    let held: Vec<_> = good.iter().map(|it| (it.effect, it.holds(rules.policy()))).collect();
    assert_eq!(held, [(Effect::Allow, true), (Effect::Deny, true)]);
    let bad =
        read("expect allow a r x\na | x | r | allow\ngroup @g = a\nexpect maybe a r x\nserial 1");
    let lines: Vec<_> = bad.unwrap_err().errors().iter().map(|error| error.line).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
}

proptest! {
    #[test]
    fn a_formatted_policy_is_the_same_policy_and_stays_as_it_is(seed: u64, rows in 0_usize..40) {
        let mut dice = Dice(seed);
        let (_, text) = world::policy(&mut dice, rows);
        let neat = formatted(&text);
        prop_assert_eq!(&formatted(&neat), &neat);
        let (old, new) = (ruleset(&text), ruleset(&neat));
        let difference = diff(&old, &new);
        prop_assert!(difference.is_empty(), "{:?}\n{}", difference, text);
        let words = |text: &str| text.replace(", ", ",").split_whitespace().collect::<Vec<_>>().join(" ");
        let bare = |text: &str| words(&text.replace('|', " | ").replace(['\t', '\r'], " "));
        prop_assert_eq!(bare(&neat), bare(&text));
    }
}
