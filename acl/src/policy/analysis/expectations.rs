//! Expectations that are kept apart from the policy: a file of `expect` lines.

use crate::policy::decision::{Decision, Effect};
use crate::policy::fault::{Fault, Place, Span};
use crate::policy::finding::{Files, Severity};
use crate::policy::load::MAX_FILE;
use crate::policy::parse::{self, Contents};
use crate::policy::row::Row;
use crate::policy::syntax::{ExpectLine, Syntax};
use crate::policy::{Policy, PolicyErrors, Source};

/// One `expect` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Its line; 1 is the first.
    pub line: u32,
    /// What is expected.
    pub effect: Effect,
    /// Of whom.
    pub principal: String,
    /// With which verb.
    pub verb: String,
    /// On which object, literally.
    pub object: String,
}

impl Expectation {
    /// What the policy says to it.
    pub fn judge(&self, policy: &Policy) -> Decision {
        policy.explain(&self.principal, &self.verb, &self.object)
    }

    /// Whether the policy says what is expected.
    #[must_use]
    pub fn holds(&self, policy: &Policy) -> bool {
        self.judge(policy).effect == self.effect
    }

    pub(super) fn of(line: &ExpectLine<'_>) -> Option<Self> {
        Some(Self {
            line: line.span.line,
            effect: line.effect?,
            principal: line.principal?.text.to_owned(),
            verb: line.verb?.text.to_owned(),
            object: line.object.as_ref()?.literal()?,
        })
    }
}

/// Reads a file of `expect` lines and comments, written as in a policy. Whether the policy knows
/// whom they speak of is not asked: whom it does not know, it denies everything.
///
/// # Errors
///
/// Every mistake of the file, and every line that is no expectation.
pub fn expectations(source: Source<'_>) -> Result<Vec<Expectation>, PolicyErrors> {
    let mut syntax = Syntax::default();
    let mut faults = Vec::new();
    if source.text.len() > MAX_FILE {
        let span = Place { file: 0, line: 1, offset: 0 }.span(0, 0);
        faults.push(Fault::new(span, "a file of more than 1 GiB", "split or shorten it"));
    } else {
        parse::read(source.text, 0, Contents::Policy, &mut syntax, &mut faults);
    }
    let others = others(&syntax);
    faults.extend(others.into_iter().map(|span| {
        let help = "write `expect allow alice read table/a`; the rest is the policy's";
        Fault::new(span, "a file of expectations holds `expect` lines only", help)
    }));
    if !faults.is_empty() {
        let files = Files::new(vec![(source.name, source.text)]);
        return Err(PolicyErrors::new(files.findings(faults, Severity::Error)));
    }
    Ok(syntax.expects.iter().filter_map(Expectation::of).collect())
}

/// Where something else stands.
fn others(syntax: &Syntax<'_>) -> Vec<Span> {
    let rows = syntax.rows.iter().map(Row::span);
    let nevers = syntax.nevers.iter().map(|never| never.row.span());
    let keys = syntax.keys.iter().map(|line| line.name.span);
    let groups = syntax.groups.iter().filter_map(|group| Some(group.name?.span));
    let serial = syntax.serial.map(|(_, span)| span);
    rows.chain(nevers).chain(keys).chain(groups).chain(serial).collect()
}
