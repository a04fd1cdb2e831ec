//! The judge: from what is on the disks once all is healed, and what clients were told, did every promise
//! hold?

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::ledger::{Book, Ledger};
use crate::message::{Account, Action, Transaction};
use crate::participant::InDoubt;
use crate::txid::{NodeId, TxId};

/// All that can be known afterwards.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The books of every participant.
    pub ledgers: BTreeMap<NodeId, Ledger>,
    /// What the participants list as in doubt.
    pub in_doubt: Vec<(NodeId, InDoubt)>,
    /// The number of accounts that are still locked.
    pub locked: u64,
    /// Committed, by the coordinator's log.
    pub committed: BTreeSet<TxId>,
    /// Up to here the coordinator may have forgotten some ([`crate::coordinator`]).
    pub forgotten: Option<TxId>,
    /// Committed, and not acknowledged by all.
    pub unfinished: Vec<TxId>,
    /// What each client tried, every transaction that ever ran, and what it was told.
    pub claims: Vec<Claim>,
}

/// What a client knows of one of its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub txid: TxId,
    /// What was to happen.
    pub transaction: Transaction,
    /// What the client was told.
    pub told: Told,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has committed.
    Committed {
        /// What was read, if that was told.
        values: Option<Vec<(Account, i64)>>,
    },
    /// It has aborted.
    Aborted,
    /// Nothing for sure.
    Unknown,
}

/// What the judge found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// None, if all is well.
    pub violations: Vec<Violation>,
    /// Transactions that stand in the books.
    pub applied: u64,
    /// Of the claims: told to have committed, told to have aborted, and not told.
    pub told: (u64, u64, u64),
    /// Audits of all accounts whose sum was checked.
    pub audits: u64,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// A book does not add up, or was below zero.
    #[error("the book of {0} does not add up, or was below zero")]
    Book(Account),
    /// Two entries of one transaction in one book.
    #[error("{txid} stands twice in the book of {account}")]
    Twice {
        /// Which.
        txid: TxId,
        /// Where.
        account: Account,
    },
    /// Some of it happened, and some did not, or something else did.
    #[error("{txid} stands in the books otherwise than it was ordered: {found:?}")]
    Torn {
        /// Which.
        txid: TxId,
        /// What the books say.
        found: BTreeMap<Account, i64>,
    },
    /// It stands in the books, and no client ordered it.
    #[error("{0} stands in the books, and nobody ordered it")]
    OfNobody(TxId),
    /// Two transactions had one name.
    #[error("{0} was given to two transactions")]
    NameTwice(TxId),
    /// The sum of all balances is not the sum of all openings.
    #[error("money was made or lost: {opened} were opened with, {held} are held")]
    Money {
        /// At first.
        opened: i128,
        /// At last.
        held: i128,
    },
    /// A read of all accounts saw another sum.
    #[error("{txid} read {read} in all accounts, which hold {expected}")]
    Audit {
        /// Which.
        txid: TxId,
        /// What it saw.
        read: i128,
        /// What was there at every moment.
        expected: i128,
    },
    /// A client was told that it committed.
    #[error("{0} was told to have committed, and is not in the books")]
    Lost(TxId),
    /// A client was told that it aborted.
    #[error("{0} was told to have aborted, and is in the books")]
    Undead(TxId),
    /// In the books, and not in the coordinator's log.
    #[error("{0} is in the books, and the coordinator did not commit it")]
    Undecided(TxId),
    /// In the coordinator's log, and not in the books.
    #[error("the coordinator committed {0}, which is not in the books")]
    Unapplied(TxId),
    /// Something is in doubt, though all is healed.
    #[error("{at} has {} in doubt: {:?}", line.txid, line.state)]
    InDoubt {
        /// Where.
        at: NodeId,
        /// What.
        line: InDoubt,
    },
    /// Locks are held, though all is healed.
    #[error("{0} accounts are locked by nobody")]
    Locked(u64),
    /// The coordinator still waits for acknowledgements.
    #[error("{0} is not acknowledged by all")]
    Unfinished(TxId),
}

/// Looks at every rule.
#[must_use]
pub fn judge(evidence: &Evidence) -> Judgement {
    let mut case = Case { evidence, found: Judgement::default(), books: BTreeMap::new() };
    case.read_books();
    case.weigh_claims();
    case.compare_logs();
    case.look_for_doubt();
    case.found
}

struct Case<'a> {
    evidence: &'a Evidence,
    found: Judgement,
    /// What the books say of each transaction.
    books: BTreeMap<TxId, BTreeMap<Account, i64>>,
}

impl Case<'_> {
    fn violation(&mut self, violation: Violation) {
        self.found.violations.push(violation);
    }

    fn read_books(&mut self) {
        let (mut opened, mut held) = (0, 0);
        for (&at, ledger) in &self.evidence.ledgers {
            for (name, book) in ledger.books() {
                let account = Account { at, name: name.to_owned() };
                opened += i128::from(book.opening);
                held += i128::from(book.balance);
                if !adds_up(book) {
                    self.violation(Violation::Book(account.clone()));
                }
                for entry in &book.entries {
                    let deltas = self.books.entry(entry.txid).or_default();
                    if deltas.insert(account.clone(), entry.delta).is_some() {
                        let (txid, account) = (entry.txid, account.clone());
                        self.violation(Violation::Twice { txid, account });
                    }
                }
            }
        }
        if opened != held {
            self.violation(Violation::Money { opened, held });
        }
        self.found.applied = self.books.len() as u64;
    }

    fn weigh_claims(&mut self) {
        let mut ordered = BTreeSet::new();
        for claim in &self.evidence.claims {
            if !ordered.insert(claim.txid) {
                self.violation(Violation::NameTwice(claim.txid));
            }
            self.weigh(claim);
        }
        let nobody: Vec<_> =
            self.books.keys().filter(|txid| !ordered.contains(txid)).copied().collect();
        self.found.violations.extend(nobody.into_iter().map(Violation::OfNobody));
    }

    fn weigh(&mut self, Claim { txid, transaction, told }: &Claim) {
        let expected = deltas(transaction);
        let found = self.books.get(txid);
        let stands = found.is_some();
        if let Some(found) = found
            && *found != expected
        {
            let found = found.clone();
            self.violation(Violation::Torn { txid: *txid, found });
        }
        match told {
            Told::Committed { values } => {
                self.found.told.0 += 1;
                if !stands && !expected.is_empty() {
                    self.violation(Violation::Lost(*txid));
                }
                if let Some(values) = values {
                    self.audit(*txid, values);
                }
            }
            Told::Aborted => {
                self.found.told.1 += 1;
                if stands {
                    self.violation(Violation::Undead(*txid));
                }
            }
            Told::Unknown => self.found.told.2 += 1,
        }
    }

    /// A transaction that read all accounts must have seen all money.
    fn audit(&mut self, txid: TxId, values: &[(Account, i64)]) {
        let accounts: usize = self.evidence.ledgers.values().map(Ledger::len).sum();
        let read: BTreeSet<_> = values.iter().map(|(account, _)| account).collect();
        if read.len() != accounts {
            return;
        }
        self.found.audits += 1;
        let books = self.evidence.ledgers.values().flat_map(Ledger::books);
        let expected = books.map(|(_, book)| i128::from(book.opening)).sum();
        let read = values.iter().map(|(_, balance)| i128::from(*balance)).sum();
        if read != expected {
            self.violation(Violation::Audit { txid, read, expected });
        }
    }

    fn compare_logs(&mut self) {
        let Evidence { committed, forgotten, .. } = self.evidence;
        for txid in self.books.keys().copied().collect::<Vec<_>>() {
            if !committed.contains(&txid) && forgotten.is_none_or(|last| txid > last) {
                self.violation(Violation::Undecided(txid));
            }
        }
        for &txid in committed {
            if !self.books.contains_key(&txid) {
                self.violation(Violation::Unapplied(txid));
            }
        }
    }

    fn look_for_doubt(&mut self) {
        for (at, line) in &self.evidence.in_doubt {
            self.violation(Violation::InDoubt { at: *at, line: line.clone() });
        }
        for &txid in &self.evidence.unfinished {
            self.violation(Violation::Unfinished(txid));
        }
        if self.evidence.locked > 0 {
            self.violation(Violation::Locked(self.evidence.locked));
        }
    }
}

fn adds_up(book: &Book) -> bool {
    let mut balance = i128::from(book.opening);
    for entry in &book.entries {
        balance += i128::from(entry.delta);
        if balance < 0 {
            return false;
        }
    }
    balance == i128::from(book.balance)
}

/// What a transaction adds to each account.
fn deltas(transaction: &Transaction) -> BTreeMap<Account, i64> {
    let delta = |(account, action): &(Account, Action)| match action {
        Action::Add(delta) => Some((account.clone(), *delta)),
        Action::Read => None,
    };
    transaction.ops.iter().filter_map(delta).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Op;
    use crate::txid::LogId;

    fn txid(counter: u64) -> TxId {
        TxId { log: LogId([1; 16]), epoch: 1, counter }
    }

    fn account(text: &str) -> Account {
        text.parse().expect("an account")
    }

    fn ledger(entries: &[(u64, i64)]) -> Ledger {
        let mut ledger = Ledger::default();
        assert!(ledger.open("a".to_owned(), 100));
        for &(counter, delta) in entries {
            let op = Op { account: "a".to_owned(), action: Action::Add(delta) };
            assert!(ledger.apply(txid(counter), &[op]));
        }
        ledger
    }

    /// Two participants with an account each, and one transfer between them.
    fn evidence() -> Evidence {
        let transaction = Transaction::transfer(account("p0/a"), account("p1/a"), 30);
        let audit = Transaction::audit([account("p0/a"), account("p1/a")]);
        let values = Some(vec![(account("p0/a"), 70), (account("p1/a"), 130)]);
        Evidence {
            ledgers: [(NodeId(0), ledger(&[(1, -30)])), (NodeId(1), ledger(&[(1, 30)]))].into(),
            committed: [txid(1)].into(),
            claims: vec![
                Claim {
                    txid: txid(1),
                    transaction: transaction.expect("a transfer"),
                    told: Told::Committed { values: None },
                },
                Claim {
                    txid: txid(2),
                    transaction: audit.expect("an audit"),
                    told: Told::Committed { values },
                },
            ],
            ..Evidence::default()
        }
    }

    fn violations(change: impl FnOnce(&mut Evidence)) -> Vec<Violation> {
        let mut evidence = evidence();
        change(&mut evidence);
        judge(&evidence).violations
    }

    #[test]
    fn a_sound_bank_is_acquitted() {
        let found = judge(&evidence());
        assert_eq!(found.violations, []);
        assert_eq!((found.applied, found.told, found.audits), (1, (2, 0, 0), 1));
    }

    #[test]
    fn half_a_transfer_is_found() {
        let found = violations(|evidence| {
            evidence.ledgers.insert(NodeId(1), ledger(&[]));
        });
        let half = [(account("p0/a"), -30)].into();
        assert!(found.contains(&Violation::Torn { txid: txid(1), found: half }), "{found:?}");
        assert!(found.contains(&Violation::Money { opened: 200, held: 170 }), "{found:?}");
    }

    #[test]
    fn a_word_to_a_client_that_was_not_true_is_found() {
        let found = violations(|evidence| evidence.claims[0].told = Told::Aborted);
        assert_eq!(found, [Violation::Undead(txid(1))]);
        let found = violations(|evidence| {
            evidence.ledgers = [(NodeId(0), ledger(&[])), (NodeId(1), ledger(&[]))].into();
            evidence.committed.clear();
        });
        assert_eq!(found, [Violation::Lost(txid(1))]);
    }

    #[test]
    fn a_read_of_what_never_was_is_found() {
        let found = violations(|evidence| {
            let values = vec![(account("p0/a"), 70), (account("p1/a"), 100)];
            evidence.claims[1].told = Told::Committed { values: Some(values) };
        });
        assert_eq!(found, [Violation::Audit { txid: txid(2), read: 170, expected: 200 }]);
    }

    #[test]
    fn books_and_the_coordinators_log_must_agree() {
        assert_eq!(
            violations(|evidence| evidence.committed.clear()),
            [Violation::Undecided(txid(1))]
        );
        assert_eq!(
            violations(|evidence| evidence.committed.extend([txid(3)])),
            [Violation::Unapplied(txid(3))]
        );
        let forgot = violations(|evidence| {
            evidence.committed.clear();
            evidence.forgotten = Some(txid(1));
        });
        assert_eq!(forgot, []);
    }

    #[test]
    fn what_nobody_ordered_and_a_name_for_two_are_found() {
        let nobody = violations(|evidence| {
            evidence.claims.remove(0);
        });
        assert_eq!(nobody, [Violation::OfNobody(txid(1))]);
        let twice = violations(|evidence| evidence.claims[1].txid = txid(1));
        assert!(twice.contains(&Violation::NameTwice(txid(1))), "{twice:?}");
    }

    #[test]
    fn what_is_left_over_is_found() {
        let found = violations(|evidence| {
            evidence.unfinished.push(txid(1));
            evidence.locked = 2;
        });
        assert_eq!(found, [Violation::Unfinished(txid(1)), Violation::Locked(2)]);
    }
}
