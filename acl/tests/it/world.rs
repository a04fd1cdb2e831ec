//! Random policies, as meaning and as text, and random requests; all from one seed.

use std::fmt::Write as _;

use super::oracle::{Meaning, Part, Row};

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    pub(crate) fn any<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }

    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

const PRINCIPALS: [&str; 4] = ["alice", "bob", "carol", "dave.9_x-y"];
const VERBS: [&str; 3] = ["read", "write", "admin"];
/// Few, so that rows and requests often meet; some need escapes, some are names, and some are long
/// and nearly alike.
const SEGMENTS: [&str; 14] = [
    "a", "b", "c", "alice", "bob", "*", "{self}", "a|b", "é ß", "x*y", "...", "lecture",
    "lectures", "lecturer",
];
/// Fewer still, so that the same rows come up again at every depth.
const COMMON: usize = 3;
const BAD: [&str; 6] = ["", "a//b", "../a", "a/./b", "a\\b", "/a"];

/// A policy of `rows` rows: what it means, and its text.
pub(crate) fn policy(dice: &mut Dice, rows: usize) -> (Meaning, String) {
    let mut text = String::from("# made at random\nacl 1\n\n");
    let mut line = 3;
    let mut meaning = Meaning {
        principals: PRINCIPALS.iter().map(ToString::to_string).collect(),
        groups: Default::default(),
        rows: Vec::new(),
    };
    for (number, name) in PRINCIPALS.iter().enumerate() {
        line += 1;
        let _ = writeln!(text, "principal {name} = ed25519:{}", format!("{number:02x}").repeat(32));
    }
    for group in 0..4 {
        line += 1;
        let mut members = vec![dice.pick(&PRINCIPALS).to_owned()];
        // A group names only later ones, so there is no cycle.
        for nested in group + 1..4 {
            if dice.one_in(2) {
                members.push(format!("@g{nested}"));
            }
        }
        let _ = writeln!(text, "group @g{group} = {}", members.join(", "));
        meaning.groups.insert(format!("@g{group}"), members);
    }
    for _ in 0..rows {
        line += 1;
        let row = row(dice, line);
        write_row(dice, &row, &mut text);
        meaning.rows.push(row);
    }
    (meaning, text)
}

/// A principal, a verb and an object; some of them nobody knows.
pub(crate) fn request(dice: &mut Dice) -> (String, String, String) {
    let who = if dice.one_in(20) { "mallory" } else { dice.pick(&PRINCIPALS) };
    let verb = if dice.one_in(20) { "*" } else { dice.pick(&VERBS) };
    if dice.one_in(20) {
        return (who.to_owned(), verb.to_owned(), dice.pick(&BAD).to_owned());
    }
    let depth = 1 + dice.below(4);
    let common = dice.one_in(2);
    let segments: Vec<_> = (0..depth)
        .map(|_| match common {
            true => dice.pick(&SEGMENTS[..COMMON]),
            false if dice.one_in(8) => "nowhere",
            false => dice.pick(&SEGMENTS),
        })
        .collect();
    (who.to_owned(), verb.to_owned(), segments.join("/"))
}

fn row(dice: &mut Dice, line: u32) -> Row {
    let subject = match dice.below(6) {
        0 => "*".to_owned(),
        1 | 2 => format!("@g{}", dice.below(4)),
        _ => dice.pick(&PRINCIPALS).to_owned(),
    };
    let below = dice.one_in(3);
    // Only `**` has no segment before it.
    let depth = if below { dice.below(4) } else { 1 + dice.below(4) };
    let common = dice.one_in(2);
    let object = (0..depth)
        .map(|_| match dice.below(5) {
            _ if common => Part::Literal(dice.pick(&SEGMENTS[..COMMON]).to_owned()),
            0 => Part::Star,
            1 => Part::Caller,
            _ => Part::Literal(dice.pick(&SEGMENTS).to_owned()),
        })
        .collect();
    let verbs = match dice.below(4) {
        0 => vec!["*".to_owned()],
        1 => vec!["read".to_owned(), "write".to_owned()],
        _ => vec![dice.pick(&VERBS).to_owned()],
    };
    Row { line, subject, object, below, verbs, allow: !dice.one_in(4) }
}

fn write_row(dice: &mut Dice, row: &Row, text: &mut String) {
    let mut object: Vec<String> = row
        .object
        .iter()
        .map(|part| match part {
            Part::Literal(text) => escape(dice, text),
            Part::Star => "*".to_owned(),
            Part::Caller => "{self}".to_owned(),
        })
        .collect();
    if row.below {
        object.push("**".to_owned());
    }
    let bar = dice.pick(&["|", " | ", "\t|  "]);
    let effect = if row.allow { "allow" } else { "deny" };
    let end = dice.pick(&["\n", "\r\n", " # a | comment\n"]);
    let columns = [&*row.subject, &object.join("/"), &row.verbs.join(", "), effect];
    let _ = write!(text, "{}{end}", columns.join(bar));
}

fn escape(dice: &mut Dice, literal: &str) -> String {
    let mut out = String::new();
    for c in literal.chars() {
        match c {
            '|' | '*' | '\\' | '{' => out.extend(['\\', c]),
            c if dice.one_in(10) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}
