//! `acl diff`: every request that a change of the policy answers otherwise.

use std::io::{self, Write};
use std::path::PathBuf;

use bailiwick_acl::policy::Effect;
use bailiwick_acl::policy::analysis::{Change, Difference, KeyChange, diff};
use clap::Args;

use crate::acl_explain::to_json;
use crate::output::{Failure, Outcome, Style, plain};
use crate::policy_args::{Beside, PolicyFiles};

/// Names that are shown of those whom a change concerns.
const SHOWN: usize = 6;

/// Show what a change of the policy changes: every grant that comes or goes, whatever the rows
/// look like.
#[derive(Debug, Args)]
#[command(after_help = "Exit code 0 if no request is answered otherwise, 1 if some are, 2 if a \
                        policy does not load.\n\n\
                        A request changes exactly if it lies in one of the lines shown.\n\n\
                        Examples:\n  bailiwick acl diff policy.acl policy.acl.new\n  \
                        git show HEAD:policy.acl > old.acl && bailiwick acl diff old.acl policy.acl")]
pub(crate) struct Diff {
    /// The policy as it is.
    old: PathBuf,
    /// The policy as it would be.
    new: PathBuf,
    #[command(flatten)]
    beside: Beside,
    /// Print one JSON object: `changes`, each with `becomes`, `principals`, `verbs`, `objects`,
    /// `except` and the lines `old` and `new`; and `keys`.
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let read = |path| {
            let files = PolicyFiles::read(path, &self.beside)?;
            let rules = files.ruleset().map_err(Failure::Unloadable)?;
            Ok::<_, Failure>((files, rules))
        };
        let (old, new) = (read(&self.old)?, read(&self.new)?);
        let difference = diff(&old.1, &new.1);
        if self.json {
            writeln!(out, "{}", to_json(&difference)?)?;
        } else {
            show(&old.0, &new.0, &difference, out)?;
        }
        Ok(if difference.is_empty() { Outcome::Good } else { Outcome::Bad })
    }
}

fn show(
    old: &PolicyFiles,
    new: &PolicyFiles,
    difference: &Difference,
    out: &mut impl Write,
) -> io::Result<()> {
    let style = Style::of(&io::stdout());
    if difference.is_empty() {
        return writeln!(out, "no request is answered otherwise");
    }
    for change in &difference.changes {
        let Change { principals, verbs, region, .. } = change;
        let who = match principals.len().checked_sub(SHOWN) {
            None | Some(0) => principals.join(", "),
            Some(more) => format!("{} and {more} more", principals[..SHOWN].join(", ")),
        };
        let what = format!("{who} | {verbs} | {region}");
        let (sign, word) = match change.becomes {
            Effect::Allow => (style.green("+"), "is allowed"),
            Effect::Deny => (style.red("-"), "is denied"),
        };
        writeln!(out, "{sign} {} {word}", plain(&what))?;
        for (files, line, when) in [(old, change.old, "was"), (new, change.new, "now")] {
            match line {
                Some(line) => {
                    let text = format!("{}:{line}: {}", files.name(), files.line(line));
                    writeln!(out, "    {when}  {}", plain(&text))?;
                }
                None => writeln!(out, "    {when}  no row, so denied")?,
            }
        }
    }
    for KeyChange { key, old, new } in &difference.keys {
        let owner = |owner: &Option<String>| owner.clone().unwrap_or_else(|| "nobody".to_owned());
        writeln!(out, "! {key} is bound to {}, was to {}", owner(new), owner(old))?;
    }
    Ok(())
}
