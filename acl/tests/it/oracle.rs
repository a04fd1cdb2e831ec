//! The meaning of a policy in as few lines as it takes, to judge whether the engine is right.
//!
//! "Subjects = {principal, its groups, `*`}. Among the rows that match subject, verb and object:
//! any deny → deny; else any allow → allow; else deny." The rows come as values, not as text, so
//! that the parser is judged as well.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_acl::object;

pub(crate) struct Row {
    pub(crate) line: u32,
    pub(crate) subject: String,
    pub(crate) object: Vec<Part>,
    pub(crate) below: bool,
    pub(crate) verbs: Vec<String>,
    pub(crate) allow: bool,
}

#[derive(Clone)]
pub(crate) enum Part {
    Literal(String),
    Star,
    Caller,
}

pub(crate) struct Meaning {
    pub(crate) principals: BTreeSet<String>,
    pub(crate) groups: BTreeMap<String, Vec<String>>,
    pub(crate) rows: Vec<Row>,
}

impl Meaning {
    /// Effect, reason and deciding line.
    pub(crate) fn judge(&self, who: &str, verb: &str, object: &str) -> (&str, &str, Option<u32>) {
        if !self.principals.contains(who) {
            return ("deny", "unknown_principal", None);
        }
        let names: Vec<&str> = object.split('/').collect();
        let bad = |name: &&str| ["", ".", ".."].contains(name) || name.contains(['\\', '\n']);
        if names.iter().any(bad) || object::check(object).is_err() {
            return ("deny", "bad_object", None);
        }
        let matches = |row: &&Row| {
            (row.subject == "*" || self.is_in(who, &row.subject))
                && row.verbs.iter().any(|listed| listed == "*" || listed == verb)
                && (names.len() == row.object.len() || row.below && names.len() > row.object.len())
                && !(row.below && names.len() == row.object.len())
                && row.object.iter().zip(&names).all(|(part, name)| match part {
                    Part::Literal(text) => text == name,
                    Part::Star => true,
                    Part::Caller => *name == who,
                })
        };
        let first = |allow| self.rows.iter().filter(|row| row.allow == allow).find(matches);
        match (first(false), first(true)) {
            (Some(deny), _) => ("deny", "row", Some(deny.line)),
            (None, Some(allow)) => ("allow", "row", Some(allow.line)),
            (None, None) => ("deny", "default", None),
        }
    }

    fn is_in(&self, who: &str, subject: &str) -> bool {
        who == subject
            || self.groups.get(subject).is_some_and(|all| all.iter().any(|m| self.is_in(who, m)))
    }
}
