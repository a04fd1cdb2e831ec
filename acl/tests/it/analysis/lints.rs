//! Lints: exact, at their place, and in bounded time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bailiwick_acl::policy::analysis::{MAX_LINTS, lints};
use bailiwick_acl::policy::{Finding, Severity};
use proptest::prelude::*;

use super::{Dice, PEOPLE, Row, Small, key, objects, ruleset};

fn found(text: &str) -> Vec<(&'static str, u32, Option<u32>)> {
    let row = |finding: &Finding| {
        (finding.code, finding.line, finding.related.as_ref().map(|related| related.line))
    };
    lints(&ruleset(text)).iter().map(row).collect()
}

#[test]
fn a_row_whose_objects_are_all_denied_is_shadowed() {
    assert_eq!(found("a | x/y | r | allow\n* | x/** | * | deny"), [("acl::shadowed", 1, Some(2))]);
    let together = "a | x/** | r | allow\na | x/* | r | deny\na | x/*/** | * | deny";
    let all = lints(&ruleset(together));
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(all[0].message, "lines 2, 3 together deny all that this row allows");
    // A single length left open is enough, and so is a single verb or member.
    assert_eq!(found("a | x/** | r | allow\na | x/*/** | * | deny"), []);
    assert_eq!(found("a | x | r,w | allow\na | x | r | deny"), []);
    assert_eq!(found("group @g = a, b\n@g | x | r | allow\na | x | r | deny"), []);
}

#[test]
fn a_row_that_another_says_already_is_redundant() {
    assert_eq!(
        found("a | x/** | * | allow\na | x/y | r | allow"),
        [("acl::redundant", 2, Some(1))]
    );
    assert_eq!(found("a | x | r | allow\na | x | r | allow"), [("acl::redundant", 2, Some(1))]);
    // The narrower one is told of, wherever it stands.
    assert_eq!(found("a | x | r | allow\n* | * | r | allow"), [("acl::redundant", 1, Some(2))]);
    let by_members =
        "group @few = a\ngroup @more = a, b\n@few | x | r | allow\n@more | x | * | allow";
    assert_eq!(found(by_members), [("acl::redundant", 3, Some(4))]);
    assert_eq!(
        found("* | home/{self} | r | allow\na | home/a | r | allow"),
        [("acl::redundant", 2, Some(1))]
    );
}

#[test]
fn a_deny_that_crosses_an_allow_is_a_conflict_and_an_exception_is_not() {
    let all = lints(&ruleset("a | x/* | r | allow\n* | */y | * | deny"));
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(all[0].code, "acl::conflict");
    assert_eq!(all[0].message, "this row allows `x/y` and line 2 denies it: the deny wins");
    assert!(all[0].help.contains("`a` with `r` on `x/y` shows it"), "{}", all[0].help);
    assert_eq!((all[0].line, all[0].column, all[0].end_column), (1, 1, 20));
    assert_eq!(all[0].related.as_ref().map(|related| related.line), Some(2));
    assert_eq!(found("a | x/** | r | allow\n* | x/y | w,r | deny"), []);
}

#[test]
fn a_deny_of_what_nobody_may_is_idle_and_only_advice() {
    let all = lints(&ruleset("a | table/** | r | allow\na | tabel/x | r | deny"));
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!((all[0].code, all[0].severity), ("acl::idle-deny", Severity::Advice));
}

#[test]
fn groups_and_principals_without_a_use_are_told_of() {
    let text = format!(
        "principal a = {}\nprincipal b = {}\ngroup @used = a\ngroup @not = a\n@used | x | r | allow",
        key(1).1,
        key(2).1
    );
    assert_eq!(found(&text), [("acl::idle-principal", 2, None), ("acl::unused-group", 4, None)]);
    let in_another = "group @in = a\ngroup @out = @in\n@out | x | r | allow";
    assert_eq!(found(in_another), []);
    assert_eq!(found("group @g = a\nnever @g | x | r\na | y | r | allow"), []);
}

#[test]
fn a_row_below_the_deepest_object_is_dead() {
    let deep = vec!["a"; 32].join("/");
    assert_eq!(found(&format!("a | {deep}/** | r | allow")), [("acl::dead", 1, None)]);
}

#[test]
fn many_findings_of_a_kind_are_summed_up() {
    let text = "a | x | r | allow\n".repeat(MAX_LINTS + 11);
    let all = lints(&ruleset(&text));
    assert_eq!(all.len(), MAX_LINTS + 1);
    assert!(all[0].message.starts_with("10 more findings"), "{:?}", all[0]);
}

#[test]
fn ten_thousand_rows_are_looked_at_at_once_and_a_lattice_is_given_up() {
    let line = |n: usize| format!("p{} | table/k{n}/* | read,write | allow\n", n % 100);
    let mut text: String = (0..10_000).map(line).collect();
    text += "* | table/*/secret | * | deny\nmallory | ** | * | deny\n";
    let rules = ruleset(&text);
    let start = Instant::now();
    let all = lints(&rules);
    let took = start.elapsed();
    // Not optimised, on a machine that does other things too.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let conflicts = all.iter().filter(|finding| finding.code == "acl::conflict").count();
    assert_eq!(conflicts, MAX_LINTS + 1);

    let crossing = |n: usize| format!("* | a{n}/* | * | allow\n* | */b{n} | * | deny\n");
    let text: String = (0..4_000).map(crossing).collect();
    let start = Instant::now();
    let all = lints(&ruleset(&text));
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(all.iter().any(|finding| finding.code == "acl::unchecked"), "{}", all.len());
}

/// What the lints should say, by the requests of which each row speaks.
fn by_brute_force(rows: &[Row]) -> BTreeSet<(&'static str, u32, Option<u32>)> {
    let objects = objects();
    let sets: Vec<_> = rows.iter().map(|row| row.requests(&objects)).collect();
    let denied: BTreeSet<_> =
        rows.iter().zip(&sets).filter(|(row, _)| !row.allow).flat_map(|(_, set)| set).collect();
    let mut found = BTreeSet::new();
    for (at, row) in rows.iter().enumerate() {
        let redundant = (0..rows.len()).any(|other| {
            let same = sets[at].is_subset(&sets[other]);
            let back = sets[other].is_subset(&sets[at]);
            other != at && rows[other].allow == row.allow && same && (other < at || !back)
        });
        if sets[at].is_empty() {
            found.insert(("acl::dead", row.line, None));
        } else if redundant {
            found.insert(("acl::redundant", row.line, None));
        } else if !row.allow {
            let allows = rows.iter().zip(&sets).filter(|(row, _)| row.allow);
            if allows.clone().all(|(_, set)| set.is_disjoint(&sets[at])) {
                found.insert(("acl::idle-deny", row.line, None));
            }
        } else if sets[at].iter().all(|request| denied.contains(request)) {
            found.insert(("acl::shadowed", row.line, None));
        } else {
            let denies = rows.iter().filter(|row| !row.allow);
            let crossing = denies.filter(|deny| cross(row, deny, &objects));
            found.extend(crossing.map(|deny| ("acl::conflict", row.line, Some(deny.line))));
        }
    }
    found
}

fn cross(allow: &Row, deny: &Row, objects: &[String]) -> bool {
    ["r", "w", "new"].iter().any(|verb| allow.has(verb) && deny.has(verb))
        && PEOPLE.iter().any(|name| {
            let those = |row: &Row| -> BTreeSet<usize> {
                let here = |at: &usize| row.object.matches(&objects[*at], name);
                (0..objects.len()).filter(here).collect()
            };
            let (ours, theirs) = (those(allow), those(deny));
            allow.speaks_of(name)
                && deny.speaks_of(name)
                && !ours.is_disjoint(&theirs)
                && !ours.is_subset(&theirs)
                && !theirs.is_subset(&ours)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn lints_say_exactly_what_every_request_shows(seed: u64, rows in 1_usize..9) {
        let small = Small::at_random(&mut Dice(seed), rows);
        let said: BTreeSet<_> = lints(&ruleset(&small.text))
            .iter()
            .filter(|finding| !["acl::idle-principal", "acl::unused-group"].contains(&finding.code))
            .map(|finding| {
                let conflict = finding.code == "acl::conflict";
                let related = finding.related.as_ref().filter(|_| conflict);
                (finding.code, finding.line, related.map(|related| related.line))
            })
            .collect();
        prop_assert_eq!(said, by_brute_force(&small.rows), "{}", small.text);
    }
}
