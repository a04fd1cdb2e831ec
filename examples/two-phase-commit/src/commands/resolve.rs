//! `two-phase-commit resolve`: an operator's word for the coordinator's.

use two_phase_commit::record::Verdict;

use super::client::{Client, failure};
use crate::{
    args::{Forced, ResolveArgs},
    exit::{Exit, Failure},
    output,
    services::{Participant as _, ParticipantClient},
};

/// Forces the outcome at one participant.
pub(crate) async fn run(args: ResolveArgs) -> Result<(), Failure> {
    let client = Client::read(&args.client)?;
    let node = client.nodes.participant(args.at);
    let channel = client.connect(node.map_err(|it| Failure::new(Exit::Usage, it))?).await?;
    let participant = ParticipantClient::new(channel.clone());
    let verdict = match args.outcome {
        Forced::Commit => Verdict::Commit,
        Forced::Abort => Verdict::Abort,
    };
    let asked = participant.resolve(&client.cx, args.transaction, verdict).await;
    drop(participant);
    channel.close().await;
    asked.map_err(|error| failure(&error))?;
    output::line(format_args!(
        "forced at {}: if the coordinator decides otherwise, `in-doubt` will say that the books are \
         damaged",
        args.at
    ))
}
