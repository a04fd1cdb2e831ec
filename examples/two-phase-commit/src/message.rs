//! What travels between coordinator and participants, and what a client asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::txid::{LogId, NodeId, TxId};

/// The most accounts that one transaction may name.
pub const MAX_OPS: usize = 1024;

/// The most bytes in an account's name.
pub const MAX_NAME: usize = 64;

/// Who sends a message, or gets it. The way to the coordinator needs no number: there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Address {
    /// Who decides.
    Coordinator,
    /// Who holds accounts.
    Participant(NodeId),
}

/// One message about one transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The transaction that it is about.
    pub txid: TxId,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Body {
    /// Coordinator to participant: lock, read, check; promise nothing yet.
    Execute {
        /// At this participant.
        ops: Vec<Op>,
    },
    /// Participant to coordinator: what came of it.
    Executed {
        /// The participant's log.
        log: LogId,
        /// What was read, or why nothing is locked.
        result: Result<Execution, No>,
    },
    /// Coordinator to participant: promise to commit if told so.
    Prepare {
        /// What to commit.
        work: Work,
        /// All participants that write, the receiver among them: whom to ask if the coordinator is gone.
        peers: Vec<NodeId>,
    },
    /// Participant to coordinator: the answer to prepare.
    Vote {
        /// The participant's log.
        log: LogId,
        /// Its vote.
        vote: Vote,
    },
    /// Coordinator to participant: it is decided. Sent until it is acknowledged.
    Commit,
    /// Coordinator to participant: it is decided. Sent once: who misses it inquires.
    Abort,
    /// Participant to coordinator: the commit is kept for good.
    Ack {
        /// The participant's log.
        log: LogId,
    },
    /// Participant to coordinator: what became of it?
    Inquire,
    /// Coordinator to participant: the answer to inquire.
    Decision(Decision),
    /// Participant to another one: what do you know of it? Only participants that write are asked.
    AskPeer,
    /// Participant to another one: the answer to that.
    PeerState(PeerState),
}

/// What a participant does to one account. A transaction names an account once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Op {
    /// The account's name at the participant.
    pub account: String,
    /// What is done to it.
    pub action: Action,
}

/// What is done to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Tell the balance.
    Read,
    /// Add so many minor units, or take them away. Never 0.
    Add(i64),
}

/// A balance that was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Value {
    /// The account's name at the participant.
    pub account: String,
    /// In minor units.
    pub balance: i64,
}

/// One time that a participant locked the accounts of a transaction. Another time may have read other
/// values, so a prepare names the one that it builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExecutionId {
    /// The participant's boot.
    pub epoch: u64,
    /// Counts within the boot.
    pub counter: u64,
}

/// Locks are held, and this was read under them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Execution {
    /// Which time.
    pub id: ExecutionId,
    /// One for each read.
    pub values: Vec<Value>,
}

/// What a prepare is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Work {
    /// These; nothing was executed before. One round, for transactions all of whose participants write.
    Ops(Vec<Op>),
    /// What was executed under this name, if its locks are still held.
    Executed(ExecutionId),
}

/// The answer to prepare.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Vote {
    /// Prepared: it will commit or abort as it is told, whatever happens to it.
    Yes {
        /// What was read, if the prepare brought the operations.
        values: Vec<Value>,
    },
    /// It has aborted.
    No(No),
    /// Nothing was to be written: locks are released, nothing is kept, no decision is needed.
    Read {
        /// What was read, if the prepare brought the operations.
        values: Vec<Value>,
    },
}

/// Why a participant will not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error)]
pub enum No {
    /// Another transaction is in the way. Worth another try, later.
    #[error("locked by {by}")]
    Locked {
        /// That one.
        by: TxId,
    },
    /// There is no such account.
    #[error("no account `{0}`")]
    UnknownAccount(String),
    /// The account would be overdrawn.
    #[error("not enough in account `{0}`")]
    InsufficientFunds(String),
    /// The balance would not fit.
    #[error("account `{0}` cannot hold so much")]
    Overflow(String),
    /// The locks were dropped before the prepare came. Worth another try.
    #[error("its locks were dropped")]
    Expired,
    /// It was aborted here on behalf of a participant that could not ask the coordinator.
    #[error("aborted before it was prepared")]
    AlreadyAborted,
    /// Too many transactions are under way here. Worth another try, later.
    #[error("too many transactions under way")]
    Overloaded,
    /// The coordinator asks for what it should have refused itself.
    #[error("not a transaction: {0}")]
    Malformed(String),
}

/// What the coordinator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Decision {
    /// Not decided: never to be taken for an abort.
    Pending,
    /// For good.
    Committed,
    /// For good.
    Aborted,
}

/// What a peer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PeerState {
    /// It was not prepared. It has now aborted itself, for good.
    Init,
    /// In doubt as well.
    Ready,
    /// It was told so.
    Committed,
    /// It had aborted itself before.
    Aborted,
}

/// An account and where it is held; in text `p2/alice`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Account {
    /// Who holds it.
    pub at: NodeId,
    /// Its name there.
    pub name: String,
}

/// What a client wants to happen, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Transaction {
    /// By account.
    pub ops: Vec<(Account, Action)>,
}

/// Why something is no transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error)]
pub enum BadTransaction {
    /// Amounts are positive.
    #[error("the amount {0} is not above zero")]
    Amount(i64),
    /// From and to are one, or an account is named twice.
    #[error("account {0} is named twice")]
    Twice(Account),
    /// Nothing to do.
    #[error("no account is named")]
    Empty,
    /// More than [`MAX_OPS`].
    #[error("{0} accounts are named, and {MAX_OPS} is the most")]
    TooLong(u64),
    /// Money would come from nowhere, or go there.
    #[error("what is taken and what is given do not sum to zero")]
    Unbalanced,
    /// Empty, longer than [`MAX_NAME`], or with other letters than `a-z 0-9 - _ .`.
    #[error("`{0}` is not an account's name")]
    Name(String),
    /// Nobody has this number.
    #[error("there is no participant {0}")]
    UnknownParticipant(NodeId),
}

impl Transaction {
    /// Moves `amount` minor units.
    ///
    /// # Errors
    ///
    /// If the amount is not above zero, or the accounts are one.
    pub fn transfer(from: Account, to: Account, amount: i64) -> Result<Self, BadTransaction> {
        if amount <= 0 {
            return Err(BadTransaction::Amount(amount));
        }
        let transaction =
            Self { ops: vec![(from, Action::Add(-amount)), (to, Action::Add(amount))] };
        transaction.check()?;
        Ok(transaction)
    }

    /// Reads all of these at one moment.
    ///
    /// # Errors
    ///
    /// If there are none or too many, or one is named twice.
    pub fn audit(accounts: impl IntoIterator<Item = Account>) -> Result<Self, BadTransaction> {
        let ops = accounts.into_iter().map(|account| (account, Action::Read)).collect();
        let transaction = Self { ops };
        transaction.check()?;
        Ok(transaction)
    }

    /// # Errors
    ///
    /// Why this is no transaction. A coordinator asks again: the client may be anybody.
    pub fn check(&self) -> Result<(), BadTransaction> {
        match self.ops.len() {
            0 => return Err(BadTransaction::Empty),
            many if many > MAX_OPS => return Err(BadTransaction::TooLong(many as u64)),
            _ => {}
        }
        let mut named = BTreeSet::new();
        let mut sum = 0_i128;
        for (account, action) in &self.ops {
            account.check()?;
            if !named.insert(account) {
                return Err(BadTransaction::Twice(account.clone()));
            }
            match action {
                Action::Add(0) => return Err(BadTransaction::Amount(0)),
                Action::Add(delta) => sum += i128::from(*delta),
                Action::Read => {}
            }
        }
        if sum == 0 { Ok(()) } else { Err(BadTransaction::Unbalanced) }
    }

    /// The operations of each participant.
    pub(crate) fn by_participant(&self) -> BTreeMap<NodeId, Vec<Op>> {
        let mut parts: BTreeMap<NodeId, Vec<Op>> = BTreeMap::new();
        for (Account { at, name }, action) in &self.ops {
            parts.entry(*at).or_default().push(Op { account: name.clone(), action: *action });
        }
        parts
    }
}

impl Account {
    /// # Errors
    ///
    /// If the name could not be an account's.
    pub fn check(&self) -> Result<(), BadTransaction> {
        check_name(&self.name)
    }
}

/// # Errors
///
/// If the name could not be an account's.
pub fn check_name(name: &str) -> Result<(), BadTransaction> {
    let is_letter = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_letter) {
        return Ok(());
    }
    // It came from anybody: no more of it than we would accept.
    Err(BadTransaction::Name(name.chars().take(MAX_NAME).collect()))
}

impl Op {
    /// True if the account will have another balance.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self.action, Action::Add(_))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.at, self.name)
    }
}

impl FromStr for Account {
    type Err = BadTransaction;

    fn from_str(text: &str) -> Result<Self, BadTransaction> {
        let bad = || BadTransaction::Name(text.chars().take(2 * MAX_NAME).collect());
        let (at, name) = text.split_once('/').ok_or_else(bad)?;
        check_name(name)?;
        Ok(Self { at: at.parse().map_err(|_| bad())?, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(text: &str) -> Account {
        text.parse().expect("an account")
    }

    #[test]
    fn an_account_is_read_as_it_is_printed() {
        assert_eq!(account("p2/alice").to_string(), "p2/alice");
        for bad in
            ["alice", "p2/", "2/alice", "p2/Ali", "p2/a/b", &format!("p1/{}", "a".repeat(65))]
        {
            assert!(bad.parse::<Account>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_makes_or_loses_money_is_no_transaction() {
        let (a, b) = (account("p0/a"), account("p1/b"));
        let transfer = |amount| Transaction::transfer(a.clone(), b.clone(), amount);
        assert!(transfer(1).is_ok());
        assert_eq!(transfer(0), Err(BadTransaction::Amount(0)));
        assert_eq!(transfer(-5), Err(BadTransaction::Amount(-5)));
        assert_eq!(transfer(i64::MIN), Err(BadTransaction::Amount(i64::MIN)));
        assert_eq!(
            Transaction::transfer(a.clone(), a.clone(), 5),
            Err(BadTransaction::Twice(a.clone()))
        );
        let unbalanced = Transaction { ops: vec![(a.clone(), Action::Add(5))] };
        assert_eq!(unbalanced.check(), Err(BadTransaction::Unbalanced));
        assert_eq!(Transaction::audit([]), Err(BadTransaction::Empty));
        assert_eq!(Transaction::audit([b.clone(), b.clone()]), Err(BadTransaction::Twice(b)));
    }
}
