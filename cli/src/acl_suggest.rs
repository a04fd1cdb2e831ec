//! `acl suggest`: rows that would have let refused requests through, from the audit log.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use bailiwick_acl::audit::{Filter, escape};
use bailiwick_acl::policy::analysis::{Refusal, Refusals, Suggestions, Why, suggest};
use clap::Args;

use crate::acl_explain::to_json;
use crate::audit_log;
use crate::output::{Failure, Outcome, plain};
use crate::policy_args::{PolicyArgs, PolicyFiles};

/// Propose the fewest rows that would let audited refusals through.
#[derive(Debug, Args)]
#[command(
    after_help = "What is printed can be appended to the policy: comments say how many of the \
                        refusals each row would have let through, and what a wider row would open \
                        besides. Read them first: a refusal may well be right.\n\n\
                        What a permissive principal was forgiven counts as refused; what only a \
                        shadow policy would refuse does not, nor do summaries, which name no \
                        object.\n\n\
                        Never suggested: a row that breaks an `expect` or a `never`, or one for \
                        what a deny refused.\n\n\
                        Exit code 0 also if there is nothing to suggest, 1 if something in the log \
                        is no record, 2 if the log cannot be read or the policy does not load.\n\n\
                        Examples:\n  bailiwick acl suggest audit.jsonl --policy policy.acl\n  \
                        bailiwick acl suggest audit.jsonl --policy policy.acl --principal alice"
)]
pub(crate) struct Suggest {
    /// The audit log, all its files; `-` is standard input.
    audit: PathBuf,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Only refusals of this principal.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Print one JSON object: `rows`, `not` and `beyond`.
    #[arg(long)]
    json: bool,
}

impl Suggest {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let (files, rules) = self.policy.load()?;
        // A request that a permissive principal was forgiven is no refusal, and wants a row all the same.
        let filter = Filter { principal: self.principal, ..Filter::default() };
        let mut refusals = Refusals::default();
        let outcome = audit_log::each(&self.audit, filter, |entry| {
            if let Some(refusal) = Refusal::of(&entry) {
                refusals.add(refusal);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let suggestions = suggest(&rules, refusals);
        if self.json {
            writeln!(out, "{}", to_json(&suggestions)?)?;
        } else {
            show(&files, &suggestions, out)?;
        }
        Ok(outcome)
    }
}

fn show(
    files: &PolicyFiles,
    suggestions: &Suggestions,
    out: &mut impl Write,
) -> std::io::Result<()> {
    if suggestions.rows.is_empty() {
        writeln!(out, "# nothing to suggest")?;
    }
    for suggestion in &suggestions.rows {
        writeln!(out, "{}  # {}", plain(&suggestion.row), refusals(suggestion.flips))?;
        if let Some(wide) = &suggestion.instead {
            let opens = format!("and would open {}", wide.opens);
            writeln!(out, "# or, for {}, {}:", refusals(wide.flips), plain(&opens))?;
            writeln!(out, "#   {}", plain(&wide.row))?;
        }
    }
    for not in &suggestions.not {
        let Refusal { principal, verb, object, count } = &not.refusal;
        let request = escape(&format!("{principal} {verb} {object}"));
        let why = match &not.why {
            Why::AllowedNow { line } => format!("allowed by now: {}", row(files, *line)),
            Why::Denied { line } => format!("denied on purpose: {}", row(files, *line)),
            Why::Unknown => "the policy does not know the principal".to_owned(),
            Why::Impossible => "no row can allow it".to_owned(),
            Why::Refused { message } => plain(message),
            Why::NotTried => {
                "not tried, since too many rows are refused: ask with --principal".to_owned()
            }
            _ => "not suggested".to_owned(),
        };
        writeln!(out, "# not {request} ({}): {why}", refusals(*count))?;
    }
    if suggestions.beyond > 0 {
        let beyond = refusals(suggestions.beyond);
        writeln!(out, "# {beyond} more, of too many different requests, were not looked at")?;
    }
    Ok(())
}

fn row(files: &PolicyFiles, line: u32) -> String {
    plain(&format!("{}:{line}: {}", files.name(), files.line(line)))
}

fn refusals(count: u64) -> String {
    if count == 1 { "1 refusal".to_owned() } else { format!("{count} refusals") }
}
