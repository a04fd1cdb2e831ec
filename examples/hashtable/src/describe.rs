//! `hashtable describe`: what the service looks like from outside, for machines.

use hashtable::service::TABLE;
use serde_json::json;

use crate::{
    exit::{Exit, Failure},
    output,
};

/// Prints the description as JSON.
pub(crate) fn run() -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&json!({ "services": [TABLE] }))
        .map_err(|error| Failure::of(Exit::Service, error))?;
    output::line(text)
}
