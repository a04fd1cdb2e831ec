//! `hashtable describe`: what the services look like from outside, for people or for machines.

use bailiwick::{Health, service::Service as _};
use hashtable::service::TABLE;
use serde_json::json;

use crate::{
    args::DescribeArgs,
    exit::{Exit, Failure},
    output,
};

/// Prints what `hashtable serve` serves.
pub(crate) fn run(args: &DescribeArgs) -> Result<(), Failure> {
    let services = [TABLE, *Health::default().description()];
    if !args.json {
        return output::line(services.map(|it| it.to_string()).join("\n\n"));
    }
    let text = serde_json::to_string_pretty(&json!({ "services": services }))
        .map_err(|error| Failure::of(Exit::Service, error))?;
    output::line(text)
}
