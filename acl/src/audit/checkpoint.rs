//! Signed checkpoints, each with the key of the next one.
//!
//! A checkpoint is signed by the key that the one before it announced, and announces another. The
//! old private key is erased. So whoever breaks into a machine finds the key of the checkpoint to
//! come, and can sign none of those that were. This is the idea of forward-secure sealing (Bellare
//! and Yee, 1997; Marson and Poettering, 2013); the keys here are random and not derived from each
//! other, so that an old copy of the key file is worth nothing later.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use thiserror::Error;

use super::hex::{hex, unhex};
use super::record::{Event, Position, Record};
use super::scan::Scanned;

/// What the signature of each checkpoint covers first; then come the exact bytes of the line before
/// `,"sig"`.
pub const CHECKPOINT_DOMAIN: &[u8] = b"bailiwick audit checkpoint v1\0";

/// The public key of a checkpoint. That of the first one is the log's *anchor*: whoever keeps it
/// elsewhere can tell a log from one that was written anew as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckpointKey(pub [u8; 32]);

impl fmt::Display for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", hex(&self.0))
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a key: write `ed25519:` and 64 hex digits, as the server printed it")]
pub struct BadKey;

impl FromStr for CheckpointKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let digits = text.strip_prefix("ed25519:").ok_or(BadKey)?;
        unhex(digits.to_ascii_lowercase().as_bytes()).map(Self).ok_or(BadKey)
    }
}

impl CheckpointKey {
    pub(super) fn of(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }
}

/// What a checkpoint says besides where it stands.
#[derive(Clone, Copy)]
pub(super) struct Totals {
    /// Refused requests so far, in full and summed up.
    pub(super) denied: u64,
    /// The key that signs the next checkpoint.
    pub(super) next: CheckpointKey,
    pub(super) end: End,
}

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The log goes on.
    Open,
    /// It was closed in order.
    Closed,
}

/// The line of a checkpoint, and its hash.
pub(super) fn seal(
    key: &SigningKey,
    totals: &Totals,
    at: &Position<'_>,
    time: SystemTime,
) -> (String, [u8; 32]) {
    let mut line = Record::of(Event::Checkpoint).begin(at, time);
    line.number("size", Some(at.seq.saturating_sub(1)));
    line.number("denied", Some(totals.denied));
    line.text("next", Some(&totals.next.to_string()));
    if totals.end == End::Closed {
        line.truth("closed");
    }
    line.hex("prev", Some(&at.prev));
    let signature = key.sign(&signed(line.as_bytes()));
    line.hex("sig", Some(&signature.to_bytes()));
    line.close(&at.prev)
}

/// The first record of a later file: what the checkpoint at the end of the one before said, so that
/// the file can be carried on without that.
pub(super) fn carry(
    before: &str,
    denied: u64,
    next: CheckpointKey,
    at: &Position<'_>,
    time: SystemTime,
) -> (String, [u8; 32]) {
    let record = Record { detail: Some(before), ..Record::of(Event::Rotate) };
    let mut line = record.begin(at, time);
    line.number("denied", Some(denied));
    line.text("next", Some(&next.to_string()));
    line.hex("prev", Some(&at.prev));
    line.close(&at.prev)
}

/// What a checkpoint's line says; `None` if it does not.
pub(super) fn totals(line: &Scanned<'_>) -> Option<Totals> {
    let size = line.number("size")?;
    let end = if line.has("closed") { End::Closed } else { End::Open };
    let totals = Totals {
        denied: line.number("denied")?,
        next: CheckpointKey(line.public_key("next")?),
        end,
    };
    (size.checked_add(1) == Some(line.seq)).then_some(totals)
}

/// Whether `key` signed the checkpoint `line`.
pub(super) fn is_signed_by(line: &Scanned<'_>, key: CheckpointKey) -> bool {
    let signature = unhex(line.signature).map(|bytes| Signature::from_bytes(&bytes));
    let key = VerifyingKey::from_bytes(&key.0);
    match (signature, key) {
        (Some(signature), Ok(key)) => key.verify_strict(&signed(line.signed), &signature).is_ok(),
        _ => false,
    }
}

fn signed(line: &[u8]) -> Vec<u8> {
    [CHECKPOINT_DOMAIN, line].concat()
}
