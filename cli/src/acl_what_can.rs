//! `acl what-can`: everything that a principal may do.

use std::io::{self, Write};

use bailiwick_acl::policy::analysis::what_can;
use clap::Args;
use serde_json::json;

use crate::output::{Failure, Outcome, Style, Table, plain};
use crate::policy_args::PolicyArgs;

/// List what a principal may do: the rows that allow it something, less what denies take back.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0 if it can do something, 1 if nothing, 2 if the policy does not \
                        load or does not know the principal.\n\n\
                        Example:\n  bailiwick acl what-can --policy policy.acl alice"
)]
pub(crate) struct WhatCan {
    #[command(flatten)]
    policy: PolicyArgs,
    /// Print one JSON object: `holdings`, each with `line`, `verbs`, `objects`, `except` and
    /// `denied_by`.
    #[arg(long)]
    json: bool,
    /// The principal.
    principal: String,
}

impl WhatCan {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let (_, rules) = self.policy.load()?;
        let Some(holdings) = what_can(&rules, &self.principal) else {
            let help = match rules.nearest_principal(&self.principal) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "name a principal of the policy, as its rows do".to_owned(),
            };
            let message = format!("the policy does not know the principal `{}`", self.principal);
            return Err(Failure::new(message, help));
        };
        let outcome = if holdings.is_empty() { Outcome::Bad } else { Outcome::Good };
        if self.json {
            writeln!(out, "{}", json!({"holdings": holdings}))?;
            return Ok(outcome);
        }
        if holdings.is_empty() {
            writeln!(out, "nothing")?;
            return Ok(outcome);
        }
        let mut table = Table::new(&["VERBS", "OBJECTS", "ROW", "DENIED BY"]);
        for holding in &holdings {
            let denied: Vec<_> = holding.denied_by.iter().map(u32::to_string).collect();
            table.add(vec![
                holding.verbs.to_string(),
                plain(&holding.region.to_string()),
                holding.line.to_string(),
                if denied.is_empty() { "-".to_owned() } else { denied.join(", ") },
            ]);
        }
        let style = Style::of(&io::stdout());
        table.write(
            out,
            "",
            |cell| if cell == "VERBS" { style.bold(cell) } else { cell.into() },
        )?;
        Ok(outcome)
    }
}
