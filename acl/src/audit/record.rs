//! The text of one record: fields in their fixed order, escaped, and sealed by the hash.

use std::fmt::Write as _;
use std::time::SystemTime;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{DOMAIN, MAX_LINE};
use crate::object::is_invisible;
use crate::policy::{Effect, Reason};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Most bytes of a text from the network in a record; the rest is cut, and `…` put in its place.
pub const MAX_FIELD: usize = 1_024;

/// The same for an argument.
pub const MAX_ARGUMENT: usize = 256;

/// Most arguments of one record; the macro lets no method show more.
pub const MAX_ARGUMENTS: usize = 16;

/// Where texts end in a line, so that what follows them keeps it below [`MAX_LINE`]. Only a record of
/// nothing but controls, six bytes each, comes so far; its texts are cut there.
const TEXTS_END: usize = MAX_LINE - 4 * 1_024;

/// Most bytes that a character takes when it is escaped: two units of UTF-16.
const MAX_ESCAPED: usize = 12;

/// The mode in which a refusal is one.
pub(super) const ENFORCE: &str = "enforce";

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
    /// The signed sum of all before it.
    Checkpoint,
    /// The first record of the next file of a log.
    Rotate,
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
            Self::Checkpoint => "checkpoint",
            Self::Rotate => "rotate",
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
    /// Arguments that the service lets be seen, by their names; each is a field `arg.NAME`.
    pub arguments: &'a [(&'a str, &'a str)],
    /// How many events a summary or a gap stands for.
    pub count: Option<u64>,
    /// How many distinct objects they were about; `detail` says if there may be more.
    pub distinct: Option<u64>,
    /// The record in full that the events of a summary are like.
    pub like: Option<u64>,
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
            arguments: &[],
            count: None,
            distinct: None,
            like: None,
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
        let mut line = self.begin(at, time);
        line.hex("prev", Some(&at.prev));
        line.close(&at.prev)
    }

    /// The line up to what only some events carry.
    pub(super) fn begin(&self, at: &Position<'_>, time: SystemTime) -> Line {
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
        for (name, value) in self.arguments.iter().take(MAX_ARGUMENTS) {
            line.argument(name, value);
        }
        line.number("count", self.count);
        line.number("distinct", self.distinct);
        line.number("like", self.like);
        line.text("detail", self.detail);
        line
    }

    /// Whether it is about a request that may run: allowed or forgiven, or one that only a shadow
    /// refuses.
    pub(super) fn may_run(&self) -> bool {
        let is_forgiven = self.event == Event::Decision && !self.is_enforced();
        self.decision == Some(Effect::Allow) || is_forgiven
    }

    /// What a shadow would refuse, or a permissive principal is forgiven, was not refused.
    fn is_enforced(&self) -> bool {
        matches!(self.mode, None | Some(ENFORCE))
    }

    /// The refused requests that this record stands for: what the checkpoints sum up.
    pub(super) fn denials(&self) -> u64 {
        match (self.event, self.decision) {
            (Event::Decision, Some(Effect::Deny)) => u64::from(self.is_enforced()),
            (Event::Summary, Some(Effect::Deny)) => self.count.unwrap_or_default(),
            _ => 0,
        }
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
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// The digits of a hash.
pub(super) fn hash_hex(hash: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

/// The bytes that these lower-case digits are.
pub(super) fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
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
        push_character(out, c);
    }
}

fn push_character(out: &mut String, c: char) {
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

/// A line under way.
pub(super) struct Line(String);

impl Line {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Adds the hash, and ends the line.
    pub(super) fn close(mut self, prev: &[u8; 32]) -> (String, [u8; 32]) {
        let hash = chain(prev, self.as_bytes());
        self.hex("h", Some(&hash));
        self.0.push_str("}\n");
        (self.0, hash)
    }

    fn key(&mut self, key: &str) {
        self.0.push_str(",\"");
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    pub(super) fn text(&mut self, key: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        self.key(key);
        self.value(text, MAX_FIELD);
    }

    /// A field of its own for each, so that no field of ours is ever mistaken for it.
    fn argument(&mut self, name: &str, value: &str) {
        let key = format!("arg.{}", escape(name));
        // A name is never cut: it could be taken for another.
        if self.0.len().saturating_add(key.len()) > TEXTS_END {
            return;
        }
        self.key(&key);
        self.value(value, MAX_ARGUMENT);
    }

    fn value(&mut self, text: &str, most: usize) {
        self.0.push('"');
        let kept = text.floor_char_boundary(most);
        let mut is_whole = kept == text.len();
        for c in text[..kept].chars() {
            if self.0.len() + MAX_ESCAPED > TEXTS_END {
                is_whole = false;
                break;
            }
            push_character(&mut self.0, c);
        }
        if !is_whole {
            self.0.push('…');
        }
        self.0.push('"');
    }

    pub(super) fn number(&mut self, key: &str, number: Option<u64>) {
        let Some(number) = number else { return };
        self.key(key);
        let _ = write!(self.0, "{number}");
    }

    pub(super) fn truth(&mut self, key: &str) {
        self.key(key);
        self.0.push_str("true");
    }

    pub(super) fn hex(&mut self, key: &str, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        self.key(key);
        self.0.push('"');
        push_hex(&mut self.0, bytes);
        self.0.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::scan::scan;

    #[test]
    fn no_record_is_longer_than_a_line_may_be() {
        for text in ["\u{1}", "\u{e0001}", "\"", "x", "…"].map(|text| text.repeat(MAX_FIELD)) {
            let node = &*text;
            let text = Some(node);
            let argument = "\u{1}".repeat(MAX_ARGUMENT);
            let name = "n".repeat(MAX_ARGUMENT);
            let record = Record {
                reason: text,
                principal: text,
                key: text,
                session: Some([255; 8]),
                peer: text,
                service: text,
                method: text,
                verb: text,
                object: text,
                row: text.map(|file| (file, u32::MAX)),
                policy: Some([255; 32]),
                serial: Some(u64::MAX),
                mode: text,
                call: text,
                arguments: &[(&*name, &*argument); MAX_ARGUMENTS],
                count: Some(u64::MAX),
                distinct: Some(u64::MAX),
                like: Some(u64::MAX),
                detail: text,
                ..Record::of(Event::Decision)
            };
            let at = Position { seq: u64::MAX, node, stream: [255; 16], prev: [255; 32] };
            let (line, _) = record.seal(&at, SystemTime::UNIX_EPOCH);
            assert!(line.len() <= MAX_LINE, "{}", line.len());
            assert!(scan(line.trim_end().as_bytes()).is_some());
        }
    }

    #[test]
    fn a_text_of_controls_alone_is_kept_whole_where_there_is_room() {
        let object = "\u{1}".repeat(MAX_FIELD);
        let record = Record { object: Some(&object), ..Record::of(Event::Decision) };
        let at = Position { seq: 1, node: "n", stream: [0; 16], prev: [0; 32] };
        let (line, _) = record.seal(&at, SystemTime::UNIX_EPOCH);
        assert_eq!(line.matches("\\u0001").count(), MAX_FIELD);
    }
}
