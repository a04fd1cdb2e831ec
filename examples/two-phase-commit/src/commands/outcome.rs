//! `two-phase-commit outcome`: what became of a transaction.

use super::client::{Client, failure};
use crate::{
    args::OutcomeArgs,
    exit::Failure,
    output,
    services::{Coordinator as _, CoordinatorClient, Fate},
};

/// Asks the coordinator.
pub(crate) async fn run(args: OutcomeArgs) -> Result<(), Failure> {
    let client = Client::read(&args.client)?;
    let channel = client.connect(&client.nodes.coordinator).await?;
    let coordinator = CoordinatorClient::new(channel.clone());
    let asked = coordinator.outcome(&client.cx, args.transaction).await;
    drop(coordinator);
    channel.close().await;
    output::line(match asked.map_err(|error| failure(&error))? {
        Fate::Committed => "committed",
        Fate::Aborted => "aborted",
        Fate::Pending => "pending: it is not decided",
        Fate::Forgotten => "forgotten: it is too old to know; the books tell",
    })
}
