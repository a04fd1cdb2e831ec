//! What the analyses say of a policy, and that it is so for every request of a small world.

mod difference;
mod holders;
mod layout;
mod lints;
mod near_misses;
mod suggestions;

use std::collections::BTreeSet;

use bailiwick_acl::policy::analysis::Ruleset;
use bailiwick_acl::policy::{KeysRequired, LoadOptions, Pattern, Source, object_pattern};

use super::invariants::{columns, objects};
use super::key;
use super::world::Dice;

const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];
/// The verbs of the rows, and one that none of them names.
const VERBS: [&str; 3] = ["r", "w", "new"];

fn ruleset(text: &str) -> Ruleset {
    let options = LoadOptions { keys: KeysRequired::Tool, ..LoadOptions::default() };
    Ruleset::load(Source { name: "policy.acl", text: text.as_bytes() }, &options)
        .unwrap_or_else(|errors| panic!("{:#?}", errors.errors()))
}

/// A row of the small world.
struct Row {
    line: u32,
    who: String,
    object: Pattern,
    verbs: String,
    allow: bool,
}

/// A policy of three people, and its rows as values.
struct Small {
    text: String,
    rows: Vec<Row>,
}

/// A request: who, verb, object.
type Asked = (&'static str, &'static str, usize);

impl Small {
    fn at_random(dice: &mut Dice, rows: usize) -> Self {
        let mut text: String = PEOPLE
            .iter()
            .zip(1..)
            .map(|(name, number)| format!("principal {name} = {}\n", key(number).1))
            .collect();
        text += "group @both = alice, bob\n";
        let mut small = Self { text, rows: Vec::new() };
        for line in (5..).take(rows) {
            let [who, object, verbs] = columns(dice);
            let effect = dice.pick(&["allow", "allow", "deny"]);
            small.text += &format!("{who} | {object} | {verbs} | {effect}\n");
            let object = object_pattern(&object).unwrap();
            small.rows.push(Row { line, who, object, verbs, allow: effect == "allow" });
        }
        small
    }
}

impl Row {
    fn speaks_of(&self, name: &str) -> bool {
        self.who == "*" || self.who == name || (self.who == "@both" && name != "carol")
    }

    fn has(&self, verb: &str) -> bool {
        self.verbs == "*" || self.verbs.split(',').any(|listed| listed == verb)
    }

    /// The requests that it matches.
    fn requests(&self, objects: &[String]) -> BTreeSet<Asked> {
        let mut found = BTreeSet::new();
        for name in PEOPLE.into_iter().filter(|name| self.speaks_of(name)) {
            for (at, object) in objects.iter().enumerate() {
                if self.object.matches(object, name) {
                    let verbs = VERBS.into_iter().filter(|verb| self.has(verb));
                    found.extend(verbs.map(|verb| (name, verb, at)));
                }
            }
        }
        found
    }
}
