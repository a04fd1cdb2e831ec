//! Outcomes of calls on the wire: what a server writes, and what a client makes of it.

use std::time::Duration;

use bailiwick_acl::AuditId;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{CallError, Executed, ProtocolError, Unavailable},
    id::CallKey,
    marshal::{self, BORROW_FROM},
    proto::{
        calls::{Answer, Body},
        duplicate_requests::{Given, ShortAnswer},
        frame::FrameWriter,
        frames::Frames,
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

/// Writes a handler's result, and hands the answer to `keep` as a memory has it: `status ‖ body`. A long one that
/// is to be kept is sent from where it is kept. One that cannot be sent (too long, or its `Serialize` refuses)
/// goes as an internal failure: the call ran.
pub(crate) fn write_result<T: Serialize, E: Serialize>(
    header: ReplyHeader,
    result: &Result<T, CallError<E>>,
    out: &mut Frames,
    is_kept: bool,
    keep: impl FnOnce(Given<'_>),
) {
    let tail = out.tail();
    let start = tail.len();
    let written = match result {
        Ok(value) => write_value(header, OK, value, tail),
        Err(CallError::App(error)) => write_value(header, APP, error, tail),
        Err(_) => None,
    };
    let Some(answer) = written else {
        keep(Given::Lent(&[INTERNAL]));
        return write(header, &Refusal::Internal, tail);
    };
    let size = tail.len() - answer;
    let is_tight = tail.capacity() - size <= size / WASTE;
    if tail.len() - start - LENGTH > header.max_here as usize {
        keep(Given::Lent(&tail[answer..]));
        tail.truncate(start);
        write_short(header, TOO_LARGE, tail);
    } else if is_kept && size >= BORROW_FROM && is_tight {
        let (frames, takes) = out.freeze();
        keep(Given::Shared { answer: &frames.slice(frames.len() - size..), takes });
    } else {
        keep(Given::Lent(&tail[answer..]));
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

/// An answer is kept with the allocation that it is sent from if no more than this part of its length is kept for
/// nothing.
const WASTE: usize = 4;

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
    answer: &Answer,
    method: &MethodDescription,
    call: CallKey,
) -> Result<T, CallError<E>> {
    match answer {
        Answer::Reply { status: OK, body } => {
            decode(body).ok_or(CallError::Protocol(ProtocolError::ReplyBody))
        }
        Answer::Reply { status: APP, body } => {
            Err(decode(body).map_or(CallError::Protocol(ProtocolError::ReplyBody), CallError::App))
        }
        Answer::Reply { status, body } => Err(read_refusal(*status, body, method, call)),
        Answer::DeadlineExceeded(executed) => {
            Err(CallError::DeadlineExceeded { executed: *executed, call: Some(call) })
        }
        Answer::NotSent(why) => Err(CallError::NotSent(why.clone())),
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
    let mut rest = body.bytes();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::frame::{self, Frame};

    const HEADER: ReplyHeader =
        ReplyHeader { call: 7, attempt: 1, max_frame: 1 << 20, max_here: 1 << 20 };

    /// What is kept of a result of so many bytes and where, if in an allocation that it shares; what is sent.
    fn written(
        header: ReplyHeader,
        size: usize,
        (is_kept, room): (bool, usize),
    ) -> (Vec<u8>, Option<*const u8>, Frames) {
        let mut frames = Frames::default();
        frames.tail().reserve_exact(room);
        frame::put_pong(3, frames.tail());
        frames.sent(2);
        let result = Ok::<_, CallError>(marshal::ByteVec(vec![9; size]));
        let mut kept = None;
        write_result(header, &result, &mut frames, is_kept, |given| {
            let at = match given {
                Given::Lent(_) => None,
                Given::Shared { answer, takes } => {
                    assert!((answer.len()..=answer.len() + answer.len() / WASTE).contains(&takes));
                    Some(answer.as_ptr())
                }
            };
            kept = Some((given.bytes().to_vec(), at));
        });
        let (kept, at) = kept.expect("the answer is handed over");
        (kept, at, frames)
    }

    #[test]
    fn what_is_kept_is_what_is_sent_and_long_answers_lie_in_one_place() {
        for size in [0, 100, BORROW_FROM, 100_000] {
            let (kept, shared, mut frames) = written(HEADER, size, (true, 0));
            let sent = frames.front().as_ptr_range();
            assert_eq!(shared.is_some_and(|at| sent.contains(&at)), size >= BORROW_FROM);
            let sent = frames.take_all();
            let mut pong = Vec::new();
            frame::put_pong(3, &mut pong);
            let reply = sent.strip_prefix(&pong[2..]).expect("what was there before comes first");
            let Ok(Frame::Reply(reply)) = Frame::parse(&reply[LENGTH..], 0) else {
                panic!("no reply");
            };
            assert_eq!((reply.call, reply.attempt), (7, 1));
            assert_eq!(kept, [&[reply.status], reply.body].concat(), "{size} bytes");
            assert_eq!(kept[0], OK);
        }
    }

    #[test]
    fn the_buffer_stays_where_an_answer_is_not_kept_or_much_shorter_than_it() {
        for how in [(false, 0), (true, 200_000)] {
            let (kept, shared, frames) = written(HEADER, 100_000, how);
            assert!(kept.len() > 100_000 && shared.is_none());
            assert!(frames.len() > 100_000);
        }
    }

    #[test]
    fn an_answer_too_long_for_this_transport_is_kept_and_not_sent() {
        let header = ReplyHeader { max_here: 50_000, ..HEADER };
        let (kept, shared, mut frames) = written(header, 60_000, (true, 0));
        assert!(kept.len() > 60_000 && shared.is_none());
        assert!(frames.take_all().len() < 100);
    }
}
