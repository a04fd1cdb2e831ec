//! `two-phase-commit transfer`: money from one account to another, or not at all.

use two_phase_commit::message::Transaction;

use super::client::Client;
use crate::{
    args::TransferArgs,
    client::Wish,
    exit::{Exit, Failure},
    output,
    services::Transfer,
};

/// Moves the money.
pub(crate) async fn run(args: TransferArgs) -> Result<(), Failure> {
    let TransferArgs { client, from, to, amount } = args;
    // The coordinator would say the same.
    Transaction::transfer(from.clone(), to.clone(), amount)
        .map_err(|error| Failure::of(Exit::Usage, error))?;
    let wish = Wish::Transfer(Transfer { from, to, amount });
    let committed = Client::read(&client)?.transact(&wish).await?;
    output::line(format_args!("committed {}", committed.txid))
}
