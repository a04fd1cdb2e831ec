//! `acl can-i`: yes or no, and the row.

use std::io::{self, Write};
use std::path::PathBuf;

use bailiwick_acl::audit::escape;
use bailiwick_acl::policy::Reason;
use bailiwick_acl::policy::analysis::{Ruleset, near_misses};
use clap::Args;

use crate::acl_explain::{Answer, to_json, why};
use crate::keys;
use crate::output::{Failure, Outcome, Style};
use crate::policy_args::PolicyArgs;

/// Ask whether someone may do something: yes or no, and the row that says so.
#[derive(Debug, Args)]
#[command(after_help = "Exit code 0 for yes, 1 for no, 2 if the policy does not load.\n\n\
                        Examples:\n  bailiwick acl can-i --policy policy.acl alice read table/a\n  \
                        bailiwick acl can-i --policy policy.acl --as alice read table/a\n  \
                        bailiwick acl can-i --policy policy.acl --key alice.key read table/a")]
pub(crate) struct CanI {
    #[command(flatten)]
    policy: PolicyArgs,
    /// Who asks, by name.
    #[arg(long = "as", value_name = "NAME")]
    principal: Option<String>,
    /// Who asks, by key: a secret key file, or a public key `ed25519:…`.
    #[arg(long, value_name = "FILE", conflicts_with = "principal")]
    key: Option<PathBuf>,
    /// Print one JSON object, as `acl explain --json` does.
    #[arg(long)]
    json: bool,
    /// Who asks, unless --as or --key says so; what for; and on what, literally.
    #[arg(required = true, num_args = 2..=3, value_names = ["PRINCIPAL", "VERB", "OBJECT"])]
    request: Vec<String>,
}

impl CanI {
    pub(crate) fn run(self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let (files, rules) = self.policy.load()?;
        let (principal, verb, object) = self.request(&rules)?;
        let decision = rules.policy().explain(&principal, verb, object);
        if self.json {
            let near = near_misses(&rules, &principal, verb, object);
            writeln!(out, "{}", to_json(&Answer::new(decision, &near))?)?;
        } else {
            let style = Style::of(&io::stdout());
            let word = if decision.is_allowed() { style.green("yes") } else { style.red("no") };
            let why = why(&files, rules.policy(), decision, &principal, object);
            let unknown = decision.reason == Reason::UnknownPrincipal;
            let meant = rules.nearest_principal(&principal).filter(|_| unknown);
            let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            writeln!(out, "{word}  {why}{meant}")?;
        }
        Ok(if decision.is_allowed() { Outcome::Good } else { Outcome::Bad })
    }

    fn request(&self, rules: &Ruleset) -> Result<(String, &str, &str), Failure> {
        match (&self.request[..], &self.principal, &self.key) {
            ([verb, object], Some(name), None) => Ok((name.clone(), verb, object)),
            ([verb, object], None, Some(path)) => {
                let key = keys::public_key(path)?;
                let owner = rules.policy().principal_of(key.as_bytes()).ok_or_else(|| {
                    let help = format!("bind it: `principal NAME = {key}`");
                    Failure::new("the policy binds this key to nobody", help)
                })?;
                Ok((owner.as_str().to_owned(), verb, object))
            }
            ([name, verb, object], None, None) => Ok((name.clone(), verb, object)),
            (request, ..) => {
                let help = "bailiwick acl can-i --policy FILE PRINCIPAL VERB OBJECT, or --as NAME \
                            or --key FILE in place of the principal";
                let given = escape(&request.join(" "));
                Err(Failure::new(format!("`{given}`: who asks is missing or said twice"), help))
            }
        }
    }
}
