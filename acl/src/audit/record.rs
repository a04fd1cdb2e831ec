//! What one record says, and its fields in their fixed order.

use std::time::SystemTime;

use jiff::Timestamp;

use super::hex::hex;
use super::line::Line;
use crate::policy::{Effect, Reason};

/// Most arguments of one record; the macro lets no method show more.
pub const MAX_ARGUMENTS: usize = 16;

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
        let mut line = Line::begin();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::scan::scan;
    use crate::audit::{MAX_ARGUMENT, MAX_FIELD, MAX_LINE};

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
