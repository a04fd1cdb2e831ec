//! What each side says it accepts, in the encrypted part of RESP and FIN.
//!
//! On the wire: (type u16 ‖ length u16 ‖ value)*, types strictly ascending, big-endian.

use std::ops::RangeInclusive;
use std::time::Duration;

use thiserror::Error;

/// The limits one side announces; each says what its sender accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Longest frame, in bytes: 1,024 to 2^24. Default: 65,536.
    pub max_frame: u32,
    /// Silence after which the connection is given up, in whole milliseconds: 1 s to 1 h; the
    /// smaller of the two sides' counts. Default: 30 s.
    pub idle_timeout: Duration,
    /// Longest message put together from fragments, in bytes: 0 (none) to 2^20. Default: 65,536.
    pub max_reassembly: u32,
    /// Slots of the replay window: 64 to 8,192. Default: 1,024.
    pub replay_slots: u32,
    /// 16 random bytes made at process start: another value is another run of that program.
    pub incarnation: [u8; 16],
    /// How long a responder remembers what it ran, in whole milliseconds: 1 s to 1 h.
    /// Default: 60 s. Only a responder sends it.
    pub lease: Duration,
}

impl Params {
    /// The defaults, for a process with this incarnation.
    pub fn new(incarnation: [u8; 16]) -> Self {
        Self {
            max_frame: 65_536,
            idle_timeout: Duration::from_millis(30_000),
            max_reassembly: 65_536,
            replay_slots: 1_024,
            incarnation,
            lease: Duration::from_millis(60_000),
        }
    }

    /// Says whether a peer would accept these.
    ///
    /// # Errors
    ///
    /// [`ParamsError::OutOfRange`] with the first type that is outside its range.
    pub fn check(&self) -> Result<(), ParamsError> {
        in_range(MAX_FRAME, self.max_frame)?;
        in_range(IDLE_TIMEOUT, milliseconds(self.idle_timeout))?;
        in_range(MAX_REASSEMBLY, self.max_reassembly)?;
        in_range(REPLAY_SLOTS, self.replay_slots)?;
        in_range(LEASE, milliseconds(self.lease))?;
        Ok(())
    }

    /// The idle timeout that counts between these two sides: the smaller.
    pub fn agreed_idle_timeout(&self, peer: &Self) -> Duration {
        self.idle_timeout.min(peer.idle_timeout)
    }
}

/// Why a list of parameters is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// The list does not fill its length, or a known type has a value of another length.
    #[error("parameters are cut short or of the wrong length: the peer does not speak version 1")]
    Malformed,
    /// Types must be strictly ascending; this one is not above the one before it.
    #[error("parameter {0} is out of order or repeated: the peer does not speak version 1")]
    NotAscending(u16),
    /// The value of a known type is outside its range.
    #[error("parameter {0} is out of range: see the ranges of `Params` and configure that side")]
    OutOfRange(u16),
    /// The compulsory incarnation is absent.
    #[error("the compulsory incarnation is missing: the peer does not speak version 1")]
    NoIncarnation,
}

/// Whose parameters these are: an initiator's lease means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Initiator,
    Responder,
}

const MAX_FRAME: u16 = 1;
const IDLE_TIMEOUT: u16 = 2;
const MAX_REASSEMBLY: u16 = 3;
const REPLAY_SLOTS: u16 = 4;
const INCARNATION: u16 = 5;
const LEASE: u16 = 6;

/// Writes every parameter, defaults included: a reader of a capture need not know them.
pub(crate) fn encode(params: &Params, sender: Sender) -> Vec<u8> {
    let mut out = Vec::with_capacity(60);
    put(&mut out, MAX_FRAME, &params.max_frame.to_be_bytes());
    put(&mut out, IDLE_TIMEOUT, &milliseconds(params.idle_timeout).to_be_bytes());
    put(&mut out, MAX_REASSEMBLY, &params.max_reassembly.to_be_bytes());
    put(&mut out, REPLAY_SLOTS, &params.replay_slots.to_be_bytes());
    put(&mut out, INCARNATION, &params.incarnation);
    if sender == Sender::Responder {
        put(&mut out, LEASE, &milliseconds(params.lease).to_be_bytes());
    }
    out
}

/// Reads a peer's list. An unknown type, and an initiator's lease, are skipped unjudged.
pub(crate) fn parse(mut list: &[u8], sender: Sender) -> Result<Params, ParamsError> {
    let mut params = Params::new([0; 16]);
    let mut incarnation = None;
    let mut last = None;
    while !list.is_empty() {
        let (kind, value, rest) = split(list).ok_or(ParamsError::Malformed)?;
        if last.is_some_and(|last| kind <= last) {
            return Err(ParamsError::NotAscending(kind));
        }
        match kind {
            MAX_FRAME => params.max_frame = number(kind, value)?,
            IDLE_TIMEOUT => params.idle_timeout = duration(kind, value)?,
            MAX_REASSEMBLY => params.max_reassembly = number(kind, value)?,
            REPLAY_SLOTS => params.replay_slots = number(kind, value)?,
            INCARNATION => {
                incarnation = Some(value.try_into().map_err(|_| ParamsError::Malformed)?);
            }
            LEASE if sender == Sender::Responder => params.lease = duration(kind, value)?,
            _ => {}
        }
        last = Some(kind);
        list = rest;
    }
    params.incarnation = incarnation.ok_or(ParamsError::NoIncarnation)?;
    Ok(params)
}

fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).expect("no value is longer than 16 bytes");
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(value);
}

fn split(list: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (kind, list) = list.split_first_chunk::<2>()?;
    let (len, list) = list.split_first_chunk::<2>()?;
    let (value, rest) = list.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    Some((u16::from_be_bytes(*kind), value, rest))
}

fn number(kind: u16, value: &[u8]) -> Result<u32, ParamsError> {
    let value = value.try_into().map_err(|_| ParamsError::Malformed)?;
    in_range(kind, u32::from_be_bytes(value))
}

fn duration(kind: u16, value: &[u8]) -> Result<Duration, ParamsError> {
    number(kind, value).map(|ms| Duration::from_millis(ms.into()))
}

fn in_range(kind: u16, value: u32) -> Result<u32, ParamsError> {
    if range(kind).contains(&value) { Ok(value) } else { Err(ParamsError::OutOfRange(kind)) }
}

fn range(kind: u16) -> RangeInclusive<u32> {
    match kind {
        MAX_FRAME => 1_024..=1 << 24,
        IDLE_TIMEOUT | LEASE => 1_000..=3_600_000,
        MAX_REASSEMBLY => 0..=1 << 20,
        REPLAY_SLOTS => 64..=8_192,
        _ => 0..=u32::MAX,
    }
}

/// Whole milliseconds; what does not fit becomes the largest, which no range contains.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
