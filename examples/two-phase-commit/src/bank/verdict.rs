//! The line of JSON at the end.

use std::time::Duration;

use serde::Serialize;
use two_phase_commit::judge::Judgement;

use super::nodes::Node;
use crate::{args::BankArgs, nodes::COORDINATOR};

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
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub(super) seed: u64,
    participants: u16,
    accounts: u16,
    clients: u16,
    seconds: u32,
    #[serde(rename = "kill_every_ms", serialize_with = "millis")]
    kill_every: Duration,
    coordinator_kills: u64,
    participant_kills: u64,
    /// From the last kill until nothing was in doubt and no account locked; zero if that never was.
    #[serde(rename = "healed_ms", serialize_with = "millis")]
    pub(super) healed: Duration,
}

impl Run {
    /// Nothing has been done.
    pub(super) fn new(args: &BankArgs, seed: u64) -> Self {
        Self {
            seed,
            participants: args.participants,
            accounts: args.accounts,
            clients: args.clients,
            seconds: args.seconds,
            kill_every: args.kill_every,
            coordinator_kills: 0,
            participant_kills: 0,
            healed: Duration::ZERO,
        }
    }

    /// Adds how often a node was killed.
    pub(super) fn count_kills(&mut self, node: &Node) {
        match node.name() {
            COORDINATOR => self.coordinator_kills += node.kills(),
            _ => self.participant_kills += node.kills(),
        }
    }

    /// What the run did not show, though nothing went wrong: then nothing going wrong shows nothing.
    fn missing(&self, judgement: &Judgement) -> impl Iterator<Item = String> {
        let kills = self.coordinator_kills + self.participant_kills;
        let floors = [
            (self.kill_every.is_zero() || kills > 0, "no node was killed, though it was asked for"),
            (judgement.applied > 0, "no transfer stands in the books"),
            (judgement.audits > 0, "no read of all accounts was checked"),
        ];
        let missing = floors.into_iter().filter(|(is_reached, _)| !is_reached);
        missing.map(|(_, what)| format!("{what}: this run shows nothing; give it more seconds"))
    }
}

impl Verdict {
    /// Of a run: `also` are violations that clients saw themselves, and failures.
    pub(super) fn of_run(
        judgement: &Judgement,
        also: impl Iterator<Item = String>,
        run: Run,
    ) -> Self {
        let mut violations: Vec<_> = described(judgement).chain(also).collect();
        if violations.is_empty() {
            violations.extend(run.missing(judgement));
        }
        Self::new(judgement, violations, Some(run))
    }

    /// Of books that an earlier run left.
    pub(super) fn of_books(judgement: &Judgement) -> Self {
        Self::new(judgement, described(judgement).collect(), None)
    }

    fn new(judgement: &Judgement, mut violations: Vec<String>, run: Option<Run>) -> Self {
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

fn described(judgement: &Judgement) -> impl Iterator<Item = String> {
    judgement.violations.iter().map(ToString::to_string)
}

fn millis<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn run(arguments: &[&str], kills: u64) -> Run {
        let arguments = ["bank"].iter().chain(arguments);
        let args = BankArgs::try_parse_from(arguments).expect("arguments");
        Run { participant_kills: kills, ..Run::new(&args, 1) }
    }

    #[test]
    fn a_run_that_shows_nothing_is_not_called_consistent() {
        let good = Judgement { applied: 1, audits: 1, ..Judgement::default() };
        let verdict = |judgement: &Judgement, run| {
            Verdict::of_run(judgement, std::iter::empty(), run).violations.concat()
        };
        assert_eq!(verdict(&good, run(&[], 1)), "");
        assert_eq!(verdict(&good, run(&["--kill-every", "0ms"], 0)), "");
        assert!(verdict(&good, run(&[], 0)).contains("no node was killed"));
        let idle = Judgement { applied: 0, ..good.clone() };
        assert!(verdict(&idle, run(&[], 1)).contains("no transfer"));
        let unread = Judgement { audits: 0, ..good };
        assert!(verdict(&unread, run(&[], 1)).contains("no read of all accounts"));
    }
}
