//! What the clients' commands share: whom to call and as whom, and what to say of an end.

use bailiwick::{CallError, Channel, Context, Executed, Identity};
use miette::{Report, miette};

use crate::{
    args::ClientArgs,
    client::{self, End, Wish},
    exit::{Exit, Failure},
    nodes::{Address, Nodes},
    services::{CoordinatorClient, Refusal},
};

/// A client that has not connected yet.
pub(super) struct Client {
    pub(super) nodes: Nodes,
    identity: Identity,
    pub(super) cx: Context,
}

impl Client {
    /// Reads the files; time begins here.
    pub(super) fn read(args: &ClientArgs) -> Result<Self, Failure> {
        let nodes = Nodes::read(&args.nodes).map_err(|error| Failure::new(Exit::Usage, error))?;
        let identity =
            Identity::read(&args.identity).map_err(|error| Failure::of(Exit::Usage, error))?;
        Ok(Self { nodes, identity, cx: Context::within(args.timeout) })
    }

    pub(super) async fn connect(&self, node: &Address) -> Result<Channel, Failure> {
        Ok(client::connect(node, &self.identity, &self.cx).await?)
    }

    /// Has the coordinator do it; an end that is no commit is a failure.
    pub(super) async fn transact(&self, wish: &Wish) -> Result<Committed, Failure> {
        let channel = self.connect(&self.nodes.coordinator).await?;
        let coordinator = CoordinatorClient::new(channel.clone());
        let end = client::transact(&coordinator, &self.cx, wish).await;
        drop(coordinator);
        channel.close().await;
        match end {
            End::Committed { txid, values } => Ok(Committed { txid, values }),
            End::Aborted { txid, why } => Err(Failure::new(
                Exit::Refused,
                miette!(help = "nothing has changed anywhere", "aborted: {why} ({txid})"),
            )),
            End::Unknown { txid } => Err(Failure::new(
                Exit::Unknown,
                miette!(
                    help =
                        format!("ask later what became of it: `two-phase-commit outcome {txid}`"),
                    "outcome unknown: {txid} may be committed"
                ),
            )),
            End::Failed(error) => Err(failure(&error)),
        }
    }
}

/// A transaction that has happened.
pub(super) struct Committed {
    pub(super) txid: two_phase_commit::txid::TxId,
    pub(super) values: Vec<(two_phase_commit::message::Account, i64)>,
}

/// A call that failed, and what to do about it.
pub(super) fn failure(error: &CallError<Refusal>) -> Failure {
    Failure::new(Exit::of_call(error), report(error))
}

fn report(error: &CallError<Refusal>) -> Report {
    match (error, error.executed()) {
        (CallError::App(refusal), _) => miette!("refused: {refusal}"),
        (CallError::Denied(_), _) => {
            miette!(help = "the policy is the operator's to change", "{error}")
        }
        (_, Executed::No) => miette!(help = "nothing was begun: try again later", "{error}"),
        _ => miette!(help = "it may be repeated: nothing happens twice", "{error}"),
    }
}
