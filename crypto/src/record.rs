//! Records on a stream: what is sealed and opened once the handshake is done.
//!
//! ```text
//! record = len(4: ciphertext incl. tag, 17..=65_552) ‖ AEAD(key, seq, AAD = len, content ‖ type ‖ 00*)
//! ```
//!
//! Sequence numbers are implicit: only the next record opens, so replay, loss, reordering and
//! insertion all fail alike. A record is not a frame: joined, the contents of the data records of
//! one direction are one stream.

mod direction;
mod limits;
mod open;
mod seal;

use std::time::Instant;

use thiserror::Error;

use crate::schedule::TrafficSecrets;
use direction::Direction;

pub use limits::RecordLimits;
pub use open::Opened;

/// Bytes of the length in front of each record.
pub const HEADER: usize = 4;

/// Most bytes of content that we put into one data record: 16 KiB. A peer may put in 65,535.
pub const MAX_CONTENT: usize = 16_384;

/// Longest record, without its header: 65,535 bytes of content, the type and the tag.
pub const MAX_RECORD: usize = 65_552;

/// Shortest record, without its header: the type and the tag.
pub const MIN_RECORD: usize = 17;

/// Bytes that a record adds to its content: header, type and tag.
pub const OVERHEAD: usize = HEADER + MIN_RECORD;

/// Both directions of one connection: seals what we send, opens what we receive, and keeps the
/// rules of key update, close and alert.
pub struct Records {
    limits: RecordLimits,
    send: Direction,
    receive: Direction,
    sending: Sending,
    receiving: Receiving,
    /// Empty data records received in a row.
    empty_in_a_row: u32,
    /// Key updates received that answer none of ours, since the last non-empty data record.
    unanswering_updates: u32,
}

impl Records {
    pub(crate) fn new(
        role: Role,
        secrets: &TrafficSecrets,
        limits: RecordLimits,
        now: Instant,
    ) -> Self {
        let (send, receive) = match role {
            Role::Initiator => (&secrets.initiator, &secrets.responder),
            Role::Responder => (&secrets.responder, &secrets.initiator),
        };
        Self {
            limits,
            send: Direction::new(send.clone(), now),
            receive: Direction::new(receive.clone(), now),
            sending: Sending::Open,
            receiving: Receiving::Open,
            empty_in_a_row: 0,
            unanswering_updates: 0,
        }
    }

    /// The length of the record that `prefix` begins, header included; `None` asks for more bytes.
    ///
    /// Grow buffers with what arrives, not by this number: it is the peer's word.
    ///
    /// # Errors
    ///
    /// [`RecordError::BadLength`] if no record has this length. End the connection, silently.
    pub fn record_len(prefix: &[u8]) -> Result<Option<usize>, RecordError> {
        let Some(len) = prefix.first_chunk::<HEADER>() else { return Ok(None) };
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| RecordError::BadLength)?;
        match len {
            MIN_RECORD..=MAX_RECORD => Ok(Some(HEADER + len)),
            _ => Err(RecordError::BadLength),
        }
    }

    /// Whether the peer has sent `close` or an alert. Any byte that still comes is an error.
    pub fn peer_ended(&self) -> bool {
        matches!(self.receiving, Receiving::Closed | Receiving::Alerted)
    }

    /// Whether we can send no more: after our `close`, any alert, or a failure.
    pub fn sending_ended(&self) -> bool {
        self.sending == Sending::Ended
    }

    /// To be asked when the stream ends.
    ///
    /// # Errors
    ///
    /// [`RecordError::Truncated`] if the peer has sent neither `close` nor an alert: an attacker may
    /// have cut the connection, and the outcome of pending calls is unknown.
    pub fn end_of_stream(&self) -> Result<(), RecordError> {
        if self.peer_ended() { Ok(()) } else { Err(RecordError::Truncated) }
    }

    /// Leaves one thing to do: to send this alert. Nothing that was received is opened any more.
    pub(crate) fn end_with(&mut self, alert: Alert) {
        self.receiving = Receiving::Failed;
        self.sending = Sending::Owes(alert);
    }

    /// Ends both directions, but for an alert that the error calls for.
    fn fail(&mut self, error: RecordError) -> RecordError {
        self.receiving = Receiving::Failed;
        self.sending = match error.alert() {
            Some(alert) if self.sending == Sending::Open => Sending::Owes(alert),
            _ => Sending::Ended,
        };
        error
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("sending", &self.sending)
            .field("receiving", &self.receiving)
            .finish_non_exhaustive()
    }
}

/// Which end of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Initiator,
    Responder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Open,
    /// This alert is the only thing that may still be sent.
    Owes(Alert),
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiving {
    Open,
    /// The peer has closed its direction; ours goes on.
    Closed,
    /// The peer's alert has ended both directions.
    Alerted,
    Failed,
}

/// The types of records on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum RecordType {
    /// A piece of the stream of frames.
    Data = 1,
    /// The last record under its key.
    KeyUpdate = 2,
    /// The last record of its direction.
    Close = 3,
    /// The last record of its sender; it ends both directions.
    Alert = 4,
    /// Says that its sender lives; never answered.
    Ping = 5,
}

impl RecordType {
    fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Data),
            2 => Some(Self::KeyUpdate),
            3 => Some(Self::Close),
            4 => Some(Self::Alert),
            5 => Some(Self::Ping),
            _ => None,
        }
    }
}

/// Why a peer ends a connection. It is told no more; the detail is in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Alert {
    /// The key is unknown here, revoked or expired.
    AccessDenied = 1,
    /// The receiver of the alert broke the protocol.
    ProtocolError = 2,
    /// The receiver of the alert went over a limit.
    LimitExceeded = 3,
    /// The sender of the alert failed; also what every other code reads as.
    InternalError = 4,
}

impl Alert {
    /// The byte that stands for it.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What a byte stands for; unknown codes read as [`Alert::InternalError`].
    pub fn from_code(code: u8) -> Self {
        match code {
            1 => Self::AccessDenied,
            2 => Self::ProtocolError,
            3 => Self::LimitExceeded,
            _ => Self::InternalError,
        }
    }
}

impl std::fmt::Display for Alert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AccessDenied => "access denied",
            Self::ProtocolError => "protocol error",
            Self::LimitExceeded => "limit exceeded",
            Self::InternalError => "internal error",
        })
    }
}

/// Why a record cannot be sealed or opened. All but [`RecordError::ContentTooLong`] and
/// [`RecordError::Closed`] end the connection; [`RecordError::alert`] says with which last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record was altered, replayed, reordered or belongs elsewhere.
    #[error("a record does not open: altered, replayed or out of order on the way")]
    BadTag,
    /// A length outside 17 to 65,552, or not that of the record given.
    #[error("a record's length is out of range")]
    BadLength,
    /// The stream ended without the peer's `close`.
    #[error("the stream was cut off: what the peer sent last is unknown")]
    Truncated,
    /// Something came after the peer's `close`.
    #[error("the peer sent something after its close")]
    AfterClose,
    /// The peer sealed something that version 1 does not have.
    #[error("the peer broke the protocol: {0}")]
    Protocol(Violation),
    /// The peer keeps us busy with nothing.
    #[error("the peer went over a limit: {0}")]
    LimitExceeded(Flood),
    /// The numbers of this key are used up, and the peer has not let us change it.
    #[error("the key's numbers are used up: connect again")]
    Exhausted,
    /// This direction has ended; nothing was done.
    #[error("this direction of the connection has ended: connect again")]
    Closed,
    /// More than [`MAX_CONTENT`] bytes for one record; nothing was done.
    #[error("a data record takes at most 16,384 bytes: cut the stream into more records")]
    ContentTooLong,
}

impl RecordError {
    /// The alert to send for it, or `None` to end without a word.
    ///
    /// An attacker on the path can cause bad tags and lengths at will, so they get no answer.
    pub fn alert(&self) -> Option<Alert> {
        match self {
            Self::AfterClose | Self::Protocol(_) => Some(Alert::ProtocolError),
            Self::LimitExceeded(_) => Some(Alert::LimitExceeded),
            Self::BadTag
            | Self::BadLength
            | Self::Truncated
            | Self::Exhausted
            | Self::Closed
            | Self::ContentTooLong => None,
        }
    }
}

/// What a peer sealed that version 1 does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// Padding only.
    #[error("a record without a type")]
    NoType,
    /// A type that is not 1 to 5.
    #[error("unknown record type {0}")]
    UnknownType(u8),
    /// Content where none belongs, or an alert without exactly one byte.
    #[error("a record's content does not fit its type")]
    Content,
}

/// With what a peer keeps us busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Flood {
    /// The 32nd empty data record in a row.
    #[error("32 empty data records in a row")]
    EmptyRecords,
    /// The 32nd key update that answers none of ours, without data between them.
    #[error("32 key updates without data between them")]
    KeyUpdates,
}
