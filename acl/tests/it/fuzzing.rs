//! What the fuzz target `policy` of `fuzz/` runs: any bytes are taken for a policy, and what loads
//! must mean what the oracle says. The seeds that are committed are run as a test.

use bailiwick_acl::Policy;
use bailiwick_acl::policy::{KeysRequired, LoadOptions, Source};

use super::oracle::{Meaning, Part};
use super::reader;
use super::world::Dice;

/// Requests for each policy.
const REQUESTS: usize = 64;

/// A policy up to the first NUL, and behind it the seed of the requests.
pub(crate) fn policy(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (text, rest) = input.split_at(end);
    let seed = rest.iter().fold(0, |seed: u64, byte| seed.rotate_left(8) ^ u64::from(*byte));
    check(text, seed);
}

/// Loads `text` and, if it loads, compares engine and oracle. The policy, for more.
///
/// # Panics
///
/// If they disagree.
pub(crate) fn check(text: &[u8], seed: u64) -> Option<Policy> {
    let options = LoadOptions { keys: KeysRequired::Tool, ..LoadOptions::default() };
    let policy = match Policy::load(Source { name: "policy.acl", text }, &options) {
        Ok(loaded) => loaded.policy,
        Err(errors) => {
            assert!(!errors.errors().is_empty(), "refused without an error");
            return None;
        }
    };
    let text = std::str::from_utf8(text).expect("what is not UTF-8 is refused");
    let meaning = reader::read(text);
    let known: Vec<_> = policy.principals().map(ToString::to_string).collect();
    assert_eq!(known.len(), meaning.principals.len());
    let mut dice = Dice(seed);
    for _ in 0..REQUESTS {
        let (who, verb, object) = request(&mut dice, &meaning);
        let decision = policy.explain(&who, &verb, &object);
        let effect = decision.effect.to_string();
        let said = (&*effect, decision.reason.as_str(), decision.row.map(|row| row.line));
        assert_eq!(said, meaning.judge(&who, &verb, &object), "{who} {verb} {object:?}\n{text}");
        if decision.is_allowed() {
            let subjects = policy.subjects(&who).expect("whoever is allowed is known");
            assert!(policy.may_ever(&subjects, &verb), "{who} {verb}\n{text}");
        }
    }
    Some(policy)
}

/// A request that comes near to some row: who, verb and object.
fn request(dice: &mut Dice, meaning: &Meaning) -> (String, String, String) {
    let mut people: Vec<&str> = meaning.principals.iter().map(String::as_str).collect();
    people.extend(meaning.groups.keys().map(String::as_str).chain(["nobody", ""]));
    let who = dice.pick(&people);
    let Some(row) = dice.any(&meaning.rows) else {
        return (who.to_owned(), "read".to_owned(), "a".to_owned());
    };
    let mut verbs: Vec<&str> = row.verbs.iter().map(String::as_str).collect();
    verbs.push("other");
    let literals: Vec<&str> = meaning
        .rows
        .iter()
        .flat_map(|row| &row.object)
        .filter_map(|part| if let Part::Literal(text) = part { Some(text.as_str()) } else { None })
        .chain(["elsewhere", who])
        .collect();
    let mut object: Vec<&str> = row
        .object
        .iter()
        .map(|part| match part {
            Part::Literal(text) if !dice.one_in(8) => text,
            Part::Caller if !dice.one_in(4) => who,
            _ => dice.pick(&literals),
        })
        .collect();
    if row.below || dice.one_in(6) {
        (0..dice.below(3)).for_each(|_| object.push(dice.pick(&literals)));
    } else if dice.one_in(8) {
        object.pop();
    }
    (who.to_owned(), dice.pick(&verbs).to_owned(), object.join("/"))
}

#[cfg(test)]
mod seeds {
    use std::{fs, path::Path};

    #[test]
    fn policies_mean_what_the_oracle_means_for_all_seeds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/policy");
        let listed = fs::read_dir(&folder).expect("the seeds are in the repository");
        let mut seeds: Vec<_> = listed.map(|seed| seed.unwrap().path()).collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{} has seeds", folder.display());
        for seed in seeds {
            println!("{}", seed.display());
            super::policy(&fs::read(seed).unwrap());
        }
    }
}
