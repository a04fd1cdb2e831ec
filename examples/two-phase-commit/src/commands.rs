//! The commands, one each.

mod balance;
mod client;
mod coordinator;
mod in_doubt;
mod outcome;
mod participant;
mod resolve;
mod transfer;

pub(crate) use balance::run as balance;
pub(crate) use coordinator::run as coordinator;
pub(crate) use in_doubt::run as in_doubt;
pub(crate) use outcome::run as outcome;
pub(crate) use participant::run as participant;
pub(crate) use resolve::run as resolve;
pub(crate) use transfer::run as transfer;
