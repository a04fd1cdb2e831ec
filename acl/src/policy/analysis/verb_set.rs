//! Some verbs, or all but some: what an answer about rows with `*` is about.

use std::fmt;

use serde::{Serialize, Serializer};

/// Some verbs, or all but some.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VerbSet {
    /// These.
    These(Vec<String>),
    /// Every verb but these, those that nobody has thought of included.
    AllBut(Vec<String>),
}

impl VerbSet {
    /// Whether the verb is one of them.
    #[must_use]
    pub fn includes(&self, verb: &str) -> bool {
        match self {
            Self::These(verbs) => verbs.iter().any(|listed| listed == verb),
            Self::AllBut(verbs) => !verbs.iter().any(|listed| listed == verb),
        }
    }

    /// The set of those of `all` for which `is_in` holds; `None`, which stands for every verb that
    /// no row names, is asked too.
    pub(super) fn of<'v>(all: &[&'v str], is_in: impl Fn(Option<&'v str>) -> bool) -> Option<Self> {
        let those = |wanted: bool| {
            let those = all.iter().filter(|verb| is_in(Some(**verb)) == wanted);
            let mut those: Vec<_> = those.map(|verb| (*verb).to_owned()).collect();
            those.sort_unstable();
            those
        };
        if is_in(None) {
            return Some(Self::AllBut(those(false)));
        }
        Some(Self::These(those(true))).filter(|set| *set != Self::These(Vec::new()))
    }
}

/// As a row spells them: `read,write`, or `* but write`.
impl fmt::Display for VerbSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::These(verbs) => f.write_str(&verbs.join(",")),
            Self::AllBut(verbs) if verbs.is_empty() => f.write_str("*"),
            Self::AllBut(verbs) => write!(f, "* but {}", verbs.join(",")),
        }
    }
}

/// The text that [`Display`](fmt::Display) gives.
impl Serialize for VerbSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
