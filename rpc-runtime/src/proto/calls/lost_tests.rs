//! What becomes of calls between two connections, and of those that ended without an answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use super::super::tests::{
    answered, begin, begin_as, begin_long, calls, connect, made, poll, reply, requests, taken,
};
use crate::{
    config::Limits,
    error::{Disconnected, Executed, NotSent, Outcome},
    proto::{
        calls::{Answer, BeginError, Calls, LaneId, Read, Reconnect, Rerun},
        frame::{MemoryId, Reply, WireOutcome},
        frames::Frames,
        status,
    },
};

const CUT: Disconnected = Disconnected::Truncated;

/// A memory of a server over UDP that listens over TCP too.
fn with_tcp(id: u8) -> MemoryId {
    MemoryId { id: [id; 8], tcp_port: 7400, ..MemoryId::default() }
}

fn take(calls: &mut Calls, now: Instant) -> u64 {
    calls.take_frames(LaneId::Main, now, &mut Frames::default())
}

fn outcome(calls: &mut Calls, number: u64) -> Poll<Outcome> {
    calls.poll_outcome(number, &mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_is_not_answered_is_sent_again_under_the_same_number_in_order() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let tickets: Vec<_> = (0..3).map(|_| begin(&mut calls, now, 100).unwrap()).collect();
    let sealed = take(&mut calls, now);
    calls.complete(&reply(1), None).unwrap();
    calls.lost(LaneId::Main, &CUT, Read::Before(sealed));
    assert_eq!(requests(&mut calls, now), [], "nothing goes before the server is known");
    connect(&mut calls, 1);
    assert_eq!(requests(&mut calls, now), [(0, 0, 1), (2, 0, 1)]);
    calls.complete(&reply(0), None).unwrap();
    assert_eq!(poll(&mut calls, &tickets[0]), answered());
}

#[test]
fn a_server_that_forgot_leaves_calls_that_were_sent_unknown_and_gets_the_others() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let sent = begin(&mut calls, now, 100).unwrap();
    let readonly = begin_as(&mut calls, Rerun::Allowed, now, 100).unwrap();
    let sealed = take(&mut calls, now);
    let unsealed = begin(&mut calls, now, 100).unwrap();
    take(&mut calls, now);
    calls.lost(LaneId::Main, &CUT, Read::Before(sealed));
    let unsent = begin(&mut calls, now, 100).unwrap();
    connect(&mut calls, 2);
    assert_eq!(poll(&mut calls, &sent), Poll::Ready(Answer::Lost));
    assert_eq!(requests(&mut calls, now), [(1, 1, 1), (2, 1, 1), (3, 1, 0)]);
    for ticket in [&readonly, &unsealed, &unsent] {
        assert_eq!(poll(&mut calls, ticket), Poll::Pending);
    }
}

#[test]
fn what_a_server_that_closed_in_good_order_did_not_answer_is_sent_to_the_next_one() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let ticket = begin(&mut calls, now, 100).unwrap();
    take(&mut calls, now);
    calls.lost(LaneId::Main, &Disconnected::Closed, Read::None);
    connect(&mut calls, 2);
    assert_eq!(requests(&mut calls, now), [(0, 0, 1)]);
    assert_eq!(poll(&mut calls, &ticket), Poll::Pending);
}

#[test]
fn what_an_earlier_connection_may_have_run_stays_so_though_the_last_one_closed_in_good_order() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let ticket = begin(&mut calls, now, 100).unwrap();
    let sealed = take(&mut calls, now);
    calls.lost(LaneId::Main, &CUT, Read::Before(sealed));
    connect(&mut calls, 1);
    take(&mut calls, now);
    calls.lost(LaneId::Main, &Disconnected::Closed, Read::None);
    connect(&mut calls, 2);
    assert_eq!(poll(&mut calls, &ticket), Poll::Ready(Answer::Lost));
}

#[test]
fn a_channel_that_does_not_reconnect_ends_its_calls_with_what_is_true() {
    let now = Instant::now();
    let limits = Limits::default();
    let mut calls = made(&limits, Reconnect::Never);
    connect(&mut calls, 1);
    let sent = begin(&mut calls, now, 100).unwrap();
    let sealed = take(&mut calls, now);
    let unsent = begin(&mut calls, now, 100).unwrap();
    calls.lost(LaneId::Main, &CUT, Read::Before(sealed));
    assert_eq!(poll(&mut calls, &sent), Poll::Ready(Answer::Lost));
    let why = NotSent::Disconnected(CUT);
    assert_eq!(poll(&mut calls, &unsent), Poll::Ready(Answer::NotSent(why.clone())));
    assert_eq!(begin(&mut calls, now, 100).unwrap_err(), BeginError::NotSent(why));
}

#[test]
fn a_call_that_never_found_a_connection_says_why_and_that_it_did_not_run() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    calls.lost(LaneId::Main, &CUT, Read::None);
    let ticket = begin(&mut calls, now, 10).unwrap();
    calls.expire(now + Duration::from_millis(10));
    let why = NotSent::Disconnected(CUT);
    assert_eq!(poll(&mut calls, &ticket), Poll::Ready(Answer::NotSent(why)));
}

#[test]
fn a_call_past_its_deadline_can_be_asked_about_and_keeps_the_floor_until_it_is_known() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    let late = begin(&mut calls, now, 10).unwrap();
    take(&mut calls, now);
    calls.expire(now + Duration::from_millis(10));
    let unknown = Answer::DeadlineExceeded(Executed::Unknown);
    assert_eq!(poll(&mut calls, &late), Poll::Ready(unknown));
    begin(&mut calls, now, 100).unwrap();
    assert_eq!(requests(&mut calls, now), [(1, 0, 0)]);
    assert_eq!(outcome(&mut calls, 0), Poll::Pending);
    calls.tell_outcome(0, WireOutcome::AtWork);
    assert_eq!(outcome(&mut calls, 0), Poll::Ready(Outcome::Running));
    assert_eq!(outcome(&mut calls, 0), Poll::Pending, "the server is asked again");
    calls.tell_outcome(0, WireOutcome::Fenced);
    assert_eq!(outcome(&mut calls, 0), Poll::Ready(Outcome::DidNotRun));
    begin(&mut calls, now, 100).unwrap();
    assert_eq!(requests(&mut calls, now), [(2, 1, 0)]);
}

#[test]
fn an_answer_that_comes_too_late_still_tells_what_became_of_the_call() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    begin(&mut calls, now, 10).unwrap();
    take(&mut calls, now);
    calls.expire(now + Duration::from_millis(10));
    let mut late = reply(0);
    late.status = status::OVERLOADED;
    calls.complete(&late, None).unwrap();
    assert_eq!(outcome(&mut calls, 0), Poll::Ready(Outcome::DidNotRun));
}

#[test]
fn a_copy_that_meets_its_own_fence_does_not_hide_that_the_call_was_fenced() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    begin(&mut calls, now, 10).unwrap();
    take(&mut calls, now);
    calls.expire(now + Duration::from_millis(10));
    assert_eq!(outcome(&mut calls, 0), Poll::Pending);
    let mut stale = reply(0);
    stale.status = status::STALE;
    calls.complete(&stale, None).unwrap();
    assert_eq!(outcome(&mut calls, 0), Poll::Pending, "the question is still open");
    calls.tell_outcome(0, WireOutcome::Fenced);
    assert_eq!(outcome(&mut calls, 0), Poll::Ready(Outcome::DidNotRun));
}

#[test]
fn nobody_knows_what_a_server_that_forgot_has_run() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    begin(&mut calls, now, 10).unwrap();
    let sealed = take(&mut calls, now);
    calls.expire(now + Duration::from_millis(10));
    assert_eq!(outcome(&mut calls, 0), Poll::Pending);
    calls.lost(LaneId::Main, &CUT, Read::Before(sealed));
    connect(&mut calls, 2);
    assert_eq!(outcome(&mut calls, 0), Poll::Ready(Outcome::Unknown));
}

#[test]
fn no_more_is_held_than_a_server_would_remember() {
    let now = Instant::now();
    let limits = Limits { lease: Duration::from_secs(5), ..Limits::default() };
    let mut calls = calls(&limits);
    begin(&mut calls, now, 10).unwrap();
    take(&mut calls, now);
    let late = now + Duration::from_millis(10);
    calls.expire(late);
    assert_eq!(calls.next_deadline(), Some(late + limits.lease));
    calls.expire(late + limits.lease);
    assert_eq!(outcome(&mut calls, 0), Poll::Ready(Outcome::Unknown));
    begin(&mut calls, late + limits.lease, 100).unwrap();
    assert_eq!(requests(&mut calls, now), [(1, 1, 0)]);
}

#[test]
fn an_answer_too_long_for_datagrams_is_asked_for_over_tcp_under_the_same_number() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    calls.lost(LaneId::Main, &CUT, Read::None);
    calls.connected(LaneId::Main, 1 << 16, now);
    calls.recall(LaneId::Main, with_tcp(1), Some(1 << 20), now);
    let ticket = begin(&mut calls, now, 100).unwrap();
    take(&mut calls, now);
    let mut too_large = reply(0);
    too_large.status = status::TOO_LARGE_HERE;
    calls.complete(&too_large, None).unwrap();
    assert!(calls.wants_connection(LaneId::Bulk));
    calls.recall(LaneId::Bulk, with_tcp(1), None, now);
    let frames = taken(&mut calls, LaneId::Bulk, now);
    assert_eq!(frames[4..8], [1, 0, 0, 1], "request, call 0, floor 0, attempt 1");
    calls.complete(&reply(0), None).unwrap();
    assert_eq!(poll(&mut calls, &ticket), answered());
}

#[test]
fn a_second_connection_that_leads_to_another_memory_gets_no_calls() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    calls.recall(LaneId::Main, with_tcp(1), Some(1 << 20), now);
    begin(&mut calls, now, 100).unwrap();
    take(&mut calls, now);
    let mut too_large = reply(0);
    too_large.status = status::TOO_LARGE_HERE;
    calls.complete(&too_large, None).unwrap();
    calls.recall(LaneId::Bulk, with_tcp(2), None, now);
    let frames = taken(&mut calls, LaneId::Bulk, now);
    assert!(frames.is_empty(), "it may have run for the first, and would run again for the second");
    calls.recall(LaneId::Main, with_tcp(2), Some(1 << 20), now);
    let frames = taken(&mut calls, LaneId::Bulk, now);
    assert!(frames.is_empty(), "it has ended: nobody knows whether it ran");
}

#[test]
fn while_a_server_drains_only_what_it_may_have_read_is_sent_to_it_again() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    connect(&mut calls, 1);
    let late = begin(&mut calls, now, 100).unwrap();
    assert_eq!(requests(&mut calls, now), [(0, 0, 0)]);
    let queued = begin(&mut calls, now, 100).unwrap();
    calls.drain(LaneId::Main);
    let begun_since = begin(&mut calls, now, 100).unwrap();
    assert_eq!(requests(&mut calls, now), [], "no new ones");
    calls.send_again(LaneId::Main, 0);
    assert_eq!(requests(&mut calls, now), [(0, 0, 1)], "its answer was lost");
    connect(&mut calls, 1);
    assert_eq!(requests(&mut calls, now), [], "though the server says again who it is");

    calls.complete(&reply(0), None).unwrap();
    assert_eq!(poll(&mut calls, &late), answered());
    calls.lost(LaneId::Main, &Disconnected::Closed, Read::None);
    assert!(calls.wants_connection(LaneId::Main));
    connect(&mut calls, 2);
    assert_eq!(requests(&mut calls, now), [(1, 1, 0), (2, 1, 0)]);
    for ticket in [&queued, &begun_since] {
        assert_eq!(poll(&mut calls, ticket), Poll::Pending);
    }
}

#[test]
fn nothing_is_due_to_be_sent_again_while_there_is_no_connection() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    begin(&mut calls, now, 1000).unwrap();
    take(&mut calls, now);
    begin(&mut calls, now, 10).unwrap();
    take(&mut calls, now);
    for call in [0, 1] {
        calls.departed(call, 7, now, |_| Duration::from_millis(20));
    }
    assert_eq!(calls.next_resend(), Some(now + Duration::from_millis(20)));
    // Nobody has taken the answer of this one yet.
    calls.expire(now + Duration::from_millis(10));
    calls.lost(LaneId::Main, &CUT, Read::All);
    assert_eq!(calls.next_resend(), None);
}

#[test]
fn nothing_is_sent_again_over_a_stream_however_long_the_server_works() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    calls.lost(LaneId::Main, &CUT, Read::None);
    calls.connected(LaneId::Main, 1 << 16, now);
    calls.recall(LaneId::Main, with_tcp(1), Some(1 << 20), now);
    begin(&mut calls, now, 100).unwrap();
    take(&mut calls, now);
    calls.send_again(LaneId::Bulk, 0);
    calls.working(0, now + Duration::from_millis(20));
    assert_eq!(calls.next_resend(), None);
}

/// The first connection of a channel, whose server has not named its memory.
fn ahead(limits: &Limits, reconnect: Reconnect) -> Calls {
    let mut calls = made(limits, reconnect);
    calls.connected(LaneId::Main, 1 << 16, Instant::now());
    assert!(calls.go_ahead(LaneId::Main));
    calls
}

#[test]
fn calls_leave_before_the_first_server_has_named_its_memory_and_are_not_sent_twice() {
    let now = Instant::now();
    let mut calls = made(&Limits::default(), Reconnect::Always);
    let first = begin(&mut calls, now, 100).unwrap();
    assert_eq!(requests(&mut calls, now), [], "there is no connection");
    calls.connected(LaneId::Main, 1 << 16, now);
    assert!(calls.go_ahead(LaneId::Main));
    assert_eq!(requests(&mut calls, now), [(0, 0, 0)]);
    begin(&mut calls, now, 100).unwrap();
    connect(&mut calls, 1);
    assert_eq!(requests(&mut calls, now), [(1, 0, 0)]);
    calls.complete(&reply(0), None).unwrap();
    assert_eq!(poll(&mut calls, &first), answered());
}

#[test]
fn behind_a_server_that_was_met_before_calls_wait_for_the_name_of_its_memory() {
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    calls.lost(LaneId::Main, &CUT, Read::All);
    begin(&mut calls, now, 100).unwrap();
    calls.connected(LaneId::Main, 1 << 16, now);
    assert!(!calls.go_ahead(LaneId::Main));
    assert_eq!(requests(&mut calls, now), []);
}

#[test]
fn nobody_knows_of_calls_whose_server_never_named_its_memory() {
    let now = Instant::now();
    let mut calls = ahead(&Limits::default(), Reconnect::Always);
    let once = begin(&mut calls, now, 100).unwrap();
    let durable = begin_as(&mut calls, Rerun::Durable, now, 100).unwrap();
    let readonly = begin_as(&mut calls, Rerun::Allowed, now, 100).unwrap();
    let sealed = take(&mut calls, now);
    let unsealed = begin(&mut calls, now, 100).unwrap();
    take(&mut calls, now);
    calls.lost(LaneId::Main, &CUT, Read::Before(sealed));
    assert_eq!(poll(&mut calls, &once), Poll::Ready(Answer::Lost));
    assert_eq!(poll(&mut calls, &durable), Poll::Ready(Answer::Lost));
    // Whichever memory this is, it need not be that of the server before.
    connect(&mut calls, 1);
    assert_eq!(requests(&mut calls, now), [(2, 2, 1), (3, 2, 1)]);
    let refused = Reply { status: status::OVERLOADED, ..reply(2) };
    calls.complete(&refused, None).unwrap();
    assert_eq!(poll(&mut calls, &readonly), Poll::Ready(Answer::Lost), "the first may have run it");
    calls.complete(&reply(3), None).unwrap();
    assert_eq!(poll(&mut calls, &unsealed), answered());
}

#[test]
fn a_server_that_lets_nobody_in_has_run_nothing() {
    let now = Instant::now();
    let mut calls = ahead(&Limits::default(), Reconnect::Always);
    let ticket = begin(&mut calls, now, 100).unwrap();
    take(&mut calls, now);
    calls.lost(LaneId::Main, &CUT, Read::None);
    calls.give_up(&CUT);
    let why = NotSent::Disconnected(CUT);
    assert_eq!(poll(&mut calls, &ticket), Poll::Ready(Answer::NotSent(why)));
}

#[test]
fn what_is_too_long_for_the_server_is_known_once_it_is_met() {
    let now = Instant::now();
    let mut calls = made(&Limits::default(), Reconnect::Always);
    let long = begin_long(&mut calls, now, 2_000).unwrap();
    let short = begin(&mut calls, now, 100).unwrap();
    calls.connected(LaneId::Main, 1_024, now);
    assert!(calls.go_ahead(LaneId::Main));
    assert_eq!(requests(&mut calls, now), [(1, 1, 0)]);
    let Poll::Ready(Answer::NotSent(NotSent::TooLarge { size, limit: 1_024 })) =
        poll(&mut calls, &long)
    else {
        panic!("the long call does not say that it is too long");
    };
    assert!(size > 2_000);
    calls.complete(&reply(1), None).unwrap();
    assert_eq!(poll(&mut calls, &short), answered());
}

#[test]
fn what_is_too_long_for_datagrams_goes_beside_them_once_the_server_is_met() {
    let now = Instant::now();
    let mut calls = made(&Limits::default(), Reconnect::Always);
    begin_long(&mut calls, now, 2_000).unwrap();
    calls.connected(LaneId::Main, 1_024, now);
    calls.recall(LaneId::Main, with_tcp(1), Some(1 << 16), now);
    assert_eq!(requests(&mut calls, now), []);
    assert!(calls.wants_connection(LaneId::Bulk));
}

/// Over UDP the memory may come later than the session.
#[test]
fn how_long_a_call_may_be_is_not_judged_before_it_is_known_what_goes_beside_datagrams() {
    let now = Instant::now();
    let mut calls = made(&Limits::default(), Reconnect::Always);
    calls.connected(LaneId::Main, 1_024, now);
    begin_long(&mut calls, now, 2_000).unwrap();
    calls.recall(LaneId::Main, with_tcp(1), Some(1 << 16), now);
    assert!(calls.wants_connection(LaneId::Bulk));
    let long = begin_long(&mut calls, now, 70_000).unwrap_err();
    assert!(
        matches!(long, BeginError::NotSent(NotSent::TooLarge { limit: 65_536, .. })),
        "{long:?}"
    );
}

#[test]
fn a_call_that_waited_for_the_other_connection_counts_there_no_more_once_it_goes_by_this_one() {
    let now = Instant::now();
    let limits = Limits { max_unsent: 1_024, ..Limits::default() };
    let mut calls = made(&limits, Reconnect::Always);
    calls.connected(LaneId::Main, 1 << 16, now);
    for memory in 1..20 {
        calls.recall(LaneId::Main, with_tcp(memory), Some(1 << 16), now);
        let ticket = begin_as(&mut calls, Rerun::Allowed, now, 100).unwrap();
        let number = ticket.number().get();
        take(&mut calls, now);
        // The answer is too long for datagrams, and then the server is another, without TCP.
        let elsewhere = Reply { status: status::TOO_LARGE_HERE, ..reply(number) };
        calls.complete(&elsewhere, None).unwrap();
        assert!(calls.wants_connection(LaneId::Bulk));
        calls.lost(LaneId::Main, &CUT, Read::All);
        calls.connected(LaneId::Main, 1 << 16, now);
        connect(&mut calls, 100 + memory);
        take(&mut calls, now);
        calls.complete(&reply(number), None).unwrap();
        assert!(!calls.wants_connection(LaneId::Bulk));
        assert_eq!(poll(&mut calls, &ticket), answered());
    }
    assert!(!calls.is_full());
}

#[test]
fn nobody_is_dialled_for_calls_that_have_ended() {
    let now = Instant::now();
    let mut calls = made(&Limits::default(), Reconnect::Always);
    let late = begin(&mut calls, now, 10).unwrap();
    let refused = begin(&mut calls, now, 100).unwrap();
    assert!(calls.wants_connection(LaneId::Main));
    calls.expire(now + Duration::from_millis(10));
    assert!(calls.wants_connection(LaneId::Main), "the other waits");
    calls.give_up(&CUT);
    assert!(!calls.wants_connection(LaneId::Main));
    let no = Answer::DeadlineExceeded(Executed::No);
    assert_eq!(poll(&mut calls, &late), Poll::Ready(no));
    let why = Answer::NotSent(NotSent::Disconnected(CUT));
    assert_eq!(poll(&mut calls, &refused), Poll::Ready(why));
}

#[test]
fn the_deadline_of_a_call_that_the_server_takes_no_more_is_looked_after() {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let now = Instant::now();
    let mut calls = calls(&Limits::default());
    calls.drain(LaneId::Main);
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    calls.sleep(LaneId::Main, Waker::from(Arc::clone(&woken)));
    begin(&mut calls, now, 10).unwrap();
    assert!(woken.0.load(Ordering::Relaxed), "the connection's timer is set anew");
}
