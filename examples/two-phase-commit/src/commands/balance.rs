//! `two-phase-commit balance`: what accounts hold, all at one moment.

use two_phase_commit::message::Transaction;

use super::client::Client;
use crate::{
    args::BalanceArgs,
    client::Wish,
    exit::{Exit, Failure},
    output,
};

/// Reads and prints a line for each account.
pub(crate) async fn run(args: BalanceArgs) -> Result<(), Failure> {
    Transaction::audit(args.accounts.iter().cloned())
        .map_err(|error| Failure::of(Exit::Usage, error))?;
    let committed = Client::read(&args.client)?.transact(&Wish::Read(args.accounts)).await?;
    committed
        .values
        .iter()
        .try_for_each(|(account, balance)| output::line(format_args!("{account} {balance}")))
}
