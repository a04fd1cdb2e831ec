//! `hashtable health`: whether a server can be called, as the server says it.

use bailiwick::{CallError, Context, HealthClient, Status};
use miette::miette;

use crate::{
    args::HealthArgs,
    dial::Dial,
    exit::{Exit, Failure},
    output,
};

/// Prints the server's word; good only if it serves.
pub(crate) async fn run(args: HealthArgs) -> Result<(), Failure> {
    let cx = Context::within(args.timeout);
    let table = Dial::read(&args.dial)?.connect(&cx).await?;
    let channel = table.channel().clone();
    drop(table);
    let asked = HealthClient::new(channel.clone()).server(&cx).await;
    channel.close().await;
    let status = asked.map_err(|error| failure(&error))?;
    output::line(status)?;
    match status {
        Status::Serving => Ok(()),
        _ => Err(Failure::new(
            Exit::Service,
            miette!(help = "its log on stderr says more", "the server takes no calls: {status}"),
        )),
    }
}

fn failure(error: &CallError) -> Failure {
    let report = match error {
        CallError::Denied(_) => {
            miette!(help = "the policy must allow `read` on `health`", "{error}")
        }
        _ => miette!("{error}"),
    };
    Failure::new(Exit::of_call(error), report)
}
