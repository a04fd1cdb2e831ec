//! Who holds which account: shared to read, exclusive to write, and nobody waits.

use std::collections::{BTreeMap, BTreeSet};

use crate::message::Op;
use crate::txid::TxId;

/// The locks of a participant. A conflict is a refusal at once, so there is no deadlock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Locks {
    by_account: BTreeMap<String, Lock>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Lock {
    Shared(BTreeSet<TxId>),
    Exclusive(TxId),
}

impl Locks {
    /// Takes all locks that the operations need, or none.
    ///
    /// # Errors
    ///
    /// A transaction that is in the way.
    pub fn acquire(&mut self, txid: TxId, ops: &[Op]) -> Result<(), TxId> {
        for op in ops {
            let other = match self.by_account.get(&op.account) {
                None => None,
                Some(Lock::Exclusive(holder)) => Some(*holder).filter(|holder| *holder != txid),
                Some(Lock::Shared(_)) if !op.writes() => None,
                Some(Lock::Shared(holders)) => {
                    holders.iter().find(|&&holder| holder != txid).copied()
                }
            };
            if let Some(other) = other {
                return Err(other);
            }
        }
        for op in ops {
            self.take(txid, op);
        }
        Ok(())
    }

    /// Gives up what `acquire` took for the same operations.
    pub fn release(&mut self, txid: TxId, ops: &[Op]) {
        for op in ops {
            let is_free = match self.by_account.get_mut(&op.account) {
                Some(Lock::Exclusive(holder)) => *holder == txid,
                Some(Lock::Shared(holders)) => {
                    holders.remove(&txid);
                    holders.is_empty()
                }
                None => false,
            };
            if is_free {
                self.by_account.remove(&op.account);
            }
        }
    }

    /// The number of accounts that are locked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_account.len()
    }

    /// True if no account is locked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_account.is_empty()
    }

    fn take(&mut self, txid: TxId, op: &Op) {
        if op.writes() {
            self.by_account.insert(op.account.clone(), Lock::Exclusive(txid));
            return;
        }
        match self.by_account.entry(op.account.clone()).or_insert(Lock::Shared(BTreeSet::new())) {
            Lock::Shared(holders) => {
                holders.insert(txid);
            }
            Lock::Exclusive(_) => {} // our own, and stronger
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Action;
    use crate::txid::LogId;

    fn op(account: &str, action: Action) -> Op {
        Op { account: account.to_owned(), action }
    }

    fn txid(counter: u64) -> TxId {
        TxId { log: LogId([1; 16]), epoch: 1, counter }
    }

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        let mut locks = Locks::default();
        let (read, write) = ([op("a", Action::Read)], [op("a", Action::Add(1))]);
        assert_eq!(locks.acquire(txid(1), &read), Ok(()));
        assert_eq!(locks.acquire(txid(2), &read), Ok(()));
        assert_eq!(locks.acquire(txid(3), &write), Err(txid(1)));
        locks.release(txid(1), &read);
        assert_eq!(locks.acquire(txid(3), &write), Err(txid(2)));
        locks.release(txid(2), &read);
        assert_eq!(locks.acquire(txid(3), &write), Ok(()));
        assert_eq!(locks.acquire(txid(1), &read), Err(txid(3)));
        locks.release(txid(1), &read);
        assert_eq!(locks.len(), 1, "nobody releases another's lock");
    }

    #[test]
    fn a_conflict_takes_nothing() {
        let mut locks = Locks::default();
        assert_eq!(locks.acquire(txid(1), &[op("b", Action::Add(1))]), Ok(()));
        let both = [op("a", Action::Add(1)), op("b", Action::Add(1))];
        assert_eq!(locks.acquire(txid(2), &both), Err(txid(1)));
        assert_eq!(locks.acquire(txid(3), &[op("a", Action::Add(1))]), Ok(()));
    }
}
