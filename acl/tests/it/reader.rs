//! Reads a policy that the loader has taken, for the oracle: as plainly as it can be done, and with
//! nothing of the loader's own code. What such a text may not contain is not looked for.

use std::collections::BTreeMap;

use super::oracle::{Meaning, Part, Row};

const DIRECTIVES: [&str; 6] = ["acl", "serial", "principal", "group", "expect", "never"];

/// What `text` means; it must have been loaded without an error, as a tool loads it.
pub(crate) fn read(text: &str) -> Meaning {
    let mut meaning =
        Meaning { principals: Default::default(), groups: BTreeMap::new(), rows: Vec::new() };
    let mut mentioned = Vec::new();
    for (line, text) in (1..).zip(text.split('\n')) {
        let text = trim(text.strip_suffix('\r').unwrap_or(text));
        let (first, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let rest = trim(rest);
        if text.is_empty() || text.starts_with('#') {
        } else if DIRECTIVES.contains(&first) && !rest.starts_with('|') {
            directive(first, rest, &mut meaning, &mut mentioned);
        } else {
            let row = row(text, line);
            mentioned.push(row.subject.clone());
            meaning.rows.push(row);
        }
    }
    // Where nobody has a key, whoever is mentioned exists.
    if meaning.principals.is_empty() {
        let is_principal = |name: &String| *name != "*" && !name.starts_with('@');
        meaning.principals = mentioned.into_iter().filter(is_principal).collect();
    }
    meaning
}

fn directive(keyword: &str, rest: &str, meaning: &mut Meaning, mentioned: &mut Vec<String>) {
    match keyword {
        "principal" => {
            let (name, _) = rest.split_once('=').unwrap();
            meaning.principals.insert(trim(name).to_owned());
        }
        "group" => {
            let (name, members) = rest.split_once('=').unwrap();
            mentioned.extend(list(members));
            meaning.groups.insert(trim(name).to_owned(), list(members));
        }
        "expect" => mentioned.extend(
            rest.split([' ', '\t']).filter(|word| !word.is_empty()).nth(1).map(str::to_owned),
        ),
        "never" => {
            let columns = columns(rest, usize::MAX);
            mentioned.push(columns[0].clone());
            let words: Vec<_> = columns[2].split([' ', '\t']).collect();
            if let Some(at) = words.iter().position(|word| *word == "except") {
                mentioned.extend(list(&words[at + 1..].join(" ")));
            }
        }
        _ => {}
    }
}

fn row(text: &str, line: u32) -> Row {
    let columns = columns(text, 4);
    let mut object: Vec<&str> = columns[1].split('/').collect();
    let below = object.last() == Some(&"**");
    if below {
        object.pop();
    }
    let parts = object.into_iter().map(|segment| match segment {
        "*" => Part::Star,
        "{self}" => Part::Caller,
        literal => Part::Literal(unescape(literal)),
    });
    let effect = trim(columns[3].split('#').next().unwrap()).to_owned();
    Row {
        line,
        subject: columns[0].clone(),
        object: parts.collect(),
        below,
        verbs: list(&columns[2]),
        allow: effect == "allow",
    }
}

/// The pieces between the first `|` that no backslash stands before.
fn columns(text: &str, most: usize) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == '|' && !escaped && columns.len() < most {
            columns.push(String::new());
        } else {
            columns.last_mut().unwrap().push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    columns.iter().map(|column| trim(column).to_owned()).collect()
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            out.push(c);
        } else if let Some(hex) = rest.strip_prefix("u{") {
            let (hex, after) = hex.split_once('}').unwrap();
            out.push(char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap());
            rest = after;
        } else {
            let c = rest.chars().next().unwrap();
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|item| trim(item).to_owned()).collect()
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
