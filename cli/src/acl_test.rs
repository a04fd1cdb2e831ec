//! `acl test`: expectations put to a policy, one line each.

use std::io::{self, Write};
use std::path::PathBuf;

use bailiwick_acl::policy::analysis::{Expectation, Ruleset, expectations, near_misses};
use bailiwick_acl::policy::{MAX_FILE, Source};
use clap::Args;
use serde_json::{Value, json};

use crate::files;
use crate::output::{Failure, Outcome, Style, plain};
use crate::policy_args::{Beside, PolicyFiles};

/// Test a policy: files of `expect` lines, and the policy's own `expect` and `never` lines.
#[derive(Debug, Args)]
#[command(after_help = "A file of tests holds lines as `expect allow alice read table/a`, and \
                        comments.\n\n\
                        Exit code 0 if all hold, 1 if some do not or the policy has errors (its \
                        own tests among them), 2 if a file cannot be read.\n\n\
                        Examples:\n  bailiwick acl test --policy policy.acl\n  \
                        bailiwick acl test policy.tests --policy policy.acl")]
pub(crate) struct Test {
    /// Files of `expect` lines.
    #[arg(value_name = "FILE.tests")]
    tests: Vec<PathBuf>,
    /// The policy file.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    beside: Beside,
    /// Print one JSON object: `ok` and `results`, each with `file`, `line`, `ok`, `text` and, of an
    /// `expect`, `decision`, `reason` and `row`.
    #[arg(long)]
    json: bool,
}

/// How one line came out.
struct Judged {
    file: String,
    line: u32,
    holds: bool,
    text: String,
    /// For an `expect`.
    decision: Option<bailiwick_acl::Decision>,
    near: Vec<String>,
}

impl Test {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let files = PolicyFiles::read(&self.policy, &self.beside)?;
        let rules = files.ruleset().map_err(Failure::Policy)?;
        let mut results = Vec::new();
        for path in &self.tests {
            let text = files::read(path, "a file of expectations", MAX_FILE)?;
            let name = path.to_string_lossy();
            let source = Source { name: &name, text: &text };
            let read = expectations(source).map_err(Failure::Unloadable)?;
            results.extend(read.iter().map(|expected| Judged::of(&rules, &name, expected)));
        }
        let own = rules.expectations().iter();
        results.extend(own.map(|expected| Judged::of(&rules, files.name(), expected)));
        results.extend(rules.nevers().iter().map(|line| Judged {
            file: files.name().to_owned(),
            line: *line,
            holds: true,
            text: files.line(*line),
            decision: None,
            near: Vec::new(),
        }));
        let ok = results.iter().all(|result| result.holds);
        if self.json {
            let results: Vec<_> = results.iter().map(Judged::json).collect();
            writeln!(out, "{}", json!({"ok": ok, "results": results}))?;
        } else {
            show(&files, &results, out)?;
        }
        Ok(if ok { Outcome::Good } else { Outcome::Bad })
    }
}

impl Judged {
    fn of(rules: &Ruleset, file: &str, expected: &Expectation) -> Self {
        let Expectation { line, effect, principal, verb, object } = expected;
        let holds = expected.holds(rules.policy());
        let near = if holds { Vec::new() } else { near_misses(rules, principal, verb, object) };
        Self {
            file: file.to_owned(),
            line: *line,
            holds,
            text: format!("expect {effect} {principal} {verb} {object}"),
            decision: Some(expected.judge(rules.policy())),
            near: near.iter().map(ToString::to_string).collect(),
        }
    }

    fn json(&self) -> Value {
        let row = self.decision.and_then(|decision| decision.row);
        json!({
            "file": self.file, "line": self.line, "ok": self.holds, "text": self.text,
            "decision": self.decision.map(|decision| decision.effect),
            "reason": self.decision.map(|decision| decision.reason),
            "row": row.map(|row| row.line),
        })
    }
}

fn show(files: &PolicyFiles, results: &[Judged], out: &mut impl Write) -> io::Result<()> {
    let style = Style::of(&io::stdout());
    for result in results {
        let word = if result.holds { style.green("ok    ") } else { style.red("FAILED") };
        writeln!(out, "{word}  {}:{}: {}", plain(&result.file), result.line, plain(&result.text))?;
        let Some(decision) = result.decision.filter(|_| !result.holds) else { continue };
        let why = match decision.row {
            Some(row) => format!("{}:{}: {}", files.name(), row.line, files.line(row.line)),
            None => decision.reason.to_string(),
        };
        writeln!(out, "        {}: {}", decision.effect, plain(&why))?;
        for near in &result.near {
            writeln!(out, "        near: {}", plain(near))?;
        }
    }
    let failed = results.iter().filter(|result| !result.holds).count();
    writeln!(out, "{} held, {failed} failed", results.len() - failed)
}
