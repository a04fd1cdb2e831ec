//! The names of things: logs, nodes, transactions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The name of a node's log: random, drawn when its directory was made. A node whose disk was wiped has
/// another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId(pub [u8; 16]);

/// A participant, by the number it has in the list of all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u16);

/// A transaction's name, used once among all coordinators and all their boots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TxId {
    /// Of the coordinator that decides.
    pub log: LogId,
    /// The boot of the coordinator that gave the name. Forced before the first name of it is given.
    pub epoch: u64,
    /// Counts within the boot, from 1.
    pub counter: u64,
}

/// Text that names nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not {1}")]
pub struct BadName(String, &'static str);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LogId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName(text.to_owned(), "a log id: 32 hexadecimal digits");
        if text.len() != 32
            || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Err(bad());
        }
        u128::from_str_radix(text, 16).map(|id| Self(id.to_be_bytes())).map_err(|_| bad())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        number(text.strip_prefix('p'))
            .map(Self)
            .ok_or_else(|| BadName(text.to_owned(), "a participant: `p` and its number"))
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.log, self.epoch, self.counter)
    }
}

impl fmt::Debug for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TxId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let mut parts = text.split('.');
        let id = (|| {
            let log = parts.next()?.parse().ok()?;
            let epoch = number(parts.next())?;
            let counter = number(parts.next())?;
            Some(Self { log, epoch, counter })
        })();
        match (id, parts.next()) {
            (Some(id), None) => Ok(id),
            _ => Err(BadName(text.to_owned(), "a transaction: LOG.EPOCH.COUNTER")),
        }
    }
}

/// A number as we print them: digits alone, so that a name has one spelling.
fn number<N: FromStr + ToString>(text: Option<&str>) -> Option<N> {
    let text = text?;
    let number: N = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_printed_and_in_no_other_way() {
        let id = TxId { log: LogId([0xab; 16]), epoch: 3, counter: 71 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("p12".parse(), Ok(NodeId(12)));
        for bad in ["p", "12", "p+1", "p01", "p65536", ""] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad}");
        }
        let log = "ab".repeat(16);
        for bad in
            ["", "1.2.3", &format!("{log}.3"), &format!("{log}.3.7.1"), &format!("{log}.03.7")]
        {
            assert!(bad.parse::<TxId>().is_err(), "{bad}");
        }
    }
}
