//! What a record says: borrowed from its line to be judged, owned once it is wanted.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::audit::escape;
use crate::object::is_invisible;

/// One record, as read from a log. Texts are as the peer sent them: pass them through
/// [`escape`] before showing them. Fields that are not known here are in [`json`](Self::json).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Its number.
    pub seq: u64,
    /// When, RFC 3339 in UTC.
    pub ts: String,
    /// The machine that wrote it.
    pub node: Option<String>,
    /// The stream it belongs to.
    pub stream: Option<String>,
    /// What happened.
    pub event: String,
    /// `allow` or `deny`.
    pub decision: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Who.
    pub principal: Option<String>,
    /// The fingerprint of the key.
    pub key: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// From where.
    pub peer: Option<String>,
    /// The service.
    pub service: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The verb.
    pub verb: Option<String>,
    /// The object.
    pub object: Option<String>,
    /// The deciding row, `file:line`.
    pub row: Option<String>,
    /// The digest of the policy that judged.
    pub policy: Option<String>,
    /// Its serial.
    pub serial: Option<u64>,
    /// What is done about a refusal; only under `enforce` was a request refused.
    pub mode: Option<String>,
    /// The call.
    pub call: Option<String>,
    /// How many events it stands for.
    pub count: Option<u64>,
    /// On how many objects.
    pub distinct: Option<u64>,
    /// What people should know besides.
    pub detail: Option<String>,
    /// The line of the file; 1 is the first.
    pub line: u64,
    /// The record as JSON, fit for a terminal.
    pub json: String,
}

impl Entry {
    /// Whether a request, a handshake or a session was refused, or a summary of such is this. What a
    /// shadow would refuse, or a permissive principal is forgiven, was not refused.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let [decision, mode, detail] = [&self.decision, &self.mode, &self.detail]
            .map(|field| field.as_deref().unwrap_or_default());
        refuses(&self.event, decision, mode, detail)
    }

    /// How many requests, handshakes or packets it stands for: a decision for one, a summary for its
    /// count, and what tells of the log or the policy for none.
    #[must_use]
    pub fn weight(&self) -> u64 {
        match &*self.event {
            "decision" | "handshake.refused" | "session.broken" | "session.revoked"
            | "packets.refused" | "summary" => self.count.unwrap_or(1),
            _ => 0,
        }
    }

    /// The address of the peer without its port.
    #[must_use]
    pub fn peer_host(&self) -> Option<&str> {
        self.peer.as_deref().map(host)
    }
}

/// A record that borrows from its line.
#[derive(serde::Deserialize)]
pub(super) struct Fields<'a> {
    pub(super) seq: u64,
    #[serde(borrow)]
    pub(super) ts: Text<'a>,
    pub(super) node: Option<Text<'a>>,
    pub(super) stream: Option<Text<'a>>,
    pub(super) event: Text<'a>,
    pub(super) decision: Option<Text<'a>>,
    pub(super) reason: Option<Text<'a>>,
    pub(super) principal: Option<Text<'a>>,
    pub(super) key: Option<Text<'a>>,
    pub(super) session: Option<Text<'a>>,
    pub(super) peer: Option<Text<'a>>,
    pub(super) service: Option<Text<'a>>,
    pub(super) method: Option<Text<'a>>,
    pub(super) verb: Option<Text<'a>>,
    pub(super) object: Option<Text<'a>>,
    pub(super) row: Option<Text<'a>>,
    pub(super) policy: Option<Text<'a>>,
    pub(super) serial: Option<u64>,
    pub(super) mode: Option<Text<'a>>,
    pub(super) call: Option<Text<'a>>,
    pub(super) count: Option<u64>,
    pub(super) distinct: Option<u64>,
    pub(super) detail: Option<Text<'a>>,
}

impl<'a> Fields<'a> {
    /// The record that a line is; `None` if it is none.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        serde_json::from_str(std::str::from_utf8(line).ok()?).ok()
    }

    pub(super) fn is_refusal(&self) -> bool {
        let [decision, mode, detail] = [&self.decision, &self.mode, &self.detail].map(text);
        refuses(&self.event.0, decision, mode, detail)
    }

    /// The entry of `line`, from which these fields were read.
    pub(super) fn into_entry(self, line: &[u8], number: u64) -> Entry {
        let owned = |text: Option<Text<'_>>| text.map(|text| text.0.into_owned());
        Entry {
            seq: self.seq,
            ts: self.ts.0.into_owned(),
            node: owned(self.node),
            stream: owned(self.stream),
            event: self.event.0.into_owned(),
            decision: owned(self.decision),
            reason: owned(self.reason),
            principal: owned(self.principal),
            key: owned(self.key),
            session: owned(self.session),
            peer: owned(self.peer),
            service: owned(self.service),
            method: owned(self.method),
            verb: owned(self.verb),
            object: owned(self.object),
            row: owned(self.row),
            policy: owned(self.policy),
            serial: self.serial,
            mode: owned(self.mode),
            call: owned(self.call),
            count: self.count,
            distinct: self.distinct,
            detail: owned(self.detail),
            line: number,
            json: plain_json(&String::from_utf8_lossy(line)),
        }
    }
}

/// A JSON string; serde would copy it inside an `Option`, and most are only looked at.
#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

/// What the field says, or nothing.
pub(super) fn text<'t>(field: &'t Option<Text<'_>>) -> &'t str {
    field.as_ref().map_or("", |text| &text.0)
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;

        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Borrow)
    }
}

/// JSON in which nothing is left that a terminal would obey.
///
/// Inside valid JSON such characters can only stand in strings, where the escape means the same;
/// quotes and backslashes are part of the JSON and stay.
pub(super) fn plain_json(json: &str) -> String {
    // Nearly every record; this is several times as fast.
    if json.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return json.to_owned();
    }
    let hides = |c: char| c.is_control() || is_invisible(c);
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find(hides) {
        let (before, from) = rest.split_at(at);
        let length = from.chars().next().map_or(0, char::len_utf8);
        let (hidden, after) = from.split_at(length);
        out.push_str(before);
        out.push_str(&escape(hidden));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// `peer` without its port.
pub(super) fn host(peer: &str) -> &str {
    let (host, port) = peer.rsplit_once(':').unwrap_or((peer, ""));
    let numeric = port.bytes().all(|byte| byte.is_ascii_digit());
    // An IPv6 address that stands alone has colons and no port.
    let whole = !numeric || (host.contains(':') && !host.ends_with(']'));
    bare(if whole { peer } else { host })
}

/// An address without the brackets that set an IPv6 address apart from its port.
pub(super) fn bare(address: &str) -> &str {
    let inner = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    inner.unwrap_or(address)
}

fn refuses(event: &str, decision: &str, mode: &str, detail: &str) -> bool {
    let enforced = matches!(mode, "" | "enforce");
    let refused = match event {
        "handshake.refused" | "session.broken" | "session.revoked" => true,
        // Packets are dropped by the network's own doing, and the session goes on.
        "summary" => detail != "packets.refused",
        _ => decision == "deny",
    };
    enforced && refused
}
