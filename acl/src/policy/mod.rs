//! The policy file: who may do what to which object.
//!
//! Four columns a row, `principal | object | verbs | effect`. Among the rows that match a request,
//! **any deny denies; else any allow allows; else it is denied**. Order never matters.
//!
//! [`Policy::load`] reads a file and reports every mistake in one run, each with its line, column
//! and mend. [`Policy::decide`] answers, and names the row that decided.
//!
//! What one decision may cost is bounded at load: [`MAX_VISITS`] places where a row may be, at each of
//! which it asks for at most [`MAX_SUBJECTS`] subjects.

mod against_services;
pub mod analysis;
mod decision;
mod digest;
mod directive_line;
mod engine;
mod facts;
mod fault;
mod finding;
mod invariants;
mod lines;
mod load;
mod names;
mod object_column;
mod parse;
mod pattern;
mod people;
mod row;
mod row_line;
mod suggest;
mod syntax;

use std::collections::HashMap;
use std::sync::Arc;

use engine::{Engine, Interner};
use people::SubjectId;

pub use decision::{Decision, Effect, Reason, RowRef};
pub use digest::{file_digest, revision_digest};
pub use engine::MAX_VISITS;
pub use facts::{MethodFacts, ObjectTemplate, ServiceFacts, TemplateError, TemplateSegment};
pub use finding::{Finding, PolicyError, PolicyErrors, PolicyWarning, Related, Severity};
pub use lines::MAX_LINE;
pub use load::{MAX_FILE, digest_of, object_pattern};
pub use names::{MAX_NAME, Principal, is_name};
pub use pattern::{Extent, Pattern, Segment, escape};
pub use people::{MAX_GROUP_DEPTH, MAX_SUBJECTS};
pub use suggest::nearest;

/// A file as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What to call it in messages.
    pub name: &'a str,
    /// Its bytes, exactly.
    pub text: &'a [u8],
}

/// What a policy is checked against.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions<'a> {
    /// The services it governs. Empty means unknown: verbs and objects are then not checked.
    pub services: &'a [ServiceFacts],
    /// A file of further `principal` lines.
    pub principals: Option<Source<'a>>,
    /// The serial of the policy in force: a lower one, or none, is refused.
    pub previous_serial: Option<u64>,
    /// Whether each principal must have a key. Default: it must.
    pub keys: KeysRequired,
}

/// Whether each principal of a policy must have a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeysRequired {
    /// As on a server: a name without a key is an error.
    #[default]
    Server,
    /// As in a tool: in a file where nobody has a key, names are only warned about.
    Tool,
}

/// A policy, and what is questionable about it.
#[derive(Debug)]
pub struct Loaded {
    /// The policy, in force as it is.
    pub policy: Policy,
    /// What its author should look at, by line.
    pub warnings: Vec<PolicyWarning>,
}

/// A policy that was loaded without an error.
#[derive(Debug)]
pub struct Policy {
    name: String,
    serial: Option<u64>,
    digest: [u8; 32],
    revision: u64,
    people: HashMap<Box<str>, Subjects>,
    keys: HashMap<[u8; 32], Principal>,
    verbs: Interner,
    engine: Engine,
}

/// A principal with its groups, ready for decisions under one revision of the policy.
#[derive(Clone, Debug)]
pub struct Subjects {
    principal: Principal,
    ids: Arc<[SubjectId]>,
    revision: u64,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// Every error of the file and of the file of principals, at once. The policy in force stays.
    pub fn load(source: Source<'_>, options: &LoadOptions<'_>) -> Result<Loaded, PolicyErrors> {
        load::load(source, options)
    }

    /// The principal to whom `key` is bound.
    #[must_use]
    pub fn principal_of(&self, key: &[u8; 32]) -> Option<Principal> {
        self.keys.get(key).cloned()
    }

    /// Every bound key with its principal, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = (&[u8; 32], &Principal)> {
        self.keys.iter()
    }

    /// Every principal the policy knows, in no particular order.
    pub fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.people.values().map(Subjects::principal)
    }

    /// The principal with its groups and `*`; `None` if the policy does not know it.
    #[must_use]
    pub fn subjects(&self, principal: &str) -> Option<Subjects> {
        self.people.get(principal).cloned()
    }

    /// Judges one request.
    ///
    /// `object` is literal: a `*` in it is a star. A name that is not canonical is denied.
    /// Subjects of an earlier revision are looked up again, so they cannot carry an old right.
    pub fn decide(&self, subjects: &Subjects, verb: &str, object: &str) -> Decision {
        let Some(subjects) = self.current(subjects) else {
            return Decision::denied(Reason::UnknownPrincipal);
        };
        self.engine
            .decide(subjects.principal.as_str(), &subjects.ids, self.verb(verb), object)
            .unwrap_or(Decision::denied(Reason::BadObject))
    }

    /// Judges a request by names alone, as `acl explain` does; an unknown principal comes first.
    pub fn explain(&self, principal: &str, verb: &str, object: &str) -> Decision {
        match self.people.get(principal) {
            Some(subjects) => self.decide(subjects, verb, object),
            None => Decision::denied(Reason::UnknownPrincipal),
        }
    }

    /// Judges a verb before the object is known: allowed if some object might be.
    ///
    /// A denial here is one for every object, so the arguments need not be decoded.
    pub fn gate(&self, subjects: &Subjects, verb: &str) -> Decision {
        match self.current(subjects) {
            Some(subjects) => self.engine.gate(&subjects.ids, self.verb(verb)),
            None => Decision::denied(Reason::UnknownPrincipal),
        }
    }

    /// Whether the principal may ever use this verb, on whatever object.
    #[must_use]
    pub fn may_ever(&self, subjects: &Subjects, verb: &str) -> bool {
        self.gate(subjects, verb).is_allowed()
    }

    /// The file's `serial`, if it has one.
    #[must_use]
    pub fn serial(&self) -> Option<u64> {
        self.serial
    }

    /// SHA-256 of the file, as `sha256sum` prints it; with a file of principals, SHA-256 of the
    /// two digests one after the other.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What the file is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A number that differs for every load within this process.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    #[inline]
    fn current<'s>(&'s self, subjects: &'s Subjects) -> Option<&'s Subjects> {
        if subjects.revision == self.revision {
            return Some(subjects);
        }
        self.people.get(subjects.principal.as_str())
    }

    /// A verb that no row mentions has a number of its own, which no grant has.
    fn verb(&self, verb: &str) -> u32 {
        self.verbs.find(verb).map_or(u32::MAX, |place| engine::EVERY_VERB + 1 + place)
    }
}

impl Subjects {
    /// Whose they are.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether they were made by this very load of the policy.
    #[must_use]
    pub fn is_current(&self, policy: &Policy) -> bool {
        self.revision == policy.revision
    }
}
