//! What becomes of calls whose server has forgotten them: durable ones, which it has on record, and
//! those that may run again.

use std::{
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::super::tests::{answered, begin_as, empty, made, meet, poll, reply, requests, taken};
use crate::{
    config::Limits,
    error::{Disconnected, Executed, Outcome},
    proto::{
        answers::Answers,
        calls::{Answer, Calls, LaneId, Read, Reconnect, Rerun},
        frame::{self, Frame, MemoryId, WireOutcome},
        joined::Joined,
        status,
    },
};

const CUT: Disconnected = Disconnected::Truncated;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: u64 = 3_600_000;

/// A server of this life; its store keeps records for a minute.
fn server(life: u8, store: u8) -> MemoryId {
    let lease = 60 * SECOND;
    MemoryId { id: [life; 8], store: [store; 8], lease, ..MemoryId::default() }
}

fn calls(first: MemoryId, now: Instant) -> Calls {
    let mut calls = made(&Limits::default(), Reconnect::Always);
    meet(&mut calls, first, now);
    calls
}

/// The server is killed, and there is another one.
fn restart(calls: &mut Calls, next: MemoryId, now: Instant) {
    calls.lost(LaneId::Main, &CUT, Read::All);
    meet(calls, next, now);
}

fn refuse(calls: &mut Calls, call: u64, status: u8) {
    let mut refusal = reply(call);
    refusal.status = status;
    calls.complete(&refusal, None).unwrap();
}

fn outcome(calls: &mut Calls, number: u64) -> Poll<Outcome> {
    calls.poll_outcome(number, &mut Context::from_waker(Waker::noop()))
}

/// A frame that says or asks something about calls.
#[derive(Debug, PartialEq)]
enum Said {
    Acknowledged(u64, Vec<(u64, u64)>),
    Asked(u64),
}

use Said::{Acknowledged, Asked};

/// What the frames that wait say, in order.
fn said(calls: &mut Calls, now: Instant) -> Vec<Said> {
    let bytes = taken(calls, LaneId::Main, now);
    let (mut said, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (frame, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        match Frame::parse(frame, 0).unwrap() {
            Frame::Inquire { call } => said.push(Asked(call)),
            Frame::Acknowledge { floor, ranges } => {
                said.push(Acknowledged(floor, ranges.collect()));
            }
            _ => {}
        }
        rest = behind;
    }
    said
}

#[test]
fn a_durable_call_is_sent_again_to_a_server_that_has_it_on_record() {
    let now = Instant::now();
    let mut calls = calls(server(1, 7), now);
    let ticket = begin_as(&mut calls, Rerun::Durable, now, HOUR).unwrap();
    requests(&mut calls, now);
    for life in 2..5 {
        restart(&mut calls, server(life, 7), now + SECOND);
        assert_eq!(requests(&mut calls, now), [(0, 0, u64::from(life) - 1)]);
    }
    calls.complete(&reply(0), None).unwrap();
    assert_eq!(poll(&mut calls, &ticket), answered());
}

#[test]
fn a_durable_call_that_another_store_would_have_on_record_is_unknown() {
    let now = Instant::now();
    for (first, second) in [(7, 8), (7, 0), (0, 7), (0, 0)] {
        let mut calls = calls(server(1, first), now);
        let sent = begin_as(&mut calls, Rerun::Durable, now, HOUR).unwrap();
        requests(&mut calls, now);
        calls.lost(LaneId::Main, &CUT, Read::All);
        let unsent = begin_as(&mut calls, Rerun::Durable, now, HOUR).unwrap();
        meet(&mut calls, server(2, second), now);
        assert_eq!(poll(&mut calls, &sent), Poll::Ready(Answer::Lost), "{first} {second}");
        assert_eq!(poll(&mut calls, &unsent), Poll::Pending);
        assert_eq!(requests(&mut calls, now), [(1, 1, 0)]);
    }
}

#[test]
fn a_store_that_comes_back_after_another_has_missed_what_ran_there() {
    let now = Instant::now();
    let mut calls = calls(server(1, 7), now);
    restart(&mut calls, server(2, 8), now);
    let ticket = begin_as(&mut calls, Rerun::Durable, now, HOUR).unwrap();
    requests(&mut calls, now);
    restart(&mut calls, server(3, 7), now);
    assert_eq!(poll(&mut calls, &ticket), Poll::Ready(Answer::Lost));
}

#[test]
fn after_half_the_lease_without_a_sign_of_the_server_a_durable_call_is_unknown() {
    let now = Instant::now();
    for (seconds, is_known) in [(30, true), (31, false)] {
        let mut calls = calls(server(1, 7), now);
        let ticket = begin_as(&mut calls, Rerun::Durable, now, HOUR).unwrap();
        requests(&mut calls, now);
        restart(&mut calls, server(2, 7), now + seconds * SECOND);
        let known = poll(&mut calls, &ticket) == Poll::Pending;
        assert_eq!(known, is_known, "after {seconds} s");
    }
}

#[test]
fn an_answer_counts_from_when_that_was_sent_which_it_answers() {
    let now = Instant::now();
    let at = |seconds| now + seconds * SECOND;
    for (restarted, is_known) in [(70, true), (71, false)] {
        let mut calls = calls(server(1, 7), now);
        let ticket = begin_as(&mut calls, Rerun::Durable, now, HOUR).unwrap();
        requests(&mut calls, now);
        calls.send_again(LaneId::Main, 0);
        requests(&mut calls, at(40));
        let mut working = Vec::new();
        frame::put_working(0, 1, SECOND, &mut working);
        let (lane, now) = (LaneId::Main, at(60));
        let mut answers = Answers { calls: &mut calls, lane, bulk_frame: None, now };
        answers.handle(&Joined::Lent(&working[4..])).unwrap();
        restart(&mut calls, server(2, 7), at(restarted));
        let known = poll(&mut calls, &ticket) == Poll::Pending;
        assert_eq!(known, is_known, "after {restarted} s");
    }
}

#[test]
fn an_answer_that_was_long_under_way_says_nothing_about_now() {
    let now = Instant::now();
    let at = |seconds| now + seconds * SECOND;
    let mut calls = calls(server(1, 7), now);
    let ticket = begin_as(&mut calls, Rerun::Durable, now, HOUR).unwrap();
    requests(&mut calls, now);
    calls.send_again(LaneId::Main, 0);
    requests(&mut calls, at(40));
    // What the first attempt was answered, and a question that was not asked.
    for pong in [false, true] {
        let mut frame = Vec::new();
        match pong {
            true => frame::put_pong(0, &mut frame),
            false => frame::put_working(0, 0, SECOND, &mut frame),
        }
        let (lane, now) = (LaneId::Main, at(59));
        let mut answers = Answers { calls: &mut calls, lane, bulk_frame: None, now };
        answers.handle(&Joined::Lent(&frame[4..])).unwrap();
    }
    restart(&mut calls, server(2, 7), at(60));
    assert_eq!(poll(&mut calls, &ticket), Poll::Ready(Answer::Lost));
}

#[test]
fn a_server_that_looks_its_records_up_is_believed_when_it_refuses() {
    let now = Instant::now();
    let mut calls = calls(server(1, 7), now);
    let refused = begin_as(&mut calls, Rerun::Durable, now, HOUR).unwrap();
    let unimplemented = begin_as(&mut calls, Rerun::Durable, now, HOUR).unwrap();
    requests(&mut calls, now);
    restart(&mut calls, server(2, 7), now);
    refuse(&mut calls, 0, status::OVERLOADED);
    let body = empty();
    let told = Answer::Reply { status: status::OVERLOADED, body };
    assert_eq!(poll(&mut calls, &refused), Poll::Ready(told));
    // It does not know the method, and has not looked.
    refuse(&mut calls, 1, status::UNIMPLEMENTED);
    assert_eq!(poll(&mut calls, &unimplemented), Poll::Ready(Answer::Lost));
}

#[test]
fn a_durable_call_past_its_deadline_can_be_asked_about_after_a_restart() {
    let now = Instant::now();
    let late = now + Duration::from_millis(10);
    for (store, seconds, is_known) in [(7, 1, true), (7, 31, false), (8, 1, false)] {
        let mut calls = calls(server(1, 7), now);
        begin_as(&mut calls, Rerun::Durable, now, 10).unwrap();
        requests(&mut calls, now);
        calls.expire(late);
        calls.tell_outcome(0, WireOutcome::AtWork);
        assert_eq!(outcome(&mut calls, 0), Poll::Ready(Outcome::Running));
        assert_eq!(outcome(&mut calls, 0), Poll::Pending);
        restart(&mut calls, server(2, store), now + seconds * SECOND);
        if is_known {
            let said = said(&mut calls, now);
            assert_eq!(said, [Acknowledged(0, vec![]), Asked(0)], "the next server is asked");
            calls.tell_outcome(0, WireOutcome::Ran);
            assert_eq!(outcome(&mut calls, 0), Poll::Ready(Outcome::Ran));
        } else {
            assert_eq!(said(&mut calls, now), [], "its word would be worth nothing");
            assert_eq!(outcome(&mut calls, 0), Poll::Ready(Outcome::Unknown));
        }
    }
}

#[test]
fn a_server_learns_the_floor_before_it_is_asked_about_a_number_far_from_nothing() {
    let now = Instant::now();
    let mut calls = calls(server(1, 7), now);
    for call in 0..3 {
        begin_as(&mut calls, Rerun::Durable, now, 10).unwrap();
        requests(&mut calls, now);
        if call < 2 {
            calls.complete(&reply(call), None).unwrap();
        }
    }
    calls.expire(now + Duration::from_millis(10));
    assert_eq!(outcome(&mut calls, 2), Poll::Pending);
    restart(&mut calls, server(2, 7), now);
    assert_eq!(said(&mut calls, now), [Acknowledged(2, vec![]), Asked(2)]);
}

#[test]
fn a_server_is_told_anew_which_answers_it_need_not_keep_on_record() {
    let now = Instant::now();
    let mut calls = calls(server(1, 7), now);
    for _ in 0..5 {
        begin_as(&mut calls, Rerun::Durable, now, HOUR).unwrap();
    }
    requests(&mut calls, now);
    for answered in [0, 2, 3] {
        calls.complete(&reply(answered), None).unwrap();
    }
    restart(&mut calls, server(2, 7), now);
    requests(&mut calls, now);
    let due = calls.next_acknowledgement(now).unwrap();
    assert_eq!(said(&mut calls, due), [Acknowledged(1, vec![(2, 4)])]);
}

#[test]
fn what_a_server_that_forgot_may_have_run_has_not_not_run_because_the_next_one_refuses() {
    let now = Instant::now();
    for store in [0, 7] {
        let mut calls = calls(server(1, store), now);
        let refused = begin_as(&mut calls, Rerun::Allowed, now, HOUR).unwrap();
        let ran_again = begin_as(&mut calls, Rerun::Allowed, now, HOUR).unwrap();
        requests(&mut calls, now);
        let unsent = begin_as(&mut calls, Rerun::Allowed, now, HOUR).unwrap();
        restart(&mut calls, server(2, store), now);
        requests(&mut calls, now);
        refuse(&mut calls, 0, status::DENIED);
        calls.complete(&reply(1), None).unwrap();
        refuse(&mut calls, 2, status::DENIED);
        assert_eq!(poll(&mut calls, &refused), Poll::Ready(Answer::Lost));
        assert_eq!(poll(&mut calls, &ran_again), answered());
        let told = Answer::Reply { status: status::DENIED, body: empty() };
        assert_eq!(poll(&mut calls, &unsent), Poll::Ready(told), "nobody had it before");
    }
}

#[test]
fn what_a_server_that_forgot_may_have_run_stays_unknown_past_its_deadline() {
    let now = Instant::now();
    let mut calls = calls(server(1, 0), now);
    let waiting = begin_as(&mut calls, Rerun::Allowed, now, 10).unwrap();
    requests(&mut calls, now);
    restart(&mut calls, server(2, 0), now);
    calls.expire(now + Duration::from_millis(10));
    let unknown = Answer::DeadlineExceeded(Executed::Unknown);
    assert_eq!(poll(&mut calls, &waiting), Poll::Ready(unknown));
    assert_eq!(outcome(&mut calls, 0), Poll::Ready(Outcome::Unknown));
    assert_eq!(said(&mut calls, now), [], "the next server would say that it did not run");
}

#[test]
fn what_a_server_that_forgot_may_have_run_is_not_unsent_when_no_connection_is_to_be_had() {
    let now = Instant::now();
    let mut calls = calls(server(1, 0), now);
    let ticket = begin_as(&mut calls, Rerun::Allowed, now, HOUR).unwrap();
    requests(&mut calls, now);
    restart(&mut calls, server(2, 0), now);
    calls.lost(LaneId::Main, &CUT, Read::None);
    calls.give_up(&CUT);
    assert_eq!(poll(&mut calls, &ticket), Poll::Ready(Answer::Lost));
}
