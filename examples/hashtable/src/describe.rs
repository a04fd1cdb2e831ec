//! `hashtable describe`: what the service looks like from outside, for machines.

use serde_json::json;

use crate::{
    exit::{Exit, Failure},
    output,
    service::TABLE,
};

/// Prints the description as JSON.
pub(crate) fn run() -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&json!({ "services": [TABLE] }))
        .map_err(|error| Failure::of(Exit::Service, error))?;
    output::line(text)
}
