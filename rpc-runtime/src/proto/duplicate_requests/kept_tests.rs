use super::*;

fn keep(answers: &mut KeptAnswers, answer: &[u8]) -> Option<Vec<u8>> {
    match answers.keep(Given::Lent(answer))? {
        Kept::Own(buffer) => Some(buffer),
        Kept::Shared { .. } => panic!("it was lent"),
    }
}

fn free(answers: &mut KeptAnswers, buffer: Vec<u8>) {
    answers.free(Kept::Own(buffer));
}

impl KeptAnswers {
    /// Bytes of buffers that wait.
    pub(in super::super) fn footprint(&self) -> usize {
        let spare: usize = self.spare.iter().map(Vec::capacity).sum();
        spare + self.spare.capacity() * size_of::<Vec<u8>>()
    }
}

#[test]
fn calls_at_work_set_aside_what_their_method_took_lately() {
    let mut answers = KeptAnswers::new(4 << 20);
    assert_eq!(answers.set_aside(0), Some(MIN_RESERVE));
    answers.learn(0, 100_000);
    assert_eq!(answers.set_aside(0), Some(RECORD + 100_000));
    assert_eq!(answers.set_aside(1), Some(MIN_RESERVE), "of another method");
    for _ in 0..60 {
        answers.learn(0, 1);
    }
    assert_eq!(answers.set_aside(0), Some(MIN_RESERVE), "one long answer is forgotten");
    answers.learn(0, 3 << 20);
    assert_eq!(answers.set_aside(0), Some(1 << 20), "however long, some can always run");
}

#[test]
fn no_more_is_set_aside_than_the_quota_holds() {
    let mut answers = KeptAnswers::new(1 << 16);
    let set_aside = std::iter::from_fn(|| answers.set_aside(0)).count();
    assert_eq!(set_aside, (1 << 16) / MIN_RESERVE);
    answers.give_back(MIN_RESERVE);
    assert_eq!(answers.set_aside(0), Some(MIN_RESERVE));
    assert_eq!(answers.set_aside(0), None);
}

#[test]
fn small_answers_take_no_new_buffers() {
    let mut answers = KeptAnswers::new(1 << 16);
    let first = keep(&mut answers, b"about so much").unwrap();
    let at = first.as_ptr();
    free(&mut answers, first);
    for _ in 0..1000 {
        let kept = keep(&mut answers, b"about as much").unwrap();
        assert_eq!(kept.as_ptr(), at);
        free(&mut answers, kept);
    }
}

#[test]
fn a_buffer_that_is_used_again_is_charged_whole() {
    let mut answers = KeptAnswers::new(1 << 16);
    let long = keep(&mut answers, &[0; 1024]).unwrap();
    free(&mut answers, long);
    let short = keep(&mut answers, b"a").unwrap();
    assert_eq!(answers.used, RECORD + 1024);
    free(&mut answers, short);

    // Where there is no room for all of it, a smaller one is made.
    let most = keep(&mut answers, &vec![0; (1 << 16) - 2 * RECORD - 100]).unwrap();
    let short = keep(&mut answers, b"a").unwrap();
    assert_eq!(short.capacity(), 1);
    assert!(answers.used <= answers.quota);
    assert_eq!(keep(&mut answers, &[0; 100]), None);
    drop((most, short));
}

#[test]
fn buffers_that_wait_are_bounded_and_given_back_at_rest() {
    let mut answers = KeptAnswers::new(4 << 20);
    let kept: Vec<_> = (0..2000)
        .map(|index| {
            keep(&mut answers, if index % 2 == 0 { &[0; 1024] } else { &[0; 1025] }).unwrap()
        })
        .collect();
    kept.into_iter().for_each(|buffer| free(&mut answers, buffer));
    assert_eq!((answers.used, answers.spare.len()), (0, SPARE.0));
    assert!(answers.spare.iter().all(|buffer| buffer.capacity() <= SPARE.1));
    answers.rest();
    assert_eq!(answers.footprint(), 0);
}

#[test]
fn a_long_answer_is_kept_where_it_was_sent_from() {
    let mut answers = KeptAnswers::new(1 << 20);
    let answer = Bytes::from(vec![7; 50_000]);
    let kept = answers.keep(Given::Shared { answer: &answer, takes: 60_000 }).unwrap();
    assert_eq!(kept.bytes().as_ptr(), answer.as_ptr());
    assert_eq!(answers.used, RECORD + 60_000, "all that it keeps is charged");
    answers.free(kept);
    assert_eq!((answers.used, answer.is_unique()), (0, true));
}

#[test]
fn an_answer_for_whose_allocation_there_is_no_room_is_copied() {
    let answer = Bytes::from(vec![7; 50_000]);
    let shared = |takes| Given::Shared { answer: &answer, takes };
    let mut answers = KeptAnswers::new(RECORD + 59_999);
    let kept = answers.keep(shared(60_000)).unwrap();
    assert_eq!((kept.bytes(), answers.used), (&answer[..], RECORD + 50_000));
    assert!(answer.is_unique());
    assert!(answers.keep(shared(60_000)).is_none());
}
