//! The text of one record: fields in their fixed order, escaped, and sealed by the hash.

use std::fmt::Write as _;
use std::time::SystemTime;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::DOMAIN;
use crate::object::is_invisible;
use crate::policy::{Effect, Reason};

/// Most bytes of a text from the network in a record; the rest is cut, and `…` put in its place.
pub const MAX_FIELD: usize = 1_024;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// A request was judged.
    Decision,
    /// A peer proved a key that the policy does not know, or failed to prove one.
    HandshakeRefused,
    /// A session was ended because its peer, or somebody on the way, broke the protocol.
    SessionBroken,
    /// A session was ended because the policy no longer knows its key.
    SessionRevoked,
    /// Packets that were not authentic or came twice; the session goes on.
    PacketsRefused,
    /// A policy came into force.
    PolicyLoad,
    /// A policy was refused, and the one in force stayed.
    PolicyReject,
    /// What is done about refusals has changed, of all or of one principal.
    ModeChange,
    /// Events of one kind that came too fast to be recorded one by one.
    Summary,
    /// Records are missing here, and why.
    Gap,
}

impl Event {
    /// The word of the `event` field.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::HandshakeRefused => "handshake.refused",
            Self::SessionBroken => "session.broken",
            Self::SessionRevoked => "session.revoked",
            Self::PacketsRefused => "packets.refused",
            Self::PolicyLoad => "policy.load",
            Self::PolicyReject => "policy.reject",
            Self::ModeChange => "mode.change",
            Self::Summary => "summary",
            Self::Gap => "gap",
        }
    }
}

/// The content of a record; sequence, chain, node and stream are the log's business.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What happened.
    pub event: Event,
    /// How a request was judged.
    pub decision: Option<Effect>,
    /// Why: a [`Reason`], or the word of the event's own kind.
    pub reason: Option<&'a str>,
    /// Who asked.
    pub principal: Option<&'a str>,
    /// The fingerprint of the key that was proven.
    pub key: Option<&'a str>,
    /// The session; written in hex.
    pub session: Option<[u8; 8]>,
    /// The network address.
    pub peer: Option<&'a str>,
    /// The service asked for.
    pub service: Option<&'a str>,
    /// The method asked for.
    pub method: Option<&'a str>,
    /// The verb it declares.
    pub verb: Option<&'a str>,
    /// The object that the request named.
    pub object: Option<&'a str>,
    /// The policy file and line that decided.
    pub row: Option<(&'a str, u32)>,
    /// The digest of the policy in force.
    pub policy: Option<[u8; 32]>,
    /// Its serial.
    pub serial: Option<u64>,
    /// What is done about a refusal; a [`Mode`](crate::monitor::Mode). Only under `enforce` is a
    /// request refused.
    pub mode: Option<&'a str>,
    /// The call's number.
    pub call: Option<&'a str>,
    /// How many events a summary or a gap stands for.
    pub count: Option<u64>,
    /// What people should know besides.
    pub detail: Option<&'a str>,
}

impl Record<'_> {
    /// A record of `event` with nothing else in it.
    #[must_use]
    pub const fn of(event: Event) -> Self {
        Self {
            event,
            decision: None,
            reason: None,
            principal: None,
            key: None,
            session: None,
            peer: None,
            service: None,
            method: None,
            verb: None,
            object: None,
            row: None,
            policy: None,
            serial: None,
            mode: None,
            call: None,
            count: None,
            detail: None,
        }
    }

    /// The same record with a decision and its reason.
    #[must_use]
    pub const fn judged(self, decision: Effect, reason: Reason) -> Self {
        Self { decision: Some(decision), reason: Some(reason.as_str()), ..self }
    }

    /// The whole line with its end, and the hash that the next record carries on.
    pub(super) fn seal(&self, at: &Position<'_>, time: SystemTime) -> (String, [u8; 32]) {
        let mut line = self.body(at, time);
        let hash = chain(&at.prev, line.as_bytes());
        line.push_str(",\"h\":\"");
        push_hex(&mut line, &hash);
        line.push_str("\"}\n");
        (line, hash)
    }

    /// All that the hash covers.
    fn body(&self, at: &Position<'_>, time: SystemTime) -> String {
        // A clock outside jiff's years -9999 to 9999 is no reason to lose the record.
        let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut line = Line(String::with_capacity(640));
        line.0.push_str("{\"v\":1");
        line.number("seq", Some(at.seq));
        line.text("ts", Some(&format!("{time:.6}")));
        line.text("node", Some(at.node));
        line.hex("stream", Some(&at.stream));
        line.text("event", Some(self.event.as_str()));
        line.text(
            "decision",
            self.decision.map(|decision| match decision {
                Effect::Allow => "allow",
                Effect::Deny => "deny",
            }),
        );
        line.text("reason", self.reason);
        line.text("principal", self.principal);
        line.text("key", self.key);
        line.hex("session", self.session.as_ref().map(|session| &session[..]));
        line.text("peer", self.peer);
        line.text("service", self.service);
        line.text("method", self.method);
        line.text("verb", self.verb);
        line.text("object", self.object);
        line.text("row", self.row.map(|(file, row)| format!("{file}:{row}")).as_deref());
        line.text(
            "policy",
            self.policy.map(|digest| format!("sha256:{}", hex(&digest))).as_deref(),
        );
        line.number("serial", self.serial);
        line.text("mode", self.mode);
        line.text("call", self.call);
        line.number("count", self.count);
        line.text("detail", self.detail);
        line.hex("prev", Some(&at.prev));
        line.0
    }
}

/// Where in which log a record goes.
pub(super) struct Position<'a> {
    pub(super) seq: u64,
    pub(super) node: &'a str,
    pub(super) stream: [u8; 16],
    pub(super) prev: [u8; 32],
}

/// The hash of a record: over its bytes and, through `prev`, over all before it.
pub(super) fn chain(prev: &[u8; 32], body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    hash.update(prev);
    hash.update(body);
    hash.finalize().into()
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// `text` as it may stand in a JSON string, or be shown on a terminal: quotes and backslashes
/// escaped, and controls, DEL, C1 controls and invisible marks as `\uXXXX`.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(&mut out, text);
    out
}

fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() || is_invisible(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
}

struct Line(String);

impl Line {
    fn key(&mut self, key: &str) {
        self.0.push_str(",\"");
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    fn text(&mut self, key: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        self.key(key);
        self.0.push('"');
        let kept = text.floor_char_boundary(MAX_FIELD);
        push_escaped(&mut self.0, &text[..kept]);
        if kept < text.len() {
            self.0.push('…');
        }
        self.0.push('"');
    }

    fn number(&mut self, key: &str, number: Option<u64>) {
        let Some(number) = number else { return };
        self.key(key);
        let _ = write!(self.0, "{number}");
    }

    fn hex(&mut self, key: &str, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        self.key(key);
        self.0.push('"');
        push_hex(&mut self.0, bytes);
        self.0.push('"');
    }
}
