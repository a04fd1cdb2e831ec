//! What a service is to the framework: a description, and a handler for each of its methods.
//!
//! `#[rpc_service]` writes the implementations; nobody else needs to.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{durable::Completions, id::MethodId, status::ServerStatus};

pub use crate::{
    dispatch::{Authorized, Handled, Request},
    object::{ObjectList, ObjectSegment, Objects},
    shown::{ShownArguments, ShownText},
};
pub use bailiwick_acl::monitor::Recorded;

/// A service as seen from outside: enough to call it, to write a policy for it, and to find out
/// whether a change breaks its callers.
///
/// Displayed it is a table for people. As JSON, for `bailiwick describe` and `bailiwick acl check --service`, it is
/// `{"service", "methods": [{"name", "id", "verb", "object", "delivery", "timeout_ms",
/// "arguments": [{"name", "type"}], "result", "error"}]}`; a method that is always recorded has
/// `"recorded": "always"`, one that may use the
/// reserve `"reserve": true`, an argument that records show has `"shown": "value"` or `"hmac"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceDescription {
    /// The service's name, as audit records give it.
    #[serde(rename = "service")]
    pub name: &'static str,
    /// Its methods, in the order of the trait.
    pub methods: &'static [MethodDescription],
}

/// A method as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MethodDescription {
    /// The service it belongs to.
    #[serde(skip)]
    pub service: &'static str,
    /// The method's name, as audit records give it.
    pub name: &'static str,
    /// Its id on the wire.
    pub id: MethodId,
    /// What a policy row's verb column must say.
    pub verb: &'static str,
    /// What a policy row's object column must match.
    pub object: ObjectDescription,
    /// What may be done about a lost answer.
    pub delivery: Delivery,
    /// Which calls of it go on record.
    #[serde(skip_serializing_if = "is_as_the_server_says")]
    pub recorded: Recorded,
    /// The longest it may take at the server; `None` for
    /// [`Limits::max_deadline`](crate::Limits::max_deadline).
    #[serde(rename = "timeout_ms", serialize_with = "milliseconds")]
    pub timeout: Option<Duration>,
    /// Whether its calls may take the places that a server keeps for such, so that they are not held
    /// up by others when there is too much to do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reserve: bool,
    /// The arguments behind the context, in order.
    pub arguments: &'static [ArgumentDescription],
    /// The type of a successful result, as the trait writes it.
    pub result: &'static str,
    /// The type of the service's own error, as the trait writes it.
    pub error: &'static str,
}

/// An argument as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ArgumentDescription {
    /// Its name.
    pub name: &'static str,
    /// Its type, as the trait writes it.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// What the audit log shows of its value.
    #[serde(skip_serializing_if = "is_hidden")]
    pub shown: Shown,
}

/// What the audit log shows of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// Nothing. The default.
    Nothing,
    /// The value itself: `#[audit(show)]`.
    Value,
    /// A mark by which equal values are known: `#[audit(hmac)]`.
    Hmac,
}

/// Which objects a call touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectDescription {
    /// One object, built from arguments: `table/{key}`.
    Template(&'static str),
    /// All objects that this argument lists.
    Listed(&'static str),
}

impl ObjectDescription {
    /// The template, or `**` where an argument lists the objects.
    #[must_use]
    pub const fn pattern(&self) -> &'static str {
        match self {
            Self::Template(template) => template,
            Self::Listed(_) => "**",
        }
    }
}

/// What may be done about a lost answer. Retries follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Changes nothing: may run any number of times, and its answer is not kept.
    Readonly,
    /// Running it twice has the effect of running it once.
    Idempotent,
    /// Runs at most once. The default.
    AtMostOnce,
    /// Runs exactly once for each call that is answered, also across crashes of the server: it
    /// keeps a log ([`durable`](crate::durable)).
    Durable,
}

impl Delivery {
    /// `readonly`, `idempotent`, `at-most-once` or `durable`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Readonly => "readonly",
            Self::Idempotent => "idempotent",
            Self::AtMostOnce => "at-most-once",
            Self::Durable => "durable",
        }
    }
}

/// An implementation of a service that a server can dispatch to.
pub trait Service: Send + Sync + 'static {
    /// What the service looks like from outside.
    fn description(&self) -> &'static ServiceDescription;

    /// Handles a request for the method at position `method` of the description.
    fn handle(&self, method: usize, request: Request<'_>) -> Handled;

    /// What its durable methods answered, if it has such and keeps it.
    fn durable(&self) -> Option<&Completions> {
        None
    }

    /// Called once, when the server that it is part of is built.
    fn watch(&self, _server: &ServerStatus) {}
}

/// A client of one service, made from a channel.
#[cfg(feature = "net")]
pub trait Stub: Sized {
    /// The client that calls through `channel`.
    fn from_channel(channel: crate::Channel) -> Self;
}

// As JSON an object is its pattern, and a delivery its name.
impl Serialize for ObjectDescription {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.pattern())
    }
}

impl Serialize for Delivery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

fn is_as_the_server_says(recorded: &Recorded) -> bool {
    *recorded == Recorded::AsTheServerSays
}

fn is_hidden(shown: &Shown) -> bool {
    *shown == Shown::Nothing
}

fn milliseconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
}
