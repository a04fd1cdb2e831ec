//! `acl check`: every error of a policy in one run.

use std::io::{self, Write};
use std::path::PathBuf;

use bailiwick_acl::policy::Finding;
use clap::Args;
use serde_json::json;

use crate::output::{Failure, Outcome, Style, findings, plain};
use crate::policy_args::{Beside, PolicyFiles};

/// Check a policy file: every error with its line, column and mend.
#[derive(Debug, Args)]
#[command(after_help = "Exit code 0 if the policy loads, 1 if it has errors.\n\n\
                        Where nobody has a key yet, names are only warned about; a server wants a \
                        key for each.\n\n\
                        Examples:\n  bailiwick acl check policy.acl\n  \
                        my-server describe > my.json && bailiwick acl check policy.acl --service my.json")]
pub(crate) struct Check {
    /// The policy file.
    file: PathBuf,
    #[command(flatten)]
    beside: Beside,
    /// Print one JSON object: `file`, `ok`, `errors` and `warnings`, each finding with `file`,
    /// `line`, `column`, `message` and `help`.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let files = PolicyFiles::read(&self.file, &self.beside)?;
        let loaded = files.load();
        let (errors, warnings): (&[Finding], &[Finding]) = match &loaded {
            Ok(loaded) => (&[], &loaded.warnings),
            Err(errors) => (errors.errors(), &[]),
        };
        if self.json {
            let ok = errors.is_empty();
            let report =
                json!({"file": files.name(), "ok": ok, "errors": errors, "warnings": warnings});
            writeln!(out, "{report}")?;
        } else {
            let style = Style::of(&io::stdout());
            findings(out, style, errors, "error")?;
            findings(out, style, warnings, "warning")?;
            summary(out, style, &files, errors.len(), warnings.len())?;
        }
        Ok(if errors.is_empty() { Outcome::Good } else { Outcome::Bad })
    }
}

fn summary(
    out: &mut impl Write,
    style: Style,
    files: &PolicyFiles,
    errors: usize,
    warnings: usize,
) -> io::Result<()> {
    let name = plain(files.name());
    let verdict = match errors {
        0 => style.green("ok"),
        _ => style.red("refused"),
    };
    let mut notes = Vec::new();
    if errors > 0 {
        notes.push(counted(errors, "error"));
    }
    if warnings > 0 {
        notes.push(counted(warnings, "warning"));
    }
    if files.is_empty() {
        notes.push(
            "the file is empty, so every call is denied; a row is \
                    `principal | object | verbs | allow`"
                .to_owned(),
        );
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    writeln!(out, "{name}: {verdict}{notes}")
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
