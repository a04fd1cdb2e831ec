//! The books of a participant: what each account holds, and why.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::message::{Action, No, Op, Value};
use crate::txid::TxId;

/// All accounts of a participant. It is history, so it grows with every transfer; who has committed here is
/// answered from it for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    accounts: BTreeMap<String, Book>,
    committed: BTreeSet<TxId>,
}

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Book {
    /// What it was opened with, in minor units.
    pub opening: i64,
    /// What it holds.
    pub balance: i64,
    /// What was added, in the order of commits.
    pub entries: Vec<Entry>,
}

/// A line of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// By which transaction.
    pub txid: TxId,
    /// How much, in minor units.
    pub delta: i64,
}

impl Ledger {
    /// All books, by name.
    pub fn books(&self) -> impl Iterator<Item = (&str, &Book)> {
        self.accounts.iter().map(|(name, book)| (name.as_str(), book))
    }

    /// The book of an account.
    #[must_use]
    pub fn book(&self, account: &str) -> Option<&Book> {
        self.accounts.get(account)
    }

    /// The number of accounts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// True if no account is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// True if the transaction stands in the books.
    #[must_use]
    pub fn has_committed(&self, txid: TxId) -> bool {
        self.committed.contains(&txid)
    }

    /// All transactions that stand in the books.
    pub fn committed(&self) -> impl Iterator<Item = TxId> {
        self.committed.iter().copied()
    }

    /// Opens an account; false if there is one of this name.
    pub(crate) fn open(&mut self, account: String, opening: i64) -> bool {
        let is_new = !self.accounts.contains_key(&account);
        if is_new {
            self.accounts.insert(account, Book { opening, balance: opening, entries: Vec::new() });
        }
        is_new
    }

    /// Reads what is to be read, and sees whether the rest could be done.
    pub(crate) fn evaluate(&self, ops: &[Op]) -> Result<Vec<Value>, No> {
        let mut values = Vec::new();
        for Op { account, action } in ops {
            let book =
                self.accounts.get(account).ok_or_else(|| No::UnknownAccount(account.clone()))?;
            match action {
                Action::Read => {
                    values.push(Value { account: account.clone(), balance: book.balance });
                }
                Action::Add(delta) => match book.balance.checked_add(*delta) {
                    None => return Err(No::Overflow(account.clone())),
                    Some(balance) if balance < 0 => {
                        return Err(No::InsufficientFunds(account.clone()));
                    }
                    Some(_) => {}
                },
            }
        }
        Ok(values)
    }

    /// Writes the operations into the books. False, and nothing is written, if they do not fit.
    pub(crate) fn apply(&mut self, txid: TxId, ops: &[Op]) -> bool {
        if self.committed.contains(&txid) || self.evaluate(ops).is_err() {
            return false;
        }
        for Op { account, action } in ops {
            if let (Action::Add(delta), Some(book)) = (action, self.accounts.get_mut(account)) {
                book.balance += delta; // evaluated above
                book.entries.push(Entry { txid, delta: *delta });
            }
        }
        self.committed.insert(txid);
        true
    }

    /// Puts entries of a checkpoint back. False if there is no such account or its books do not fit.
    pub(crate) fn restore(&mut self, account: &str, entries: &[Entry]) -> bool {
        let Some(book) = self.accounts.get_mut(account) else { return false };
        for entry in entries {
            let Some(balance) = book.balance.checked_add(entry.delta) else { return false };
            book.balance = balance;
            book.entries.push(*entry);
            self.committed.insert(entry.txid);
        }
        true
    }

    pub(crate) fn size(&self) -> u64 {
        let book = |(name, book): (&String, &Book)| name.len() + 24 + 24 * book.entries.len();
        self.accounts.iter().map(book).sum::<usize>() as u64
    }
}
