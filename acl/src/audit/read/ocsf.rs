//! A record as an event of the Open Cybersecurity Schema Framework, which log collectors read.
//!
//! | record | class | activity | status |
//! |---|---|---|---|
//! | `decision`, and a `summary` of such | API Activity 6003 | by its verb: `create` 1, `read` 2, `update` and `write` 3, `delete` 4, else Other 99 | Success 1 if it ran, Failure 2 if it was refused |
//! | `handshake.refused` | Authentication 3002 | Logon 1 | Failure |
//! | `session.revoked` | Authentication 3002 | Logoff 2 | Success |
//! | `session.broken` | Network Activity 4001 | Reset 3 | Failure |
//! | `packets.refused` | Network Activity 4001 | Traffic 6 | Failure |
//! | `policy.load`, `mode.change` | Entity Management 3004 | Update 3 | Success |
//! | `policy.reject` | Entity Management 3004 | Update 3 | Failure |
//! | `rotate` | Event Log Activity 1008 | Rotate 5 | Success |
//! | `checkpoint` | Event Log Activity 1008 | Other 99 | Success |
//! | `gap` | Event Log Activity 1008 | Other 99 | Failure |
//! | any other | Base Event 0 | Other 99 | Unknown 0 |
//!
//! A summary takes the class of what it stands for, and `count`. A refusal under a shadow policy has
//! the action Observed 3, one that a permissive principal is forgiven Allowed 1; both are Logged 17.
//! What has no place in a class is under `unmapped`, hashes included, so that nothing is lost.
//!
//! Source: <https://schema.ocsf.io/1.6.0>.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::entry::{Entry, plain_json};

/// The version of the schema that [`ocsf`] follows.
pub const OCSF_VERSION: &str = "1.6.0";

/// The record as one line of JSON by the schema, without its end, fit for a terminal.
#[must_use]
pub fn ocsf(entry: &Entry) -> String {
    // An entry's JSON was read once already; were it not an object, the event would have no details.
    let mut rest = Rest(serde_json::from_str(&entry.json).unwrap_or_default());
    let kind = Kind::of(entry);
    let mut event = Map::new();
    let mut put = |key: &str, value: Value| event.insert(key.to_owned(), value);
    let (activity, activity_name) = kind.activity(entry);
    put("class_uid", kind.class().into());
    put("class_name", kind.class_name().into());
    put("category_uid", (kind.class() / 1_000).into());
    put("category_name", kind.category_name().into());
    put("activity_id", activity.into());
    put("activity_name", activity_name.into());
    put("type_uid", (kind.class() * 100 + activity).into());
    let (severity, severity_name) = kind.severity(entry);
    put("severity_id", severity.into());
    put("severity", severity_name.into());
    let (status, status_name) = kind.status(entry);
    put("status_id", status.into());
    put("status", status_name.into());
    let ts = rest.take("ts");
    let time = ts.as_str().and_then(|ts| ts.parse::<Timestamp>().ok());
    put("time", time.map_or(0, Timestamp::as_millisecond).into());
    put("metadata", metadata(&ts, &mut rest, kind));
    for (key, field) in [("status_code", "reason"), ("count", "count")] {
        if let Some(value) = rest.take_some(field) {
            put(key, value);
        }
    }
    for (key, value) in kind.details(entry, &mut rest) {
        put(key, value);
    }
    if let Some(detail) = rest.take_some("detail") {
        put("status_detail", detail);
    }
    put("unmapped", Value::Object(rest.0));
    plain_json(&Value::Object(event).to_string())
}

/// What a record tells of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    HandshakeRefused,
    SessionRevoked,
    SessionBroken,
    PacketsRefused,
    Policy,
    Log,
    Other,
}

impl Kind {
    fn of(entry: &Entry) -> Self {
        // A summary says in its detail what it stands for.
        let event = match &*entry.event {
            "summary" => entry.detail.as_deref().unwrap_or("decision"),
            event => event,
        };
        match event {
            "handshake.refused" => Self::HandshakeRefused,
            "session.revoked" => Self::SessionRevoked,
            "session.broken" => Self::SessionBroken,
            "packets.refused" => Self::PacketsRefused,
            "policy.load" | "policy.reject" | "mode.change" => Self::Policy,
            "gap" | "checkpoint" | "rotate" => Self::Log,
            "decision" => Self::Request,
            _ if entry.event == "summary" => Self::Request,
            _ => Self::Other,
        }
    }

    const fn class(self) -> u32 {
        match self {
            Self::Request => 6003,
            Self::HandshakeRefused | Self::SessionRevoked => 3002,
            Self::SessionBroken | Self::PacketsRefused => 4001,
            Self::Policy => 3004,
            Self::Log => 1008,
            Self::Other => 0,
        }
    }

    const fn class_name(self) -> &'static str {
        match self {
            Self::Request => "API Activity",
            Self::HandshakeRefused | Self::SessionRevoked => "Authentication",
            Self::SessionBroken | Self::PacketsRefused => "Network Activity",
            Self::Policy => "Entity Management",
            Self::Log => "Event Log Activity",
            Self::Other => "Base Event",
        }
    }

    const fn category_name(self) -> &'static str {
        match self {
            Self::Request => "Application Activity",
            Self::HandshakeRefused | Self::SessionRevoked | Self::Policy => {
                "Identity & Access Management"
            }
            Self::SessionBroken | Self::PacketsRefused => "Network Activity",
            Self::Log => "System Activity",
            Self::Other => "Uncategorized",
        }
    }

    fn activity(self, entry: &Entry) -> (u32, &str) {
        match self {
            Self::Request => match entry.verb.as_deref() {
                Some("create") => (1, "Create"),
                Some("read") => (2, "Read"),
                Some("update" | "write") => (3, "Update"),
                Some("delete") => (4, "Delete"),
                verb => (99, verb.unwrap_or("Other")),
            },
            Self::HandshakeRefused => (1, "Logon"),
            Self::SessionRevoked => (2, "Logoff"),
            Self::SessionBroken => (3, "Reset"),
            Self::PacketsRefused => (6, "Traffic"),
            Self::Policy => (3, "Update"),
            Self::Log if entry.event == "rotate" => (5, "Rotate"),
            Self::Log | Self::Other => (99, &entry.event),
        }
    }

    fn severity(self, entry: &Entry) -> (u32, &'static str) {
        let informational = (1, "Informational");
        let low = (2, "Low");
        let medium = (3, "Medium");
        let high = (4, "High");
        match (self, &*entry.event) {
            (Self::Log, "gap") => high,
            (Self::Request, _) if entry.reason.as_deref() == Some("audit_unavailable") => high,
            (Self::Request, _) if !entry.is_refusal() => informational,
            (Self::Policy, "policy.reject") | (Self::SessionBroken, _) => medium,
            (Self::Policy, "mode.change") if entry.mode.as_deref() != Some("enforce") => medium,
            (Self::Policy | Self::Log, _) => informational,
            (Self::Other, _) => (0, "Unknown"),
            _ => low,
        }
    }

    fn status(self, entry: &Entry) -> (u32, &'static str) {
        let success = (1, "Success");
        let failure = (2, "Failure");
        match (self, &*entry.event) {
            // A shadow's judgement changes nothing.
            (Self::Request, _) if entry.mode.as_deref() == Some("shadow") => (0, "Unknown"),
            (Self::Request, _) => {
                if entry.is_refusal() {
                    failure
                } else {
                    success
                }
            }
            (Self::HandshakeRefused | Self::SessionBroken | Self::PacketsRefused, _)
            | (_, "policy.reject" | "gap") => failure,
            (Self::SessionRevoked | Self::Policy | Self::Log, _) => success,
            (Self::Other, _) => (0, "Unknown"),
        }
    }

    /// Whether the class has the profile of a security control, with its action.
    const fn is_control(self) -> bool {
        !matches!(self, Self::Policy | Self::Log | Self::Other)
    }

    /// The attributes of the class.
    fn details(self, entry: &Entry, rest: &mut Rest) -> Vec<(&'static str, Value)> {
        let mut details = match self {
            Self::Request => request(entry, rest),
            Self::HandshakeRefused | Self::SessionRevoked => vec![
                ("user", user(rest)),
                ("session", json!({ "uid": rest.take("session") })),
                ("is_remote", true.into()),
                ("auth_protocol_id", 99.into()),
                ("auth_protocol", "Bailiwick".into()),
                ("service", json!({ "name": "Bailiwick" })),
                ("src_endpoint", source(rest)),
                ("dst_endpoint", json!({ "hostname": rest.take("node") })),
            ],
            Self::SessionBroken | Self::PacketsRefused => {
                let session = json!({ "uid": rest.take("session") });
                let mut source = source(rest);
                source["owner"] = user(rest);
                let inbound = json!({
                    "direction_id": 1, "direction": "Inbound", "session": session,
                });
                vec![
                    ("connection_info", inbound),
                    ("src_endpoint", source),
                    ("dst_endpoint", json!({ "hostname": rest.take("node") })),
                ]
            }
            Self::Policy => {
                let name = rest.take_some("detail").unwrap_or_else(|| "policy".into());
                let entity = json!({
                    "type": "policy",
                    "name": name,
                    "uid": rest.take("policy"),
                    "version": as_text(rest.take("serial")),
                });
                vec![("entity", entity), ("device", device(rest))]
            }
            Self::Log => vec![("log_name", "audit".into()), ("device", device(rest))],
            Self::Other => Vec::new(),
        };
        if self.is_control() {
            details.extend(action(entry));
        }
        details.iter_mut().for_each(|(_, value)| drop_nulls(value));
        details
    }
}

fn request(entry: &Entry, rest: &mut Rest) -> Vec<(&'static str, Value)> {
    let service = rest.take("service");
    let operation = rest.take_some("method").unwrap_or_else(|| "unknown".into());
    let policy = json!({
        // `policy.acl:7`: the file's name, and the whole as what it says.
        "name": entry.row.as_ref().map(|row| row.rsplit_once(':').map_or(&**row, |(name, _)| name)),
        "desc": rest.take("row"),
        "uid": rest.take("policy"),
        "version": as_text(rest.take("serial")),
    });
    let mut details = vec![
        ("actor", json!({ "user": user(rest), "session": { "uid": rest.take("session") } })),
        (
            "api",
            json!({
                "operation": operation,
                "service": { "name": service },
                "request": { "uid": rest.take("call") },
            }),
        ),
        ("src_endpoint", source(rest)),
        ("dst_endpoint", json!({ "hostname": rest.take("node"), "svc_name": service })),
        ("authorizations", json!([{ "decision": rest.take("decision"), "policy": policy }])),
    ];
    if let Some(object) = rest.take_some("object") {
        details.push(("resources", json!([{ "name": object, "type": "object" }])));
    }
    details
}

/// What was done about it: the attributes of the profile `security_control`.
fn action(entry: &Entry) -> [(&'static str, Value); 4] {
    let denied = entry.decision.as_deref() == Some("deny");
    let (action, action_name, disposition, disposition_name) = match entry.mode.as_deref() {
        Some("shadow") => (3, "Observed", 17, "Logged"),
        Some("permissive") if denied => (1, "Allowed", 17, "Logged"),
        _ if entry.event == "packets.refused" => (2, "Denied", 6, "Dropped"),
        _ if entry.decision.as_deref() == Some("allow") => (1, "Allowed", 1, "Allowed"),
        _ => (2, "Denied", 2, "Blocked"),
    };
    [
        ("action_id", action.into()),
        ("action", action_name.into()),
        ("disposition_id", disposition.into()),
        ("disposition", disposition_name.into()),
    ]
}

fn metadata(ts: &Value, rest: &mut Rest, kind: Kind) -> Value {
    let seq = rest.take("seq");
    let stream = rest.take("stream");
    let mut metadata = json!({
        "version": OCSF_VERSION,
        "product": {
            "name": "Bailiwick",
            "vendor_name": "Bailiwick",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "profiles": match kind {
            _ if kind.is_control() => json!(["security_control"]),
            Kind::Policy => json!(["host"]),
            _ => json!([]),
        },
        "log_name": "audit",
        "event_code": rest.take("event"),
        "original_time": ts,
        // What a refused peer was told, and where it stands.
        "uid": stream.as_str().map(|stream| format!("{stream}:{seq}")),
        "sequence": seq,
    });
    drop_nulls(&mut metadata);
    metadata
}

fn user(rest: &mut Rest) -> Value {
    // The schema wants a name; who could not prove a key has none.
    let name = rest.take_some("principal").unwrap_or_else(|| "Unknown".into());
    json!({ "name": name, "credential_uid": rest.take("key") })
}

/// The peer, as an endpoint, which must have something that names it.
fn source(rest: &mut Rest) -> Value {
    let peer = rest.take("peer");
    match peer.as_str().map(str::parse::<SocketAddr>) {
        Some(Ok(address)) => json!({ "ip": address.ip().to_string(), "port": address.port() }),
        Some(Err(_)) => json!({ "name": peer }),
        None => json!({ "name": "Unknown" }),
    }
}

fn device(rest: &mut Rest) -> Value {
    json!({ "hostname": rest.take("node"), "type_id": 0 })
}

fn as_text(value: Value) -> Value {
    if value.is_null() { value } else { value.to_string().into() }
}

/// Removes what a record did not say, and objects in which nothing is left.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(drop_nulls);
            map.retain(|_, value| {
                !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty())
            });
        }
        Value::Array(values) => values.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The fields of a record that have no place yet.
struct Rest(Map<String, Value>);

impl Rest {
    /// The field, or null.
    fn take(&mut self, field: &str) -> Value {
        self.take_some(field).unwrap_or(Value::Null)
    }

    fn take_some(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field)
    }
}
