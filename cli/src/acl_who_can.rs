//! `acl who-can`: every principal that may do something.

use std::io::{self, Write};

use bailiwick_acl::policy::analysis::who_can;
use bailiwick_acl::policy::object_pattern;
use clap::Args;
use serde_json::json;

use crate::output::{Failure, Outcome, Style, Table, plain};
use crate::policy_args::PolicyArgs;

/// List who may do something, each with the row that allows it.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 0 if someone can, 1 if nobody can, 2 if the policy does not load.\n\n\
                        `*` among the principals is whoever else may come to have a key, where the \
                        policy gives none.\n\n\
                        Examples:\n  bailiwick acl who-can --policy policy.acl write table/salary\n  \
                        bailiwick acl who-can --policy policy.acl write 'table/**'"
)]
pub(crate) struct WhoCan {
    #[command(flatten)]
    policy: PolicyArgs,
    /// Print one JSON object: `holders`, each with `principal`, `line`, `objects` and `except`.
    #[arg(long)]
    json: bool,
    /// The verb.
    verb: String,
    /// The object, or a pattern as in a row: `table/*`, `home/{self}/**`.
    object: String,
}

impl WhoCan {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let (files, rules) = self.policy.load()?;
        let object = object_pattern(&self.object).map_err(|errors| {
            let help = errors.errors().first().map_or_else(String::new, |e| e.help.clone());
            Failure::new(format!("{}: {errors}", self.object), help)
        })?;
        let holders = who_can(&rules, &self.verb, &object);
        let outcome = if holders.is_empty() { Outcome::Bad } else { Outcome::Good };
        if self.json {
            writeln!(out, "{}", json!({"holders": holders}))?;
            return Ok(outcome);
        }
        if holders.is_empty() {
            let meant = rules.nearest_verb(&self.verb);
            let meant = meant.map_or_else(String::new, |verb| format!("; did you mean `{verb}`?"));
            writeln!(out, "nobody can{meant}")?;
            return Ok(outcome);
        }
        let mut table = Table::new(&["PRINCIPAL", "OBJECTS", "ROW"]);
        for holder in &holders {
            let row = format!("{}:{}: {}", files.name(), holder.line, files.line(holder.line));
            let objects = plain(&holder.region.to_string());
            table.add(vec![plain(&holder.principal), objects, plain(&row)]);
        }
        let style = Style::of(&io::stdout());
        table.write(
            out,
            "",
            |cell| if cell == "PRINCIPAL" { style.bold(cell) } else { cell.into() },
        )?;
        Ok(outcome)
    }
}
