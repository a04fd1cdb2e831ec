//! Why a call or a connection failed, and whether the call ran.

use std::{convert::Infallible, fmt, io, time::Duration};

use bailiwick_acl::AuditId;
use bailiwick_crypto::{HandshakeError, PublicKey, record::Alert};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{id::CallKey, marshal::MarshalError};

/// Whether the server ran a call's handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Executed {
    /// It ran, to its end or to a failure of its own.
    Yes,
    /// It did not run and never will.
    No,
    /// It may have run, or may still run.
    Unknown,
}

/// What became of a call whose answer was not awaited any more; see
/// [`Channel::outcome`](crate::Channel::outcome).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It ran.
    Ran,
    /// It did not run. The server has made sure that it never will.
    DidNotRun,
    /// It is at work: ask again later.
    Running,
    /// Nobody knows: the server that could tell is gone, or has forgotten the call since.
    Unknown,
}

impl Outcome {
    /// Whether the server ran the call.
    #[must_use]
    pub fn executed(self) -> Executed {
        match self {
            Self::Ran => Executed::Yes,
            Self::DidNotRun => Executed::No,
            Self::Running | Self::Unknown => Executed::Unknown,
        }
    }
}

/// Why a call has no result. Each variant says whether the server ran it: [`CallError::executed`].
///
/// `E` is the service's own error. In a handler `?` turns an `E` into [`CallError::App`]; any
/// other variant that leaves a handler reaches the client as [`CallError::Internal`], so that a
/// refusal further down is not mistaken for the server's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E = Never> {
    /// The service answered with its own error: it ran.
    #[error("{0}")]
    App(E),
    /// The request never left this process, or the server did not let the client in and discarded it
    /// unopened: it did not run.
    #[error("not sent: {0}")]
    NotSent(#[source] NotSent),
    /// The policy does not allow the call: it did not run, and repeating it will not help. The
    /// server's audit log has the reason under this number.
    #[error("denied; the server's operator finds the reason in its audit log as {0}")]
    Denied(AuditId),
    /// The server has as many calls as it takes: it did not run; try again later.
    #[error("the server is overloaded; try again in {retry_after:?}")]
    Overloaded {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The server runs nothing at the moment: it did not run; try another server, or later.
    #[error("the server is unavailable: {0}")]
    Unavailable(Unavailable),
    /// The deadline passed before an answer came.
    #[error("no answer before the deadline")]
    DeadlineExceeded {
        /// `No` if the deadline passed before the handler began.
        executed: Executed,
        /// The call, to ask for later, if it got so far as to have a number.
        call: Option<CallKey>,
    },
    /// The connection was lost while the call was under way: it may have run.
    #[error("the connection was lost before the answer came; call {call} may have run")]
    OutcomeUnknown {
        /// The call, to ask for later.
        call: CallKey,
    },
    /// The call ran, and its answer is gone: it was too long to be kept, or to come over UDP from a
    /// server that offers no TCP. Do not repeat what must happen once.
    #[error("call {call} ran, and its answer was too long to reach this client")]
    AnswerLost {
        /// The call.
        call: CallKey,
    },
    /// The server has no such method: it did not run. One side is older than the other.
    #[error("the server does not implement {0}")]
    Unimplemented(&'static str),
    /// The server could not decode the arguments: it did not run. Both sides must be built from
    /// the same trait.
    #[error("the server could not decode the arguments: is it built from the same trait?")]
    Malformed,
    /// The handler failed in a way that is not the service's own error, or panicked.
    #[error("internal failure at the server")]
    Internal,
    /// The answer breaks the protocol or does not decode: it may have run.
    #[error("the answer could not be understood: {0}")]
    Protocol(ProtocolError),
}

impl<E> CallError<E> {
    /// Whether the server ran the call.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            Self::App(_) | Self::Internal | Self::AnswerLost { .. } => Executed::Yes,
            Self::NotSent(_)
            | Self::Denied(_)
            | Self::Overloaded { .. }
            | Self::Unavailable(_)
            | Self::Unimplemented(_)
            | Self::Malformed => Executed::No,
            Self::DeadlineExceeded { executed, .. } => *executed,
            Self::OutcomeUnknown { .. } | Self::Protocol(_) => Executed::Unknown,
        }
    }

    /// The call that [`Channel::outcome`](crate::Channel::outcome) can be asked about, where it is
    /// open whether it ran.
    #[must_use]
    pub fn unknown_call(&self) -> Option<CallKey> {
        match self {
            Self::OutcomeUnknown { call } => Some(*call),
            Self::DeadlineExceeded { executed: Executed::Unknown, call } => *call,
            _ => None,
        }
    }

    /// The same failure under another service's error type; `convert` maps the service's own.
    pub fn map_app<F>(self, convert: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            Self::App(error) => CallError::App(convert(error)),
            Self::NotSent(why) => CallError::NotSent(why),
            Self::Denied(audit) => CallError::Denied(audit),
            Self::Overloaded { retry_after } => CallError::Overloaded { retry_after },
            Self::Unavailable(why) => CallError::Unavailable(why),
            Self::DeadlineExceeded { executed, call } => {
                CallError::DeadlineExceeded { executed, call }
            }
            Self::OutcomeUnknown { call } => CallError::OutcomeUnknown { call },
            Self::AnswerLost { call } => CallError::AnswerLost { call },
            Self::Unimplemented(method) => CallError::Unimplemented(method),
            Self::Malformed => CallError::Malformed,
            Self::Internal => CallError::Internal,
            Self::Protocol(error) => CallError::Protocol(error),
        }
    }
}

impl<E> From<E> for CallError<E> {
    fn from(error: E) -> Self {
        Self::App(error)
    }
}

/// Why a request never left this process, or was never opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// There is no connection, or none any more.
    #[error("there is no connection: {0}")]
    Disconnected(#[source] Disconnected),
    /// The server is shutting down and takes no new calls.
    #[error("the server is shutting down")]
    Draining,
    /// The arguments do not marshal.
    #[error(transparent)]
    Marshal(#[from] MarshalError),
    /// The request is longer than the server accepts.
    #[error("the request has {size} bytes, the server accepts {limit}")]
    TooLarge {
        /// The frame's length.
        size: usize,
        /// The server's `max_frame`.
        limit: usize,
    },
    /// The metadata exceed [`Limits::max_metadata`](crate::Limits::max_metadata).
    #[error("the metadata have {size} bytes, {limit} are allowed")]
    MetadataTooLarge {
        /// Bytes of all keys and values.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The metadata have more keys than the protocol allows.
    #[error("the metadata have {count} keys, {limit} are allowed")]
    TooManyMetadata {
        /// Keys.
        count: usize,
        /// The protocol's limit, 64.
        limit: usize,
    },
}

/// Why a server runs nothing at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// Its audit log cannot be written, and nothing runs unrecorded.
    #[error("its audit log cannot be written")]
    Audit,
    /// It is shutting down.
    #[error("it is shutting down")]
    Draining,
    /// It has been restarted and is still reading its log: try again in a moment.
    #[error("it is still recovering")]
    Recovering,
}

/// How a connection ended. Calls that were under way are told
/// [`OutcomeUnknown`](CallError::OutcomeUnknown).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnected {
    /// Both sides closed in good order.
    #[error("closed")]
    Closed,
    /// The stream ended without the peer's authenticated close.
    #[error("the peer vanished without closing")]
    Truncated,
    /// Nothing came for the idle timeout.
    #[error("nothing came for {0:?}")]
    Idle(Duration),
    /// The operating system reports this.
    #[error("{0}")]
    Io(io::ErrorKind),
    /// The peer ended it with an alert.
    #[error("the peer reports {0}{hint}", hint = hint(*.0))]
    Alert(Alert),
    /// What is there did not answer the handshake for this key.
    #[error("nobody there answers the handshake for {0}; is this the server's key?")]
    NoHandshake(PublicKey),
    /// The peer broke the protocol, or somebody tampered with the bytes.
    #[error("{0}")]
    Protocol(ProtocolError),
}

fn hint(alert: Alert) -> &'static str {
    match alert {
        Alert::AccessDenied => "; does its policy have this client's key?",
        _ => "",
    }
}

/// How a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A record did not open, or came where none may.
    #[error("a record is not authentic")]
    Record,
    /// A record is authentic and breaks the rules of records.
    #[error("a record breaks the protocol")]
    RecordRule,
    /// A frame's length is zero or above the limit.
    #[error("a frame's length is out of range")]
    FrameLength,
    /// A frame of a type that this version does not know.
    #[error("unknown frame type {0}")]
    FrameType(u8),
    /// A frame's fields do not fill it, or are not in their shortest form.
    #[error("a frame's fields are malformed")]
    FrameFields,
    /// A call number that was used before, or an answer to a call never made.
    #[error("a call number is out of order")]
    CallNumber,
    /// A frame that only the other side may send.
    #[error("a frame came from the wrong side")]
    Direction,
    /// The reply's body does not decode as the method's result.
    #[error("the reply does not have the declared form")]
    ReplyBody,
    /// A reply status that this version does not know.
    #[error("unknown reply status {0}")]
    ReplyStatus(u8),
}

/// Why no session with a server came about.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum ConnectError {
    /// No connection to the address.
    #[error("cannot reach {endpoint}")]
    #[diagnostic(help("is the server running, and is this its address?"))]
    Unreachable {
        /// What was dialled.
        endpoint: String,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The server closed the connection during the handshake, which it does without a word when
    /// the caller does not show that it knows the server's key.
    #[error("{endpoint} did not answer the handshake for {server}")]
    #[diagnostic(help(
        "the process there is not the server with this key, or not a Bailiwick server at all; compare the key with `bailiwick pubkey` at the server"
    ))]
    NotThisServer {
        /// What was dialled.
        endpoint: String,
        /// The key that was expected.
        server: PublicKey,
    },
    /// The server's part of the handshake does not verify.
    #[error("{endpoint} is not trusted")]
    #[diagnostic(help("somebody stands between you and the server, or it has another key"))]
    NotTrusted {
        /// What was dialled.
        endpoint: String,
        /// What failed.
        #[source]
        source: HandshakeError,
    },
    /// The server is who it should be, and does not know this client's key.
    #[error("{endpoint} does not admit the key {identity}")]
    #[diagnostic(help("add `principal NAME = {identity}` to the server's policy"))]
    AccessDenied {
        /// What was dialled.
        endpoint: String,
        /// The key that was offered.
        identity: PublicKey,
    },
    /// The handshake did not end in time.
    #[error("{endpoint} did not finish the handshake within {timeout:?}")]
    #[diagnostic(help("something listens there that does not speak this protocol"))]
    TimedOut {
        /// What was dialled.
        endpoint: String,
        /// [`Limits::handshake_timeout`](crate::Limits::handshake_timeout).
        timeout: Duration,
    },
    /// The connection ended right after the handshake.
    #[error("{endpoint} ended the connection")]
    Ended {
        /// What was dialled.
        endpoint: String,
        /// How.
        #[source]
        source: Disconnected,
    },
    /// Over UDP, nobody answered. A server is silent to those who do not show that they know its
    /// key.
    #[error("nobody answers at {endpoint} for the key {server}")]
    #[diagnostic(help(
        "is the server running and listening at `udp://`, is this its key (`bailiwick pubkey` at the server), and does a firewall let UDP through? Over UDP these look the same"
    ))]
    NoAnswer {
        /// What was dialled.
        endpoint: String,
        /// The key that was expected.
        server: PublicKey,
    },
    /// The path does not carry datagrams of 1,200 bytes, which UDP needs.
    #[error("the path to {endpoint} does not carry datagrams of 1,200 bytes")]
    #[diagnostic(help("use the server's `tcp://` endpoint, or raise the MTU on the way"))]
    PathTooSmall {
        /// What was dialled.
        endpoint: String,
    },
    /// A limit is out of range.
    #[error(transparent)]
    Limits(#[from] crate::config::LimitError),
}

/// The error of a service that has none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Never(Infallible);

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl std::error::Error for Never {}

impl Serialize for Never {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match self.0 {}
    }
}

impl<'de> Deserialize<'de> for Never {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("this service has no error of its own"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Full;

    #[test]
    fn the_services_own_error_comes_in_by_a_question_mark() {
        fn handler() -> Result<(), CallError<Full>> {
            Err(Full)?
        }
        assert_eq!(handler(), Err(CallError::App(Full)));
    }

    #[test]
    fn only_what_cannot_run_any_more_says_no() {
        let draining = CallError::<Full>::NotSent(NotSent::Draining);
        assert_eq!(draining.executed(), Executed::No);
        assert_eq!(CallError::App(Full).executed(), Executed::Yes);
        let unread = CallError::<Full>::Protocol(ProtocolError::ReplyBody);
        assert_eq!(unread.executed(), Executed::Unknown);
    }
}
