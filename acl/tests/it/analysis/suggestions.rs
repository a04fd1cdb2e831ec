//! Suggestions: they load, they flip what they say, and they never break a `never`.

use bailiwick_acl::policy::analysis::{
    MAX_TRIALS, NotSuggested, Refusal, Refusals, Ruleset, Suggestions, Why, suggest as suggest_for,
};
use proptest::prelude::*;

use super::{Dice, PEOPLE, Small, columns, objects, ruleset};

fn refusal(request: [&str; 3], count: u64) -> Refusal {
    let [principal, verb, object] = request.map(str::to_owned);
    Refusal { principal, verb, object, count }
}

fn suggest(rules: &Ruleset, asked: impl IntoIterator<Item = Refusal>) -> Suggestions {
    suggest_for(rules, asked.into_iter().collect::<Refusals>())
}

fn rows(suggestions: &Suggestions) -> Vec<(&str, u64)> {
    suggestions.rows.iter().map(|row| (&*row.row, row.flips)).collect()
}

#[test]
fn refusals_become_one_row_for_each_object_with_all_verbs() {
    let rules = ruleset("alice | y | r | allow");
    let asked = [
        refusal(["alice", "write", "a|b/*"], 2),
        refusal(["alice", "read", "a|b/*"], 3),
        refusal(["alice", "read", "a|b/*"], 1),
    ];
    let answer = suggest(&rules, asked);
    assert_eq!(rows(&answer), [(r"alice | a\|b/\* | read,write | allow", 6)]);
    assert_eq!((answer.not.len(), answer.beyond), (0, 0));
}

#[test]
fn what_a_deny_refused_is_explained_and_not_suggested_away() {
    let rules = ruleset("a | x | r | deny\na | y | r | allow");
    let asked = [
        refusal(["a", "r", "x"], 9),
        refusal(["a", "r", "y"], 8),
        refusal(["mallory", "r", "x"], 7),
        refusal(["a", "r", "cut off…/"], 6),
    ];
    let answer = suggest(&rules, asked.clone());
    assert_eq!(rows(&answer), []);
    let why = [Why::Denied { line: 1 }, Why::AllowedNow { line: 2 }, Why::Unknown, Why::Impossible];
    let meant = asked.into_iter().zip(why).map(|(refusal, why)| NotSuggested { refusal, why });
    assert_eq!(answer.not, meant.collect::<Vec<_>>());
}

#[test]
fn a_row_that_breaks_a_never_or_an_expectation_is_not_suggested_and_others_are() {
    let rules = ruleset("never * | vault/** | write\nexpect deny a read secret\na | y | r | allow");
    let mut asked: Vec<_> = (0..9).map(|n| refusal(["a", "read", &format!("d{n}/e")], 1)).collect();
    asked.push(refusal(["a", "write", "vault/x"], 5));
    asked.push(refusal(["a", "read", "secret"], 4));
    let answer = suggest(&rules, asked);
    assert_eq!(answer.rows.len(), 9);
    assert_eq!(answer.not.len(), 2);
    let Why::Refused { message } = &answer.not[0].why else { panic!("{:?}", answer.not[0]) };
    assert_eq!(message, "the `never` on line 1 forbids it");
    let Why::Refused { message } = &answer.not[1].why else { panic!("{:?}", answer.not[1]) };
    assert_eq!(message, "the `expect` on line 2 would fail");
}

#[test]
fn objects_side_by_side_are_offered_together_with_what_else_that_opens() {
    let rules = ruleset("a | t/open | r | allow\n* | t/shut | * | deny\na | z | r | allow");
    let asked = ["t/p", "t/q", "lone/x", "top", "pot"].map(|object| refusal(["a", "r", object], 2));
    let answer = suggest(&rules, asked);
    assert_eq!(answer.rows.len(), 5);
    let wide: Vec<_> = answer.rows.iter().filter_map(|row| row.instead.as_ref()).collect();
    assert_eq!(wide.len(), 1);
    assert_eq!((&*wide[0].row, wide[0].flips), ("a | t/* | r | allow", 4));
    let opens = "t/* but not t/open, t/p, t/q, t/shut";
    assert_eq!(wide[0].opens.to_string(), opens);
    assert_eq!(answer.rows[0].instead.as_ref(), Some(wide[0]));
    // Not where a `never` stands in the way.
    let rules = ruleset("never a | t/r | r\na | z | r | allow");
    let asked = ["t/p", "t/q"].map(|object| refusal(["a", "r", object], 2));
    assert!(suggest(&rules, asked).rows.iter().all(|row| row.instead.is_none()));
}

#[test]
fn counts_that_no_number_holds_stay_at_the_highest() {
    let rules = ruleset("a | x | r | allow");
    let asked = [
        refusal(["a", "w", "t/x"], u64::MAX),
        refusal(["a", "w", "t/x"], u64::MAX),
        refusal(["a", "r", "t/x"], 2),
        refusal(["a", "r", "t/y"], u64::MAX),
        refusal(["a", "w", "t/y"], 1),
    ];
    let answer = suggest(&rules, asked);
    let both = [("a | t/x | r,w | allow", u64::MAX), ("a | t/y | r,w | allow", u64::MAX)];
    assert_eq!(rows(&answer), both);
    assert_eq!(answer.rows[0].instead.as_ref().unwrap().flips, u64::MAX);
}

/// So many requests of one principal whose rows the rules below refuse.
fn vault(principal: &str, count: usize) -> impl Iterator<Item = Refusal> {
    (0..count).map(move |n| refusal([principal, "r", &format!("vault/{n:03}")], 1))
}

/// How many rows of this principal were refused, and how many were not tried.
fn tried(answer: &Suggestions, principal: &str) -> (usize, usize) {
    let his = answer.not.iter().filter(|not| not.refusal.principal == principal);
    let (untried, refused): (Vec<_>, Vec<_>) = his.partition(|not| not.why == Why::NotTried);
    assert!(refused.iter().all(|not| matches!(not.why, Why::Refused { .. })));
    (refused.len(), untried.len())
}

#[test]
fn so_many_rows_that_the_policy_refuses_are_not_all_tried() {
    let rules = ruleset("never a | vault/** | *\na | y | r | allow");
    let answer = suggest(&rules, vault("a", MAX_TRIALS));
    assert_eq!(rows(&answer), []);
    let (refused, untried) = tried(&answer, "a");
    assert_eq!(refused + untried, MAX_TRIALS);
    // All are tried together first, then each half; each refused row takes about two trials.
    assert!((MAX_TRIALS / 2 - 10..=MAX_TRIALS / 2).contains(&refused), "{refused}");
}

#[test]
fn who_is_refused_many_rows_takes_no_trial_from_others() {
    let rules =
        ruleset("never * | vault/** | *\na | y | r | allow\nb | y | r | allow\nz | y | r | allow");
    let mut asked: Vec<_> = vault("a", 1_000).collect();
    asked.push(refusal(["b", "r", "x"], 1));
    asked.extend(vault("z", 3));
    asked.push(refusal(["z", "r", "x"], 1));
    let answer = suggest(&rules, asked);
    assert_eq!(rows(&answer), [("b | x | r | allow", 1), ("z | x | r | allow", 1)]);
    assert_eq!(tried(&answer, "z"), (3, 0));
    let (refused, untried) = tried(&answer, "a");
    assert_eq!(refused + untried, 1_000);
    // What the others did not need is his.
    assert!(refused > MAX_TRIALS / 3, "{refused}");
}

#[test]
fn two_who_are_refused_many_rows_share_the_trials() {
    let rules = ruleset("never * | vault/** | *\na | y | r | allow\nb | y | r | allow");
    let asked = vault("a", 1_000).chain(vault("b", 2_000)).collect::<Vec<_>>();
    let answer = suggest(&rules, asked);
    let [(a, _), (b, _)] = ["a", "b"].map(|principal| tried(&answer, principal));
    assert!(a > MAX_TRIALS / 5 && b > MAX_TRIALS / 5 && a.abs_diff(b) < MAX_TRIALS / 10, "{a} {b}");
}

#[test]
fn more_principals_than_trials_have_their_rows_beside_one_who_is_refused_many() {
    let folk: Vec<_> = (0..2 * MAX_TRIALS).map(|n| format!("p{n}")).collect();
    let known: String = folk.iter().map(|name| format!("{name} | y | r | allow\n")).collect();
    let rules = ruleset(&format!("never a | vault/** | *\na | y | r | allow\n{known}"));
    let asked = folk.iter().map(|name| refusal([name, "r", "x"], 1)).chain(vault("a", 1_000));
    let answer = suggest(&rules, asked.collect::<Vec<_>>());
    assert_eq!(answer.rows.len(), folk.len());
    assert!(tried(&answer, "a").0 > MAX_TRIALS / 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_suggestion_loads_and_flips_what_it_says(seed: u64, rows in 0_usize..6) {
        let mut dice = Dice(seed);
        let mut small = Small::at_random(&mut dice, rows);
        let [who, object, verbs] = columns(&mut dice);
        let with_never = format!("{}never {who} | {object} | {verbs}\n", small.text);
        let source = bailiwick_acl::policy::Source { name: "p", text: with_never.as_bytes() };
        let holds = bailiwick_acl::Policy::load(source, &Default::default()).is_ok();
        if holds {
            small.text = with_never;
        }
        let rules = ruleset(&small.text);
        let objects = objects();
        let asked: Vec<_> = (0..12)
            .map(|_| {
                let object = &objects[dice.below(objects.len())];
                refusal([dice.pick(&PEOPLE), dice.pick(&["r", "w"]), object], 1)
            })
            .collect();
        let answer = suggest(&rules, asked.clone());
        let appended: Vec<_> = answer.rows.iter().map(|row| format!("{}\n", row.row)).collect();
        let after = ruleset(&(small.text.clone() + &appended.concat()));
        let flipped = asked.iter().filter(|it| {
            let request = (&*it.principal, &*it.verb, &*it.object);
            let before = rules.policy().explain(request.0, request.1, request.2);
            !before.is_allowed() && after.policy().explain(request.0, request.1, request.2).is_allowed()
        });
        let said: u64 = answer.rows.iter().map(|row| row.flips).sum();
        prop_assert_eq!(said, flipped.count() as u64, "{}", small.text);
        let explained: u64 = answer.not.iter().map(|not| not.refusal.count).sum();
        prop_assert_eq!(said + explained, asked.len() as u64);
        for wide in answer.rows.iter().filter_map(|row| row.instead.as_ref()) {
            let after = ruleset(&format!("{}{}\n", small.text, wide.row));
            let who = wide.row.split(' ').next().unwrap();
            let verbs: Vec<_> = wide.row.split(" | ").nth(2).unwrap().split(',').collect();
            for object in &objects {
                let opened = verbs.iter().any(|verb| {
                    !rules.policy().explain(who, verb, object).is_allowed()
                        && after.policy().explain(who, verb, object).is_allowed()
                });
                let asked = asked.iter().any(|it| it.principal == who && it.object == *object);
                if opened && !asked {
                    prop_assert!(wide.opens.includes(object, who), "{} {}\n{}", wide.row, object, small.text);
                }
            }
        }
    }
}
