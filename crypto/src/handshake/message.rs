//! The bytes of INIT, RETRY, RESP and FIN: written, measured and taken apart, nothing more.
//!
//! Every length is checked before anything is read or copied by it.

use super::{ConnectionId, HandshakeError, Transport};
use crate::aead::{Aead as _, Selected, TAG};
use crate::schedule::Transcript;
use crate::secret::Secret;

/// The longest handshake message, in bytes.
pub const MAX_MESSAGE: usize = 4_096;

/// Which of the three messages is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// The initiator's share.
    Init,
    /// The responder's share and, encrypted, its identity.
    Resp,
    /// Encrypted, the initiator's identity.
    Fin,
}

/// The length of the message that `prefix` begins, on a stream.
///
/// `None` asks for more bytes. A header is judged only once its clear bytes (INIT 64, RESP 56,
/// FIN 16) are there, so that whoever sends less learns nothing.
///
/// # Errors
///
/// [`HandshakeError`] if no message on a stream begins so, or it would exceed [`MAX_MESSAGE`].
pub fn message_len(kind: MessageKind, prefix: &[u8]) -> Result<Option<usize>, HandshakeError> {
    let total = match kind {
        MessageKind::Init if prefix.len() < INIT => return Ok(None),
        MessageKind::Resp if prefix.len() < RESP_CLEAR => return Ok(None),
        MessageKind::Fin if prefix.len() < FIN_CLEAR => return Ok(None),
        MessageKind::Init => init_len(Transport::Tcp, prefix)?,
        MessageKind::Resp => resp_len(prefix)?,
        MessageKind::Fin => fin_len(prefix)?,
    };
    Ok(Some(total))
}

/// INIT taken apart; nothing of it is authenticated yet.
pub(crate) struct Init<'a> {
    pub(crate) scid: ConnectionId,
    pub(crate) share: [u8; 32],
    /// On datagrams, after a RETRY.
    pub(crate) token: Option<Token>,
    /// What mac1 covers: all bytes before it.
    pub(crate) covered: &'a [u8],
    pub(crate) mac1: [u8; 16],
}

/// RETRY taken apart.
pub(crate) struct Retry<'a> {
    pub(crate) dcid: ConnectionId,
    pub(crate) token: Token,
    /// What mac1' covers, together with H(INIT).
    pub(crate) covered: &'a [u8],
    pub(crate) mac1: [u8; 16],
}

/// What a RETRY gives and the next INIT carries; opaque to initiators.
pub(crate) type Token = [u8; TOKEN];

/// The clear part of RESP.
pub(crate) struct Resp {
    pub(crate) dcid: ConnectionId,
    pub(crate) scid: ConnectionId,
    pub(crate) share: [u8; 32],
}

/// The encrypted part of RESP and of FIN.
pub(crate) struct Body {
    pub(crate) id: [u8; 32],
    pub(crate) params: Vec<u8>,
    pub(crate) signature: [u8; 64],
    pub(crate) finished: [u8; 32],
}

pub(crate) const RESP_CLEAR: usize = 56;
pub(crate) const FIN_CLEAR: usize = 16;

const INIT: usize = 64;
/// The shortest INIT, and the longest RESP and FIN, on datagrams.
const DATAGRAM: usize = 1_200;
const TOKEN: usize = 24;
const RETRY: usize = 56;
/// ID, plen, signature and Finished MAC.
const BOX_FIXED: usize = 32 + 2 + 64 + 32;

const TYPE_INIT: u8 = 1;
const TYPE_RESP: u8 = 2;
const TYPE_FIN: u8 = 3;
const TYPE_RETRY: u8 = 4;
const VERSION: u8 = 1;
const SUITE: u16 = 1;

/// INIT up to mac1, which the caller appends. It offers suite 1; only datagrams carry a token.
pub(crate) fn write_init(
    transport: Transport,
    scid: &ConnectionId,
    share: &[u8; 32],
    token: Option<&Token>,
) -> Vec<u8> {
    let token = token.map_or(&[][..], |token| token);
    let padding = match transport {
        Transport::Tcp => 0,
        Transport::Udp => DATAGRAM - INIT - token.len(),
    };
    let mut out = Vec::with_capacity(INIT + token.len() + padding);
    out.extend_from_slice(&[TYPE_INIT, VERSION]);
    out.extend_from_slice(&SUITE.to_be_bytes());
    out.extend_from_slice(&short(token.len()));
    out.extend_from_slice(&short(padding));
    out.extend_from_slice(scid);
    out.extend_from_slice(share);
    out.extend_from_slice(token);
    out.resize(out.len() + padding, 0);
    out
}

/// RETRY up to mac1', which the caller appends.
pub(crate) fn write_retry(dcid: &ConnectionId, token: &Token) -> Vec<u8> {
    let mut out = Vec::with_capacity(RETRY);
    out.extend_from_slice(&[TYPE_RETRY, VERSION, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(dcid);
    out.extend_from_slice(token);
    out
}

/// RESP's clear bytes, for a box with parameters of this length.
pub(crate) fn write_resp(
    params: usize,
    dcid: &ConnectionId,
    scid: &ConnectionId,
    share: &[u8; 32],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(RESP_CLEAR + BOX_FIXED + params + TAG);
    out.extend_from_slice(&[TYPE_RESP, VERSION]);
    out.extend_from_slice(&SUITE.to_be_bytes());
    out.extend_from_slice(&short(BOX_FIXED + params));
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(dcid);
    out.extend_from_slice(scid);
    out.extend_from_slice(share);
    out
}

/// FIN's clear bytes, for a box with parameters of this length.
pub(crate) fn write_fin(params: usize, dcid: &ConnectionId) -> Vec<u8> {
    let mut out = Vec::with_capacity(FIN_CLEAR + BOX_FIXED + params + TAG);
    out.extend_from_slice(&[TYPE_FIN, VERSION, 0, 0]);
    out.extend_from_slice(&short(BOX_FIXED + params));
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(dcid);
    out
}

/// Appends the sealed box to the clear bytes in `message`.
pub(crate) fn seal_box(message: &mut Vec<u8>, body: &Body, key: &Secret, aad: &Transcript) {
    let clear = message.len();
    message.extend_from_slice(&body.id);
    message.extend_from_slice(&short(body.params.len()));
    message.extend_from_slice(&body.params);
    message.extend_from_slice(&body.signature);
    message.extend_from_slice(&body.finished);
    let plain = message.get_mut(clear..).expect("the box begins where the clear bytes end");
    let cipher = Selected::new(key.as_bytes());
    // Nonce 0: the key is used once, for this box.
    let tag = cipher.seal(&[0; 12], aad.as_bytes(), plain);
    message.extend_from_slice(&tag.expect("a message is far below the cipher's 256 GiB"));
}

pub(crate) fn parse_init(transport: Transport, message: &[u8]) -> Result<Init<'_>, HandshakeError> {
    if init_len(transport, message)? != message.len() {
        return Err(HandshakeError::Length);
    }
    let (covered, mac1) = message.split_last_chunk().ok_or(HandshakeError::Length)?;
    let token = usize::from(u16_at(message, 4)?);
    let padding = covered.get(48 + token..).ok_or(HandshakeError::Length)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(HandshakeError::Reserved);
    }
    Ok(Init {
        scid: array_at(message, 8)?,
        share: array_at(message, 16)?,
        token: if token == TOKEN { Some(array_at(message, 48)?) } else { None },
        covered,
        mac1: *mac1,
    })
}

pub(crate) fn parse_retry(message: &[u8]) -> Result<Retry<'_>, HandshakeError> {
    header(message, RETRY, TYPE_RETRY)?;
    if message.len() != RETRY {
        return Err(HandshakeError::Length);
    }
    for at in [2, 4, 6] {
        reserved(message, at)?;
    }
    let (covered, mac1) = message.split_last_chunk().ok_or(HandshakeError::Length)?;
    Ok(Retry { dcid: array_at(message, 8)?, token: array_at(message, 16)?, covered, mac1: *mac1 })
}

pub(crate) fn parse_resp(transport: Transport, message: &[u8]) -> Result<Resp, HandshakeError> {
    whole(transport, resp_len(message)?, message)?;
    Ok(Resp {
        dcid: array_at(message, 8)?,
        scid: array_at(message, 16)?,
        share: resp_share(message)?,
    })
}

/// The share in RESP's clear part.
pub(crate) fn resp_share(message: &[u8]) -> Result<[u8; 32], HandshakeError> {
    array_at(message, 24)
}

/// Checks FIN's clear part; the result is its dcid.
pub(crate) fn parse_fin(
    transport: Transport,
    message: &[u8],
) -> Result<ConnectionId, HandshakeError> {
    whole(transport, fin_len(message)?, message)?;
    array_at(message, 8)
}

/// Opens the box behind the first `clear` bytes of a message whose length was checked.
pub(crate) fn open_box(
    message: &[u8],
    clear: usize,
    key: &Secret,
    aad: &Transcript,
) -> Result<Body, HandshakeError> {
    let sealed = message.get(clear..).ok_or(HandshakeError::Length)?;
    let (sealed, tag) = sealed.split_last_chunk::<TAG>().ok_or(HandshakeError::Length)?;
    let mut plain = sealed.to_vec();
    let cipher = Selected::new(key.as_bytes());
    cipher.open(&[0; 12], aad.as_bytes(), &mut plain, tag).map_err(|_| HandshakeError::Box)?;
    let params = plain.len().checked_sub(BOX_FIXED).ok_or(HandshakeError::Length)?;
    if usize::from(u16_at(&plain, 32)?) != params {
        return Err(HandshakeError::ParamsLength);
    }
    Ok(Body {
        id: array_at(&plain, 0)?,
        params: plain.get(34..34 + params).ok_or(HandshakeError::Length)?.to_vec(),
        signature: array_at(&plain, 34 + params)?,
        finished: array_at(&plain, 98 + params)?,
    })
}

fn init_len(transport: Transport, message: &[u8]) -> Result<usize, HandshakeError> {
    header(message, INIT, TYPE_INIT)?;
    suite(message)?;
    let (token, padding) = (usize::from(u16_at(message, 4)?), usize::from(u16_at(message, 6)?));
    let total = INIT + token + padding;
    match transport {
        _ if total > MAX_MESSAGE => Err(HandshakeError::TooLong),
        Transport::Tcp if total == INIT => Ok(total),
        Transport::Udp if total >= DATAGRAM && (token == 0 || token == TOKEN) => Ok(total),
        _ => Err(HandshakeError::Length),
    }
}

fn resp_len(message: &[u8]) -> Result<usize, HandshakeError> {
    header(message, RESP_CLEAR, TYPE_RESP)?;
    suite(message)?;
    reserved(message, 6)?;
    boxed_len(message, RESP_CLEAR)
}

fn fin_len(message: &[u8]) -> Result<usize, HandshakeError> {
    header(message, FIN_CLEAR, TYPE_FIN)?;
    reserved(message, 2)?;
    reserved(message, 6)?;
    boxed_len(message, FIN_CLEAR)
}

/// A RESP or FIN must be just as long as its header says, and fit every path if it is a datagram.
fn whole(transport: Transport, len: usize, message: &[u8]) -> Result<(), HandshakeError> {
    match transport {
        _ if len != message.len() => Err(HandshakeError::Length),
        Transport::Udp if len > DATAGRAM => Err(HandshakeError::TooLong),
        Transport::Tcp | Transport::Udp => Ok(()),
    }
}

fn boxed_len(message: &[u8], clear: usize) -> Result<usize, HandshakeError> {
    let box_len = usize::from(u16_at(message, 4)?);
    let total = clear + box_len + TAG;
    match box_len {
        ..BOX_FIXED => Err(HandshakeError::Length),
        _ if total > MAX_MESSAGE => Err(HandshakeError::TooLong),
        _ => Ok(total),
    }
}

fn header(message: &[u8], clear: usize, kind: u8) -> Result<(), HandshakeError> {
    match message {
        _ if message.len() < clear => Err(HandshakeError::Length),
        [found, ..] if *found != kind => Err(HandshakeError::WrongType),
        [_, VERSION, ..] => Ok(()),
        [_, version, ..] => Err(HandshakeError::UnsupportedVersion(*version)),
        _ => Err(HandshakeError::Length),
    }
}

fn suite(message: &[u8]) -> Result<(), HandshakeError> {
    match u16_at(message, 2)? {
        SUITE => Ok(()),
        other => Err(HandshakeError::UnsupportedSuite(other)),
    }
}

fn reserved(message: &[u8], at: usize) -> Result<(), HandshakeError> {
    if u16_at(message, at)? == 0 { Ok(()) } else { Err(HandshakeError::Reserved) }
}

fn u16_at(message: &[u8], at: usize) -> Result<u16, HandshakeError> {
    array_at(message, at).map(u16::from_be_bytes)
}

fn array_at<const N: usize>(message: &[u8], at: usize) -> Result<[u8; N], HandshakeError> {
    let bytes = message.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().ok_or(HandshakeError::Length)
}

fn short(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("our own messages are below 4,096 bytes").to_be_bytes()
}
