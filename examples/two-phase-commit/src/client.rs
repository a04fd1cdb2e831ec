//! What clients do about answers: try again where nothing has happened and it may help, and never
//! take "unknown" for either outcome.

use std::time::Duration;

use bailiwick::{CallError, Channel, ChannelConfig, ConnectError, Context, Identity, Limits};
use rand::RngExt as _;
use tokio::time;
use two_phase_commit::{
    coordinator::{Outcome, Refused, Why},
    message::{Account, No},
    txid::TxId,
};

use crate::{
    nodes::Address,
    services::{Accounts, Coordinator as _, CoordinatorClient, Refusal, Transfer},
};

/// The longest pause before another try.
const MAX_PAUSE: Duration = Duration::from_millis(200);

/// What a client wants.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Transfer(Transfer),
    Read(Vec<Account>),
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum End {
    Committed {
        txid: TxId,
        /// What was read.
        values: Vec<(Account, i64)>,
    },
    /// Nothing has changed.
    Aborted { txid: TxId, why: Why },
    /// It may be committed.
    Unknown { txid: TxId },
    /// Nothing was begun, or nothing was done under the name that was given.
    Failed(CallError<Refusal>),
}

/// Connects to a node before the deadline of `cx`. A connection that is lost later is made anew.
pub(crate) async fn connect(
    address: &Address,
    identity: &Identity,
    cx: &Context,
) -> Result<Channel, ConnectError> {
    let (defaults, left) = (Limits::default(), cx.remaining());
    let limits = Limits {
        handshake_timeout: defaults.handshake_timeout.min(left),
        handshake_timeout_udp: defaults.handshake_timeout_udp.min(left),
        max_reconnect_pause: MAX_PAUSE,
        ..defaults
    };
    let config = ChannelConfig { limits, ..ChannelConfig::default() };
    Channel::connect_with(address.endpoint.clone(), address.key, identity.clone(), config).await
}

/// Does it until it is done, or cannot be, or the deadline passes. Each try has a name of its own,
/// and the next begins only when the last is known to have aborted.
pub(crate) async fn transact(coordinator: &CoordinatorClient, cx: &Context, wish: &Wish) -> End {
    let mut pause = Duration::from_millis(5);
    loop {
        let end = match coordinator.begin(cx).await {
            Ok(txid) => attempt(coordinator, cx, txid, wish).await,
            Err(error) => End::Failed(error),
        };
        let again = match &end {
            End::Aborted { why, .. } => is_passing(why),
            // It was read, and is not known any more.
            End::Committed { values, .. } => values.is_empty() && matches!(wish, Wish::Read(_)),
            End::Unknown { .. } => false,
            End::Failed(error) => is_busy(error),
        };
        let chosen = pause.mul_f64(rand::rng().random::<f64>());
        if !again || chosen >= cx.remaining() {
            return end;
        }
        time::sleep(chosen).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Does it under one name. Doing it again under the same one does not happen twice.
pub(crate) async fn attempt(
    coordinator: &CoordinatorClient,
    cx: &Context,
    txid: TxId,
    wish: &Wish,
) -> End {
    loop {
        let ran = match wish.clone() {
            Wish::Transfer(transfer) => coordinator.transfer(cx, txid, transfer).await,
            Wish::Read(accounts) => coordinator.read(cx, txid, Accounts(accounts)).await,
        };
        return match ran {
            Ok(Outcome::Committed { values }) => {
                End::Committed { txid, values: values.unwrap_or_default() }
            }
            Ok(Outcome::Aborted(why)) => End::Aborted { txid, why },
            Ok(Outcome::Pending) if cx.remaining() > MAX_PAUSE => {
                time::sleep(MAX_PAUSE).await;
                continue;
            }
            Ok(Outcome::Pending | Outcome::Forgotten) => End::Unknown { txid },
            // This time it was not even looked at. It may have been the time before: a channel
            // asks again by itself when a coordinator was restarted.
            Err(CallError::App(Refusal::Busy)) if cx.remaining() > MAX_PAUSE => {
                time::sleep(MAX_PAUSE).await;
                continue;
            }
            Err(CallError::App(Refusal::Busy)) => End::Unknown { txid },
            // A refusal is the service's word that nothing is done under this name.
            Err(error @ (CallError::App(_) | CallError::Denied(_))) => End::Failed(error),
            // What did not run this time may have run the time before.
            Err(_) => End::Unknown { txid },
        };
    }
}

/// Whether the same may succeed a moment later.
fn is_passing(why: &Why) -> bool {
    match why {
        Why::No { no, .. } => {
            matches!(no, No::Locked { .. } | No::Expired | No::AlreadyAborted | No::Overloaded)
        }
        Why::Presumed => true,
        // Who is away may be away for long: the caller decides.
        Why::Silent(_) | Why::WipedDisk(_) | Why::Broken(_) => false,
    }
}

/// Whether nothing was begun because of a moment's load.
fn is_busy(error: &CallError<Refusal>) -> bool {
    matches!(error, CallError::App(Refusal::Busy | Refusal::Coordinator(Refused::Overloaded)))
}
