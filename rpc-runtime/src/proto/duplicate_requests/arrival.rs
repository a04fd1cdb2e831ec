//! What a memory is asked about a request, and what it says.

use std::time::Duration;

use bytes::Bytes;

use super::Digest;

/// What is to be known of a call's answer once it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing: the call is readonly and may run again.
    Nothing,
    /// The answer, for whoever asks again with the same digest. `method` counts the server's
    /// methods.
    Answer { digest: Digest, method: usize },
}

impl Keep {
    pub(crate) fn digest(self) -> Option<Digest> {
        match self {
            Self::Nothing => None,
            Self::Answer { digest, .. } => Some(digest),
        }
    }
}

/// An answer without a result: its status, and the number that some have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShortAnswer {
    pub(crate) status: u8,
    pub(crate) detail: Option<u64>,
}

/// What a handler has answered, `status ‖ body`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Given<'a> {
    Lent(&'a [u8]),
    /// A long one, in an allocation of `takes` bytes from which it is sent too.
    Shared {
        answer: &'a Bytes,
        takes: usize,
    },
}

impl Given<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Shared { answer, .. } => answer,
        }
    }
}

/// One of the connections that a client has at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Via(pub(crate) u64);

/// What a request turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// New: it is at work from now on, and room for its answer is set aside.
    Begun,
    /// New, and its answer could not be kept: to be refused. It is at work until that is done.
    Full,
    /// Readonly, and has run or runs for another connection: it is at work again.
    Again,
    /// At work, or done: [`Memory::look_at`](super::Memory::look_at) says more once the policy has been asked again.
    Repeated,
    /// It has been refused, or was dropped at its deadline, and is told so again.
    Short(ShortAnswer),
    /// It never runs again, and what it did is not told.
    Stale,
    /// The number belongs to a call of another method or with other arguments.
    FalseRetry,
}

/// Where the answer to a call at work will be sent without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Here,
    /// Over another connection, which may be gone: [`Memory::watch`](super::Memory::watch) tells when it is done.
    Elsewhere,
}

/// How a call that was seen before stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing<'a> {
    /// A handler is at it. It is worth asking again after `estimate`.
    AtWork {
        estimate: Duration,
        answered: Answered,
    },
    /// It ran: `status ‖ body`.
    Kept(&'a [u8]),
    Short(ShortAnswer),
    /// It ran, and the answer could not be kept.
    Lost,
    Stale,
}

/// A call that has begun, as whoever runs it holds it. There is one for each call that is not
/// readonly, ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) call: u64,
    pub(crate) keep: Keep,
}

/// What a watcher of a call finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Waiting,
    /// It is not at work any more: [`Memory::look_at`](super::Memory::look_at).
    Over,
    /// The client has asked over yet another connection.
    Superseded,
}
