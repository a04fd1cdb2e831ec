//! What clients know, written down outside the bank: a line of JSON for each transaction that they
//! began.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use serde::{Deserialize, Serialize};
use two_phase_commit::{
    judge::{Claim, Told},
    message::{Account, Transaction},
    txid::TxId,
};

use crate::{client::Wish, services::Transfer};

/// The file, in the bank's folder.
pub(super) const FILE: &str = "claims.jsonl";

/// A claim as a line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    transaction: String,
    #[serde(flatten)]
    wish: Order,
    told: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<Vec<(String, i64)>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Transfer { from: String, to: String, amount: i64 },
    Read(Vec<String>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Committed,
    Aborted,
    Unknown,
}

/// A transaction that a client began, and what it was told.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) txid: TxId,
    pub(super) wish: Wish,
    pub(super) told: Told,
}

/// Writes all claims.
pub(super) fn write(folder: &Path, claims: &[Begun]) -> io::Result<()> {
    let mut text = String::new();
    for claim in claims {
        text += &serde_json::to_string(&Line::from(claim)).map_err(io::Error::from)?;
        text.push('\n');
    }
    fs::write(folder.join(FILE), text)
}

/// Reads them back.
pub(super) fn read(folder: &Path) -> io::Result<Vec<Claim>> {
    let malformed = |why: String| io::Error::new(ErrorKind::InvalidData, why);
    let claim = |(index, line): (usize, &str)| {
        let line: Result<Line, _> = serde_json::from_str(line);
        let line = line.map_err(|error| malformed(format!("line {}: {error}", index + 1)))?;
        line.claim().map_err(|error| malformed(format!("line {}: {error}", index + 1)))
    };
    fs::read_to_string(folder.join(FILE))?.lines().enumerate().map(claim).collect()
}

impl From<&Begun> for Line {
    fn from(Begun { txid, wish, told }: &Begun) -> Self {
        let names = |accounts: &[Account]| accounts.iter().map(Account::to_string).collect();
        let pair = |(account, balance): &(Account, i64)| (account.to_string(), *balance);
        let (word, values) = match told {
            Told::Committed { values } => (Word::Committed, values.as_ref()),
            Told::Aborted => (Word::Aborted, None),
            Told::Unknown => (Word::Unknown, None),
        };
        Self {
            transaction: txid.to_string(),
            wish: match wish {
                Wish::Transfer(Transfer { from, to, amount }) => {
                    Order::Transfer { from: from.to_string(), to: to.to_string(), amount: *amount }
                }
                Wish::Read(accounts) => Order::Read(names(accounts)),
            },
            told: word,
            values: values.map(|values| values.iter().map(pair).collect()),
        }
    }
}

impl Line {
    fn claim(self) -> Result<Claim, String> {
        let account = |name: &str| name.parse::<Account>().map_err(|error| error.to_string());
        let transaction = match &self.wish {
            Order::Transfer { from, to, amount } => {
                Transaction::transfer(account(from)?, account(to)?, *amount)
            }
            Order::Read(names) => {
                let accounts: Result<Vec<_>, _> = names.iter().map(|name| account(name)).collect();
                Transaction::audit(accounts?)
            }
        };
        let pair = |(name, balance): &(String, i64)| Ok::<_, String>((account(name)?, *balance));
        let values =
            self.values.as_ref().map(|values| values.iter().map(pair).collect::<Result<_, _>>());
        Ok(Claim {
            txid: self.transaction.parse().map_err(|error| format!("{error}"))?,
            transaction: transaction.map_err(|error| error.to_string())?,
            told: match self.told {
                Word::Committed => Told::Committed { values: values.transpose()? },
                Word::Aborted => Told::Aborted,
                Word::Unknown => Told::Unknown,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use two_phase_commit::txid::LogId;

    use super::*;

    #[test]
    fn what_is_read_is_what_was_written() {
        let account = |name: &str| name.parse::<Account>().expect("an account");
        let (a, b) = (account("p1/a"), account("p2/b"));
        let txid = |counter| TxId { log: LogId([3; 16]), epoch: 2, counter };
        let transfer = Transfer { from: a.clone(), to: b.clone(), amount: 7 };
        let begun = |counter, wish, told| Begun { txid: txid(counter), wish, told };
        let claims = [
            begun(1, Wish::Transfer(transfer), Told::Unknown),
            begun(2, Wish::Read(vec![a.clone()]), Told::Aborted),
            begun(
                3,
                Wish::Read(vec![a, b.clone()]),
                Told::Committed { values: Some(vec![(b, -1)]) },
            ),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &claims).expect("it is ours");
        let read = read(folder.path()).expect("it was just written");
        assert_eq!(read.len(), 3);
        for (claim, begun) in read.iter().zip(&claims) {
            assert_eq!((claim.txid, &claim.told), (begun.txid, &begun.told));
        }
        assert_eq!(read[0].transaction.ops.len(), 2);
    }
}
