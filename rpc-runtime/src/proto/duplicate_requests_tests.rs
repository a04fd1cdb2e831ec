use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::id::MethodId;

const HERE: Via = Via(0);
const THERE: Via = Via(1);
const DENIED: ShortAnswer = ShortAnswer { status: 2, detail: Some(77) };
const LATE: ShortAnswer = ShortAnswer { status: 4, detail: Some(2) };

/// A memory, and a clock that a test moves.
struct Scene {
    memory: Memory,
    now: Instant,
}

fn once(arguments: &[u8]) -> Keep {
    let digest = Digest::of(MethodId::new(1), arguments);
    Keep::Answer { digest, method: 0 }
}

impl Scene {
    fn set() -> Self {
        Self::with_quota(Limits::default().max_kept_answers)
    }

    fn with_quota(max_kept_answers: usize) -> Self {
        let limits = Limits { max_kept_answers, ..Limits::default() };
        Self { memory: Memory::new(&limits), now: Instant::now() }
    }

    fn arrive(&mut self, call: u64, keep: Keep) -> Arrival {
        self.memory.arrive(call, keep, HERE, self.now).unwrap()
    }

    fn arrive_there(&mut self, call: u64, keep: Keep) -> Arrival {
        self.memory.arrive(call, keep, THERE, self.now).unwrap()
    }

    /// A call that is not readonly begins and ends with this answer.
    fn run(&mut self, call: u64, answer: &[u8]) {
        assert_eq!(self.arrive(call, once(b"a")), Arrival::Begun, "call {call}");
        self.memory.finish(Begun { call, keep: once(b"a") }, Given::Lent(answer));
    }

    fn look(&mut self, call: u64) -> Standing<'_> {
        self.memory.look_at(call, HERE, self.now)
    }

    /// What the memory says of a call in each way there is.
    fn assert_never_runs(&mut self, call: u64) {
        for keep in [once(b"a"), once(b"b"), Keep::Nothing] {
            let arrival = self.arrive(call, keep);
            let runs = matches!(arrival, Arrival::Begun | Arrival::Full | Arrival::Again);
            assert!(!runs, "call {call}: {arrival:?}");
        }
    }
}

fn readonly(call: u64) -> Begun {
    Begun { call, keep: Keep::Nothing }
}

fn begun(call: u64) -> Begun {
    Begun { call, keep: once(b"a") }
}

#[test]
fn a_call_begins_once_and_its_answer_is_given_again() {
    let mut scene = Scene::set();
    assert_eq!(scene.arrive(0, once(b"a")), Arrival::Begun);
    assert_eq!(scene.arrive(0, once(b"a")), Arrival::Repeated);
    assert!(matches!(scene.look(0), Standing::AtWork { answered: Answered::Here, .. }));
    scene.memory.finish(begun(0), Given::Lent(b"\0answer"));
    for _ in 0..3 {
        assert_eq!(scene.arrive(0, once(b"a")), Arrival::Repeated);
        assert_eq!(scene.look(0), Standing::Kept(b"\0answer"));
    }
}

#[test]
fn numbers_may_come_in_any_order() {
    let mut scene = Scene::set();
    for call in [7, 3, 5, 0] {
        scene.run(call, b"\0");
    }
    for call in [0, 3, 5, 7] {
        assert_eq!(scene.arrive(call, once(b"a")), Arrival::Repeated);
    }
}

#[test]
fn the_floor_frees_what_is_below_it_and_never_falls() {
    let mut scene = Scene::set();
    scene.run(0, b"\0a");
    scene.run(1, b"\0b");
    scene.memory.acknowledge(1);
    scene.memory.acknowledge(0);
    assert_eq!(scene.arrive(0, once(b"a")), Arrival::Stale);
    assert_eq!(scene.look(0), Standing::Stale);
    assert_eq!(scene.look(1), Standing::Kept(b"\0b"));
    scene.memory.acknowledge(2);
    assert_eq!((scene.memory.answers.used(), scene.memory.records.len()), (0, 0));
    assert!(scene.memory.window.is_empty());
}

#[test]
fn a_floor_far_ahead_is_reached_at_once() {
    let mut scene = Scene::set();
    scene.run(0, b"\0");
    scene.memory.acknowledge(u64::MAX);
    assert_eq!(scene.arrive(u64::MAX - 1, once(b"a")), Arrival::Stale);
    assert_eq!(scene.arrive(u64::MAX, once(b"a")), Arrival::Begun);
}

#[test]
fn a_number_beyond_the_span_breaks_the_protocol_and_changes_nothing() {
    let mut scene = Scene::set();
    scene.memory.acknowledge(10);
    assert_eq!(scene.arrive(10 + SPAN - 1, once(b"a")), Arrival::Begun);
    for call in [10 + SPAN, u64::MAX] {
        let refused = scene.memory.arrive(call, once(b"a"), HERE, scene.now);
        assert_eq!(refused, Err(ProtocolError::CallNumber));
        assert_eq!(scene.memory.inquire(call), Err(ProtocolError::CallNumber));
        scene.memory.cancel(call);
    }
    assert_eq!(scene.memory.window.len() as u64, SPAN);
}

#[test]
fn acknowledged_ranges_free_their_answers_and_never_run() {
    let mut scene = Scene::set();
    for call in 0..10 {
        scene.run(call, b"\0");
    }
    let one = scene.memory.answers.used() / 10;
    scene.memory.acknowledge_ranges([(2, 5), (8, 12)].into_iter());
    assert_eq!(scene.memory.answers.used(), 5 * one);
    for call in [2, 4, 8, 9, 10, 11] {
        assert_eq!(scene.arrive(call, once(b"a")), Arrival::Stale, "call {call}");
    }
    for call in [0, 1, 5, 7] {
        assert_eq!(scene.look(call), Standing::Kept(b"\0"), "call {call}");
    }
    assert_eq!(scene.arrive(12, once(b"a")), Arrival::Begun);
}

#[test]
fn ranges_of_any_size_cost_no_more_than_the_span() {
    let mut scene = Scene::set();
    scene.memory.acknowledge(5);
    scene.memory.acknowledge_ranges([(0, u64::MAX), (u64::MAX, u64::MAX), (9, 3)].into_iter());
    assert_eq!(scene.memory.window.len() as u64, SPAN);
    assert_eq!(scene.arrive(5, once(b"a")), Arrival::Stale);
}

#[test]
fn a_refusal_is_final_whatever_comes() {
    let mut scene = Scene::set();
    for (call, keep) in [(0, once(b"a")), (1, Keep::Nothing)] {
        assert_eq!(scene.arrive(call, keep), Arrival::Begun);
        scene.memory.refuse(Begun { call, keep }, DENIED);
        for _ in 0..2 {
            assert_eq!(scene.arrive(call, keep), Arrival::Short(DENIED));
            assert_eq!(scene.look(call), Standing::Short(DENIED));
        }
        scene.assert_never_runs(call);
        assert_eq!(scene.memory.inquire(call), Ok(WireOutcome::Fenced));
    }
    assert_eq!(scene.memory.answers.used(), 0, "a refusal takes nothing of the quota");
}

#[test]
fn the_same_number_with_other_arguments_is_a_false_retry_and_changes_nothing() {
    let mut scene = Scene::set();
    assert_eq!(scene.arrive(0, once(b"a")), Arrival::Begun);
    assert_eq!(scene.arrive(0, once(b"b")), Arrival::FalseRetry, "at work");
    scene.memory.finish(begun(0), Given::Lent(b"\0a"));
    for other in [once(b"b"), Keep::Nothing] {
        assert_eq!(scene.arrive(0, other), Arrival::FalseRetry, "done");
    }
    assert_eq!(scene.look(0), Standing::Kept(b"\0a"));

    assert_eq!(scene.arrive(1, once(b"a")), Arrival::Begun);
    scene.memory.refuse(begun(1), DENIED);
    assert_eq!(scene.arrive(1, once(b"b")), Arrival::FalseRetry, "refused");
    assert_eq!(scene.arrive(1, once(b"a")), Arrival::Short(DENIED));

    assert_eq!(scene.arrive(2, Keep::Nothing), Arrival::Begun);
    assert_eq!(scene.arrive(2, once(b"a")), Arrival::FalseRetry, "at work, readonly");
    scene.memory.finish(readonly(2), Given::Lent(b"\0"));
    assert_eq!(scene.arrive(2, once(b"a")), Arrival::FalseRetry, "done, readonly");
}

#[test]
fn the_method_is_a_part_of_the_digest() {
    let of = |method, arguments: &[u8]| Digest::of(MethodId::new(method), arguments);
    assert_eq!(of(1, b"a"), of(1, b"a"));
    assert_ne!(of(1, b"a"), of(2, b"a"));
    assert_ne!(of(1, b"a"), of(1, b"b"));
}

#[test]
fn a_digest_of_one_server_tells_nothing_of_anothers() {
    let (one, other) = (DigestKey::draw(), DigestKey::draw());
    let of =
        |key: &DigestKey, method, arguments: &[u8]| key.digest(MethodId::new(method), arguments);
    assert_eq!(of(&one, 1, b"a"), of(&one, 1, b"a"));
    assert_ne!(of(&one, 1, b"a"), of(&one, 2, b"a"));
    assert_ne!(of(&one, 1, b"a"), of(&one, 1, b"b"));
    assert_ne!(of(&one, 1, b"a"), of(&other, 1, b"a"));
}

#[test]
fn every_bit_and_the_length_are_a_part_of_the_digest_however_long_the_arguments() {
    let key = DigestKey::draw();
    let of = |method, arguments: &[u8]| key.digest(MethodId::new(method), arguments);
    for length in [1, 16, 1_023, 1_024, 1_025, 1_100, 5_000] {
        let mut arguments = vec![7; length];
        let digest = of(1, &arguments);
        assert_eq!(of(1, &arguments.clone()), digest);
        assert_ne!(of(2, &arguments), digest, "{length} bytes");
        assert_ne!(DigestKey::draw().digest(MethodId::new(1), &arguments), digest);
        assert_ne!(of(1, &arguments[1..]), digest, "{length} bytes");
        for at in [0, length / 2, length - 1] {
            arguments[at] ^= 1;
            assert_ne!(of(1, &arguments), digest, "byte {at} of {length}");
            arguments[at] ^= 1;
        }
        // A zero behind: padding to whole blocks must not hide it.
        arguments.push(0);
        assert_ne!(of(1, &arguments), digest, "{length} bytes and a zero");
    }
}

#[test]
fn a_readonly_call_runs_again_and_keeps_nothing() {
    let mut scene = Scene::set();
    assert_eq!(scene.arrive(0, Keep::Nothing), Arrival::Begun);
    assert_eq!(scene.arrive(0, Keep::Nothing), Arrival::Repeated, "at work for the same peer");
    assert!(matches!(scene.look(0), Standing::AtWork { answered: Answered::Here, .. }));
    scene.memory.finish(readonly(0), Given::Lent(&[0; 5000]));
    assert_eq!((scene.memory.answers.used(), scene.memory.records.len()), (0, 0));
    assert_eq!(scene.arrive(0, Keep::Nothing), Arrival::Again);
    scene.memory.finish(readonly(0), Given::Lent(b"\0"));
    assert_eq!(scene.memory.inquire(0), Ok(WireOutcome::Ran));
    assert!(scene.memory.is_idle());
}

#[test]
fn a_readonly_call_at_work_on_another_connection_runs_here_too() {
    let mut scene = Scene::set();
    assert_eq!(scene.arrive(0, Keep::Nothing), Arrival::Begun);
    assert_eq!(scene.arrive_there(0, Keep::Nothing), Arrival::Again);
    assert_eq!(scene.arrive_there(0, Keep::Nothing), Arrival::Repeated);
    scene.memory.finish(readonly(0), Given::Lent(b"\0"));
    assert!(!scene.memory.is_idle());
    scene.memory.finish(readonly(0), Given::Lent(b"\0"));
    assert!(scene.memory.is_idle());
}

#[test]
fn a_cancelled_call_never_runs_again_whatever_it_was_at() {
    let mut scene = Scene::set();
    scene.memory.cancel(0);
    assert_eq!(scene.arrive(1, once(b"a")), Arrival::Begun);
    scene.memory.cancel(1);
    scene.memory.finish(begun(1), Given::Lent(b"\0late"));
    scene.run(2, b"\0");
    scene.memory.cancel(2);
    assert_eq!(scene.arrive(3, Keep::Nothing), Arrival::Begun);
    scene.memory.cancel(3);
    scene.memory.finish(readonly(3), Given::Lent(b"\0"));
    for call in 0..4 {
        scene.assert_never_runs(call);
        assert_eq!(scene.look(call), Standing::Stale);
        assert_eq!(scene.memory.inquire(call), Ok(WireOutcome::NotKnown));
    }
    assert_eq!((scene.memory.answers.used(), scene.memory.running), (0, 0));
}

#[test]
fn a_call_that_is_given_up_is_stale() {
    let mut scene = Scene::set();
    assert_eq!(scene.arrive(0, once(b"a")), Arrival::Begun);
    scene.memory.give_up(begun(0));
    assert_eq!(scene.arrive(0, once(b"a")), Arrival::Stale);
    assert_eq!(scene.memory.inquire(0), Ok(WireOutcome::NotKnown));
    assert_eq!((scene.memory.answers.used(), scene.memory.running), (0, 0));
}

#[test]
fn a_call_dropped_at_its_deadline_is_told_so_again_and_its_outcome_is_not_known() {
    let mut scene = Scene::set();
    assert_eq!(scene.arrive(0, once(b"a")), Arrival::Begun);
    scene.memory.expire(0, LATE);
    scene.memory.give_up(begun(0));
    assert_eq!(scene.arrive(0, once(b"a")), Arrival::Short(LATE));
    assert_eq!(scene.memory.inquire(0), Ok(WireOutcome::NotKnown));
    assert_eq!((scene.memory.answers.used(), scene.memory.running), (0, 0));
}

#[test]
fn an_inquiry_tells_what_became_of_a_call_and_fences_one_that_has_not_come() {
    let mut scene = Scene::set();
    assert_eq!(scene.arrive(0, once(b"a")), Arrival::Begun);
    assert_eq!(scene.memory.inquire(0), Ok(WireOutcome::AtWork));
    scene.memory.finish(begun(0), Given::Lent(b"\0"));
    assert_eq!(scene.memory.inquire(0), Ok(WireOutcome::Ran));
    for _ in 0..2 {
        assert_eq!(scene.memory.inquire(3), Ok(WireOutcome::Fenced), "as often as it is asked");
    }
    scene.assert_never_runs(3);
    assert_eq!(scene.memory.inquire(3), Ok(WireOutcome::Fenced));
    scene.memory.acknowledge(4);
    assert_eq!(scene.memory.inquire(0), Ok(WireOutcome::NotKnown));
    assert_eq!(scene.memory.inquire(3), Ok(WireOutcome::NotKnown));
}

#[test]
fn answers_of_64_kib_fill_the_quota_and_no_more() {
    let quota = Limits::default().max_kept_answers;
    let mut scene = Scene::with_quota(quota);
    let answer = vec![0; 65_536];
    let (mut call, mut number) = (0, 0);
    while scene.arrive(call, once(b"a")) == Arrival::Begun {
        scene.memory.finish(begun(call), Given::Lent(&answer));
        assert_eq!(scene.look(call), Standing::Kept(&answer));
        assert!(scene.memory.answers.used() <= quota);
        (call, number) = (call + 1, number + 1);
    }
    assert_eq!(number, quota / (65_536 + 128));
    // What is told that it does not run is refused before it does, for good.
    scene.memory.refuse(begun(call), DENIED);
    let real: usize = scene.memory.records.iter().map(|(_, record)| kept(record)).sum();
    assert_eq!(real, number * 65_536);

    scene.memory.acknowledge(1);
    assert_eq!(scene.arrive(call, once(b"a")), Arrival::Short(DENIED));
    assert_eq!(scene.arrive(call + 1, once(b"a")), Arrival::Begun);
    for kept in 1..call {
        assert_eq!(scene.look(kept), Standing::Kept(&answer), "nothing is evicted");
    }
}

fn kept(record: &Record) -> usize {
    match &record.state {
        State::Kept(answer) => answer.takes(),
        _ => 0,
    }
}

#[test]
fn an_answer_that_does_not_fit_is_lost_and_the_call_still_ran() {
    let mut scene = Scene::with_quota(1 << 16);
    scene.run(0, &vec![0; 40_000]);
    scene.run(1, &vec![0; 40_000]);
    assert_eq!(scene.look(0), Standing::Kept(&vec![0; 40_000]));
    assert_eq!(scene.arrive(1, once(b"a")), Arrival::Repeated);
    assert_eq!(scene.look(1), Standing::Lost);
    assert_eq!(scene.memory.inquire(1), Ok(WireOutcome::Ran));
}

#[test]
fn a_connections_calls_at_work_leave_half_of_the_quota() {
    let (mut scene, limits) = (Scene::set(), Limits::default());
    for call in 0..limits.max_calls_in_flight as u64 {
        assert_eq!(scene.arrive(call, once(b"a")), Arrival::Begun);
    }
    assert_eq!(scene.memory.answers.used(), limits.max_kept_answers / 2);
}

#[test]
fn one_client_runs_so_many_handlers_and_no_more_even_if_it_cancels_them() {
    let mut scene = Scene::set();
    for call in 0..MAX_RUNNING as u64 {
        assert_eq!(scene.arrive(call, once(b"a")), Arrival::Begun);
        scene.memory.cancel(call);
    }
    let call = MAX_RUNNING as u64;
    assert_eq!(scene.arrive(call, once(b"a")), Arrival::Full);
    scene.memory.refuse(begun(call), DENIED);
    scene.memory.give_up(begun(0));
    assert_eq!(scene.arrive(call + 1, once(b"a")), Arrival::Begun);
}

#[test]
fn a_client_at_rest_keeps_little_and_nothing_is_lost_over_it() {
    let mut scene = Scene::set();
    for call in 0..1000 {
        scene.run(call, b"\0answer");
    }
    let ranges = [(0, 500), (501, 999)];
    scene.memory.acknowledge_ranges(ranges.into_iter());
    scene.memory.acknowledge(499);
    scene.memory.rest();
    assert!(scene.memory.records.capacity() >= 1000, "not while something comes");
    scene.memory.rest();
    assert!(scene.memory.footprint() < 3000, "four bytes for each of 501 numbers, and two answers");
    for call in [500, 999] {
        assert_eq!(scene.look(call), Standing::Kept(b"\0answer"));
    }
    assert_eq!(scene.arrive(998, once(b"a")), Arrival::Stale);
}

impl Memory {
    /// Bytes that it holds beside what it is itself.
    pub(crate) fn footprint(&self) -> usize {
        let kept: usize = self.records.iter().map(|(_, record)| kept(record)).sum();
        let lists = self.records.capacity() * size_of::<Record>()
            + self.window.capacity() * size_of::<Entry>();
        kept + lists + self.answers.footprint()
    }
}

struct Woken(AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whoever_asks_over_another_connection_is_woken_when_the_call_is_done() {
    let mut scene = Scene::set();
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    assert_eq!(scene.arrive(0, once(b"a")), Arrival::Begun);
    scene.now += Duration::from_millis(300);
    let now = scene.now;

    assert_eq!(scene.arrive_there(0, once(b"a")), Arrival::Repeated);
    let estimate = Duration::from_millis(300);
    let elsewhere = Standing::AtWork { estimate, answered: Answered::Elsewhere };
    assert_eq!(scene.memory.look_at(0, THERE, now), elsewhere);
    assert_eq!(scene.memory.watch(0, THERE, &waker), Watch::Waiting);
    let here = Standing::AtWork { estimate, answered: Answered::Here };
    assert_eq!(scene.memory.look_at(0, THERE, now), here, "the answer comes there already");

    assert_eq!(scene.memory.look_at(0, Via(2), now), elsewhere, "a third connection");
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(scene.memory.watch(0, THERE, &waker), Watch::Superseded);
    assert_eq!(scene.memory.watch(0, Via(2), &waker), Watch::Waiting);

    scene.memory.finish(begun(0), Given::Lent(b"\0"));
    assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    assert_eq!(scene.memory.watch(0, Via(2), &waker), Watch::Over);
}

#[test]
fn a_watcher_of_a_call_that_is_cancelled_or_acknowledged_is_woken() {
    for end in [
        |memory: &mut Memory| memory.cancel(0),
        |memory: &mut Memory| memory.acknowledge(1),
        |memory: &mut Memory| memory.give_up(begun(0)),
        |memory: &mut Memory| memory.expire(0, LATE),
    ] {
        let mut scene = Scene::set();
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        assert_eq!(scene.arrive(0, once(b"a")), Arrival::Begun);
        scene.memory.look_at(0, THERE, scene.now);
        let waker = Waker::from(Arc::clone(&woken));
        assert_eq!(scene.memory.watch(0, THERE, &waker), Watch::Waiting);
        end(&mut scene.memory);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(scene.memory.watch(0, THERE, &waker), Watch::Over);
    }
}

#[test]
fn a_number_costs_four_bytes_and_a_record_no_more_than_it_is_charged() {
    assert_eq!(size_of::<Entry>(), 4);
    assert!(size_of::<Record>() + 24 <= 128, "beside the allocator's own");
}
