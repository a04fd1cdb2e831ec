use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::*;
use crate::{
    error::{Executed, ProtocolError},
    marshal::SharedBytes,
    proto::{
        frame::{Frame, Reply},
        frames::Frames,
    },
};

pub(super) fn calls(limits: &Limits) -> Calls {
    let mut calls = made(limits, Reconnect::Always);
    connect(&mut calls, 1);
    calls
}

/// Calls on a machine that never sleeps.
pub(super) fn made(limits: &Limits, reconnect: Reconnect) -> Calls {
    Calls::new(limits, limits.max_calls_in_flight, reconnect, || SystemTime::UNIX_EPOCH)
}

/// A connection to a server whose memory goes by this name.
pub(super) fn connect(calls: &mut Calls, memory: u8) {
    meet(calls, MemoryId { id: [memory; 8], ..MemoryId::default() }, Instant::now());
}

/// A connection to a server that has this memory.
pub(super) fn meet(calls: &mut Calls, memory: MemoryId, now: Instant) {
    calls.connected(LaneId::Main, 1 << 16, now);
    calls.recall(LaneId::Main, memory, None, now);
}

pub(super) fn begin(
    calls: &mut Calls,
    now: Instant,
    timeout_ms: u64,
) -> Result<Ticket, BeginError> {
    begin_as(calls, Rerun::Forbidden, now, timeout_ms)
}

pub(super) fn begin_as(
    calls: &mut Calls,
    rerun: Rerun,
    now: Instant,
    timeout_ms: u64,
) -> Result<Ticket, BeginError> {
    let header = Header {
        method: MethodId::new(1),
        rerun,
        deadline: now + Duration::from_millis(timeout_ms),
        metadata: &Metadata::default(),
    };
    calls.begin(&header, Waker::noop().clone(), |draft| {
        draft.bytes().push(9);
        Ok(())
    })
}

/// A call with so many bytes of arguments.
pub(super) fn begin_long(
    calls: &mut Calls,
    now: Instant,
    length: usize,
) -> Result<Ticket, BeginError> {
    let header = Header {
        method: MethodId::new(1),
        rerun: Rerun::Forbidden,
        deadline: now + Duration::from_millis(100),
        metadata: &Metadata::default(),
    };
    calls.begin(&header, Waker::noop().clone(), |draft| {
        let bytes = draft.bytes();
        bytes.resize(bytes.len() + length, 9);
        Ok(())
    })
}

pub(super) fn poll(calls: &mut Calls, ticket: &Ticket) -> Poll<Answer> {
    calls.poll(ticket, &mut Context::from_waker(Waker::noop()))
}

pub(super) fn reply(call: u64) -> Reply<'static> {
    Reply { call, attempt: 0, status: 0, body: &[] }
}

pub(super) fn empty() -> Body {
    Body::Copied(Vec::new())
}

pub(super) fn answered() -> Poll<Answer> {
    Poll::Ready(Answer::Reply { status: 0, body: empty() })
}

/// The frames that wait.
pub(super) fn taken(calls: &mut Calls, lane: LaneId, now: Instant) -> Vec<u8> {
    let mut frames = Frames::default();
    calls.take_frames(lane, now, &mut frames);
    frames.take_all()
}

/// The frames that wait, parsed: call, floor and attempt of requests.
pub(super) fn requests(calls: &mut Calls, now: Instant) -> Vec<(u64, u64, u64)> {
    let bytes = taken(calls, LaneId::Main, now);
    let mut rest = &bytes[..];
    let mut found = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (frame, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        if let Frame::Request(request) = Frame::parse(frame, 0).unwrap() {
            found.push((request.call, request.floor, request.attempt));
        }
        rest = behind;
    }
    found
}

#[test]
fn answers_find_their_calls_in_any_order() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let first = begin(&mut calls, now, 100).unwrap();
    let second = begin(&mut calls, now, 100).unwrap();
    calls.complete(&reply(1), None).unwrap();
    assert_eq!(poll(&mut calls, &first), Poll::Pending);
    assert_eq!(poll(&mut calls, &second), answered());
    calls.complete(&reply(0), None).unwrap();
    assert_eq!(poll(&mut calls, &first), answered());
}

#[test]
fn the_floor_is_the_oldest_call_without_an_answer() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    for _ in 0..3 {
        begin(&mut calls, now, 100).unwrap();
    }
    assert_eq!(requests(&mut calls, now), [(0, 0, 0), (1, 0, 0), (2, 0, 0)]);
    calls.complete(&reply(2), None).unwrap();
    calls.complete(&reply(0), None).unwrap();
    begin(&mut calls, now, 100).unwrap();
    assert_eq!(requests(&mut calls, now), [(3, 1, 0)]);
    calls.complete(&reply(1), None).unwrap();
    begin(&mut calls, now, 100).unwrap();
    assert_eq!(requests(&mut calls, now), [(4, 3, 0)]);
}

#[test]
fn an_answer_to_a_call_never_made_breaks_the_protocol() {
    let mut calls = calls(&Limits::default());
    let unasked = calls.complete(&reply(0), None);
    assert_eq!(unasked, Err(ProtocolError::CallNumber));
}

#[test]
fn an_answer_that_nobody_waits_for_is_dropped() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let ticket = begin(&mut calls, now, 100).unwrap();
    calls.abandon(&ticket);
    assert_eq!(calls.complete(&reply(0), None), Ok(None));
    assert!(calls.waiting.is_empty());
}

#[test]
fn a_call_past_its_deadline_may_have_run() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let late = begin(&mut calls, now, 10).unwrap();
    requests(&mut calls, now);
    let later = begin(&mut calls, now, 50).unwrap();
    assert_eq!(calls.next_deadline(), Some(now + Duration::from_millis(10)));
    calls.expire(now + Duration::from_millis(10));
    let exceeded = Poll::Ready(Answer::DeadlineExceeded(Executed::Unknown));
    assert_eq!(poll(&mut calls, &late), exceeded);
    assert_eq!(poll(&mut calls, &later), Poll::Pending);
    assert_eq!(calls.next_deadline(), Some(now + Duration::from_millis(50)));
}

#[test]
fn a_call_that_never_left_before_its_deadline_did_not_run() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let late = begin(&mut calls, now, 10).unwrap();
    let passed = now + Duration::from_millis(10);
    calls.expire(passed);
    assert_eq!(poll(&mut calls, &late), Poll::Ready(Answer::DeadlineExceeded(Executed::No)));
    assert_eq!(requests(&mut calls, passed), []);
}

#[test]
fn a_call_whose_deadline_has_passed_is_never_sent() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let late = begin(&mut calls, now, 0).unwrap();
    assert_eq!(requests(&mut calls, now), []);
    assert_eq!(poll(&mut calls, &late), Poll::Ready(Answer::DeadlineExceeded(Executed::No)));
    begin(&mut calls, now, 100).unwrap();
    assert_eq!(requests(&mut calls, now), [(1, 1, 0)], "and nobody waits for it");
}

#[test]
fn calls_beyond_the_limit_wait_until_one_is_over() {
    let now = Instant::now();
    let mut calls = calls(&Limits { max_calls_in_flight: 1, ..Limits::default() });
    let ticket = begin(&mut calls, now, 100).unwrap();
    assert_eq!(begin(&mut calls, now, 100).unwrap_err(), BeginError::Full);
    calls.complete(&reply(0), None).unwrap();
    assert_eq!(poll(&mut calls, &ticket), answered());
    assert!(begin(&mut calls, now, 100).is_ok());
}

#[test]
fn requests_that_the_server_does_not_take_are_bounded_in_bytes() {
    let now = Instant::now();
    let mut calls = calls(&Limits { max_unsent: 2048, max_frame: 1024, ..Limits::default() });
    let begun = std::iter::from_fn(|| begin(&mut calls, now, 100).ok()).take(10_000).count();
    assert!((10..200).contains(&begun), "{begun}");
}

#[test]
fn arguments_that_do_not_marshal_leave_no_trace() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let header = Header {
        method: MethodId::new(1),
        rerun: Rerun::Forbidden,
        deadline: now + Duration::from_secs(1),
        metadata: &Metadata::default(),
    };
    let refused = calls.begin(&header, Waker::noop().clone(), |draft| {
        draft.bytes().push(1);
        Err(MarshalError::Encode)
    });
    assert_eq!(refused.unwrap_err(), BeginError::NotSent(MarshalError::Encode.into()));
    assert!(!calls.has_frames(LaneId::Main));
    assert_eq!(begin(&mut calls, now, 100).unwrap().number(), CallNumber::new(0));
}

#[test]
fn metadata_above_their_limit_are_not_sent() {
    let now = Instant::now();
    let mut calls = calls(&Limits { max_metadata: 3, ..Limits::default() });
    let mut metadata = Metadata::default();
    metadata.insert("ab".into(), "cd".into());
    let deadline = now + Duration::from_secs(1);
    let method = MethodId::new(1);
    let header = Header { method, rerun: Rerun::Forbidden, deadline, metadata: &metadata };
    let refused = calls.begin(&header, Waker::noop().clone(), |_| Ok(())).unwrap_err();
    assert_eq!(refused, BeginError::NotSent(NotSent::MetadataTooLarge { size: 4, limit: 3 }));
}

#[test]
fn a_lone_call_is_sent_at_once_and_others_gather() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    begin(&mut calls, now, 100).unwrap();
    assert!(!calls.gather(LaneId::Main, Waker::noop()));
    begin(&mut calls, now, 100).unwrap();
    assert!(calls.gather(LaneId::Main, Waker::noop()));
}

#[test]
fn a_batch_that_is_a_quarter_of_the_calls_under_way_waits_no_longer() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    for _ in 0..128 {
        begin(&mut calls, now, 100).unwrap();
    }
    requests(&mut calls, now);
    for begun in 1..=42 {
        begin(&mut calls, now, 100).unwrap();
        // 42 of 170 are a quarter.
        assert_eq!(calls.gather(LaneId::Main, Waker::noop()), begun < 42, "{begun}");
    }
}

#[test]
fn a_batch_of_large_requests_waits_for_fewer_and_one_of_a_huge_one_for_none() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let metadata = Metadata::default();
    let (method, deadline) = (MethodId::new(1), now + Duration::from_secs(1));
    let header = Header { method, rerun: Rerun::Forbidden, deadline, metadata: &metadata };
    let begin = |calls: &mut Calls, size| {
        let arguments = |draft: &mut Draft| {
            let bytes = draft.bytes();
            bytes.resize(bytes.len() + size, 7);
            Ok(())
        };
        calls.begin(&header, Waker::noop().clone(), arguments).unwrap();
    };
    (0..6).for_each(|_| begin(&mut calls, 1_024));
    requests(&mut calls, now);
    begin(&mut calls, 1_024);
    assert!(calls.gather(LaneId::Main, Waker::noop()));
    begin(&mut calls, 1_024);
    assert!(!calls.gather(LaneId::Main, Waker::noop()), "two of eight, and two KiB");
    (0..20).for_each(|_| begin(&mut calls, 1_024));
    requests(&mut calls, now);
    begin(&mut calls, 33 * 1_024);
    assert!(calls.gather(LaneId::Main, Waker::noop()));
    begin(&mut calls, 33 * 1_024);
    assert!(!calls.gather(LaneId::Main, Waker::noop()), "two of thirty, and more than 64 KiB");
}

#[test]
fn calls_that_end_together_leave_their_buffers_to_as_many() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    for round in 0..2 {
        let tickets: Vec<_> = (0..8).map(|_| begin(&mut calls, now, 1_000).unwrap()).collect();
        calls.take_frames(LaneId::Main, now, &mut Frames::default());
        for ticket in &tickets {
            calls.complete(&reply(ticket.number), None).unwrap();
        }
        for ticket in &tickets {
            let Poll::Ready(answer) = poll(&mut calls, ticket) else { panic!("round {round}") };
            assert!(answer.is_short());
            calls.reuse_answer(answer);
        }
        assert_eq!(calls.spare.len(), 8, "round {round}");
    }
}

/// Bytes of a user's who does not let go of them in peace.
struct Reluctant(Vec<u8>);

impl AsRef<[u8]> for Reluctant {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Reluctant {
    fn drop(&mut self) {
        panic!("the user's drop");
    }
}

#[test]
fn a_call_is_answered_though_its_arguments_panic_when_they_are_dropped() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let header = Header {
        method: MethodId::new(1),
        rerun: Rerun::Forbidden,
        deadline: now + Duration::from_secs(1),
        metadata: &Metadata::default(),
    };
    let arguments = Bytes::from_owner(Reluctant(vec![7; 1 << 15]));
    let ticket = calls.begin(&header, Waker::noop().clone(), |draft| {
        draft.encode(&SharedBytes(arguments.clone()))
    });
    let ticket = ticket.unwrap();
    // The request has the last of them.
    drop(arguments);
    let mut frames = Frames::default();
    calls.take_frames(LaneId::Main, now, &mut frames);
    frames.clear();
    let completed = catch_unwind(AssertUnwindSafe(|| calls.complete(&reply(0), None)));
    assert!(completed.is_err(), "{completed:?}");
    assert_eq!(poll(&mut calls, &ticket), answered());
}
