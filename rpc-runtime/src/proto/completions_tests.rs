use std::time::Instant;

use super::*;
use crate::{
    config::Limits,
    id::MethodId,
    proto::{
        claim::Turn,
        duplicate_requests::{Keep, ShortAnswer, Standing},
        frame::WireOutcome,
        memories::{Attached, Memories},
        status,
    },
};

const LEASE: Duration = Duration::from_secs(60);

fn client() -> PublicKey {
    bailiwick_crypto::Identity::from_seed(&[1; 32]).public_key()
}

fn incarnation(life: u8) -> Incarnation {
    Incarnation::from_bytes([life; 16])
}

fn life(number: u8) -> Life {
    Life::new(&client(), &incarnation(number))
}

fn digest(arguments: &[u8]) -> Digest {
    Digest::of(MethodId::new(1), arguments)
}

fn completion(number: u64, floor: u64, answer: &[u8]) -> Completion {
    let answer = Bytes::copy_from_slice(answer);
    Completion { life: life(1), number, floor, digest: digest(b""), answer }
}

fn open(completions: impl IntoIterator<Item = Completion>) -> Completions {
    let book = Completions::recovering([1; 16]);
    completions.into_iter().for_each(|completion| book.insert(completion));
    book.open();
    book
}

fn numbers(book: &Completions) -> Vec<u64> {
    book.snapshot().iter().map(|completion| completion.number).collect()
}

#[test]
fn a_completion_survives_the_log() {
    let written = completion(300, 7, &[0, 5]);
    let bytes = postcard::to_allocvec(&written).unwrap();
    assert!(bytes.len() <= 80 + written.answer.len(), "{} bytes", bytes.len());
    assert_eq!(postcard::from_bytes::<Completion>(&bytes), Ok(written));
}

#[test]
fn what_is_shown_of_a_completion_does_not_hold_the_answer() {
    let shown = format!("{:?} {:?}", completion(3, 0, b"secret"), open([]));
    assert!(!shown.contains("secret") && !shown.contains("115, 101"), "{shown}");
}

#[test]
fn a_snapshot_gives_the_same_table_again_the_floor_included() {
    let book = open([completion(4, 2, &[0]), completion(3, 2, &[0]), completion(9, 4, &[0, 1])]);
    let again = open(book.snapshot());
    assert_eq!(again.snapshot(), book.snapshot());
    assert_eq!(numbers(&again), [4, 9]);
    assert_eq!(again.look_up(&life(1), 3), Known::Acknowledged);
    assert_eq!(again.look_up(&life(1), 9), Known::Done(digest(b""), Bytes::from_static(&[0, 1])));
    assert_eq!(again.look_up(&life(1), 5), Known::Nothing);
    assert_eq!(again.look_up(&life(2), 9), Known::Nothing, "another life");
}

#[test]
fn a_completion_that_comes_twice_or_below_the_floor_changes_nothing() {
    let book = open([completion(4, 2, &[0; 9]), completion(4, 2, &[0; 9])]);
    assert_eq!((numbers(&book), book.size()), (vec![4], 137));
    book.acknowledge(&life(1), 6);
    book.insert(completion(5, 2, &[0]));
    assert_eq!((numbers(&book), book.size()), (vec![], 0));
}

#[test]
fn acknowledged_ranges_go() {
    let book = open((0..10).map(|number| completion(number, 0, &[0])));
    book.acknowledge_ranges(&life(1), [(2, 4), (7, u64::MAX), (9, 8)].into_iter());
    assert_eq!(numbers(&book), [0, 1, 4, 5, 6]);
    book.acknowledge_ranges(&life(2), [(0, 5)].into_iter());
    assert_eq!(numbers(&book).len(), 5, "another life's");
}

#[test]
fn a_life_has_no_more_calls_than_a_span() {
    let book = open([completion(0, 0, &[0]), completion(SPAN, 0, &[0])]);
    assert_eq!(numbers(&book), [SPAN]);
    open([completion(u64::MAX, u64::MAX, &[0])]).acknowledge(&life(1), u64::MAX);
}

#[test]
fn beyond_the_quota_the_oldest_answers_go_and_are_known_to_have_run() {
    let book = Completions::recovering([1; 16]);
    book.set_quota(2_000);
    for number in 0..5 {
        book.insert(completion(number, 0, &[7; 900]));
    }
    let lost = Known::Done(digest(b""), Bytes::from_static(&[status::ANSWER_LOST]));
    for number in 0..3 {
        assert_eq!(book.look_up(&life(1), number), lost);
    }
    let Known::Done(_, kept) = book.look_up(&life(1), 4) else { panic!("it is there") };
    assert_eq!(kept.len(), 900);
    assert!(book.size() <= 2_000 + 5 * RECORD as u64);
    // One that is longer than all.
    book.insert(completion(9, 0, &[7; 3_000]));
    assert_eq!(book.look_up(&life(1), 9), lost);
    // An older one that comes late is not passed over when room is made.
    book.insert(completion(8, 0, &[7; 3_000]));
    assert_eq!(book.look_up(&life(1), 8), lost);
}

/// A server's view: the books and its memories.
struct Scene {
    books: Books,
    book: Completions,
    memories: Memories,
    now: Instant,
}

impl Scene {
    fn of(book: Completions) -> Self {
        let limits = Limits { lease: LEASE, ..Limits::default() };
        let books = Books::new([&book, &book].into_iter(), limits.max_kept_answers);
        Self { books, book, memories: Memories::new(&limits), now: Instant::now() }
    }

    fn attach(&self, life: u8) -> Attached {
        self.memories.attach(client(), incarnation(life), [life; 8]).unwrap()
    }

    fn arrive(&self, attached: &Attached, call: u64, arguments: &[u8]) -> Turn {
        let keep = Keep::Answer { digest: digest(arguments), method: 0 };
        attached.arrive(call, 0, keep, self.books.of(life(1)), self.now).unwrap()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.memories.expire(&self.books, self.now);
    }
}

#[test]
fn a_memory_takes_over_what_the_log_has_and_keeps_it() {
    let scene = Scene::of(open([completion(3, 0, &[0, 5])]));
    let attached = scene.attach(1);
    assert!(matches!(scene.arrive(&attached, 3, b"other"), Turn::FalseRetry));
    assert!(matches!(scene.arrive(&attached, 3, b""), Turn::Repeated));
    assert_eq!(attached.lock().look_at(3, attached.via(), scene.now), Standing::Kept(&[0, 5]),);
    assert!(matches!(scene.arrive(&attached, 4, b""), Turn::Mine(_)));
}

#[test]
fn an_answer_that_the_memory_has_no_room_for_is_lost_and_its_call_known_to_have_run() {
    let mut scene = Scene::of(open([completion(3, 0, &[0; 5_000])]));
    scene.memories =
        Memories::new(&Limits { max_kept_answers: 4_096, lease: LEASE, ..Limits::default() });
    let attached = scene.attach(1);
    assert!(matches!(scene.arrive(&attached, 3, b""), Turn::Repeated));
    assert_eq!(attached.lock().look_at(3, attached.via(), scene.now), Standing::Lost);
    assert_eq!(attached.lock().inquire(3), Ok(WireOutcome::Ran));
}

#[test]
fn a_call_refused_or_given_up_stays_so_whatever_a_log_says() {
    let scene = Scene::of(open([]));
    let attached = scene.attach(1);
    let Turn::Mine(claim) = scene.arrive(&attached, 3, b"") else { panic!("new") };
    let refusal = ShortAnswer { status: status::OVERLOADED, detail: Some(1) };
    claim.refuse(refusal);
    scene.book.insert(completion(3, 0, &[0, 5]));
    assert!(matches!(scene.arrive(&attached, 3, b""), Turn::Short(answer) if answer == refusal));
    drop(scene.arrive(&attached, 4, b""));
    scene.book.insert(completion(4, 0, &[0, 5]));
    assert!(matches!(scene.arrive(&attached, 4, b""), Turn::Stale));
}

#[test]
fn nothing_is_looked_up_in_a_log_that_is_being_read() {
    let book = Completions::recovering([1; 16]);
    book.insert(completion(3, 0, &[0, 5]));
    let scene = Scene::of(book);
    assert_eq!(scene.books.recovering(), 1);
    let attached = scene.attach(1);
    let past = scene.books.of(life(1));
    past.recall(&mut attached.lock(), 3).unwrap();
    assert_eq!(attached.lock().is_new(3), Ok(true));
    scene.book.open();
    assert_eq!(scene.books.recovering(), 0);
    past.recall(&mut attached.lock(), 3).unwrap();
    assert_eq!(attached.lock().inquire(3), Ok(WireOutcome::Ran));
}

#[test]
fn completions_go_with_the_memory_of_their_client() {
    let mut scene = Scene::of(open([]));
    let attached = scene.attach(1);
    scene.book.insert(completion(3, 0, &[0, 5]));
    scene.pass(10 * LEASE);
    assert_eq!(numbers(&scene.book), [3], "it is connected");
    drop(attached);
    scene.pass(Duration::ZERO);
    scene.pass(LEASE - Duration::from_millis(1));
    assert_eq!(numbers(&scene.book), [3]);
    scene.pass(Duration::from_millis(1));
    assert_eq!(numbers(&scene.book), [0; 0]);
}

#[test]
fn a_life_that_does_not_come_back_after_a_boot_has_a_whole_lease() {
    let book = Completions::recovering([1; 16]);
    book.insert(completion(3, 0, &[0, 5]));
    let mut scene = Scene::of(book);
    scene.pass(10 * LEASE);
    scene.book.open();
    scene.pass(10 * LEASE);
    scene.pass(LEASE - Duration::from_millis(1));
    assert_eq!(numbers(&scene.book), [3], "the lease began when the log had been read");
    // It comes back just in time, and its lease begins anew.
    let attached = scene.attach(1);
    scene.pass(LEASE);
    assert_eq!(numbers(&scene.book), [3]);
    drop(attached);
    scene.pass(Duration::ZERO);
    scene.pass(LEASE);
    assert_eq!(numbers(&scene.book), [0; 0]);
}

#[test]
fn a_life_that_never_comes_back_is_forgotten_after_its_lease() {
    let mut scene = Scene::of(open([completion(3, 0, &[0, 5])]));
    scene.pass(Duration::ZERO);
    scene.pass(LEASE);
    assert_eq!(numbers(&scene.book), [0; 0]);
}

#[test]
fn the_name_of_all_stores_does_not_depend_on_their_order() {
    let books = [[1; 16], [2; 16], [3; 16]].map(Completions::recovering);
    let [a, b, c] = &books;
    let name = |books: &[&Completions]| Books::new(books.iter().copied(), 0).store();
    assert_eq!(name(&[a, b]), name(&[b, a]));
    assert_eq!(name(&[a, a]), name(&[a]), "two services of one store");
    let names = [name(&[]), name(&[a]), name(&[b]), name(&[a, b]), name(&[a, c])];
    assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), names.len());
    assert_eq!(name(&[]), [0; 8]);
}
