//! Finds in a line what the chain is made of, without a JSON parser.
//!
//! The fields that count stand at both ends of a line, in a fixed order and form. Anything else
//! than what [`Record`](super::Record) writes is refused. Fields in the middle are found by their
//! key: inside a string each quote has a backslash before it, so that `,"count":` is never part of
//! one.

use jiff::Timestamp;

use super::hex::unhex;
use super::record::ENFORCE;

/// A line, as far as the chain needs it; without its end.
#[derive(Clone, Copy)]
pub(super) struct Scanned<'a> {
    pub(super) seq: u64,
    pub(super) stream: &'a [u8],
    pub(super) event: &'a [u8],
    pub(super) prev: &'a [u8],
    pub(super) hash: &'a [u8],
    /// All before the hash: what it covers.
    pub(super) hashed: &'a [u8],
    /// Of a checkpoint: all before the signature, which is what it covers.
    pub(super) signed: &'a [u8],
    pub(super) signature: &'a [u8],
    /// When it was written, as text.
    pub(super) raw_time: &'a [u8],
    denied: bool,
    /// What stands between the event and the seal.
    middle: &'a [u8],
}

/// `,"prev":"` + 64 digits + `"`
const PREV: usize = 9 + 64 + 1;
/// `,"sig":"` + 128 digits + `"`
const SIGNATURE: usize = 8 + 128 + 1;
/// `,"h":"` + 64 digits + `"}`
const SEAL: usize = 6 + 64 + 2;

/// Reads a line; `None` if it is not one of our records.
pub(super) fn scan(line: &[u8]) -> Option<Scanned<'_>> {
    let rest = line.strip_prefix(b"{\"v\":1,\"seq\":")?;
    let (seq, rest) = number(rest)?;
    let (raw_time, rest) = text(rest.strip_prefix(b",\"ts\":\"")?)?;
    let (_node, rest) = text(rest.strip_prefix(b",\"node\":\"")?)?;
    let (stream, rest) = text(rest.strip_prefix(b",\"stream\":\"")?)?;
    let (event, middle) = text(rest.strip_prefix(b",\"event\":\"")?)?;
    let denied = middle.starts_with(b",\"decision\":\"deny\"");

    let (hashed, seal) = split_last(line, SEAL)?;
    let hash = seal.strip_prefix(b",\"h\":\"")?.strip_suffix(b"\"}")?;
    let (signed, signature) = match event {
        b"checkpoint" => {
            let (signed, signature) = split_last(hashed, SIGNATURE)?;
            (signed, signature.strip_prefix(b",\"sig\":\"")?.strip_suffix(b"\"")?)
        }
        _ => (hashed, &[][..]),
    };
    let (_, prev) = split_last(signed, PREV)?;
    let prev = prev.strip_prefix(b",\"prev\":\"")?.strip_suffix(b"\"")?;
    Some(Scanned {
        seq,
        stream,
        event,
        prev,
        hash,
        hashed,
        signed,
        signature,
        raw_time,
        denied,
        middle,
    })
}

impl<'a> Scanned<'a> {
    /// The refused requests that the record stands for; `None` if a summary does not say.
    pub(super) fn denials(&self) -> Option<u64> {
        match (self.event, self.denied) {
            // What a shadow would refuse, or a permissive principal is forgiven, was not refused.
            (b"decision", true) => {
                Some(u64::from(self.text("mode").is_none_or(|mode| mode == ENFORCE.as_bytes())))
            }
            (b"summary", true) => self.number("count"),
            _ => Some(0),
        }
    }

    /// When it was written.
    pub(super) fn time(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.raw_time).ok()?.parse().ok()
    }

    /// The number of the field `key`.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        number(self.field(key)?).map(|(number, _)| number)
    }

    /// The text of the field `key`, still escaped.
    pub(super) fn text(&self, key: &str) -> Option<&'a [u8]> {
        text(self.field(key)?.strip_prefix(b"\"")?).map(|(text, _)| text)
    }

    /// Whether there is a field `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.field(key).is_some()
    }

    /// The key that the field `key` names.
    pub(super) fn public_key(&self, key: &str) -> Option<[u8; 32]> {
        unhex(self.text(key)?.strip_prefix(b"ed25519:")?)
    }

    /// What stands behind `,"key":`.
    fn field(&self, key: &str) -> Option<&'a [u8]> {
        let key = format!(",\"{key}\":");
        let at = memchr::memmem::find(self.middle, key.as_bytes())?;
        self.middle.get(at + key.len()..)
    }
}

fn split_last(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(bytes.len().checked_sub(length)?)
}

/// Decimal digits as we write them, and what stands behind.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = bytes.split_at(length);
    if digits.is_empty() || digits.len() > 20 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut number = 0_u64;
    for digit in digits {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    Some((number, rest))
}

/// The inside of a string whose first quote is already gone, and what stands behind it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    let end = bytes.iter().position(|&byte| {
        let over = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        over
    })?;
    Some((&bytes[..end], &bytes[end + 1..]))
}
