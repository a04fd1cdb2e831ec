//! `acl check`: every error of a policy in one run, and what is odd in one that loads.

use std::io::{self, Write};
use std::path::PathBuf;

use bailiwick_acl::policy::analysis::lints;
use bailiwick_acl::policy::{Finding, Severity};
use clap::Args;
use serde_json::json;

use crate::output::{Failure, Outcome, Style, findings, plain};
use crate::policy_args::{Beside, PolicyFiles};

/// Check a policy file: every error with its line, column and mend, and rows that are hardly meant.
#[derive(Debug, Args)]
#[command(after_help = "Exit code 0 if the policy loads, 1 if it has errors.\n\n\
                        Where nobody has a key yet, names are only warned about; a server wants a \
                        key for each.\n\n\
                        Warnings: rows that no request matches, that denies shadow, that another \
                        row says already, or that an overlapping deny cuts into; groups that \
                        nobody uses. Advice may be as meant: a deny of what no row allows.\n\n\
                        Examples:\n  bailiwick acl check policy.acl\n  \
                        bailiwick acl check --deny-warnings policy.acl\n  \
                        my-server describe --json > my.json && bailiwick acl check policy.acl --service my.json")]
pub(crate) struct Check {
    /// The policy file.
    file: PathBuf,
    #[command(flatten)]
    beside: Beside,
    /// Exit with 1 for warnings too; advice is none.
    #[arg(long)]
    deny_warnings: bool,
    /// Print one JSON object: `file`, `ok`, `errors` and `warnings`, each finding with `file`,
    /// `line`, `column`, `end_column`, `severity`, `code`, `message`, `help` and, where two lines
    /// disagree, `related`.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let files = PolicyFiles::read(&self.file, &self.beside)?;
        let (errors, warnings) = match files.ruleset() {
            Ok(rules) => {
                let mut warnings = rules.warnings().to_vec();
                warnings.extend(lints(&rules));
                warnings.sort_by_key(|finding| (finding.line, finding.column));
                (Vec::new(), warnings)
            }
            Err(errors) => (errors.errors().to_vec(), Vec::new()),
        };
        let denied = self.deny_warnings
            && warnings.iter().any(|warning| warning.severity == Severity::Warning);
        let ok = errors.is_empty() && !denied;
        if self.json {
            let report =
                json!({"file": files.name(), "ok": ok, "errors": errors, "warnings": warnings});
            writeln!(out, "{report}")?;
        } else {
            let style = Style::of(&io::stdout());
            findings(out, style, &errors)?;
            findings(out, style, &warnings)?;
            let verdict = if ok { style.green("ok") } else { style.red("refused") };
            let notes = notes(&files, errors.iter().chain(&warnings));
            writeln!(out, "{}: {verdict}{notes}", plain(files.name()))?;
        }
        Ok(if ok { Outcome::Good } else { Outcome::Bad })
    }
}

/// How much was found, in parentheses.
fn notes<'f>(files: &PolicyFiles, found: impl Iterator<Item = &'f Finding>) -> String {
    let [mut errors, mut warnings, mut advice] = [0_usize; 3];
    for finding in found {
        match finding.severity {
            Severity::Error => errors += 1,
            Severity::Warning => warnings += 1,
            Severity::Advice => advice += 1,
        }
    }
    let mut notes = Vec::new();
    for (count, one, several) in [
        (errors, "error", "errors"),
        (warnings, "warning", "warnings"),
        (advice, "piece of advice", "pieces of advice"),
    ] {
        if count > 0 {
            notes.push(format!("{count} {}", if count == 1 { one } else { several }));
        }
    }
    if files.is_empty() {
        let help = "the file is empty, so every call is denied; a row is \
                    `principal | object | verbs | allow`";
        notes.push(help.to_owned());
    }
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) }
}
