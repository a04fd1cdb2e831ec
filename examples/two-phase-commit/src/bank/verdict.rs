//! The line of JSON at the end.

use std::time::Duration;

use serde::Serialize;
use two_phase_commit::judge::Judgement;

/// What a bank's run came to.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    /// `consistent`, or `violated`.
    pub(super) verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<Run>,
    /// Told to clients.
    committed: u64,
    aborted: u64,
    unknown: u64,
    /// Transfers that stand in the books.
    applied: u64,
    /// Reads of all accounts, each of which summed right if there is no violation.
    audits: u64,
    violation_count: usize,
    /// The first [`MAX_VIOLATIONS`], in words.
    violations: Vec<String>,
}

/// Most violations that are told: one bug breaks many promises.
const MAX_VIOLATIONS: usize = 50;

/// What was done to it.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) participants: usize,
    pub(super) accounts: usize,
    pub(super) clients: usize,
    pub(super) seconds: u32,
    pub(super) coordinator_kills: u64,
    pub(super) participant_kills: u64,
    /// From the last kill until nothing was in doubt and no account locked.
    #[serde(rename = "healed_ms", serialize_with = "millis")]
    pub(super) healed: Duration,
}

impl Verdict {
    /// `also` are violations that clients saw themselves.
    pub(super) fn new(judgement: &Judgement, also: Vec<String>, run: Option<Run>) -> Self {
        let found = judgement.violations.iter().map(ToString::to_string);
        let mut violations: Vec<_> = found.chain(also).collect();
        let violation_count = violations.len();
        violations.truncate(MAX_VIOLATIONS);
        let (committed, aborted, unknown) = judgement.told;
        Self {
            verdict: if violations.is_empty() { "consistent" } else { "violated" },
            run,
            committed,
            aborted,
            unknown,
            applied: judgement.applied,
            audits: judgement.audits,
            violation_count,
            violations,
        }
    }

    pub(super) fn is_violated(&self) -> bool {
        !self.violations.is_empty()
    }
}

fn millis<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
