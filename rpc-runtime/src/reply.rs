//! Outcomes of calls on the wire: what a server writes, and what a client makes of it.

use std::time::Duration;

use bailiwick_acl::AuditId;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{CallError, Executed, ProtocolError, Unavailable},
    id::CallKey,
    marshal,
    proto::{
        calls::{Answer, Body},
        duplicate_requests::ShortAnswer,
        frame::FrameWriter,
        status::{
            ANSWER_LOST, APP, DEADLINE_EXCEEDED, DENIED, INTERNAL, MALFORMED, OK, OVERLOADED,
            STALE, TOO_LARGE_HERE, UNAVAILABLE, UNIMPLEMENTED,
        },
        varint,
    },
    service::MethodDescription,
};

/// Where a reply goes: the connection's outgoing frames, and what it must repeat of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyHeader {
    pub(crate) call: u64,
    pub(crate) attempt: u64,
    /// The longest frame that the client accepts.
    pub(crate) max_frame: u32,
    /// The longest that this transport carries; a longer answer is asked for over TCP.
    pub(crate) max_here: u32,
}

/// Writes a handler's result, and hands the answer to `keep` as a memory has it: `status ‖ body`.
/// One that cannot be sent (too long, or its `Serialize` refuses) goes as an internal failure: the
/// call ran.
pub(crate) fn write_result<T: Serialize, E: Serialize>(
    header: ReplyHeader,
    result: &Result<T, CallError<E>>,
    out: &mut Vec<u8>,
    keep: impl FnOnce(&[u8]),
) {
    let start = out.len();
    let written = match result {
        Ok(value) => write_value(header, OK, value, out),
        Err(CallError::App(error)) => write_value(header, APP, error, out),
        Err(_) => None,
    };
    let Some(answer) = written else {
        keep(&[INTERNAL]);
        return write(header, &Refusal::Internal, out);
    };
    keep(&out[answer..]);
    if out.len() - start - LENGTH > header.max_here as usize {
        out.truncate(start);
        write_short(header, TOO_LARGE, out);
    }
}

/// Where the answer begins in `out`, unless it cannot be sent.
fn write_value<T: Serialize>(
    header: ReplyHeader,
    status: u8,
    value: &T,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let mut frame = FrameWriter::reply(out, header.call, header.attempt, status);
    let answer = frame.body().len() - 1;
    marshal::encode(value, frame.body()).ok()?;
    frame.finish(header.max_frame).ok()?;
    Some(answer)
}

/// What a handler's result is on the wire, `status ‖ body`, for a log. It agrees with what
/// [`write_result`] writes.
pub(crate) fn answer<T: Serialize, E: Serialize>(
    header: ReplyHeader,
    result: &Result<T, E>,
) -> Vec<u8> {
    let mut frame = Vec::new();
    let written = match result {
        Ok(value) => write_value(header, OK, value, &mut frame),
        Err(error) => write_value(header, APP, error, &mut frame),
    };
    written.map_or_else(|| vec![INTERNAL], |answer| frame.split_off(answer))
}

/// Writes an answer that was kept, `status ‖ body`.
pub(crate) fn write_kept(header: ReplyHeader, answer: &[u8], out: &mut Vec<u8>) {
    let Some((&status, body)) = answer.split_first() else {
        return write_short(header, LOST, out);
    };
    let mut frame = FrameWriter::reply(out, header.call, header.attempt, status);
    frame.body().extend_from_slice(body);
    let size = frame.size();
    if size > header.max_frame as usize {
        drop(frame);
        write_short(header, LOST, out);
    } else if frame.finish(header.max_here).is_err() {
        write_short(header, TOO_LARGE, out);
    }
}

/// It never runs again, and what it did before is not told.
pub(crate) const IS_STALE: ShortAnswer = ShortAnswer { status: STALE, detail: None };

/// It ran; the answer could not be kept.
pub(crate) const LOST: ShortAnswer = ShortAnswer { status: ANSWER_LOST, detail: None };

const TOO_LARGE: ShortAnswer = ShortAnswer { status: TOO_LARGE_HERE, detail: None };

/// A frame's length field.
const LENGTH: usize = 4;

/// A final answer that holds no result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    Denied(AuditId),
    Overloaded { retry_after: Duration },
    DeadlineExceeded(Executed),
    Unimplemented,
    Malformed,
    Internal,
    Unavailable(Unavailable),
}

impl From<&Refusal> for ShortAnswer {
    fn from(refusal: &Refusal) -> Self {
        let (status, detail) = match refusal {
            Refusal::Denied(audit) => (DENIED, Some(audit.0)),
            Refusal::Overloaded { retry_after } => {
                (OVERLOADED, Some(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX)))
            }
            Refusal::DeadlineExceeded(executed) => {
                (DEADLINE_EXCEEDED, Some(executed_code(*executed)))
            }
            Refusal::Unimplemented => (UNIMPLEMENTED, None),
            Refusal::Malformed => (MALFORMED, None),
            Refusal::Internal => (INTERNAL, None),
            Refusal::Unavailable(Unavailable::Audit) => (UNAVAILABLE, Some(1)),
            Refusal::Unavailable(Unavailable::Draining) => (UNAVAILABLE, Some(2)),
            Refusal::Unavailable(Unavailable::Recovering) => (UNAVAILABLE, Some(3)),
        };
        Self { status, detail }
    }
}

/// Writes an answer that holds no result.
pub(crate) fn write(header: ReplyHeader, refusal: &Refusal, out: &mut Vec<u8>) {
    write_short(header, refusal.into(), out);
}

/// Writes an answer of a status and perhaps a number.
pub(crate) fn write_short(header: ReplyHeader, answer: ShortAnswer, out: &mut Vec<u8>) {
    let mut frame = FrameWriter::reply(out, header.call, header.attempt, answer.status);
    if let Some(detail) = answer.detail {
        varint::put(detail, frame.body());
    }
    // At most some forty bytes, and a client accepts 1,024 at the least.
    let _ = frame.finish(header.max_frame);
}

/// What an answer means to the caller.
pub(crate) fn read<T: DeserializeOwned, E: DeserializeOwned>(
    answer: Answer,
    method: &MethodDescription,
    call: CallKey,
) -> Result<T, CallError<E>> {
    match answer {
        Answer::Reply { status: OK, body } => {
            decode(&body).ok_or(CallError::Protocol(ProtocolError::ReplyBody))
        }
        Answer::Reply { status: APP, body } => {
            Err(decode(&body).map_or(CallError::Protocol(ProtocolError::ReplyBody), CallError::App))
        }
        Answer::Reply { status, body } => Err(read_refusal(status, &body, method, call)),
        Answer::DeadlineExceeded(executed) => {
            Err(CallError::DeadlineExceeded { executed, call: Some(call) })
        }
        Answer::NotSent(why) => Err(CallError::NotSent(why)),
        Answer::Lost => Err(CallError::OutcomeUnknown { call }),
    }
}

fn decode<T: DeserializeOwned>(body: &Body) -> Option<T> {
    match body {
        Body::Copied(bytes) => marshal::decode(bytes).ok(),
        Body::Owned(message) => marshal::decode_shared(message).ok(),
    }
}

fn read_refusal<E>(
    status: u8,
    body: &Body,
    method: &MethodDescription,
    call: CallKey,
) -> CallError<E> {
    let mut rest = match body {
        Body::Copied(bytes) => &bytes[..],
        Body::Owned(message) => &message[..],
    };
    let detail = varint::take(&mut rest).filter(|_| rest.is_empty());
    match (status, detail) {
        (DENIED, Some(audit)) => CallError::Denied(AuditId(audit)),
        (OVERLOADED, Some(ms)) => CallError::Overloaded { retry_after: Duration::from_millis(ms) },
        (DEADLINE_EXCEEDED, Some(code)) => {
            CallError::DeadlineExceeded { executed: executed(code), call: Some(call) }
        }
        (UNIMPLEMENTED, None) => CallError::Unimplemented(method.name),
        (MALFORMED, None) => CallError::Malformed,
        (INTERNAL, None) => CallError::Internal,
        (UNAVAILABLE, Some(1)) => CallError::Unavailable(Unavailable::Audit),
        (UNAVAILABLE, Some(3)) => CallError::Unavailable(Unavailable::Recovering),
        // A reason that is new to this client is a reason why nothing runs all the same.
        (UNAVAILABLE, Some(_)) => CallError::Unavailable(Unavailable::Draining),
        (ANSWER_LOST | TOO_LARGE_HERE, None) => CallError::AnswerLost { call },
        (STALE, None) => CallError::OutcomeUnknown { call },
        (DENIED..=TOO_LARGE_HERE, _) => CallError::Protocol(ProtocolError::ReplyBody),
        (unknown, _) => CallError::Protocol(ProtocolError::ReplyStatus(unknown)),
    }
}

fn executed_code(executed: Executed) -> u64 {
    match executed {
        Executed::No => 0,
        Executed::Yes => 1,
        Executed::Unknown => 2,
    }
}

fn executed(code: u64) -> Executed {
    match code {
        0 => Executed::No,
        1 => Executed::Yes,
        _ => Executed::Unknown,
    }
}
