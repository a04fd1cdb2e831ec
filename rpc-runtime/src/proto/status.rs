//! How a call ended, as a reply's status says it; `docs/protocol.md` has the table.

use super::varint;
use crate::error::Outcome;

pub(crate) const OK: u8 = 0;
pub(crate) const APP: u8 = 1;
pub(crate) const DENIED: u8 = 2;
pub(crate) const OVERLOADED: u8 = 3;
pub(crate) const DEADLINE_EXCEEDED: u8 = 4;
pub(crate) const UNIMPLEMENTED: u8 = 5;
pub(crate) const MALFORMED: u8 = 6;
pub(crate) const INTERNAL: u8 = 7;
pub(crate) const UNAVAILABLE: u8 = 8;
/// Below the floor, or cancelled: it never runs again, and what it did before is not told.
pub(crate) const STALE: u8 = 9;
/// It ran; the answer could not be kept.
pub(crate) const ANSWER_LOST: u8 = 10;
/// The answer is too long for this transport: ask for it over TCP.
pub(crate) const TOO_LARGE_HERE: u8 = 11;

/// What a reply's status, and for a deadline its body, say about whether the call ran.
pub(crate) fn outcome(status: u8, body: &[u8]) -> Outcome {
    match status {
        OK | APP | INTERNAL | ANSWER_LOST => Outcome::Ran,
        DENIED | OVERLOADED | UNIMPLEMENTED | MALFORMED | UNAVAILABLE => Outcome::DidNotRun,
        DEADLINE_EXCEEDED => match varint::take(&mut &body[..]) {
            Some(0) => Outcome::DidNotRun,
            Some(1) => Outcome::Ran,
            _ => Outcome::Unknown,
        },
        _ => Outcome::Unknown,
    }
}
