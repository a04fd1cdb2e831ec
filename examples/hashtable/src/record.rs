//! What the log and the checkpoints hold, as bytes (postcard).
//!
//! A record says what a key holds from now on, and not how that came about: applied to the state
//! before it, it gives the state behind it. The completion of the call stands in the same record, so
//! that neither is ever there without the other.

use std::fmt;

use bailiwick::durable::Completion;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The kind of all records of a table.
pub const CHANGE: u8 = 1;

/// One record of the log.
#[derive(Debug, Serialize, Deserialize)]
pub struct Change<'a> {
    /// What changes.
    pub key: &'a str,
    /// What it holds from now on; `None` is nothing.
    #[serde(borrow)]
    pub value: Option<Raw<'a>>,
    /// What the call answered, for a client that asks again. `None` for a call that no client made.
    pub completion: Option<Completion>,
}

/// One item of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub enum Item<'a> {
    /// Some entries, behind those of the item before.
    #[serde(borrow)]
    Entries(Vec<(&'a str, Raw<'a>)>),
    /// What some calls answered.
    Completions(Vec<Completion>),
}

/// Bytes that are written and read in one piece, and borrowed from what they were read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(pub &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;

        impl<'de> de::Visitor<'de> for Borrowed {
            type Value = &'de [u8];

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_borrowed_bytes<E: de::Error>(
                self,
                bytes: &'de [u8],
            ) -> Result<Self::Value, E> {
                Ok(bytes)
            }
        }

        deserializer.deserialize_bytes(Borrowed).map(Self)
    }
}
